"""The model that a process loaded last, for processes that do many runs."""

from copy import deepcopy
from dataclasses import dataclass, replace

from benchmarks.experiment.backbones.loading import Backbone, files_of, load_backbone


@dataclass
class Kept:
    """The model that `load` loaded last, of which it returns copies while its files stay as they are.

    Attributes:
        wanted: whether one is kept, as processes want that do many runs; else it would take memory for nothing.
        key: tells the model, and its files as they were.
        backbone: the model; None before the first.
    """

    wanted: bool = False
    key: str = ""
    backbone: Backbone | None = None


KEPT = Kept()  # of this process


def load(model: str, pretrained: str | None, *, trusted: bool = False) -> Backbone:
    """Returns what `load_backbone` returns, or where a model is kept a copy of it.

    Args:
        model, pretrained, trusted: as for `load_backbone`.

    Raises:
        UserError: as of `load_backbone`.
    """
    if not KEPT.wanted:
        return load_backbone(model, pretrained, trusted=trusted)
    stamps = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files_of(model, pretrained)]
    key = repr((model, pretrained, trusted, stamps))
    if KEPT.backbone is None or KEPT.key != key:
        KEPT.backbone = None  # before the next one takes memory
        KEPT.key, KEPT.backbone = key, load_backbone(model, pretrained, trusted=trusted)
    return replace(KEPT.backbone, clip=deepcopy(KEPT.backbone.clip))
