"""Images ready for a model, wherever they lie."""

from typing import Any, Protocol

from torch import Tensor


class Pixels(Protocol):
    """N images of one size; a plain tensor (N, 3, S, S) is one too."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Any, /) -> Tensor:
        """Image (3, S, S) of a number, images (B, 3, S, S) of a slice; uint8."""
        ...
