"""How alike the tasks of a stream are to a model that has not learned any of them.

Of each task two vectors (D,) are compared by their cosine: the mean over its training images of the image features, and the
mean over its classes of the text features of the bare class names, without a template. Features have unit length.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.experiment.backbones.loading import Backbone, load_backbone
from benchmarks.experiment.evaluation import batches
from benchmarks.experiment.reading import data_place
from benchmarks.experiment.request import cache_place
from benchmarks.experiment.setup import make_classifier
from benchmarks.images.opener import Opener
from benchmarks.runtime.devices import pick_device, plain_torch
from benchmarks.runtime.progress import ProgressBar
from benchmarks.streams.base import Stream, Task
from benchmarks.streams.named import build_plan
from benchmarks.streams.orders import arrange
from strategies.clip.classifier import ClipClassifier


class Pair(NamedTuple):
    """How alike two tasks are.

    Attributes:
        first, second: the tasks' names, in the order of the stream.
        images: cosine of their mean image features, -1 to 1.
        names: cosine of the mean text features of their class names, -1 to 1.
    """

    first: str
    second: str
    images: float
    names: float


def similarity(
    model: str = "micro",
    stream: str = "micro",
    *,
    pretrained: str | None = None,
    device: Any = "auto",
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
) -> Iterator[Pair]:
    """Yields how alike each two tasks of a stream are.

    Args:
        model: `micro`, an open_clip name, or `local-dir:FOLDER`.
        stream: the stream's name.
        pretrained: an open_clip tag or a weights file; None for the weights in the model's folder.
        device: `auto`, `cpu` or `cuda`.
        data_root: the folder of the published data sets; by default `$NUSA_BENCH_DATA`, or else `data`.
        cache: the folder for decoded images; by default `$NUSA_BENCH_CACHE`, or else in the user's cache folder.

    Raises:
        UserError: there is no such model or stream, or data are missing.
    """
    backbone = load_backbone(model, pretrained)
    found = arrange(build_plan(stream, data_place(data_root)), "default")
    with plain_torch():
        place = cache_place(Path(cache) if cache else None, wanted=True)
        images, names = means(backbone, found, torch.device(pick_device(device)), place)
    tasks = [task.name for task in found.tasks]
    for one, other in combinations(range(len(tasks)), 2):
        cosines = (F.cosine_similarity(each[one], each[other], dim=0).item() for each in (images, names))
        yield Pair(tasks[one], tasks[other], *cosines)


@torch.no_grad()
def means(backbone: Backbone, stream: Stream, device: torch.device, cache: Path | None) -> tuple[Tensor, Tensor]:
    """Returns the mean image features and the mean text features of the class names of each task, (T, D) each.

    Args:
        backbone: the model.
        stream: the T tasks.
        device: where the features are computed.
        cache: the folder for decoded images; None stores none.
    """
    classifier = make_classifier(backbone, stream).to(device).eval()
    names = [classifier.encode_texts(backbone.tokenize(list(task.class_names)).to(device)) for task in stream.tasks]
    with ProgressBar(silent=True) as bar:
        opener = Opener(backbone.size, cache, bar)
        opener.fill([task.train for task in stream.tasks])
        images = [_of_images(classifier, opener, task, device) for task in stream.tasks]
    return torch.stack(images), _mean(names)


def _of_images(classifier: ClipClassifier, opener: Opener, task: Task, device: torch.device) -> Tensor:
    pixels, labels = opener.open(task.train)[0], torch.from_numpy(task.train.labels)
    features = [classifier.encode_images(each) for _, each, _ in batches(pixels, labels, device)]
    return torch.cat(features).mean(dim=0)


def _mean(features: Sequence[Tensor]) -> Tensor:
    return torch.stack([each.mean(dim=0) for each in features])
