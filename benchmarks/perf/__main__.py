"""Measures the harness: `python -m benchmarks.perf`, or one part of it with `--part`."""

import os
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import click

from benchmarks.config.errors import UserError
from benchmarks.config.terminal import Command, say
from benchmarks.runtime.environment import keep_freed_memory, ready_for_avalanche
from benchmarks.runtime.files import check_writable, write_json


# What each part measures, for `--help`, in the order in which they run. "A / B" is the ratio of their times.
PARTS = {
    "step": "NuSA-CL's step / its lower bound (forward and input-gradient of the whole towers)",
    "dense": "a dense form of NuSA-CL's update / its own; its step / a lower bound with torch's attention",
    "prompts": "text features, and a fine-tuning step, with whole towers / with shared tokens computed once",
    "strategies": "a step of every strategy / its lower bound (forward and input-gradient)",
    "options": "a step with --precision, --compile or --checkpointing / a step without",
    "methods": "ZSCL's and MoE-Adapters' steps / their necessary parts; MoE-Adapters' evaluation / zero-shot evaluation",
    "harness": "a step in the harness / in a plain loop; start-up / imports alone; all imports / those of torch",
    "self": "NuSA-Self's step and memory / NuSA-CL's",
    "evaluation": "evaluation / encoding by open_clip alone, and the share of evaluation spent in the towers",
    "memory": "memory of a step / the size of the method's own tensors, on the CPU",
    "decomposition": "the SVD of all attention matrices, from ViT-B/32 to ViT-bigG-14, by several algorithms",
    "data": "writing and reading the cache of decoded images",
    "growth": "the step for several backbones; the last tasks of a long stream / the first",
    "micro": "a step on `micro`, which is small, / the time of its arithmetic",
    "measurements": "the measurements of every run, and each of those that `--measure` names / a run without",
    "many": "two and four runs at once on one device / one alone; the peak memory of a run of every strategy",
    "sweep": "a sweep: 10 000 runs resolved, their status read, a warm worker's run, twelve runs / single commands; needs "
    "the extra `cluster`",
    "nodes": "10 000 runs that only sleep, on 20 Ray nodes of this machine, some of which are lost; not part of `all`",
    "peft": "a step of Hugging Face's LoRA / this project's, on equal weights; needs the extra `perf`",
    "mtil": "MTIL order I on a GPU with random images in memory, without cache and start-up; not part of `all`",
}


# Parts whose module has another name.
MODULES = {
    "strategies": "each_strategy",
    "peft": "peft_lora",
    "micro": "micro_step",
    "sweep": "sweep_cost",
    "self": "own_teacher",
}
ALONE = ("mtil", "nodes")  # not part of `all`
EXTRAS = {
    "peft": ("peft", "perf"),
    "sweep": ("ray", "cluster"),
    "nodes": ("ray", "cluster"),
}  # packages, of which extra

HELP = ["Measure speed and memory as ratios within one run.", *(f"{name}: {what}." for name, what in PARTS.items())]


@click.command(cls=Command, help="\n\n".join(HELP))
@click.option(
    "--part", type=click.Choice(["all", *PARTS]), default="all", show_default=True, help="the part to measure"
)
@click.option(
    "--model",
    default="ViT-B-16-quickgelu",
    show_default=True,
    help="name of an open_clip model; its weights are random",
)
@click.option("--batch-size", type=click.IntRange(min=2), default=16, show_default=True, help="images in a step")
@click.option(
    "--classes",
    type=click.IntRange(min=2),
    default=10,
    show_default=True,
    help="number of classes, except in parts step, dense and prompts",
)
@click.option(
    "--images",
    type=click.IntRange(min=10),
    default=2000,
    show_default=True,
    help="data: number of generated photographs",
)
@click.option(
    "--evaluated", type=click.IntRange(min=1), default=256, show_default=True, help="evaluation: number of images"
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "bf16"]),
    default="bf16",
    show_default=True,
    help="mtil: precision of the towers",
)
@click.option("--estimate", is_flag=True, help="mtil: measure one task and one evaluation, and estimate the rest")
@click.option(
    "--share", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
    help="mtil: share of images, steps and classes; below 1 for a trial, also on a CPU",
)  # fmt: skip
@click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results/perf"), show_default=True,
    help="folder of the results, PART.json for each part",
)  # fmt: skip
def main(part: str, results: Path, **settings: Any) -> None:
    """Prints each part's values and writes them with hardware and versions."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences torch's profiler, which prints two lines at each use
    names = [name for name in PARTS if name not in ALONE] if part == "all" else [part]
    check_writable(results)
    for package, extra in (EXTRAS[name] for name in names if name in EXTRAS):
        if find_spec(package) is None:
            raise UserError(
                f"--part {part}: needs {package}, of the extra `{extra}`: uv run --extra {extra} python -m ..."
            )
    keep_freed_memory()
    with ready_for_avalanche():
        from benchmarks.runtime import devices, hardware

        settings["device"] = devices.pick_device(settings["device"])
        for name in names:
            say(f"{name}: {PARTS[name]} ...")
            with (
                tempfile.TemporaryDirectory() as folder,
                devices.memory_advice("a smaller --model, --batch-size or --classes"),
            ):
                figures, used = _measure(name, Path(folder), settings)
            for line in _lines(figures):
                print(line)
            write_json(
                results / f"{name}.json",
                {**figures, "settings": used, **hardware.describe(used.get("device", "cpu"))},
            )


def _measure(part: str, place: Path, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a part's values, and the settings that it uses."""
    measure: Callable[..., dict[str, Any]] = import_module(f"benchmarks.perf.{MODULES.get(part, part)}").measure
    known = signature(measure).parameters
    used = {name: value for name, value in settings.items() if name in known}
    return measure(**used, **({"place": place} if "place" in known else {})), used


def _lines(figures: dict[str, Any], indent: str = "  ") -> Iterator[str]:
    """Yields a line for each value; a ratio with its spread as `name: 1.09 (1.07 to 1.12)`."""
    for name, value in figures.items():
        if isinstance(value, dict) and value.keys() == {"median", "low", "high"}:
            yield f"{indent}{name}: {value['median']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
        elif isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name}: {value:.4g}" if isinstance(value, float) else f"{indent}{name}: {value}"


if __name__ == "__main__":
    main()
