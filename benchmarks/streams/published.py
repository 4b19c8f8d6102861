"""Tasks made of the published data sets, for the families of streams that are cut from them."""

from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.datasets.checks import open_checked
from benchmarks.datasets.opening import Opened
from benchmarks.streams.base import Source, Task


def whole_task(opened: Opened) -> Task:
    """The whole data set as one task."""
    about = opened.info
    source = Source(about.name, about.origin, about.split, about.licence, about.citation, about.expected)
    return Task(about.name, opened.class_names, about.templates, opened.train, opened.test, source)


def open_datasets(names: tuple[str, ...], data_root: Path, stream: str) -> dict[str, Opened]:
    """Each data set by name.

    Args:
        stream: as on the command line, for the message.

    Raises:
        UserError: what is wrong with the first data set that can't be opened, and which others can't either: all are tried,
            so that nobody finds them out one by one.
    """
    opened, errors = {}, {}
    for name in names:
        try:
            opened[name] = open_checked(name, data_root)
        except UserError as error:
            errors[name] = error
    if errors:
        first = next(iter(errors.values()))
        # Where the data root itself is missing, all errors are that one.
        others = [name for name, error in errors.items() if str(error) != str(first)]
        if not others:
            raise first
        count = f"{len(others)} other{'s' if len(others) > 1 else ''}"
        command = f"python -m benchmarks.prepare --stream {stream} --data-root {data_root}"
        raise UserError(f"{first}; and {count}: {', '.join(others)}; {command} shows all")
    return opened
