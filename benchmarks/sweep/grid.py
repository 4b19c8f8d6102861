"""The grid of a sweep: every combination of the alternatives of its settings, for each strategy those that it has."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.config.registry import strategy_of
from benchmarks.config.resolve import settings_of, unknown_setting
from benchmarks.config.settings import COMMON_NAMES
from benchmarks.sweep.values import MOST


DEFAULT = "nusa"  # the strategy of a block that names none


@dataclass(frozen=True)
class Block:
    """Alternatives of settings, every combination of which is one run.

    Attributes:
        values: by the setting's name (with underscores) its alternatives, among them `strategy`.
        where: how an error names the block, such as `grid.yaml, block 2`; empty for the command line.
        searched: those of the settings among whose values a search chooses; empty where nothing is searched for.
    """

    values: Mapping[str, Sequence[Any]]
    where: str = ""
    searched: tuple[str, ...] = ()

    def cells(self) -> Iterator[dict[str, Any]]:
        """Yields the settings of each run by name, the last named setting varying fastest.

        A setting that a strategy does not have is left out of its runs.

        Raises:
            UserError: a strategy is unknown, no strategy of the block has a setting, or there are too many runs.
        """
        try:
            grids = self._grids()
        except UserError as error:
            raise self.at(error) from error
        for strategy, values in grids:
            for chosen in product(*values.values()):
                yield {"strategy": strategy, **dict(zip(values, chosen, strict=True))}

    def _grids(self) -> list[tuple[str, dict[str, Sequence[Any]]]]:
        """Returns each strategy with the alternatives of its settings."""
        strategies = [str(name) for name in self.values.get("strategy", [DEFAULT])]
        known = {name: {*COMMON_NAMES, *settings_of(strategy_of(name))} for name in strategies}
        for name in self.values:
            if not any(name in names for names in known.values()):
                raise UserError(f"{name}: {unknown_setting(name, *map(strategy_of, strategies))}")
        others = {name: values for name, values in self.values.items() if name != "strategy"}
        found = [
            (strategy, {name: values for name, values in others.items() if name in known[strategy]})
            for strategy in strategies
        ]
        if (number := sum(prod(map(len, values.values())) for _, values in found)) > MOST:
            raise UserError(f"{number} runs; a sweep has at most {MOST}")
        return found

    def at(self, error: UserError) -> UserError:
        """Returns an error with the block's place before its message.

        Args:
            error: what was found wrong in the block.
        """
        return at(self.where, error)


def at(where: str, error: UserError) -> UserError:
    """Returns an error with a place before its message.

    Args:
        where: the place; empty for none.
        error: what was found wrong there.
    """
    return UserError(f"{where}: {error}") if where else error
