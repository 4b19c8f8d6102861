"""The singular values of the attention's matrices before and after the stream, for each method and tower.

`python -m plotting.spectrum [RESULTS...] -o FILE`
"""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.comparison.groups import Group
from benchmarks.config.errors import UserError
from benchmarks.runs.csv_files import ATTENTION, TOWERS
from plotting import style
from plotting.captioned import Captioned, each
from plotting.command import for_group


@style.paper()
def figure(group: Group, width: float = style.PAGE) -> Figure:
    """Returns the figure of singular values (y axis, logarithmic) by their place from the largest (x axis, from 1).

    Left is the image tower, right the text tower. The grey line is before any training; the others are each method's
    after its last task. Lines are geometric means over a tower's attention matrices and over runs.

    Args:
        group: the runs.
        width: in inches.

    Raises:
        UserError: no run has a spectrum; runs of older versions have none.
    """
    pairs = list(zip(group.methods, style.looks(group.methods), strict=True))
    pairs = [(method, look) for method, look in pairs if any(run.spectrum is not None for run in method.runs)]
    if not pairs:
        raise UserError("no run there has a spectrum.csv (older ones have none); run them again")
    labels = [method.label for method, _ in pairs]
    drawing = Figure((width, 2.5 + style.legend_height(["before any training", *labels], width)), layout="constrained")
    for axes, tower in zip(drawing.subplots(1, 2, sharey=True), TOWERS, strict=True):
        axes.set_title(f"{tower} tower")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # powers would be raw TeX here
        axes.yaxis.set_minor_formatter(NullFormatter())
        begun = False
        for method, look in pairs:
            for after, label in ((0, "before any training"), (len(group.first.tasks), method.label)):
                if after == 0 and begun:
                    continue
                values = mean_values(method.runs, tower, after)  # (n,)
                colour, dash = (style.GREY, "-") if after == 0 else (look.colour, look.dash)
                places = np.arange(1, len(values) + 1)
                marked = max(len(values) // 8, 1)
                axes.plot(places, values, label=label, color=colour, linestyle=dash, markevery=marked,
                          marker="" if after == 0 else look.marker, linewidth=2 if after == 0 else 1)  # fmt: skip
            begun = True
    drawing.supxlabel("singular value, from the largest")
    drawing.supylabel("size (geometric mean)")
    style.legend(drawing)
    return drawing


def in_report(group: Group) -> Iterator[Captioned]:
    """Yields the one figure of a group for the report: singular values before and after the stream, from the largest.

    It yields none if no run has a spectrum, as in folders of older versions.

    Args:
        group: the runs.
    """
    if any(run.spectrum is not None for run in group.runs):
        caption = "Singular values of the attention's matrices before and after the stream."
        words = each(group, lambda run: run.entropy_rank)
        yield Captioned(figure(group), caption, f"{caption} Entropy rank before and after: {words}.")


def mean_values(runs: tuple, tower: str, after: int) -> np.ndarray:  # type: ignore[type-arg]
    """Returns the singular values (n,), the largest first, as geometric means over a tower's attention matrices and
    over runs.

    Args:
        runs: the runs, as a tuple of `Run`; those without a spectrum are left out, and at least one must have it.
        tower: `image` or `text`.
        after: number of tasks learned: 0 or T.
    """
    found = []
    for run in runs:
        if run.spectrum is not None:
            table = run.spectrum
            rows = table[(table["after"] == after) & (table["tower"] == tower) & table["matrix"].isin(ATTENTION)]
            sizes = rows[[column for column in rows if column.isdecimal()]]
            found.append(sizes.dropna(axis=1, how="all").to_numpy(float))
    values = np.concatenate(found)
    return np.exp(np.log(np.maximum(values, 1e-12)).mean(axis=0))


main = for_group(figure, "python -m plotting.spectrum", __doc__.splitlines()[0])

if __name__ == "__main__":
    main()
