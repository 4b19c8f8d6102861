"""What a probe is, and testing a model on it: images and texts, and the values that follow from their scores."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import plain
from benchmarks.experiment.backbones.loading import Backbone
from benchmarks.experiment.evaluation import batches
from benchmarks.experiment.prompts import of_captions, of_classes
from benchmarks.images.opener import Opener
from benchmarks.images.sets import Split
from strategies.clip.classifier import ClipClassifier
from strategies.numerics.data_parallel import add_up
from strategies.training.pixels import Pixels


CHUNK = 400  # texts that are encoded at a time
RANKS = (1, 5)
Score = Callable[[Tensor], dict[str, float]]


@dataclass(frozen=True)
class Probe:
    """A test of a model outside the stream.

    Attributes:
        name: its name in `probes.csv`, tables and figures.
        images: N images; a label is the image's class, or for captions its own number or that of its caption.
        texts: C class names or captions.
        templates: K prompts with one `{}`, which each class name replaces; its feature is the normalised mean over these.
            Empty for captions, which are read as they are.
        score: takes the scores (N, C) of images for texts, and returns values in percent by the metric's name.
        protocol: what is tested and after whom, in one line.
    """

    name: str
    images: Split
    texts: tuple[str, ...]
    templates: tuple[str, ...]
    score: Score
    protocol: str


def top1(labels: np.ndarray) -> Score:
    """Returns the score of zero-shot classification: `top1`, how often the best text is that of the image's class.

    Args:
        labels: (N,) int64, the class of each image as an index into the texts.
    """
    wanted = torch.from_numpy(labels)
    return lambda scores: {"top1": _percent(scores.argmax(dim=1).cpu() == wanted)}


def recalls(of_images: np.ndarray, of_texts: np.ndarray) -> Score:
    """Returns the score of image-text retrieval: R@1 and R@5 in both directions.

    `image_to_text_r5` is how often one of an image's own texts is among the five best for it, and `text_to_image_r5` how
    often a text's own image is among the five best for it.

    Args:
        of_images: (N,) int64, a number for each image.
        of_texts: (C,) int64, a number for each text: it describes the images that have the same.
    """
    images, texts = torch.from_numpy(of_images), torch.from_numpy(of_texts)

    def score(scores: Tensor) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, rows, own, others in (
            ("image_to_text", scores, images, texts),
            ("text_to_image", scores.T, texts, images),
        ):
            best = rows.topk(min(max(RANKS), rows.shape[1]), dim=1).indices.cpu()  # (rows, 5)
            hits = others[best] == own[:, None]
            ranks = [rank for rank in RANKS if rank < rows.shape[1]]  # among fewer any answer would be right
            found |= {f"{name}_r{rank}": _percent(hits[:, :rank].any(dim=1)) for rank in ranks}
        return found

    return score


def _percent(right: Tensor) -> float:
    return 100 * right.double().mean().item()


class Prepared:
    """A probe whose images are decoded and whose texts are tokens, ready to test the models of a run.

    Args:
        probe: the probe.
        images: its N images, (3, S, S) uint8 each.
        prompts: the tokens of its texts (K, C', L) int64 in parts, one after the other.
        sha256: hexadecimal digest of its images, texts and templates.

    Attributes:
        probe, sha256: as given.
    """

    def __init__(self, probe: Probe, images: Pixels, prompts: Sequence[Tensor], sha256: str) -> None:
        self.probe, self.images, self.prompts, self.sha256 = probe, images, prompts, sha256
        self._classifier: ClipClassifier | None = None

    def values(self, model: ClipClassifier) -> dict[str, float]:
        """Returns the probe's values in percent by the metric's name, as the model is now.

        Args:
            model: the run's model, with whose weights and routes the probe's images and texts are computed.

        Raises:
            UserError: a value is not in 0 to 100; of the model before any training already.
        """
        if self._classifier is None:
            self._classifier = model.beside(self.prompts)
        device = model.mean.device
        scores = torch.zeros(len(self.images), len(self.probe.texts), device=device)  # (N, C)
        for part, images, _ in batches(self.images, torch.zeros(len(self.images)), device):
            scores[part] = self._classifier.union_logits(images.to(device, non_blocking=True)).float()
        found = self.probe.score(add_up(scores))  # each row is of one process
        if wrong := next((name for name, value in found.items() if not 0 <= value <= 100), None):
            raise UserError(f"--probe: {self.probe.name}: {wrong} is {found[wrong]}; expected a percentage, 0 to 100")
        return found


def prepare(named: Sequence[str], backbone: Backbone, opener: Opener) -> list[Prepared]:
    """Returns the probes of some names, ready to test the models of a run.

    Args:
        named: as on the command line, such as `imagenet:DIR` or `micro`.
        backbone: the model, whose tokenizer reads the texts.
        opener: decodes the images.

    Raises:
        UserError: there is no such probe, its data are missing or incomplete, two have the same name or one has a name
            that cannot be printed, or two classes have the same prompt for this model.
    """
    probes: list[Probe] = []
    for each in named:
        kind, _, argument = each.partition(":")
        probes += registry.find("probe", kind).load().build(argument)
    names = [probe.name for probe in probes]
    if odd := next((name for name in names if not name.isprintable()), None):
        raise UserError(f"--probe: {plain(odd)}: a name with characters that cannot be printed; rename the folder")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f'--probe: two probes are called "{twice}"; name one of their folders otherwise')
    opener.fill([probe.images for probe in probes])
    return [_prepared(probe, backbone, opener) for probe in probes]


def _prepared(probe: Probe, backbone: Backbone, opener: Opener) -> Prepared:
    images, found = opener.open(probe.images)
    texts = json.dumps([probe.texts, probe.templates or ("{}",), probe.images.labels.tolist()])
    return Prepared(probe, images, _prompts(probe, backbone), sha256(found.tobytes() + texts.encode()).hexdigest())


def _prompts(probe: Probe, backbone: Backbone) -> list[Tensor]:
    """Returns the tokens of the texts, (K, C', L) int64 in parts; says which are cut, and refuses names that become equal."""
    where, texts = f"--probe: {probe.name}", list(dict.fromkeys(probe.texts))  # two of ImageNet's classes share a name
    if probe.templates:
        tokens = of_classes(backbone.tokenize, where, texts, probe.templates)
    else:
        tokens = of_captions(backbone.tokenize, where, texts)
    place = {text: index for index, text in enumerate(texts)}
    return list(tokens[:, [place[text] for text in probe.texts]].split(CHUNK, dim=1))


def folder_of(option: str, argument: str, what: str) -> Path:
    """Returns the folder that a probe's argument names.

    Args:
        option: the probe's name.
        argument: the text after its colon.
        what: what the folder holds, for messages.

    Raises:
        UserError: nothing is named, or there is no such folder.
    """
    if not argument:
        raise UserError(f"--probe {option}: name a folder, as in {option}:DIR, with {what}")
    if not Path(argument).is_dir():
        raise UserError(f"--probe {option}:{argument}: no such folder; it should have {what}")
    return Path(argument)
