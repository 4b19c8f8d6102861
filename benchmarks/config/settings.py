"""The settings that determine a run's metrics: those of every strategy here, beside each strategy's own."""

import dataclasses
import os
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from benchmarks.config.registry import Strategy


Device = Literal["auto", "cpu", "cuda"]
Augmentation = Literal["none", "random-resized-crop"]
Precision = Literal["float32", "tf32", "bf16"]
Splits = Literal["zscl", "coop"]
DATA_ROOT = "data"  # where published data sets lie unless --data-root says otherwise
Number = TypeVar("Number", int, float)


def _split_tasks(value: object) -> object:
    """Converts `1e-5,Aircraft=5e-5` to `{"default": "1e-5", "Aircraft": "5e-5"}`; returns any other value unchanged."""
    if isinstance(value, str) and "=" in value:
        pairs = [part.rpartition("=") for part in value.split(",")]
        names = [name.strip() or "default" for name, _, _ in pairs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"should have one value for each task; {twice} has more")
        value = {name: number.strip() for name, (_, _, number) in zip(names, pairs, strict=True)}
    if isinstance(value, dict) and "default" not in value:
        raise ValueError("needs a value for all other tasks too, as in 1e-5,Aircraft=5e-5")
    return value


def _spelled(value: object) -> object:
    """Converts a path, alone or after `folder:` or `local-dir:`, to its usual spelling: `./a//b/` to `a/b`.

    So the same folder is the same setting. What has no slash is returned unchanged.
    """
    if not isinstance(value, str) or "/" not in value:
        return value
    before, path = re.fullmatch(r"(.*?folder:|local-dir:)?(.*)", value, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{before or ''}{Path(path)}"


def _joined(value: object) -> object:
    """Converts a list of tasks' names, which Python and YAML can express, to the text with commas."""
    listed = isinstance(value, list | tuple) and value and all(isinstance(each, str) for each in value)
    return ",".join(value) if listed else value  # type: ignore[arg-type]


def _all_shots(value: object) -> object:
    """Converts `all`, which a command line can express, to None."""
    return None if value == "all" else value


Spelled = Annotated[str, BeforeValidator(_spelled)]
Order = Annotated[str, BeforeValidator(_joined)]
Count = Annotated[int, Field(ge=1)]
Steps = Annotated[
    int, Field(ge=1, le=1_000_000)
]  # the losses and the order of the images of more would fill the memory
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# One number for all tasks, or a default and one number for each named task or data set.
StepsByTask = Annotated[Steps | dict[str, Steps], BeforeValidator(_split_tasks)]
RateByTask = Annotated[Rate | dict[str, Rate], BeforeValidator(_split_tasks)]


def default_data_root() -> Path:
    """Returns the folder of the published data sets where none is named: `$NUSA_BENCH_DATA`, or else `data`."""
    return Path(os.environ.get("NUSA_BENCH_DATA") or DATA_ROOT)


def for_task(value: Number | dict[str, Number], task: str, dataset: str) -> Number:
    """Returns the value of a setting for one task: the task's own, else its data set's, else the default.

    Args:
        value: one number for all tasks, or a dict with numbers by the names of tasks or data sets, and one under
            `default`.
        task: the task's name.
        dataset: the name of the task's data set.
    """
    if not isinstance(value, dict):
        return value
    return value.get(task, value.get(dataset, value["default"]))


@dataclass(frozen=True, kw_only=True)
class Common:
    """Settings that every strategy has.

    Those without a default take it from the recipe, the stream's file of default settings. `iterations` and `lr` are
    one number for all tasks, or a dict with numbers by the names of tasks or data sets, and one under `default`.

    Attributes:
        strategy, stream: their names on the command line, such as `nusa` and `cifar100:10`.
        order: `default`, a named order of the stream, `random:SEED`, or task names separated by commas.
        splits: whose splits, class names and templates of MTIL's data sets: `zscl`, or `coop` for CoOp's.
        seed: the seed of sampling, dropout and initialisation.
        device: `cpu`, `cuda`, or `auto` for CUDA if available.
        model: `micro` (this project's own small CLIP), the name of an open_clip model, or `local-dir:FOLDER`.
        pretrained: an open_clip tag or a weights file; None for `micro` and for a folder that contains weights.
        start_from: a run folder or a weights file, from whose model training starts; None for the pretrained model.
        shots: number of training images of each class; None for all.
        augmentation: `random-resized-crop` for random crops of 0.9 to 1 of a training image's area, or `none`.
        iterations: number of training steps of each task.
        batch_size: images in a training step.
        lr: peak learning rate of AdamW.
        weight_decay: weight decay of AdamW.
        warmup: linear warm-up before the cosine decay to 0: below 1 a share of the task's steps, from 1 on their number.
        label_smoothing: of the cross-entropy, from 0 to below 1.
        precision: `float32`, `tf32` or `bf16`, of the towers' matrix products; weights and SVD are always float32.
        compile: whether `torch.compile` is applied to the transformer blocks of both towers.
        checkpointing: whether activations are recomputed in the backward pass, for less memory and more time.
    """

    strategy: str = Field(default="nusa", description="name of the method; see --list")
    stream: Spelled = Field(default="micro", description="name of the stream of tasks; see --list")
    order: Order = Field(
        default="default", description="a named order of the stream, task names with commas, or random:SEED"
    )
    splits: Splits = Field(
        default="zscl", description="of MTIL's data sets: ZSCL's splits, class names and templates, or CoOp's"
    )
    seed: int = Field(default=42, ge=0, lt=2**31, description="seed of sampling, dropout and initialisation")
    device: Device = Field(default="auto", description="cpu, cuda, or auto: CUDA if available")
    model: Spelled = Field(description="micro, an open_clip model name, or local-dir:FOLDER")
    pretrained: Spelled | None = Field(description="an open_clip tag or a weights file")
    start_from: Spelled | None = Field(
        default=None, description="a run folder, or a weights file: start from its model, not from the pretrained one"
    )
    shots: Annotated[Count | None, BeforeValidator(_all_shots)] = Field(
        default=None,
        description="number of training images of each class, or all",
        json_schema_extra={"unit": "images"},
    )
    augmentation: Augmentation = Field(
        default="none", description="random crops of 0.9 to 1 of a training image's area, or none"
    )
    iterations: StepsByTask = Field(
        description="training steps of each task; 100,NAME=50 sets one task apart", json_schema_extra={"unit": "steps"}
    )
    batch_size: int = Field(ge=1, description="images in a training step", json_schema_extra={"unit": "images"})
    lr: RateByTask = Field(description="peak learning rate of AdamW; 1e-5,NAME=5e-5 sets one task apart")
    weight_decay: float = Field(ge=0, allow_inf_nan=False, description="weight decay of AdamW")
    warmup: float = Field(
        ge=0,
        allow_inf_nan=False,
        description="linear warm-up before cosine decay to 0: a share of the steps, or (from 1) steps",
    )
    label_smoothing: float = Field(ge=0, lt=1, description="label smoothing of the cross-entropy")
    precision: Precision = Field(
        default="float32",
        description="of the towers' matrix products (papers: float32); weights, SVD and merging stay float32",
    )
    compile: bool = Field(default=False, description="apply torch.compile to the blocks of both towers")
    checkpointing: bool = Field(
        default=False,
        description="recompute activations in the backward pass: less memory, more time, the same results",
    )

    @property
    def arithmetic(self) -> "Arithmetic":
        """The settings `precision`, `compile` and `checkpointing`, which decide how the towers compute."""
        return Arithmetic(self.precision, self.compile, self.checkpointing)


@dataclass(frozen=True)
class Arithmetic:
    """How the image and text towers of the model compute.

    Attributes:
        precision: of the matrix products: `float32`, `tf32` or `bf16`.
        compile: whether `torch.compile` is applied to the transformer blocks.
        checkpointing: whether activations are recomputed in the backward pass, which takes less memory and more time.
    """

    precision: Precision = "float32"
    compile: bool = False
    checkpointing: bool = False


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The settings of one run and its strategy.

    Attributes:
        common: the settings that every strategy has.
        settings: the strategy's own settings, an instance of its `Settings` class.
        strategy: the strategy's name, `Settings` class, plugin and facts for tables.
        usual: the values that settings, by name, would have if only strategy and stream had been given; `label` lists
            those that differ, and those that are not in it.
    """

    common: Common
    settings: Any
    strategy: Strategy
    usual: Mapping[str, Any]

    def flat(self) -> dict[str, Any]:
        """Returns the values of all settings by name (with underscores), in types that YAML can store.

        Common settings and the strategy's own are in one dict. The run folder's `config.yaml` stores them so, and
        `--config` reads them.
        """
        return flat(self.common, self.settings)

    @property
    def reads(self) -> tuple[str, ...]:
        """The auxiliary data, any of `images` and `texts`, that the method reads because of a value of one of its settings.

        Whatever the method always reads is not among them.
        """
        own = self.strategy.settings.__pydantic_fields__.items()
        values = [extra(field).get("reads", {}).get(getattr(self.settings, name), ()) for name, field in own]
        return tuple(what for each in values for what in each)

    @property
    def label(self) -> str:
        """The run folder's name, such as `seed42,rank=16`: the seed, and the settings that differ from the recipe.

        On a stream on which settings are chosen it has all that were given, so that a later recipe changes no name. It
        never contains strategy, stream, device and `checkpointing`.
        """
        skipped = {"strategy", "stream", "seed", "device", FREE}
        parts = [f"seed{self.common.seed}"]
        for name, value in self.flat().items():
            if name not in skipped and (name not in self.usual or value != self.usual[name]):
                parts.append(f"{name}={''.join(c if c.isalnum() or c in '.+-' else '_' for c in _shown(value))}")
        return ",".join(parts)


def extra(field: FieldInfo) -> Mapping[str, Any]:
    """Returns what the field of a setting says besides its type, default and description; empty where that is nothing.

    It may have `unit`; `before`, the value of runs that are older than the setting; `only_with`, with which values of other
    settings it has an effect; and `reads`, the auxiliary data that a value makes the method read.

    Args:
        field: pydantic's description of the field.
    """
    return field.json_schema_extra or {}  # type: ignore[return-value]


def flat(common: Common, settings: Any) -> dict[str, Any]:
    """Returns the values of all settings by name, in types that YAML can store: tuples become lists.

    Args:
        common: the settings that every strategy has.
        settings: the strategy's own settings, an instance of its `Settings` class.
    """
    values = {each.name: getattr(of, each.name) for of in (common, settings) for each in fields(of)}
    return {name: _own(value) for name, value in values.items()}


def _own(value: Any) -> Any:
    """A value that whoever gets it may change, in types that YAML can store."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else deepcopy(value) if isinstance(value, dict | list) else value


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "+".join(str(number) if task == "default" else f"{task}-{number}" for task, number in value.items())
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


COMMON_NAMES = tuple(field.name for field in fields(Common))
FREE = "checkpointing"  # changes no metric: a run that ran out of memory can be resumed with it
# Options of the command that are no settings: none of them changes a metric.
OPTIONS = (
    "config", "results", "data_root", "reference_images", "reference_texts", "cache", "no_cache", "again", "measure",
    "log", "extend", "keep_states", "predictions", "probe", "no_plots", "trust_model_code", "debug", "list", "version", "help",
)  # fmt: skip
# With the arguments of `nb.run` that are no settings either.
HARNESS_NAMES = (*OPTIONS, "callbacks", "plots", "silent", "use_cache", "auxiliary_images", "auxiliary_texts")
