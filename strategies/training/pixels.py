"""The type of images that are ready for a model, whether in memory or in a file."""

from typing import Any, Protocol

from torch import Tensor


class Pixels(Protocol):
    """N images (3, S, S) of one size, uint8; a tensor (N, 3, S, S) is an example."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Any, /) -> Tensor:
        """Returns one image (3, S, S) for an index, or images (B, 3, S, S) for a slice; uint8."""
        ...
