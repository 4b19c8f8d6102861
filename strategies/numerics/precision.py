"""Switches of numerical precision: TF32 for the towers, plain float32 for all that must not lose digits.

Only the towers may compute in a lower precision. Weights, decompositions, merging and measurements are always float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def set_tf32(on: bool) -> None:
    """Sets whether float32 matrix products and convolutions on a GPU may be rounded to TF32.

    Torch's own default allows it for convolutions only.
    """
    # Not by torch's newer `fp32_precision`: it leaves these flags contradicting it, and torch.compile reads the flags.
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


@contextmanager
def full_precision() -> Iterator[None]:
    """Context in which float32 matrix products are computed in float32, whatever precision the towers use.

    It switches off autocast on CPU and GPU, and TF32 in matrix products; at its end both are as they were before it.
    """
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
