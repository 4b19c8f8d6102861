"""How alike each two tasks of `micro` are to a model."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.experiment.similarity import similarity
from benchmarks.studies.base import Row


def measure(cell: Row, options: Mapping[str, Any]) -> Iterator[Row]:
    """Yields a row for each pair: `first`, `second`, and the cosines `images` and `names`.

    Args:
        cell: `model`, and `pretrained` if it is named.
        options: `data_root` and `cache`, as in `nb.run`.
    """
    yield from (pair._asdict() for pair in similarity(**cell, **options))
