"""Draws every figure of a run into the folder `plots/` of its run folder."""

from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.runs.read import read
from plotting import style
from plotting.found import OF_RUN, find


def draw_all(folder: Path) -> list[Path]:
    """Draws every figure that shows a single run, and writes each as a PNG and an SVG into the folder `plots` of the
    run folder.

    Args:
        folder: the run folder.

    Returns:
        The paths of the files, such as `plots/matrix.png` in the run folder.

    Raises:
        UserError: the folder is no run folder, one of its files is damaged, or a figure cannot be written.
    """
    run = read(folder)
    style.say_missing_letters(run.tasks)
    target = run.folder / "plots"
    if target.is_symlink():  # a stranger's run folder must not write elsewhere
        raise UserError(f"{target}: a link, through which no plots are written; delete it")
    written = []
    for name, of_run in find(OF_RUN).items():
        drawing = of_run(run)
        for suffix in ("png", "svg"):
            path = target / f"{name}.{suffix}"
            style.save(drawing, path)
            written.append(path)
    return written


def draw_missing(folder: Path) -> None:
    """Draws all figures of a run folder into its folder `plots`, unless all are there already.

    Args:
        folder: the run folder.

    Raises:
        UserError: the folder is no run folder, one of its files is damaged, or a figure cannot be written.
    """
    files = (folder / "plots" / f"{name}.{suffix}" for name in find(OF_RUN) for suffix in ("png", "svg"))
    if not all(file.is_file() for file in files):
        draw_all(folder)
