"""NuSA-Self: a low-rank update that avoids what the weights hold, with the model before the task as its own teacher.

This project's own method. While a task is learned, a low-rank update's teacher is free: with its updates switched off the
model is what it was before the task. So it distils from its own past without a second model, auxiliary data or storage. For
a batch of B images and N texts of random tokens, x and y are the unit-length features of images and texts with the updates,
x' and y' those without, and c is the logit scale. With T = c x' y'^T (B, N) and distill as in
`strategies/shared/distillation.py`,

    loss = cross-entropy + w [distill(c x y'^T, T) + distill((c x y'^T)^T, T^T)]          the image tower is held
                         + w [distill(c x' y^T, T) + distill((c x' y^T)^T, T^T)]          the text tower is held

The texts are drawn anew for each task; y' is computed once for it. x is the batch's own forward pass. What a step costs
besides is a pass of the images without updates and gradients, and one of the random texts. A tower without updates
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
from strategies.numerics.subspace import choose, energy_rank
from strategies.oplora import ProjectedUpdate
from strategies.shared.distillation import distill
from strategies.shared.fused_low_rank import Factors, Part
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, from_zero, kaiming, scale, switched_off
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


class WeightedUpdate(ProjectedUpdate):
    """The update dW = scale * G_U @ up @ down @ G_V of a weight (d_out, d_in): each singular direction has a weight.

    Args:
        down: (r, d_in), the initial value of the trained factor. `up` (d_out, r) starts at zero, and is trained too.
        u, vh: (d_out, k) and (k, d_in), singular directions of the weight.
        weights: (k,), how much an update in each of these directions counts, in 0..1; all others count 1.
        scale: the factor on the product.
        dropout: the probability of dropping a value of the layer's input while training.
    """

    less: Tensor

    def __init__(self, down: Tensor, u: Tensor, vh: Tensor, weights: Tensor, *, scale: float, dropout: float) -> None:
        super().__init__(down, u, vh, scale=scale, dropout=dropout)
        self.register_buffer("less", 1 - weights)  # (k,)

    def terms(self, first: int) -> list[tuple[Part, Factors]]:
        """Returns dW as one pair of a `Part` (rows, scale, dropout) and the weighted factors (down, None, up).

        Args:
            first: the first of the weight's rows that the update covers; it covers d_out rows.
        """
        ((part, _),) = LowRankUpdate.terms(self, first)
        # Never in bfloat16: what it rounds away would be an update of the principal directions.
        with torch.autocast(self.up.device.type, enabled=False):
            down = self.down - ((self.down @ self.vh.T) * self.less) @ self.vh  # (r, d_in)
            up = self.up - self.u @ (self.less[:, None] * (self.u.T @ self.up))  # (d_out, r)
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
            up, down = choose(found, rank, "tail")  # (d_out, r), (r, d_in)
            core = torch.zeros(rank, rank, device=weight.device)
            return LowRankUpdate(down, up, core, scale=factor, dropout=dropout, trained=("core",))
        down = kaiming(weight, settings)[:rank]  # (r, d_in)
        if settings.space == "complement":
            return ProjectedUpdate(down, *choose(found, principal, "top"), scale=factor, dropout=dropout)
        return WeightedUpdate(down, found.u, found.vh, soft_weights(found.s), scale=factor, dropout=dropout)

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

    def before_backward(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self._encode_texts is None:
            return
        model, towers, past = strategy.model, {matrix.tower for matrix in self.updates}, self._past
        pixels, images = self._held_images(strategy)  # (B, 3, S, S), x (B, D)
        logit_scale = model.clip.logit_scale.exp()
        before = images
        if "image" in towers:
            with torch.no_grad(), switched_off(self.updates.values()):
                before = model.encode_images(pixels)  # x' (B, D)
        before = before.detach()
        teacher = logit_scale * before @ past.T  # (B, N)
        held = [logit_scale * images @ past.T] if "image" in towers else []
        held += [logit_scale * before @ self._encode_texts().T] if "text" in towers else []
        for student in held:
            both = self._distill(student, teacher) + self._distill(student.T, teacher.T)
            strategy.loss = strategy.loss + self.settings.distillation * both

    def _held_images(self, strategy: Any) -> tuple[Tensor, Tensor]:
        """The images of a step that are held, and their features x with the updates."""
        kind, model = self.settings.images, strategy.model
        if kind != "batch":
            pixels = other_images(kind, strategy.mb_x)
            return pixels, model.encode_images(pixels)
        if len(model.batch_features) != len(strategy.mb_x):
            raise ValueError("NuSA-Self learns from batches of one task at a time, not from a mixture of tasks")
        return strategy.mb_x, model.batch_features

    def _distill(self, student: Tensor, teacher: Tensor) -> Tensor:
        return distill(student, teacher, self.settings.temperature)

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        self._forget(strategy.model)
        if self.settings.texts == "seen" and len(self.texts):
            self.seen = self.texts
        super().after_training_exp(strategy, *args, **kwargs)

    def _forget(self, model: ClipClassifier) -> None:
        model.keeps_features, model.batch_features = False, None
        self._past, self._encode_texts = torch.empty(0), None


def soft_weights(s: Tensor) -> Tensor:
    """Returns how much an update counts in each singular direction, (n,): 1 up to the median s_m, above it s_m / s.

    Args:
        s: (n,), the singular values; of two middle ones the smaller is the median.
    """
    median = s.median()
    return torch.where(s > median, median / s, 1.0)
