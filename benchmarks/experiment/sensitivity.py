"""How much accuracy a model keeps when parts of its weights' spectra are taken out or changed at random; no training.

W = U S V^T (d_out, d_in) is each of the chosen weight matrices, n = min(d_out, d_in); all are changed at once.

    removed    W - sum_i s_i u_i v_i^T over r singular directions i: those of the r smallest singular values (`tail`), of the r
               largest (`top`), or r drawn at random
    updated    W + dW,  dW = e ||W||_F * A M B^T / ||A M B^T||_F: a random update of the relative Frobenius norm e, M Gaussian.
               A (d_out, a) and B (d_in, b) say where it acts on the outputs and on the inputs: the r last singular vectors
               (`tail`), the r first (`top`), r orthonormal directions at random (`random`), or everywhere (`any`)

NuSA-CL takes it that the tail is unused (Jo and Kim, arXiv 2510.21175): then removing it costs nothing, and an update of any
size in it neither. An update that is in the tail on one side alone tells which side that holds for.

Random numbers are drawn on the CPU, for each row from the same seed, so that a row does not depend on the others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.experiment.backbones.loading import backbone_of, load_backbone
from benchmarks.experiment.model_test import ModelTest
from benchmarks.experiment.reading import data_place, with_model
from benchmarks.experiment.request import cache_place
from benchmarks.experiment.start import finished
from benchmarks.runtime.devices import plain_torch
from benchmarks.streams.base import Plan
from benchmarks.streams.named import build_plan
from strategies.clip.weight_matrices import WeightMatrix, weight_matrices
from strategies.numerics.precision import full_precision
from strategies.numerics.subspace import Decomposition, Directions, decompose


Side = Literal["tail", "top", "random", "any"]
REMOVED: tuple[Directions, ...] = ("tail", "top", "random")
PAIRS: tuple[tuple[Side, Side], ...] = (
    ("tail", "tail"), ("tail", "any"), ("any", "tail"), ("tail", "top"), ("top", "tail"), ("any", "any"),
    ("random", "random"), ("top", "top"),
)  # fmt: skip


class Row(NamedTuple):
    """What was done to all matrices, and what the model then scores.

    Attributes:
        change: `none`, `removed` or `updated`.
        left: which output directions were removed, or carry the update; empty for none.
        right: which input directions.
        directions: r, the number of directions on a side that is not `any`; None for none.
        relative_norm: e, the update's Frobenius norm over the weight's; None where there is no update.
        accuracy: task-aware top-1 accuracy in percent, the mean over the tasks.
    """

    change: str
    left: str
    right: str
    directions: int | None
    relative_norm: float | None
    accuracy: float


def removal(r: int, where: Directions, found: Decomposition, generator: torch.Generator) -> Tensor:
    """Returns dW (d_out, d_in) that takes r singular directions out of a weight; all n, where r is larger.

    Args:
        r: how many directions.
        where: which ones.
        found: the weight's thin SVD.
        generator: the source of the random choice, on the CPU.
    """
    n = len(found.s)
    order = torch.randperm(n, generator=generator) if where == "random" else torch.arange(n)
    index = (order.flip(0) if where == "tail" else order)[:r].to(found.s.device)
    return -(found.u[:, index] * found.s[index]) @ found.vh[index]


def update(norm: float, left: Side, right: Side, r: int, found: Decomposition, generator: torch.Generator) -> Tensor:
    """Returns a random update dW (d_out, d_in) of a weight.

    Args:
        norm: the update's Frobenius norm over the weight's.
        left, right: which output and input directions it has.
        r: the number of directions of a side that is not `any`.
        found: the weight's thin SVD.
        generator: the source of the random numbers, on the CPU.
    """
    a, b = _side(found.u, left, r, generator), _side(found.vh.T, right, r, generator)
    core = torch.randn(a.shape[1], b.shape[1], generator=generator).to(a)
    change = a @ core @ b.T
    return change * (norm * found.s.norm() / change.norm())


def _side(vectors: Tensor, where: Side, r: int, generator: torch.Generator) -> Tensor:
    """Returns orthonormal columns (d, r), or (d, d) for `any`, of singular vectors (d, n) or at random."""
    d = len(vectors)
    if where == "any":
        return torch.eye(d, device=vectors.device)
    if where == "random":
        return torch.linalg.qr(torch.randn(d, min(r, d), generator=generator)).Q.to(vectors)
    return vectors[:, -r:] if where == "tail" else vectors[:, :r]


@contextmanager
def changed(deltas: Mapping[WeightMatrix, Tensor]) -> Iterator[None]:
    """Context in which weights have something added; afterwards they are what they were, to the bit.

    Args:
        deltas: dW (d_out, d_in) by the matrix of the model.
    """
    before = {matrix: matrix.weight().detach().clone() for matrix in deltas}
    with torch.no_grad():
        try:
            for matrix, delta in deltas.items():
                matrix.weight().add_(delta)
            yield
        finally:
            for matrix, weight in before.items():
                matrix.weight().copy_(weight)


def sensitivity(
    model: str | Path,
    stream: str | Plan | None = None,
    *,
    pretrained: str | None = None,
    order: str = "default",
    device: str = "auto",
    data_root: str | Path | None = None,
    cache: str | Path | None = None,
    trust_model_code: bool = False,
    **what: Any,
) -> Iterator[Row]:
    """Yields what a model scores as it is, with directions removed, and with random updates; one row at a time.

    Args:
        model: `micro`, an open_clip name, `local-dir:FOLDER`, or the folder of a finished run for the model it ended with.
        stream: the stream's name, or a plan of one's own; None for the run's, or `micro`.
        pretrained: an open_clip tag or a weights file; None for the weights in the model's folder, or of the run.
        order: `default`, the name of another order, or task names separated by commas, which select tasks.
        device: `auto`, `cpu` or `cuda`.
        data_root: the folder of the published data sets; by default `$NUSA_BENCH_DATA`, or else `data`.
        cache: the folder for decoded images; by default `$NUSA_BENCH_CACHE`, or else in the user's cache folder.
        trust_model_code: whether the config in a model's folder may name a tokenizer that may run code.
        what: what is changed, as the arguments of `rows`.

    Raises:
        UserError: there is no such model, run or stream, or weights are named for a run, which has its own.
    """
    if Path(model).is_dir():
        if pretrained is not None:
            raise UserError(f"--pretrained {pretrained}: the run {model} has its own weights; leave it out")
        run = with_model(finished(Path(model), "RUN"))
        clip = run.model(trust_model_code=trust_model_code)
        backbone, stream = backbone_of(clip, clip.tokenizer, run.config["model"]), stream or run.config["stream"]
    else:
        backbone = load_backbone(str(model), pretrained, trusted=trust_model_code)
    plan = stream if isinstance(stream, Plan) else build_plan(stream or "micro", data_place(data_root))
    with plain_torch():
        place = cache_place(Path(cache) if cache else None, wanted=True)
        yield from rows(ModelTest(backbone, plan, order, device, place), **what)


def rows(
    test: ModelTest,
    *,
    removed: Sequence[int] = (1, 32, 64, 96),
    norms: Sequence[float] = (0.8,),
    directions: int = 32,
    pairs: Sequence[tuple[Side, Side]] = PAIRS,
    seed: int = 0,
    towers: str = "both",
    matrices: Sequence[str] = ("q", "k", "v", "o"),
) -> Iterator[Row]:
    """Yields the rows of a model that is ready to be tested; see `sensitivity`.

    Args:
        test: the model on a stream, whose weights are changed and restored for each row.
        removed: numbers r of directions that are removed; each as tail, top and at random.
        norms: relative Frobenius norms e of updates; each in every pair.
        directions: the number of directions of an update's side that is not `any`.
        pairs: output and input directions of updates.
        seed: of all that is drawn.
        towers: `image`, `text` or `both`.
        matrices: any of `q`, `k`, `v`, `o`, `fc`, `proj`; the same in every block.
    """
    found = {matrix: decompose(matrix.weight()) for matrix in weight_matrices(test.clip, towers, matrices)}

    def score(change: Callable[[Decomposition, torch.Generator], Tensor]) -> float:
        generator = torch.Generator().manual_seed(seed)
        with full_precision():
            deltas = {matrix: change(each, generator) for matrix, each in found.items()}
        with changed(deltas):
            return float(test.table()["task_aware"].mean())

    yield Row("none", "", "", None, None, float(test.table()["task_aware"].mean()))
    for r, where in product(removed, REMOVED):
        yield Row("removed", where, where, r, None, score(partial(removal, r, where)))
    for norm, (left, right) in product(norms, pairs):
        count = None if left == right == "any" else directions
        yield Row("updated", left, right, count, norm, score(partial(update, norm, left, right, directions)))
