"""The content of a comparison: the groups of runs and the requested tables. A file of `formats` turns it into text."""

from dataclasses import dataclass

from benchmarks.comparison import frontier_tables, predictors, tables
from benchmarks.comparison.groups import Group
from benchmarks.comparison.published import beside
from benchmarks.comparison.tables import Section


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, and which tables to make of them: what the command `benchmarks.compare` was asked for.

    Attributes:
        groups: the groups; the runs of one have the same stream, protocol, model and shots, so that they may be
            compared.
        per_task: whether to add tables of Transfer, Avg and Last of each task.
        baseline: name of a method; adds the differences of all others to it, over pairs of runs with the same seed and
            order. None adds none.
        published: whether to add the published results of the same protocol.
        along: settings over which each method is one line: the whole trade-off in the place of a row for each of their
            values; empty for the usual tables.
        siunitx: whether LaTeX tables align their numbers by the package siunitx.
        width: width of the terminal in characters; None if the text is written to a file or a pipe.
        predictors: whether to give, in the place of the usual tables, what goes with forgetting and with loss of Transfer.
    """

    groups: list[Group]
    per_task: bool = False
    baseline: str | None = None
    published: bool = False
    along: tuple[str, ...] = ()
    siunitx: bool = False
    width: int | None = None
    predictors: bool = False

    def sections(self) -> list[Section]:
        """Returns the tables with their titles and notes, as one `Section` for each group.

        If published results are requested, the section of each group is followed by one with those.

        Raises:
            UserError: several methods of a group have the name of the baseline, or with `along` no group has a
                method with several values of a setting, or with `predictors` no run has a measurement after each task.
        """
        if self.predictors:
            return predictors.sections(self.groups)
        if self.along:
            return frontier_tables.sections(self.groups, self.along, self.baseline)
        found = []
        for group in self.groups:
            found.append(tables.section(group, per_task=self.per_task, baseline=self.baseline))
            if self.published:
                found.append(beside(group, per_task=self.per_task))
        return found
