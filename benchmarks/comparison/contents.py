"""What is compared: the groups of runs, and the tables that were asked for. A format writes it."""

from dataclasses import dataclass

from benchmarks.comparison import tables
from benchmarks.comparison.groups import Group
from benchmarks.comparison.published import beside
from benchmarks.comparison.tables import Section


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, and what to say of them.

    Attributes:
        per_task: also Transfer, Avg and Last of each task.
        baseline: a method to which paired differences are shown.
        published: also the published values of the same protocol.
        width: columns of the terminal that the text goes to; None where it goes to a file or a pipe.
    """

    groups: list[Group]
    per_task: bool = False
    baseline: str | None = None
    published: bool = False
    width: int | None = None

    def sections(self) -> list[Section]:
        """A section of tables for each group, and after it one of published values where they were asked for.

        Raises:
            UserError: several methods of a group are called `baseline`.
        """
        found = []
        for group in self.groups:
            found.append(tables.section(group, per_task=self.per_task, baseline=self.baseline))
            if self.published:
                found.append(beside(group, per_task=self.per_task))
        return found
