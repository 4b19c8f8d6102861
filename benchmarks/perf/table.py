"""Prints the targets and the measured values as Markdown: `python -m benchmarks.perf.table results/perf`."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Target(NamedTuple):
    """A speed or memory value to be reached.

    Attributes:
        what: its description in the table.
        part: the part of `benchmarks.perf` that measures it, which writes `PART.json`.
        figure: its key in that file; the value is a number, or a ratio with `median`, `low` and `high`.
        limit: the value (of a ratio, its median) may be at most this, or at least this if `least`.
        least: whether larger is better.
    """

    what: str
    part: str
    figure: str
    limit: float
    least: bool = False


TARGETS = (
    *(
        Target(
            f"NuSA-CL step / lower bound (forward and input-gradient of the whole towers), {prompts} prompts",
            "step",
            f"nusa_step_over_floor_{prompts}_prompts",
            1.08,
        )
        for prompts in (10, 100, 397)
    ),
    Target(
        "dense 77-token form / NuSA-CL step, 10 prompts", "dense", "dense_step_over_nusa_10_prompts", 1.3, least=True
    ),
    Target("the same, 100 prompts", "dense", "dense_step_over_nusa_100_prompts", 2.1, least=True),
    Target("the same, 397 prompts", "dense", "dense_step_over_nusa_397_prompts", 3.4, least=True),
    Target(
        "fine-tuning step with whole towers / fine-tuning step, 397 prompts",
        "prompts",
        "whole_finetune_step_over_step_397_prompts",
        1.12,
        least=True,
    ),
    Target(
        "`peft` LoRA step / our LoRA step, equal rank and prompts",
        "peft",
        "peft_lora_step_over_lora",
        1.2,
        least=True,
    ),
    Target(
        "evaluation: share of the time inside the towers",
        "evaluation",
        "evaluation_share_inside_towers",
        0.95,
        least=True,
    ),
    Target("evaluation / encoding by open_clip alone", "evaluation", "evaluation_over_open_clip", 0.95),
    Target("harness / bare loop, a step", "harness", "harness_step_over_bare_loop", 1.02),
    Target(
        "stream of 110 tasks: a task after the hundredth / one after the first",
        "growth",
        "tasks_101_to_109_over_2_to_10",
        1.02,
    ),
    Target("peak memory, NuSA-CL step / LoRA step of equal rank", "memory", "nusa_peak_over_lora_peak", 1.0),
    Target(
        "decomposition of all 96 matrices, share of 1000 steps",
        "decomposition",
        "decomposition_share_of_1000_steps",
        0.01,
    ),
    Target("start of the command to its first step / bare imports", "harness", "start_to_first_step_over_imports", 1.2),
    Target("all imports of a run / `import torch`", "harness", "run_imports_over_torch_import", 2.0),
    Target("ZSCL step / its parts", "methods", "zscl_step_over_parts", 1.1),
    Target("MoE-Adapters step / lower bound", "methods", "moe_step_over_floor", 1.5),
    Target("MoE-Adapters evaluation / zero-shot evaluation", "methods", "moe_evaluation_over_zero_shot", 1.3),
    Target("10 000 runs of a sweep resolved and checked, seconds", "sweep", "resolved_10000_seconds", 10.0),
    Target("the same, peak memory in bytes", "sweep", "resolved_10000_peak_bytes", 300e6),
    Target("`--status` over 10 000 run folders, seconds", "sweep", "status_10000_seconds", 5.0),
    Target("a run in a warm worker beyond its own work, seconds", "sweep", "warm_run_extra_seconds", 0.2),
    Target("12 runs by single commands / by a sweep", "sweep", "single_commands_over_sweep", 2.5, least=True),
    Target("10 000 runs on nodes that come and go: runs lost", "nodes", "runs_lost", 0.0),
    Target("the same: runs done twice to their end", "nodes", "runs_twice", 0.0),
    Target("measurements taken in every run / a run without", "measurements", "default_over_run", 0.02),
    Target("all measurements / a run without", "measurements", "all_over_run", 0.30),
    Target("NuSA-Self's step / NuSA-CL's, 10 prompts", "self", "nusa_self_step_over_nusa_step_10_prompts", 2.0),
    Target("NuSA-Self's memory / NuSA-CL's, 10 prompts", "self", "nusa_self_memory_over_nusa_memory_10_prompts", 1.1),
    Target("MTIL order I on one GPU from images in memory, minutes", "mtil", "mtil_minutes", 10.0),
)


def shown(value: Any) -> str:
    """Returns a measured value as text: a number with three digits, a ratio as `1.14 (0.88 to 1.42)`.

    Args:
        value: a number, or a ratio as a dict with its `median`, `low` and `high`.
    """
    if isinstance(value, dict):
        return f"{value['median']:.2f} ({value['low']:.2f} to {value['high']:.2f})"
    return f"{value:.3g}"


def main(folder: Path) -> None:
    """Prints a Markdown table of the speed and memory targets (`TARGETS`), each beside the measured value.

    A value that misses its target is marked.

    Args:
        folder: the folder into which `python -m benchmarks.perf` wrote PART.json for each part that was measured;
            targets of other parts read "not measured".
    """
    print("| | target | measured | |\n| --- | --- | ---: | --- |")
    for target in TARGETS:
        file = folder / f"{target.part}.json"
        bound = f"{'at least' if target.least else 'at most'} {target.limit:g}"
        value = json.loads(file.read_text(encoding="utf-8")).get(target.figure) if file.is_file() else None
        if value is None:
            print(f"| {target.what} | {bound} | not measured | |")
            continue
        middle = value["median"] if isinstance(value, dict) else value
        met = middle >= target.limit if target.least else middle <= target.limit
        print(f"| {target.what} | {bound} | {shown(value)} | {'' if met else '**missed**'} |")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not any((Path(sys.argv[1]) / f"{target.part}.json").is_file() for target in TARGETS):
        given = " ".join(sys.argv[1:]) or "no folder"
        print(f"error: {given}: name one folder that benchmarks.perf has written, as results/perf", file=sys.stderr)
        sys.exit(2)
    main(Path(sys.argv[1]))
