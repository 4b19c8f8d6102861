"""Says which rows of a table were made by which version of this project, and where a mean mixes versions of figures."""

from benchmarks.comparison.groups import Group
from benchmarks.runs.read import Run


UNKNOWN = "an unknown version"


def notes(group: Group) -> list[str]:
    """Returns sentences for below the title of a group's tables; none if one version made all of its runs.

    Args:
        group: the runs.
    """
    found: dict[str, list[str]] = {}
    for method in group.methods:
        made = sorted(
            {str(part["versions"].get("nusa-bench", UNKNOWN)) for run in method.runs for part in run.environments}
        )
        found.setdefault(" and ".join(made), []).append(method.label)
    said = []
    if len(found) > 1 or any(" and " in versions for versions in found):
        most = max(found, key=lambda versions: len(found[versions]))
        rows = [f"{versions}: {', '.join(labels)}" for versions, labels in sorted(found.items()) if versions != most]
        rows.append(f"{most}: {'all others' if rows else ', '.join(found[most])}")
        said.append(f"Made by different versions of this project, whose results may differ. {'; '.join(rows)}.")
    mixed = [method.label for method in group.methods if _figures(method.runs) > 1]
    if mixed:
        said.append(
            f"The means of {', '.join(mixed)} mix runs whose code may give different results (figures_version in run.json)."
        )
    return said


def _figures(runs: tuple[Run, ...]) -> int:
    """Returns how many versions of figures the runs have; those of before 0.4, which wrote none, are not counted."""
    return len({str(run.about["figures_version"]) for run in runs if "figures_version" in run.about})
