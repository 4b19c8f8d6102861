"""Types of settings that several methods share. They are imported for `--help`, so without torch and Avalanche."""

from typing import Annotated, Any, Literal, Protocol

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def only_with(name: str, *values: str) -> dict[str, Any]:
    """Returns what a setting's field says in `json_schema_extra` where it has an effect only with certain values of another.

    Whoever gives the setting with a value of the other that is not among these is told so.

    Args:
        name: the other setting.
        values: its values with which this one has an effect.
    """
    return {"only_with": {name: list(values)}}


Matrix = Literal["q", "k", "v", "o", "fc", "proj"]
Matrices = Annotated[tuple[Matrix, ...], BeforeValidator(_split), Field(min_length=1)]
Towers = Literal["both", "image", "text"]


@dataclass(frozen=True)
class DistillationSettings:
    """Settings of every method that distils as ZSCL does: it keeps a model close to a frozen copy of it, the teacher.

    The two distillation terms compare the similarities of images to texts, and of texts to images. Defaults: ZSCL's
    MTIL scripts.

    Attributes:
        temperature: divides the logits of model and teacher before the softmax, in both terms.
        distillation: the factor on each of the two terms; the cross-entropy has factor 1.
    """

    temperature: float = Field(default=2.0, gt=0, description="softens the logits of teacher and student")
    distillation: float = Field(default=1.0, ge=0, description="weight of each of the two distillation terms")


@dataclass(frozen=True)
class ReferenceSettings:
    """Settings of every method that reads auxiliary images, that is, images besides those of the tasks.

    Attributes:
        pool: the largest number of auxiliary images that are used; if the folder has more, so many are drawn at random.
    """

    pool: int = Field(
        default=100_000,
        ge=1,
        description="reference images that are drawn from the folder, at most",
        json_schema_extra={"unit": "images"},
    )


class UpdateSettings(Protocol):
    """What the settings of every method have that trains low-rank updates of weight matrices.

    Attributes:
        rank: the largest rank of the update of one matrix.
        towers: which towers have updates.
        matrices: which matrices of each block have one.
    """

    @property
    def rank(self) -> int: ...

    @property
    def towers(self) -> Towers: ...

    @property
    def matrices(self) -> tuple[Matrix, ...]: ...


@dataclass(frozen=True)
class LowRankSettings:
    """Settings of most methods with low-rank updates: their rank, scale and dropout, and the matrices that have one.

    The defaults are those of all methods in the released NuSA-CL code.

    Attributes:
        rank: the largest rank of the update of one matrix (d_out, d_in), which has at most min(d_out, d_in).
        alpha: the update is multiplied by alpha / sqrt(rank), with the matrix's own min(d_out, d_in) where `rank` is
            larger.
        dropout: the probability that a value of the update's input is dropped while training.
        towers: which towers have updates: `image`, `text` or `both`.
        matrices: which matrices of each block have one: `q`, `k`, `v`, `o` of the attention and `fc`, `proj` of the
            MLP.
    """

    rank: int = Field(default=128, ge=1, description="largest rank of the update of one matrix")
    alpha: float = Field(default=2.0, gt=0, description="the update is scaled by alpha / sqrt(rank)")
    dropout: float = Field(default=0.25, ge=0, lt=1, description="dropout on the adapter's input while training")
    towers: Towers = Field(default="both", description="which encoders are adapted")
    matrices: Matrices = Field(
        default=("q", "k", "v", "o"),
        description="which matrices of each block: attention q,k,v,o and the MLP's fc,proj",
    )


@dataclass(frozen=True)
class MergingSettings:
    """Settings of every method that fine-tunes each task and deploys a merge of the tasks' weights.

    Attributes:
        towers: which towers learn: `image` with the text tower frozen, as is usual for these methods, or `both`.
    """

    towers: Literal["image", "both"] = Field(default="image", description="which encoders are fine-tuned and merged")
