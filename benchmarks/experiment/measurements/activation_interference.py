"""How much the last task's change acts on what the model computed before any task, on a fixed probe.

`interference` of `rank.csv` asks whether a change dW lies in the weight's own principal directions. This asks whether it lies
where the model's inputs and outputs are. For a weight W (d_out, d_in) before the task and its change dW by the task:

    C (d_in, d_in)     the uncentred covariance of the matrix's inputs x, sum over tokens of x x^T / N
    G (d_out, d_out)   that of its outputs W_0 x without bias, G = W_0 C W_0^T

both of the model before the first task, state 0, and kept for all tasks: they are what was known. W_0 is its weight. Then

    right   ||dW C^(1/2)||_F / ||W C^(1/2)||_F            how large the outputs' change is on the probe's inputs, relative to
                                                        the outputs: the root of E||dW x||^2 / E||W x||^2
    left    ||G^(1/2) dW||_F / ||G^(1/2) W||_F            how large the change is in the output directions that the probe
                                                        uses, whatever the input, relative to the weight there
    both    ||G^(1/2) dW C^(1/2)||_F / ||G^(1/2) W C^(1/2)||_F

each 0 or more: 0 for a change that the probe does not see on that side, 1 for dW = W. They are computed from traces,
||dW C^(1/2)||_F^2 = tr(dW C dW^T), so no root of a matrix is needed, and N cancels.

The probe: of each probe that `--probe` names 256 images and 256 texts, spread evenly; on the micro CLIP the probe `micro`,
pictures and captions of its pretraining's kind, also without that option. Texts are captions, or class names in the first
template. Tokens are all that the towers compute, of texts those up to the one that is read: what follows it is padding and
reaches nothing.

Source: C is that of the null-space methods that go by activations, such as NESS, Pham et al., arXiv 2602.21919, and InfLoRA,
Liang and Li, arXiv 2404.00228; the measure and its left side are this project's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.experiment.measurements.base import Given
from benchmarks.experiment.measurements.changes import ChangeMeter, Principal
from benchmarks.experiment.measurements.spectrum import KEY_COLUMNS
from benchmarks.experiment.probes.base import Prepared, prepare
from benchmarks.runs.columns import Column
from strategies.clip.classifier import ClipClassifier
from strategies.clip.prompts import ends
from strategies.clip.weight_matrices import WeightMatrix, weight_matrices
from strategies.numerics.precision import full_precision
from strategies.shared.watched import Grams, input_name, watched_inputs


EACH = 256  # images, and texts, of each probe
BATCH = 64


def spread(count: int) -> list[int]:
    """Returns the indices of at most 256 of `count` things, evenly spread, from the first to the last."""
    return torch.linspace(0, count - 1, min(count, EACH)).round().long().tolist()


@torch.no_grad()
def covariances(
    model: ClipClassifier, matrices: Sequence[WeightMatrix], images: Tensor, texts: Tensor
) -> dict[str, Tensor]:
    """Returns N C = sum x x^T (d_in, d_in) float64 over the tokens x of all images and texts, by the input's name.

    Args:
        model: the classifier, in evaluation mode, without anything of a method's.
        matrices: the weight matrices; q, k and v of a block share their input (`input_name`).
        images: (N, 3, S, S) uint8.
        texts: tokens (M, L) int64.
    """
    grams, device = Grams(), model.mean.device
    with watched_inputs(matrices, grams.add):
        for part in images.split(BATCH):
            model.encode_images(part.to(device))
    for tokens in texts.to(device).split(BATCH):
        read = ends(model.clip, tokens)
        last = (
            tokens.shape[1] - 1 if read is None else read[:, None]
        )  # where texts are not read at one token, all count
        kept = torch.arange(tokens.shape[1], device=device).expand_as(tokens) <= last  # (B, L)
        with watched_inputs(matrices, lambda name, x, kept=kept: grams.add(name, x[kept][None])):  # type: ignore[misc]
            model.encode_texts(tokens)
    return grams.sums


def relative(change: Tensor, weight: Tensor, inputs: Tensor | None, outputs: Tensor | None) -> float | None:
    """Returns ||G^(1/2) dW C^(1/2)||_F / ||G^(1/2) W C^(1/2)||_F, the identity in place of a matrix that is None.

    Args:
        change: dW (d_out, d_in).
        weight: W (d_out, d_in); the result is None where its norm is 0.
        inputs: C (d_in, d_in), symmetric and positive semidefinite.
        outputs: G (d_out, d_out), likewise.
    """
    squares = []
    for each in (change, weight):
        right = each if inputs is None else each @ inputs
        squares.append(((right if outputs is None else outputs @ right) * each).sum().clamp(min=0).item())
    return (squares[0] / squares[1]) ** 0.5 if squares[1] else None


class Meter(ChangeMeter):
    """Measures how much each matrix's last change acts on a probe: one row of `activation_interference.csv` for each.

    It keeps C and G of all measured matrices on the CPU, in float32. A resumed run computes them of the untrained model
    again, and lacks no row.
    """

    table = "activation_interference"
    columns = (
        *KEY_COLUMNS,
        Column(
            "right",
            "number",
            "norm of dW C^(1/2) over that of W C^(1/2), C the covariance of the inputs on the probe; 0 or more",
            since="1.1",
        ),
        Column(
            "left",
            "number",
            "norm of G^(1/2) dW over that of G^(1/2) W, G the covariance of the outputs on the probe; 0 or more",
            since="1.1",
        ),
        Column("both", "number", "norm of G^(1/2) dW C^(1/2) over that of G^(1/2) W C^(1/2); 0 or more", since="1.1"),
    )
    by_default = False

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[WeightMatrix, tuple[Tensor, Tensor]] = {}  # C (d_in, d_in) and G (d_out, d_out), times N

    def prepare(self, given: Given) -> None:
        """Computes the covariances of the untrained model on the probe.

        Raises:
            UserError: there is no probe, on another model than the micro CLIP.
        """
        probes = given.probes
        if given.backbone.about["model"] == "micro":
            probes = prepare(["micro"], given.backbone, given.opener)
        if not probes:
            raise UserError(
                "--measure activation_interference: needs --probe, on whose images and texts it looks at the model; the micro "
                "CLIP alone has its own"
            )
        given.model.eval()
        matrices = weight_matrices(given.model.clip, "both", given.strategy.matrices)
        sums: dict[str, Tensor] = {}
        for probe in probes:
            for name, product in covariances(given.model, matrices, *_looked_at(probe)).items():
                sums[name] = sums[name] + product if name in sums else product
        for matrix in matrices:
            inputs, weight = sums[input_name(matrix)], matrix.weight().detach().double()
            self._of[matrix] = inputs.float().cpu(), (weight @ inputs @ weight.T).float().cpu()

    def of_change(self, matrix: WeightMatrix, before: Principal, delta: Tensor) -> Mapping[str, Any]:
        """Returns `right`, `left` and `both`, 0 for a matrix that the task did not change."""
        inputs, outputs = (each.to(delta.device) for each in self._of[matrix])
        weight = before.weight.to(delta.device)
        with full_precision():
            return {
                "right": relative(delta, weight, inputs, None),
                "left": relative(delta, weight, None, outputs),
                "both": relative(delta, weight, inputs, outputs),
            }


def _looked_at(probe: Prepared) -> tuple[Tensor, Tensor]:
    """Returns the images (N, 3, S, S) uint8 and tokens (M, L) of a probe that are looked at."""
    texts = torch.cat([part[0] for part in probe.prompts])  # (C, L), in the first template
    return torch.stack([probe.images[row] for row in spread(len(probe.images))]), texts[spread(len(texts))]
