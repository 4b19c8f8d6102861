"""In what precision the towers compute, and what never leaves float32: weights, decompositions, merging, measurements."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def set_tf32(on: bool) -> None:
    """Whether float32 products and convolutions on a GPU may be rounded to TF32 (torch's own default: convolutions only)."""
    wanted = "tf32" if on else "ieee"
    torch.backends.cuda.matmul.fp32_precision = wanted
    torch.backends.cudnn.conv.fp32_precision = wanted  # type: ignore[attr-defined]


@contextmanager
def full_precision() -> Iterator[None]:
    """Within it float32 is float32, whatever the towers compute in."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
