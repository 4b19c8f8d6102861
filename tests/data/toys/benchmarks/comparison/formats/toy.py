"""How many sections of tables there are, and of what."""

from benchmarks.comparison.contents import Comparison


SUFFIXES = (".toy",)


def write(comparison: Comparison) -> str:
    """A line."""
    methods = [method.label for group in comparison.groups for method in group.methods]
    return f"{len(comparison.sections())} section of {', '.join(methods)}\n"
