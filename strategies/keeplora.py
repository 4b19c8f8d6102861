"""KeepLoRA: a low-rank update along the task's own gradient, outside what the weights and earlier tasks' inputs span.

Luo et al., KeepLoRA, arXiv 2601.19659 (ICLR 2026), and its successor KeepLoRA++, arXiv 2606.16256. For each adapted
matrix W (d_out, d_in), S (d_in, m) has orthonormal columns and is stored between tasks:

    before the first task   S = the leading m singular vectors of W, m = max(1, number of k with
                            s_1^2 + ... + s_k^2 < tau2 * sum_i s_i^2)
    before each task        G (d_out, d_in), the mean gradient of the cross-entropy over one pass of the training set
                            A (r, d_in) = the leading r = min(rank, d_in - m) right singular vectors of G - G S S^T
    during it               dW = s g (B - B_0) A        A frozen, B (d_out, r) trained, s = alpha / sqrt(rank)
                            variant v1: B starts at B_0 = G A^T and g = 1; variant ++: B starts at B_0 = 0 and
                            g = 0.2 + 0.8 l / (L - 1) in block l of a tower's L, from 0
    after it                W <- W + dW; X (N, d_in) are the matrix's inputs in one more pass, and S gets the least
                            number of leading right singular vectors of R = X - X S S^T with which
                            1 - |R|_F^2 / |X|_F^2 + (r_1^2 + r_2^2 + ...) / |X|_F^2 >= tau

Once S has d_in columns the matrix learns nothing more, and a line says so. At most S takes 163.6 MB for q, k, v, o of
ViT-B/16's two towers.

Fidelity, against public descriptions of the authors' code. Equal: matrices, rank 16, s = 1/16 (alpha 0.25 in the scaling
that all low-rank methods share here), tau 0.99, tau2 0.85 for images and 0.2 for texts, the mean over batches without the
last short one, the loss without smoothing, v1's B_0, ++'s g (read there for the image tower; that the text tower has the
same is our inference), inputs after merging and in evaluation mode, prompts in one pass at full length. That code takes
W's left singular vectors for S, which is applied to the inputs: `side as-coded`, the default, with which it was published
and which only square matrices allow. `side input` takes the right ones, which the paper's formula means. `features
slots`, the default, is that code's X: each row is a token position of one place in the batch, averaged over all batches,
so that over many batches rows come near the mean token of their position. `features gram` has every token as a row.

Different: singular vectors are exact, where that code's come from a random sketch of width 64; R's are those of the
eigenvectors of R^T R, in float64. v1 does not subtract s B_0 A from W but computes B - B_0, so that an interrupted task
leaves W as it was. Schedule (there OneCycle), precision (there fp16) and templates in testing (there the first alone)
are this harness's. The classifiers of KeepLoRA+ and KeepLoRA++cls, which need the task's identity, are not here.
`samples` can make the passes shorter. Of its results only the mean of Transfer in order I is known here, second-hand.
"""

import time
from typing import Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import ORANGE, About, Published
from strategies.base import Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import WeightMatrix, weight_matrices
from strategies.numerics.gradient_memory import GradientMemory
from strategies.numerics.kept_directions import extended, principal
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, detach, scale
from strategies.shared.passes import batches, encode_images, encode_prompts, mean_gradients
from strategies.shared.residual_low_rank import ResidualUpdate
from strategies.shared.settings import LowRankSettings
from strategies.shared.watched import Grams, SlotMeans, input_name, same_everywhere, watched_inputs


ABOUT = About(
    name="KeepLoRA",
    reference="Luo et al., ICLR 2026, arXiv 2601.19659",
    colour=ORANGE,
    marker="h",
    published={
        "KeepLoRA": Published(
            {"variant": "v1", "side": "as-coded", "features": "slots", "rank": 16},
            differs="fp16, OneCycle's schedule, the first template alone; here float32, a cosine, all templates",
        )
    },
)


@dataclass(frozen=True)
class Settings(LowRankSettings):
    """Settings of KeepLoRA: those of all low-rank methods, and what the directions are that a task must leave alone.

    The defaults are those of its authors' code. The settings `rank`, `alpha`, `dropout`, `towers` and `matrices` are as
    in `LowRankSettings`.

    Attributes:
        variant: `v1` for KeepLoRA, which starts B from the gradient; `++` for KeepLoRA++, which starts it from zero and
            scales the update by the depth of its block.
        side: which singular vectors of a weight are kept from the start: the left ones, `as-coded` by the authors, or
            the right ones, which lie on the `input` side as the inputs do.
        features: what the inputs of a task are: `slots` for means over batches, or `gram` for all tokens.
        tau: the share of the sum of squared inputs, in 0..1, that the kept directions hold after a task.
        tau2_image, tau2_text: the share of a weight's sum of squared singular values that the directions kept from the
            start stay below, in the image and in the text tower.
        samples: the largest number of a task's images in each of the two passes; None for all.
    """

    rank: int = Field(default=16, ge=1, description="largest rank of the update of one matrix")
    alpha: float = Field(
        default=0.25, gt=0, description="the update is scaled by alpha / sqrt(rank); published: 1/16 in all"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout on the adapter's input while training")
    variant: Literal["v1", "++"] = Field(
        default="v1", description="KeepLoRA, or KeepLoRA++: B from zero, and a factor that grows with the block"
    )
    side: Literal["as-coded", "input"] = Field(
        default="as-coded",
        description="singular vectors of the weight to keep: the left ones, as published, or the right",
    )
    features: Literal["slots", "gram"] = Field(
        default="slots", description="inputs to keep: means over batches, as published, or all tokens"
    )
    tau: float = Field(default=0.99, gt=0, lt=1, description="share of a task's inputs that is kept after it")
    tau2_image: float = Field(default=0.85, gt=0, lt=1, description="share of an image weight kept from the start")
    tau2_text: float = Field(default=0.2, gt=0, lt=1, description="share of a text weight kept from the start")
    samples: int | None = Field(
        default=None,
        ge=1,
        description="at most so many images in the pass before a task and in that after it; all if not given",
        json_schema_extra={"unit": "images"},
    )


class Plugin(LowRankPlugin):
    """KeepLoRA: trains an update along the task's gradient outside the kept directions, merges it, and keeps more.

    Attributes:
        bases: the kept input directions S (d_in, m) float32 on the CPU, by the matrix's name, such as `image.0.q`; empty
            before the first task.
    """

    settings: Settings
    why_none = "no free input direction left"
    limited_by = "free input directions"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.bases: dict[str, Tensor] = {}
        self._starts: dict[str, tuple[Tensor, Tensor]] = {}  # A (r, d_in) and B_0 (d_out, r), by the matrix's name
        self._last: dict[str, int] = {}  # by tower, the index of its last block

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run in which no direction is kept yet.

        Args:
            classifier: the model of the run.

        Raises:
            Unfit: `side` is `as-coded`, and a chosen matrix is not square.
        """
        self.bases = {}
        others = {matrix.matrix for matrix in self._matrices(classifier) if len(set(matrix.weight().shape)) > 1}
        if self.settings.side == "as-coded" and others:
            raise Unfit(
                f"--side: as-coded takes outputs' directions for inputs', and {', '.join(sorted(others))} of --matrices "
                "have more of one than of the other; expected input, or other matrices"
            )

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the kept directions S (d_in, m) float32 of each matrix, by its name, such as `image.0.q`."""
        return dict(self.bases)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the kept directions of each matrix.

        Args:
            state: what `state_dict` returned.
        """
        self.bases = {name: basis.cpu() for name, basis in state.items()}

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        detach(strategy.model.clip)  # updates that an interrupted task may have left
        matrices = self._matrices(strategy.model)
        self._last = {matrix.tower: matrix.block for matrix in matrices}
        for matrix in matrices:
            if matrix.name not in self.bases:
                self.bases[matrix.name] = self._of_weight(matrix)
        began = time.perf_counter()
        found = batches(strategy, strategy.experience.dataset, self.settings.samples, whole=True)
        gradients = mean_gradients(strategy, matrices, found)
        self._starts = {name: self._start(self.bases[name], gradient) for name, gradient in gradients.items()}
        self.decomposition_seconds += time.perf_counter() - began
        super().before_train_dataset_adaptation(strategy, *args, **kwargs)
        self._starts = {}

    def update_of(self, matrix: WeightMatrix) -> LowRankUpdate | None:
        """Returns the update of a matrix for the coming task, or None if all input directions are kept.

        It is dW = alpha / sqrt(rank) * g * (up - up_0) @ down. `down` (r, d_in) is frozen: the leading directions of the
        task's gradient that are free. `up` (d_out, r) starts at up_0, which is what the gradient has there (`v1`, g = 1),
        or 0 (`++`, where g grows from 0.2 to 1 with the block).

        Args:
            matrix: the weight matrix to be updated.
        """
        settings, (down, up) = self.settings, self._starts[matrix.name]
        if not len(down):
            return None
        factor, last = scale(settings, matrix.weight()), self._last[matrix.tower]
        if settings.variant == "v1":
            return ResidualUpdate(down, up, scale=factor, dropout=settings.dropout)
        depth = 0.2 + 0.8 * matrix.block / last if last else 1.0
        return ResidualUpdate(down, torch.zeros_like(up), scale=depth * factor, dropout=settings.dropout)

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        super().after_training_exp(strategy, *args, **kwargs)
        began = time.perf_counter()
        matrices = self._matrices(strategy.model)
        was = strategy.model.training
        strategy.model.eval()
        grams = self._inputs(strategy, matrices)
        strategy.model.train(was)
        for matrix in matrices:
            gram = grams[input_name(matrix)]
            self.bases[matrix.name] = extended(self.bases[matrix.name], gram, self.settings.tau)
        self.decomposition_seconds += time.perf_counter() - began

    def _matrices(self, classifier: ClipClassifier) -> list[WeightMatrix]:
        return weight_matrices(classifier.clip, self.settings.towers, self.settings.matrices)

    def _of_weight(self, matrix: WeightMatrix) -> Tensor:
        """The directions of a weight (d_in, m) that are kept from the start."""
        settings = self.settings
        u, s, vh = self.decompose(matrix.weight())
        vectors = u if settings.side == "as-coded" else vh.T  # (d_in, n)
        share = settings.tau2_image if matrix.tower == "image" else settings.tau2_text
        return principal(vectors, s, share).contiguous().cpu()

    def _start(self, basis: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """A (r, d_in), the gradient's leading free input directions, and B_0 = G A^T (d_out, r)."""
        free, _ = GradientMemory(basis, dual=False).free(gradient.T.double())  # (d_in, .)
        chosen = free[:, : self.settings.rank]  # (d_in, r)
        return chosen.T.float().contiguous(), (gradient.double() @ chosen).float()

    def _inputs(self, strategy: Any, matrices: list[WeightMatrix]) -> dict[str, Tensor]:
        """X^T X (d_in, d_in) of the inputs X of all matrices, by the input's name."""
        images = [matrix for matrix in matrices if matrix.tower == "image"]
        texts = [matrix for matrix in matrices if matrix.tower == "text"]
        means, sums = SlotMeans(), Grams()
        if images:
            found = batches(strategy, strategy.experience.dataset, self.settings.samples, whole=True)
            with watched_inputs(images, means.add if self.settings.features == "slots" else sums.add):
                encode_images(strategy, found)
        if texts:
            with watched_inputs(texts, sums.add):  # one pass: each token is a slot of its own
                encode_prompts(strategy)
        return same_everywhere({**means.grams(), **sums.sums})
