"""The singular values of the attention's matrices before and after the stream, for each method and tower.

`python -m plotting.spectrum [RESULTS...] -o FILE`
"""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.comparison.groups import Group, Method
from benchmarks.config.errors import UserError
from benchmarks.runs.csv_files import ATTENTION, TOWERS
from benchmarks.runs.read import Run
from plotting import style
from plotting.captioned import Captioned, each
from plotting.captioned import caption as captioned
from plotting.command import for_group
from plotting.gaps import Gap, check, drawn, is_empty, labels, of_runs
from plotting.multiples import MOST, Curve, by_method, by_tower


BEFORE = "before any training"


@style.paper()
def figure(group: Group, width: float = style.PAGE) -> Figure:
    """Returns the figure of singular values (y axis, logarithmic) by their place from the largest (x axis, from 1).

    More than six methods have a panel each, with both towers after the last task, and all others in grey. Else left is
    the image tower, right the text tower. The grey line is before any training; the others are each method's
    after its last task. Lines are geometric means over a tower's attention matrices and over runs. A method without a
    spectrum is only in the legend.

    Args:
        group: the runs.
        width: in inches.

    Raises:
        UserError: no run has a spectrum; runs of older versions have none.
    """
    missing = gaps(group)
    check(group, missing)
    empty = {gap.method for gap in missing if gap.whole}
    named = labels(group, missing)
    if len(group.methods) > MOST:
        return _by_method(group, named, empty, width)
    drawing = Figure((width, 2.5 + style.legend_height([BEFORE, *named], width)), layout="constrained")
    for axes, tower in zip(drawing.subplots(1, 2, sharey=True), TOWERS, strict=True):
        axes.set_title(f"{tower} tower")
        _logarithmic(axes)
        measured = next(method for method in group.methods if method not in empty)
        before = mean_values(measured.runs, tower, 0)  # (n,)
        places = np.arange(1, len(before) + 1)
        axes.plot(places, before, label=BEFORE, color=style.GREY, linewidth=2)
        for method, look, words in zip(group.methods, style.looks(group.methods), named, strict=True):
            line = {**look.line(), "label": words, "linewidth": 1}
            if method in empty:
                axes.plot([], [], **line)
            else:
                after = mean_values(method.runs, tower, len(group.first.tasks))  # (n,)
                axes.plot(places, after, markevery=max(len(after) // 8, 1), **line)
    drawing.supxlabel("index of the singular value (1: largest)")
    drawing.supylabel("singular value (geometric mean)")
    style.legend(drawing)
    return drawing


def _by_method(group: Group, named: Sequence[str], empty: set[Method], width: float) -> Figure:
    def curves(method: Method) -> list[Curve]:
        count = len(group.first.tasks)
        return [] if method in empty else by_tower(lambda tower: mean_values(method.runs, tower, count), first=1)

    drawing, found = by_method(group, named, curves, width)
    for axes in found:
        _logarithmic(axes)
    drawing.supxlabel("index of the singular value (1: largest)")
    drawing.supylabel("singular value after the last task (geometric mean)")
    return drawing


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # powers would be raw TeX here
    axes.yaxis.set_minor_formatter(NullFormatter())


def in_report(group: Group) -> Iterator[Captioned]:
    """Yields the one figure of a group for the report: singular values before and after the stream, from the largest.

    It yields none if no run has a spectrum, as in folders of older versions.

    Args:
        group: the runs.
    """
    missing = gaps(group)
    if not is_empty(group, missing):
        words = each(group, lambda run: run.entropy_rank)
        alt = f"Singular values, before and after the stream. Entropy rank before and after: {words}."
        yield Captioned(figure(group), caption(group), alt, drawn(group, missing))


def caption(group: Group) -> str:
    """Returns the caption of the figure: what it shows, of which runs, and of which it has nothing.

    Args:
        group: the runs.
    """
    if len(group.methods) > MOST:
        words = (
            "Singular values of the attention's matrices after the last task, from the largest: image tower (solid) and text "
            "tower (dashed). Each method has a panel, with all others in grey; lines are"
        )
    else:
        words = (
            "Singular values of the attention's matrices, from the largest, before any training (grey) and under each method "
            "after the last task. Lines are"
        )
    return captioned(group, f"{words} geometric means over a tower's matrices and over runs.", gaps(group))


def gaps(group: Group) -> list[Gap]:
    """Returns the methods of which some or all runs have no spectrum to draw.

    Args:
        group: the runs.
    """
    return of_runs(group, _gap)


def _gap(run: Run) -> str:
    if run.spectrum is None:
        return "no spectrum.csv"
    ends = (0, len(run.tasks))
    return "" if all(_values(run, tower, after).size for tower in TOWERS for after in ends) else "spectrum.csv in part"


def mean_values(runs: Sequence[Run], tower: str, after: int) -> np.ndarray:
    """Returns the singular values (n,), the largest first, as geometric means over a tower's attention matrices and
    over runs.

    Args:
        runs: the runs; those without a whole spectrum are left out.
        tower: `image` or `text`.
        after: number of tasks learned: 0 or T.

    Raises:
        UserError: no run has a spectrum, or one has matrices of another size than the first.
    """
    found = {run: _values(run, tower, after) for run in runs if not _gap(run)}
    if not found:
        raise UserError("no run there has a spectrum.csv (older ones have none); run them again")
    first, *others = found
    for run in others:
        if found[run].shape[1] != found[first].shape[1]:
            raise UserError(f"{run.folder}: its spectrum.csv has matrices of another size than {first.folder}")
    return np.exp(np.log(np.maximum(np.concatenate(list(found.values())), 1e-12)).mean(axis=0))


def _values(run: Run, tower: str, after: int) -> np.ndarray:
    """Returns the singular values (M, n) of a tower's M attention matrices in a run that has a spectrum."""
    table = run.spectrum
    assert table is not None
    rows = table[(table["after"] == after) & (table["tower"] == tower) & table["matrix"].isin(ATTENTION)]
    sizes = rows[[column for column in rows if column.isdecimal()]]
    return sizes.dropna(axis=1, how="all").to_numpy(float)


main = for_group(figure, "spectrum", caption, gaps)

if __name__ == "__main__":
    main()
