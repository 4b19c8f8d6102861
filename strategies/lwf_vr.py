"""LwF-VR: LwF with random token sequences as texts in place of the task's prompts.

Ding et al., Don't Stop Learning: Towards Continual Learning for the CLIP Model, arXiv 2207.09248, in the form of ZSCL's
code (arXiv 2303.06628). It differs from the method `lwf` in the auxiliary texts alone. They are 1000 sequences of 10
tokens between a start and an end token. The tokens are drawn uniformly from the vocabulary (without its two special
tokens), anew for each task.

Fidelity: as ZSCL's code, except that it draws the two special tokens too, so that now and then a text ends early, and
ends an epoch with a short batch, where batches run across epochs here. A context shorter than 12 tokens holds as many
random tokens as fit. The draw is a function of seed and task.
"""

from typing import Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import GREEN, About, Published
from strategies.clip.classifier import ClipClassifier
from strategies.shared.distillation import DistillationPlugin
from strategies.shared.settings import DistillationSettings


ABOUT = About(
    name="LwF-VR",
    reference="Ding et al., 2022, arXiv 2207.09248, as in ZSCL",
    colour=GREEN,
    marker="h",
    published={
        "LwF-VR": Published(
            differs={
                "MTIL 5-shot": "re-run by others, with settings that are not known",
                "CIL": "the released teacher shares storage with the student, so that it distils nothing",
            }
        )
    },
)


@dataclass(frozen=True)
class Settings(DistillationSettings):
    """Settings of LwF-VR: temperature and weight of the distillation, and number and length of the random texts.

    The defaults are those of ZSCL's MTIL scripts. `temperature` and `distillation` are as in `DistillationSettings`.

    Attributes:
        sentences: the number of random texts, drawn anew for each task.
        length: the number of random tokens of each text, between its start and end token.
    """

    sentences: int = Field(
        default=1000, ge=1, description="random texts for each task", json_schema_extra={"unit": "texts"}
    )
    length: int = Field(
        default=10, ge=1, description="random tokens of each text", json_schema_extra={"unit": "tokens"}
    )


def random_texts(number: int, length: int, vocabulary: int, context: int) -> Tensor:
    """Returns random texts as tokens (number, context) int64: start token, `length` random tokens, end token, zeros.

    In CLIP's vocabularies the start and the end token are the last two; neither is drawn. The others are drawn
    uniformly from torch's global generator.

    Args:
        number: the number of texts.
        length: random tokens of each text; where the context is too short for them, as many as fit are drawn.
        vocabulary: the number of tokens in the vocabulary.
        context: the number of positions of a text.
    """
    length = min(length, context - 2)
    tokens = torch.zeros(number, context, dtype=torch.int64)  # (number, context)
    tokens[:, 0] = vocabulary - 2
    tokens[:, 1 : 1 + length] = torch.randint(vocabulary - 2, (number, length))
    tokens[:, 1 + length] = vocabulary - 1
    return tokens


class Plugin(DistillationPlugin):
    """LwF-VR: fine-tuning with distillation from the model before the task, on the task's images and random texts."""

    settings: Settings
    _said = False  # that the texts are shorter than asked for

    def least_bytes(self, classifier: ClipClassifier) -> dict[str, int]:
        """Returns the bytes of all gradients and moments, and those of the random texts' tokens and features.

        Args:
            classifier: the model of the run.
        """
        tokens = classifier.tokens(0).shape[-1] * classifier.tokens(0).element_size()
        features = classifier.clip.visual.output_dim * classifier.mean.element_size()
        return {**super().least_bytes(classifier), "sentences": self.settings.sentences * (tokens + features)}

    def reference_tokens(self, strategy: Any) -> Tensor:
        """Returns new random texts for the coming task as tokens (N, L) int64.

        N is the setting `sentences`, and L the model's context length.

        Args:
            strategy: the Avalanche strategy that trains; its model gives vocabulary and context.
        """
        context = strategy.model.tokens(strategy.experience.task_label).shape[-1]
        cut = f"length {self.settings.length} is cut to {context - 2}, for which the context has room"
        self.notes = [cut] if self.settings.length > context - 2 and not self._said else []
        self._said = True
        return random_texts(self.settings.sentences, self.settings.length, strategy.model.clip.vocab_size, context)
