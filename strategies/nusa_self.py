"""NuSA-Self: a low-rank update that avoids what the weights hold, with the model before the task as its own teacher.

This project's own method. While a task is learned, a low-rank update's teacher is free: with its updates switched off the
model is what it was before the task. So it distils from its own past without a second model, auxiliary data or storage. For
a batch of B images and N texts of random tokens, x and y are the unit-length features of images and texts with the updates,
x' and y' those without, and c is the logit scale. With T = c x' y'^T (B, N) and distill as in
`strategies/shared/distillation.py`,

    loss = cross-entropy + w [distill(c x y'^T, T) + distill((c x y'^T)^T, T^T)]          the image tower is held
                         + w [distill(c x' y^T, T) + distill((c x' y^T)^T, T^T)]          the text tower is held

The texts are drawn anew for each task; y' is computed once for it. x is the batch's own forward pass. What a step costs
besides is a pass of the images without updates and gradients, and one of the random texts, forward and backward before
the batch's. A tower without updates
(`--towers`) needs no holding, and its term is left out. For comparison other images can be held (`--images`: crops,
mixtures, noise; a pass with gradients more), and other texts: the task's prompts, or those of all tasks so far, which are
then stored (`--texts`).

The update of each matrix W = U S V^T (d_out, d_in) lies in a `space`:

    free          dW = s B A                                   LoRA
    complement    dW = s (I - U_k U_k^T) B A (I - V_k V_k^T)   OPLoRA; k directions hold the share rho of the energy
    soft          dW = s G_U B A G_V                           G_U = I - U (I - diag(g)) U^T, G_V alike with V, and
                                                               g_i = min(1, s_m / s_i), s_m the lower median of s
    tail          dW = s U_r M V_r^T                           NuSA-CL

with s = alpha / sqrt(rank), A (r, d_in) Kaiming-uniform, B (d_out, r) or M (r, r) zero, and all that is trained under
dropout of the update's input. After the task W <- W + dW. Nothing is stored between tasks and nothing grows (but with
`--texts seen`).

Each part is known: the distillation is ZSCL's (arXiv 2303.06628), with LwF's teacher (arXiv 1606.09282) and LwF-VR's random
texts (arXiv 2207.09248), which hold the image tower here; a model with its adapters switched off serves as reference
elsewhere too, for instance in preference learning; OPLoRA's and NuSA-CL's subspaces are theirs. New in this repository is
how they are put together, that the text tower is held likewise, and the soft space. With `--distillation 0` the update is
that of its space alone.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import SKY, About
from strategies.clip.classifier import ClipClassifier
from strategies.lwf_vr import random_texts
from strategies.numerics.subspace import Decomposition, choose, energy_rank
from strategies.oplora import ProjectedUpdate
from strategies.shared.distillation import distill
from strategies.shared.fused_low_rank import Factors, Part
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, between, from_zero, kaiming, scale, switched_off
from strategies.shared.other_images import other_images
from strategies.shared.settings import DistillationSettings, LowRankSettings, Matrices, only_with


ABOUT = About(
    name="NuSA-Self",
    reference="this project",
    colour=SKY,
    marker="*",
)


@dataclass(frozen=True)
class Settings(DistillationSettings, LowRankSettings):
    """Settings of NuSA-Self: those of low-rank updates and of distillation, the update's space, and the random texts.

    `rank`, `alpha`, `dropout`, `towers` and `matrices` are as in `LowRankSettings`, `temperature` and `distillation` as in
    `DistillationSettings`.

    Attributes:
        space: where the updates lie, see above.
        rho: the share of the sum of squared singular values that the principal directions hold, in `complement` and `tail`.
        images: the images that are held: the `batch`, or others as in `strategies/shared/other_images.py`.
        texts: the texts that are held: of `random` tokens, the task's `prompts`, or the prompts of all tasks `seen` so far,
            this one's among them (each in its first template).
        sentences: the number of random texts, drawn anew for each task.
        length: the number of random tokens of each text, between its start and end token.
    """

    rank: int = Field(default=32, ge=1, description="largest rank of the update of one matrix")
    matrices: Matrices = Field(
        default=("q", "k", "v", "o", "fc", "proj"),
        description="which matrices of each block: attention q,k,v,o and the MLP's fc,proj",
    )
    space: Literal["soft", "complement", "tail", "free"] = Field(
        default="soft", description="where the updates lie: away from the principal directions, or anywhere"
    )
    rho: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="share of the squared singular values that is principal, in the spaces complement and tail",
        json_schema_extra=only_with("space", "complement", "tail"),
    )
    images: Literal["batch", "crops", "mixtures", "noise"] = Field(
        default="batch", description="images whose features are held: the batch's, or others made of it"
    )
    texts: Literal["random", "prompts", "seen"] = Field(
        default="random",
        description="texts whose features are held: random tokens, the task's prompts, all tasks' so far",
    )
    sentences: int = Field(
        default=64,
        ge=1,
        description="random texts for each task",
        json_schema_extra={"unit": "texts", **only_with("texts", "random")},
    )
    length: int = Field(
        default=10,
        ge=1,
        description="random tokens of each text",
        json_schema_extra={"unit": "tokens", **only_with("texts", "random")},
    )


class WeightedUpdate(LowRankUpdate):
    """The update dW = scale * G_U @ up @ down @ G_V of a weight W (d_out, d_in): each singular direction has a weight.

    Singular vectors are kept of W's narrow side alone. Those of the other follow from them, U = W V S^-1 or
    V = W^T U S^-1; G_U @ up then takes products of W itself with r columns.

    Args:
        down: (r, d_in), the initial value of the trained factor. `up` (d_out, r) starts at zero, and is trained too.
        weight: W. It is used, not copied, and must stay as it is while the update does.
        found: the SVD of W.
        gains: (n,), how much an update in each direction counts, g in 0..1; those below 1 lead.
        scale: the factor on the product.
        dropout: the probability of dropping a value of the layer's input while training.
    """

    base: Tensor  # (far, near): W, or W^T where W has more columns than rows
    vectors: Tensor
    less: Tensor
    less_beyond: Tensor

    def __init__(
        self, down: Tensor, weight: Tensor, found: Decomposition, gains: Tensor, *, scale: float, dropout: float
    ) -> None:
        up = torch.zeros(len(weight), len(down), device=down.device)  # (d_out, r)
        super().__init__(down, up, None, scale=scale, dropout=dropout, trained=("down", "up"))
        self.tall = weight.shape[0] >= weight.shape[1]
        weakened = int((gains < 1).sum())
        u, vh = choose(found, weakened, "top")  # (d_out, k), (k, d_in)
        less, s = (1 - gains)[:weakened], found.s[:weakened]
        self.register_buffer("base", weight if self.tall else weight.T, persistent=False)
        self.register_buffer("vectors", vh.T if self.tall else u)  # (near, k)
        self.register_buffer("less", less[:, None])  # (k, 1)
        self.register_buffer("less_beyond", (less / s**2)[:, None])  # (k, 1)

    def terms(self, first: int) -> list[tuple[Part, Factors]]:
        """Returns dW as one pair of a `Part` (rows, scale, dropout) and the weighted factors (down, None, up).

        Args:
            first: the first of the weight's rows that the update covers; it covers d_out rows.
        """
        ((part, _),) = super().terms(first)
        near, far = (self.down.T, self.up) if self.tall else (self.up, self.down.T)  # (near, r), (far, r)
        # Never in bfloat16: what it rounds away would be an update of the principal directions.
        with torch.autocast(self.up.device.type, enabled=False):
            v, w = self.vectors, self.base
            near = near - v @ (self.less * (v.T @ near))
            far = far - w @ (v @ (self.less_beyond * (v.T @ (w.T @ far))))
        down, up = (near.T, far) if self.tall else (far.T, near)
        return [(part, (down, None, up))]


class Plugin(LowRankPlugin):
    """NuSA-Self: trains an update away from the principal directions, held by the model without it; merges it.

    Attributes:
        texts: the texts that are held in the current task, as tokens (N, L) int64.
        seen: with `--texts seen` the prompts of the tasks learned so far (M, L) int64; otherwise empty.
    """

    settings: Settings
    data_parallel = False  # half of the loss compares the images of a batch with each other

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.rho = settings.rho
        self.why_none = "no null direction left"
        self.limited_by = "null directions" if settings.space in ("complement", "tail") else ""
        self.texts = self.seen = torch.empty(0, 0, dtype=torch.int64)
        self._past = torch.empty(0)  # y' (N, D)
        self._pixels = self._teacher = torch.empty(0)  # of a step: the images that are held (B, 3, S, S), and T (B, N)
        self._texts_loss = torch.empty(0)  # of a step: what holding the texts adds to the loss
        self._encode_texts: Callable[[], Tensor] | None = None  # gives y (N, D); None where nothing is distilled

    def least_bytes(self, classifier: ClipClassifier) -> dict[str, int]:
        """Returns the bytes of the random texts' tokens and features, by the setting `sentences`.

        Args:
            classifier: the model of the run.
        """
        if self.settings.texts != "random":
            return {}
        tokens = classifier.tokens(0).shape[-1] * classifier.tokens(0).element_size()
        features = classifier.clip.visual.output_dim * classifier.mean.element_size()
        return {"sentences": self.settings.sentences * (tokens + features)}

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run in which no task has been learned.

        Args:
            classifier: not used.
        """
        self.seen = torch.empty(0, 0, dtype=torch.int64)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns with `--texts seen` the prompts (M, L) int64 of the tasks so far, `seen`; otherwise nothing."""
        return {"seen": self.seen} if len(self.seen) else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the prompts of earlier tasks.

        Args:
            state: what `state_dict` returned.
        """
        self.seen = state.get("seen", torch.empty(0, 0, dtype=torch.int64))

    def make_update(self, weight: Tensor) -> LowRankUpdate | None:
        """Returns the update of a weight in its space, which starts at dW = 0; None if the space has no direction.

        Args:
            weight: (d_out, d_in), the weight to be updated.
        """
        settings = self.settings
        if settings.space == "free":
            return from_zero(weight, kaiming(weight, settings), settings, trained=("down", "up"))
        found = self.decompose(weight)
        principal = energy_rank(found.s, settings.rho)
        rank = min(settings.rank, len(found.s) - (0 if settings.space == "soft" else principal))
        if rank == 0:
            return None
        factor, dropout = scale(settings, weight), settings.dropout
        if settings.space == "tail":
            return between(*choose(found, rank, "tail"), weight, settings)
        down = kaiming(weight, settings)[:rank]  # (r, d_in)
        if settings.space == "complement":
            return ProjectedUpdate(down, *choose(found, principal, "top"), scale=factor, dropout=dropout)
        return WeightedUpdate(down, weight, found, soft_weights(found.s), scale=factor, dropout=dropout)

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        self._forget(strategy.model)  # what an interrupted task may have left
        super().before_train_dataset_adaptation(strategy, *args, **kwargs)

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        settings, model = self.settings, strategy.model
        if not settings.distillation or not self.updates:
            return
        self.texts = self._held_texts(model, strategy.experience.task_label)
        encode = self._encode_texts = model.encoder_of(self.texts.to(strategy.device))
        with torch.no_grad(), switched_off(self.updates.values()):
            self._past = encode()
        model.keeps_features = settings.images == "batch"

    def _held_texts(self, model: ClipClassifier, task: int) -> Tensor:
        """The texts that are held while a task is learned, as tokens (N, L)."""
        settings, prompts = self.settings, model.tokens(task)[0].cpu()  # (C, L)
        if settings.texts == "prompts":
            return prompts
        if settings.texts == "seen":
            return torch.cat([self.seen, prompts]) if len(self.seen) else prompts
        context = prompts.shape[1]
        if settings.length > context - 2:
            self.notes.append(f"length {settings.length} is cut to {context - 2}, for which the context has room")
        return random_texts(settings.sentences, settings.length, model.clip.vocab_size, context)

    # What does not need the training step's own graph comes before it, with a backward pass of its own, so that the two
    # graphs are never in memory together.
    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self._encode_texts is None:
            return
        model, settings = strategy.model, self.settings
        self._pixels = strategy.mb_x if settings.images == "batch" else other_images(settings.images, strategy.mb_x)
        with torch.no_grad(), switched_off(self.updates.values()):
            before = model.encode_images(self._pixels)  # x' (B, D)
            self._teacher = _logits(model, before, self._past)  # T (B, N)
        if "text" in self._towers():
            held = self._held(_logits(model, before, self._encode_texts()))
            held.backward()  # type: ignore[no-untyped-call]
            self._texts_loss = held.detach()

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self._encode_texts is None:
            return
        if "text" in self._towers():
            strategy.loss = strategy.loss + self._texts_loss  # a number: its gradients are there already
        if "image" in self._towers():
            strategy.loss = strategy.loss + self._held(_logits(strategy.model, self._images(strategy), self._past))

    def _towers(self) -> set[str]:
        return {matrix.tower for matrix in self.updates}

    def _images(self, strategy: Any) -> Tensor:
        """The features x (B, D), with the updates, of the images that are held in a step."""
        model = strategy.model
        if self.settings.images != "batch":
            return model.encode_images(self._pixels)  # type: ignore[no-any-return]
        if len(model.batch_features) != len(strategy.mb_x):
            raise ValueError("NuSA-Self learns from batches of one task at a time, not from a mixture of tasks")
        return model.batch_features  # type: ignore[no-any-return]

    def _held(self, student: Tensor) -> Tensor:
        """The distillation of a student's logits (B, N) from the teacher's, of both softmaxes, times its weight."""
        settings, teacher = self.settings, self._teacher
        rows, columns = ((student, teacher), (student.T, teacher.T))
        both = distill(*rows, settings.temperature) + distill(*columns, settings.temperature)
        return settings.distillation * both

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        self._forget(strategy.model)
        if self.settings.texts == "seen" and len(self.texts):
            self.seen = self.texts
        super().after_training_exp(strategy, *args, **kwargs)

    def _forget(self, model: ClipClassifier) -> None:
        model.keeps_features, model.batch_features = False, None
        self._past = self._pixels = self._teacher = torch.empty(0)
        self._encode_texts = None


def _logits(model: ClipClassifier, images: Tensor, texts: Tensor) -> Tensor:
    """c x y^T (B, N) of features of images (B, D) and texts (N, D), with the model's logit scale c."""
    return model.clip.logit_scale.exp() * images @ texts.T


def soft_weights(s: Tensor) -> Tensor:
    """Returns how much an update counts in each singular direction, (n,): 1 up to the median s_m, above it s_m / s.

    Args:
        s: (n,), the singular values, falling; of two middle ones the smaller is the median. Those that are zero but for
            rounding count as zero.
    """
    s = torch.where(s > len(s) * torch.finfo(s.dtype).eps * s[0], s, 0.0)
    median = s.median()
    return torch.where(s > median, median / s, 1.0)
