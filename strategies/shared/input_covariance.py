"""Gathers the uncentred covariance of the inputs of a model's attention, while the model computes."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from strategies.clip.blocks import allow
from strategies.clip.weight_matrices import blocks
from strategies.numerics.data_parallel import add_up, from_first
from strategies.numerics.gram import gram


class InputCovariance:
    """Adds up H^T H over the inputs H (N, d) of each block's attention, all tokens, whatever the model computes.

    It begins when it is made, and ends with `stop`. The model's results do not change.

    Args:
        clip: the open_clip model. The attention modules that it has now are watched; one that is replaced later is not.
        towers: the towers to be watched, of `image` and `text`.

    Attributes:
        sums: H^T H (d, d) float64 by block, named by tower and index, such as `image.0`; only of blocks that have
            computed. Divided by N, the number of tokens, it is the covariance.
        weight: how many times what is computed from now on counts; 1 unless it is set. 0 for nothing, which spares the
            product too.
    """

    def __init__(self, clip: nn.Module, towers: Sequence[str]) -> None:
        self.sums: dict[str, Tensor] = {}
        self.weight = 1
        self._hooks = [
            block.attn.register_forward_pre_hook(allow(partial(self._add, block_name(tower, index)), "takes_one_token"))
            for tower in towers
            for index, block in enumerate(blocks(clip, tower))
        ]

    def _add(self, name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not self.weight:
            return
        product = self.weight * gram(inputs[1].flatten(0, 1))  # (d, d), of the keys' inputs, which are all tokens
        self.sums[name] = self.sums[name] + product if name in self.sums else product

    def add_up_images(self) -> None:
        """Adds up, over the processes of a run, what the image tower's blocks have computed; texts are alike in all."""
        for name in sorted(self.sums):
            if name.startswith("image."):
                add_up(self.sums[name])

    def same_everywhere(self) -> None:
        """Gives every process of a run the sums of the first, since devices may round differently."""
        for name in sorted(self.sums):
            from_first(self.sums[name])

    def stop(self) -> None:
        """Stops watching; `sums` stays as it is."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


def block_name(tower: str, index: int) -> str:
    """Returns the name of a block, such as `image.0`.

    Args:
        tower: `image` or `text`.
        index: the block's number in the tower, from 0.
    """
    return f"{tower}.{index}"
