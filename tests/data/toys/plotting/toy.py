"""Stripes."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from benchmarks.comparison.groups import Group, alone
from benchmarks.runs.read import Run
from plotting import style
from plotting.captioned import Captioned
from plotting.command import for_group


@style.paper()
def figure(group: Group, width: float = style.PAGE) -> Figure:
    """A stripe for each method, in its colour."""
    drawing = Figure((width, 1))
    drawing.subplots().bar(range(len(group.methods)), 1, color=[look.colour for look in style.looks(group.methods)])
    return drawing


def of_run(run: Run) -> Figure:
    """A single stripe."""
    return figure(alone(run))


def in_report(group: Group) -> Iterator[Captioned]:
    """One figure."""
    count = len(group.methods)
    yield Captioned(figure(group), f"Stripes of {group.methods[0].label}.", f"{count} stripe{'s' * (count > 1)}")


main = for_group(figure, "toy")

if __name__ == "__main__":
    main()
