"""Makes tasks of the published data sets, for the streams that use them."""

from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.config.settings import Splits
from benchmarks.datasets.checks import open_checked
from benchmarks.datasets.opening import Opened
from benchmarks.streams.base import Source, Task


def whole_task(opened: Opened) -> Task:
    """Returns a whole data set as one task, with the data set's name, class names, prompts and published counts.

    Args:
        opened: the data set, as found on disk.
    """
    about = opened.info
    source = Source(about.name, about.origin, about.split, about.licence, about.citation, about.expected)
    return Task(about.name, opened.class_names, about.templates, opened.train, opened.test, source)


def open_datasets(names: tuple[str, ...], data_root: Path, stream: str, splits: Splits = "zscl") -> dict[str, Opened]:
    """Opens and checks data sets, and returns them by name; no images are decoded.

    All are tried, so that one error names all that are missing.

    Args:
        names: names of the data sets in `benchmarks.datasets`.
        data_root: the folder of the published data sets.
        stream: the stream's name on the command line, for the message.
        splits: whose splits, class names and templates: `zscl` or `coop`.

    Raises:
        UserError: data sets are missing or not as published; the message explains the first and lists the others.
    """
    opened, errors = {}, {}
    for name in names:
        try:
            opened[name] = open_checked(name, data_root, splits)
        except UserError as error:
            errors[name] = error
    if errors:
        first = next(iter(errors.values()))
        # Where the data root itself is missing, all errors are that one.
        others = [name for name, error in errors.items() if str(error) != str(first)]
        if not others:
            raise first
        count = f"{len(others)} other{'s' if len(others) > 1 else ''}"
        words = stream if splits == "zscl" else f"{stream} --splits {splits}"
        command = f"python -m benchmarks.prepare --stream {words} --data-root {data_root}"
        raise UserError(f"{first}; and {count}: {', '.join(others)}; {command} shows all")
    return opened
