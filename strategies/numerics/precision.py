"""In what precision the towers compute, and what never leaves float32: weights, decompositions, merging, measurements."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def set_tf32(on: bool) -> None:
    """Whether float32 products and convolutions on a GPU may be rounded to TF32 (torch's own default: convolutions only)."""
    # By these flags and not by torch's newer `fp32_precision`, which leaves them contradicting it: compiling reads them.
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


@contextmanager
def full_precision() -> Iterator[None]:
    """Within it float32 is float32, whatever the towers compute in."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
