"""The micro CLIP's pretraining, held out: retrieval between pictures and captions that it was not trained on."""

from functools import partial

import numpy as np
from PIL import Image

from benchmarks.config.errors import UserError
from benchmarks.experiment.probes.base import Probe, recalls
from benchmarks.images.sets import Images, Split
from benchmarks.micro.captions import pair
from benchmarks.streams.micro import fingerprint


SEED, FIRST = 0, 150_000  # of the pairs; the micro CLIP was pretrained on those before
PAIRS = 1000
PROTOCOL = (
    "{} pictures and captions drawn as for the micro CLIP's pretraining, not among those that it was trained on; R@1 and R@5 "
    "from images to texts and back, where equal captions describe the same pictures"
)


def build(argument: str) -> list[Probe]:
    """Returns the probe of pictures and captions of the kind that the micro CLIP was pretrained on.

    Args:
        argument: must be empty.

    Raises:
        UserError: the argument is not empty.
    """
    if argument:
        raise UserError(f'--probe micro:{argument}: takes nothing after its name; write "micro"')
    captions = [pair(FIRST + index, SEED)[0] for index in range(PAIRS)]
    texts = list(dict.fromkeys(captions))
    number = {text: place for place, text in enumerate(texts)}
    images = Images(
        "micro-pairs", PAIRS, _picture, lambda index: f"micro-pairs, picture {index}", partial(fingerprint), drawn=True
    )
    owners = np.array([number[text] for text in captions])
    split = Split(images, np.arange(PAIRS), owners)
    score = recalls(owners, np.arange(len(texts)))
    return [Probe("micro-pairs", split, tuple(texts), (), score, PROTOCOL.format(PAIRS))]


def _picture(index: int) -> Image.Image:
    return pair(FIRST + index, SEED)[1]
