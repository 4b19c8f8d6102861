"""Activation null space: updates along the directions in which a layer's inputs are small, in place of its weight's.

The control for NuSA-CL's premise that small singular directions of a weight W (d_out, d_in) are unused. X (N, d_in) are
inputs of W, N tokens; the eigenvectors of X^T X, in rising order of their eigenvalues, are input directions by use. After
each task W <- W + dW. `variant` chooses:

    lora-null   V (d_in, r) the first r = min(rank, d_out, d_in) eigenvectors, over `samples` images before the task, each
                image's (and prompt's) inputs divided by their largest absolute value; W V V^T = P S Q^T (thin, r):
                dW = s (B - B_0) A      A = S^(1/2) Q^T (r, d_in) frozen, B (d_out, r) trained from B_0 = P S^(1/2)
    ness        X the inputs of all earlier tasks; V (d_in, z) the eigenvectors with e_i <= eps * sum_j e_j, where e_i is
                the root of the eigenvalue (all before the first task, which is free):
                dW = U V^T              V frozen, U (d_out, z) trained from zero
    cells       r = min(rank, n - k) as in NuSA-CL, k the principal rank at the share `rho` of W, n = min(d_out, d_in):
                dW = s L M R^T          L (d_out, r), R (d_in, r) frozen, M (r, r) trained from zero
                R, by `right`: the r last singular vectors of W, the first eigenvectors of X^T X, or a random basis
                L, by `left`: those of W, of the sum of g g^T over the gradients g (d_out,) of the outputs, or random

with s = alpha / sqrt(rank). Dropout acts on the input of an update. X^T X is over all tokens, padding included, of images
and of the task's prompts (first template). Random bases are the QR factor of a Gaussian matrix drawn on the CPU.

Sources: LoRA-Null, Tang et al., arXiv 2503.02659 (AAAI 2026); NESS, Pham et al., arXiv 2602.21919 (CPAL 2026). The nine
cells are this project's; `weight` on both sides is NuSA-CL (arXiv 2510.21175), bit for bit.

Fidelity, against public descriptions of the authors' code. `lora-null` is its second version, which keeps A frozen. It
was published for language models alone, before one task, with 256 texts, rank 128 and s = 1 (here `--alpha 11.314`); used
in sequence, on CLIP, it is ours, as are the images: the task's own in random order, or auxiliary ones (`--calibration
auxiliary`). B_0 A is not subtracted from W but computed beside it, so that an interrupted task leaves W as it was; with
dropout, of which there is none there, B - B_0 and not B then reads the input that is left.
`ness` was published for image classifiers trained from scratch with SGD or SAM, here AdamW. Its code stores the old data
and computes their inputs anew with each task's model. Here X^T X is stored, float32, and each task adds its inputs, those
of the model right after it: the same as long as later updates leave the earlier inputs as they are, which is the method's
purpose. It takes at most 81.8 MB for q, k, v, o of ViT-B/16's two towers, since q, k and v share their input. Negative
eigenvalues, which that code lets become NaN, count as 0. `rank` and `alpha` have no part in it: it has scale 1.
"""

import time
from typing import Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import BLACK, About
from strategies.base import Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import WeightMatrix, weight_matrices
from strategies.numerics.gram import directions
from strategies.numerics.subspace import choose, energy_rank
from strategies.shared.low_rank import LowRankPlugin, LowRankUpdate, detach, largest, scale
from strategies.shared.passes import batches, encode_images, encode_prompts, mean_gradients
from strategies.shared.residual_low_rank import ResidualUpdate
from strategies.shared.settings import LowRankSettings, ReferenceSettings, only_with
from strategies.shared.watched import Grams, See, input_name, same_everywhere, watched_gradients, watched_inputs
from strategies.training.loader import Unlabelled


ABOUT = About(
    name="Activation null space",
    reference="LoRA-Null, Tang et al., AAAI 2026, arXiv 2503.02659; NESS, Pham et al., CPAL 2026, arXiv 2602.21919",
    colour=BLACK,
    marker="o",
)


@dataclass(frozen=True)
class Settings(ReferenceSettings, LowRankSettings):
    """Settings of the activation null space: those of all low-rank methods, the variant, and what each one reads.

    The defaults of `rank`, `alpha`, `dropout`, `towers` and `matrices` are those of the NuSA-CL paper's comparison, and they
    are as in `LowRankSettings`. `pool` is the largest number of auxiliary images, as in `ReferenceSettings`.

    Attributes:
        variant: `lora-null`, `ness` or `cells`, see above.
        calibration: whose inputs `lora-null` and `cells` look at: images of the `task`, or `auxiliary` ones. Texts are the
            task's prompts, and gradients those of the task's images, in both cases.
        samples: the largest number of images in a pass; None for 256, and for all in `ness`.
        eps: the largest share of a direction's inputs in `ness`, of the sum of such values over all directions.
        right, left: the input and output directions of `cells`: of the `weight`, of `activation` or `gradient`, `random`.
        rho: the share of the sum of squared singular values that is principal in `cells`, as in NuSA-CL.
    """

    rank: int = Field(
        default=128,
        ge=1,
        description="lora-null and cells: largest rank of the update of one matrix",
        json_schema_extra=only_with("variant", "lora-null", "cells"),
    )
    alpha: float = Field(
        default=2.0,
        gt=0,
        description="lora-null and cells: the update is scaled by alpha / sqrt(rank)",
        json_schema_extra=only_with("variant", "lora-null", "cells"),
    )
    pool: int = Field(
        default=100_000,
        ge=1,
        description="auxiliary images that are drawn from the folder, at most",
        json_schema_extra={"unit": "images", **only_with("calibration", "auxiliary")},
    )
    variant: Literal["lora-null", "ness", "cells"] = Field(
        default="lora-null", description="LoRA-Null, NESS, or NuSA-CL with other directions"
    )
    calibration: Literal["task", "auxiliary"] = Field(
        default="task",
        description="lora-null and cells: whose images show what inputs are",
        json_schema_extra={"reads": {"auxiliary": ["images"]}, **only_with("variant", "lora-null", "cells")},
    )
    samples: int | None = Field(
        default=None,
        ge=1,
        description="at most so many images show it; if not given 256, in ness all of a task",
        json_schema_extra={"unit": "images"},
    )
    eps: float = Field(
        default=1e-3,
        gt=0,
        lt=1,
        description="ness: largest share of a direction that may change",
        json_schema_extra=only_with("variant", "ness"),
    )
    right: Literal["weight", "activation", "random"] = Field(
        default="weight", description="cells: input directions", json_schema_extra=only_with("variant", "cells")
    )
    left: Literal["weight", "gradient", "random"] = Field(
        default="weight", description="cells: output directions", json_schema_extra=only_with("variant", "cells")
    )
    rho: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="cells: share of the squared singular values that is knowledge",
        json_schema_extra=only_with("variant", "cells"),
    )


SAMPLES = 256  # images, as LoRA-Null has texts


class Plugin(LowRankPlugin):
    """Updates along unused input directions, merged after the task: LoRA-Null, NESS, or NuSA-CL with other directions.

    Attributes:
        grams: of variant `ness`, X^T X (d_in, d_in) float32 on the CPU of all earlier tasks' inputs X, by the input's name,
            such as `image.0.qkv`; otherwise empty.
    """

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.grams: dict[str, Tensor] = {}
        self._inputs: dict[str, Tensor] = {}  # before the current task X^T X (d_in, d_in), by the input's name
        self._gradients: dict[str, Tensor] = {}  # and the sum of g g^T (d_out, d_out), by the matrix's name
        cells = settings.variant == "cells"
        if cells:
            self.rho = settings.rho
        if settings.calibration == "auxiliary":
            self.reads = ("images",)
        self.why_none = "no null direction left" if cells else "no direction left in which earlier inputs are small"
        self.limited_by = "null directions" if cells else ""

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run in which no task has been learned.

        Args:
            classifier: not used.

        Raises:
            Unfit: images are named or counted to which no side of `cells` looks.
        """
        self.grams = {}
        settings = self.settings
        if settings.variant == "cells" and settings.right != "activation":
            if settings.calibration == "auxiliary":
                raise Unfit(
                    "--calibration: the cells look at images' inputs with --right activation alone; leave it out"
                )
            if settings.samples and settings.left != "gradient":
                raise Unfit("--samples: these cells look at no images; leave it out, or give --right activation")

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the sums X^T X (d_in, d_in) float32 of `ness` by the input's name, such as `image.0.qkv`."""
        return dict(self.grams)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the sums over earlier tasks' inputs.

        Args:
            state: what `state_dict` returned.
        """
        self.grams = {name: gram.cpu() for name, gram in state.items()}

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        began, settings = time.perf_counter(), self.settings
        detach(strategy.model.clip)  # updates that an interrupted task may have left
        if settings.variant == "lora-null" or (settings.variant == "cells" and settings.right == "activation"):
            self._inputs = self._of_inputs(strategy, settings.samples or SAMPLES)
        if settings.variant == "cells" and settings.left == "gradient":
            self._gradients = self._of_gradients(strategy, settings.samples or SAMPLES)
        self.decomposition_seconds += time.perf_counter() - began
        super().before_train_dataset_adaptation(strategy, *args, **kwargs)
        self._inputs, self._gradients = {}, {}

    def update_of(self, matrix: WeightMatrix) -> LowRankUpdate | None:
        """Returns the update of a matrix for the coming task by the formula above, or None if it has no direction left.

        It starts at dW = 0.

        Args:
            matrix: the weight matrix to be updated.
        """
        if self.settings.variant == "cells":
            return self._cell(matrix)
        return self._lora_null(matrix) if self.settings.variant == "lora-null" else self._ness(matrix)

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        super().after_training_exp(strategy, *args, **kwargs)
        if self.settings.variant == "ness":
            began = time.perf_counter()
            for name, own in self._of_inputs(strategy, self.settings.samples).items():
                old = self.grams[name].to(own) if name in self.grams else torch.zeros_like(own)
                self.grams[name] = (old + own).float().cpu()
            self.decomposition_seconds += time.perf_counter() - began

    def _cut(self) -> str:
        return "" if self.settings.variant == "ness" else super()._cut()  # which has no rank

    def _lora_null(self, matrix: WeightMatrix) -> LowRankUpdate:
        weight, settings = matrix.weight().detach(), self.settings
        null = directions(self._inputs[input_name(matrix)])[1][:, : largest(settings, weight)]  # (d_in, r)
        p, s, q = torch.linalg.svd(weight.double() @ null, full_matrices=False)  # (d_out, r), (r,), (r, r)
        down, up = s.sqrt()[:, None] * (q @ null.T), p * s.sqrt()  # (r, d_in), (d_out, r)
        factor = scale(settings, weight)
        return ResidualUpdate(down.float().contiguous(), up.float(), scale=factor, dropout=settings.dropout)

    def _ness(self, matrix: WeightMatrix) -> LowRankUpdate | None:
        weight = matrix.weight()
        null = torch.eye(weight.shape[1], device=weight.device)  # (d_in, z)
        if self.grams:
            values, vectors = directions(self.grams[input_name(matrix)].to(weight.device))
            sizes = values.sqrt()  # (d_in,)
            null = vectors[:, sizes <= self.settings.eps * sizes.sum()].float()
        if not null.shape[1]:
            return None
        up = torch.zeros(len(weight), null.shape[1], device=weight.device)
        down = null.T.contiguous()
        return LowRankUpdate(down, up, None, scale=1.0, dropout=self.settings.dropout, trained=("up",))

    def _cell(self, matrix: WeightMatrix) -> LowRankUpdate | None:
        settings, weight = self.settings, matrix.weight().detach()
        decomposition = self.decompose(weight)
        rank = min(len(decomposition.s) - energy_rank(decomposition.s, settings.rho), settings.rank)
        if rank == 0:
            return None
        up, down = choose(decomposition, rank, "tail")  # (d_out, r), (r, d_in)
        return LowRankUpdate(
            down=_basis(settings.right, down.T, self._inputs.get(input_name(matrix))).T.contiguous(),
            up=_basis(settings.left, up, self._gradients.get(matrix.name)),
            core=torch.zeros(rank, rank, device=weight.device),
            scale=scale(settings, weight),
            dropout=settings.dropout,
            trained=("core",),
        )

    def _of_inputs(self, strategy: Any, samples: int | None) -> dict[str, Tensor]:
        """X^T X (d_in, d_in) of the inputs of all matrices, in one pass."""
        settings, sums = self.settings, Grams()
        data = Unlabelled(self.reference_images) if settings.calibration == "auxiliary" else strategy.experience.dataset
        see = scaled(sums.add) if settings.variant == "lora-null" else sums.add
        with watched_inputs(self._matrices(strategy), see):
            if settings.towers != "text":
                encode_images(strategy, batches(strategy, data, samples, whole=False))
            if settings.towers != "image":
                encode_prompts(strategy)
        return same_everywhere(sums.sums)

    def _of_gradients(self, strategy: Any, samples: int) -> dict[str, Tensor]:
        """The sum of g g^T (d_out, d_out) over the gradients of the outputs of all matrices, in one pass."""
        sums, matrices = Grams(), self._matrices(strategy)
        found = batches(strategy, strategy.experience.dataset, samples, whole=True)
        with watched_gradients(matrices, sums.add):
            mean_gradients(strategy, matrices, found)
        return same_everywhere(sums.sums)

    def _matrices(self, strategy: Any) -> list[WeightMatrix]:
        return weight_matrices(strategy.model.clip, self.settings.towers, self.settings.matrices)


def scaled(see: See) -> See:
    """Returns `see` with each image's or text's values (L, d) divided by their largest absolute value before."""

    def divided(name: str, values: Tensor) -> None:
        top = values.abs().amax(dim=(1, 2), keepdim=True)  # (B, 1, 1)
        see(name, values / top.clamp(min=torch.finfo(values.dtype).tiny))

    return divided


def _basis(kind: str, own: Tensor, seen: Tensor | None) -> Tensor:
    """An orthonormal basis (d, r) of the kind: the weight's `own`, a random one, or the directions least `seen`."""
    if kind == "weight":
        return own
    if kind == "random":  # drawn on the CPU, so that it is the same on every device
        return torch.linalg.qr(torch.randn(own.shape)).Q.to(own)
    assert seen is not None
    return directions(seen)[1][:, : own.shape[1]].to(own).contiguous()
