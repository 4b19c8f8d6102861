"""Run folders as the record writes them, with figures that a test chooses."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.config.recipes import recipe
from benchmarks.runs.metrics import class_incremental, summarise


RANK = (
    "after,tower,block,matrix,dim,rho,energy_rank,energy_share,effective_rank,null_directions,update_norm,"
    "interference_left,interference_right,interference"
)


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def write_run(
    folder: Path, states: np.ndarray, tasks: list[str], strategy: str = "nusa", seed: int = 42, *, status: str = "finished",
    stream: str = "micro", identity: str = "known", **changed: Any,
) -> Path:  # fmt: skip
    """A finished run with the recipe's settings.

    Args:
        states: (T+1, T) percent, all three matrices.
        changed: other settings in `config.yaml`, or `cost` for entries of `cost.json`.
    """
    cost = changed.pop("cost", {})
    folder.mkdir(parents=True)
    known = [[after, *row] for after, row in enumerate(states.tolist())]
    for name in ("accuracy", "accuracy_agnostic", "accuracy_seen"):
        write_csv(folder / f"{name}.csv", ["after", *tasks], known)
    settings = recipe(stream, strategy) if not stream.startswith("folder:") else {"model": "micro", "pretrained": None}
    config = {"strategy": strategy, "stream": stream, "order": "default", "seed": seed, "device": "cpu", "shots": None}
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, **settings, **changed}, allow_unicode=True))
    about = [{"name": task, "dataset": task, "test": 100, "class_names": ["a", "b"]} for task in tasks]
    write_json(folder / "stream.json", {"protocol": "made for tests", "identity": identity, "tasks": about})
    summary = summarise(states)
    seen = class_incremental(states[1:], np.full(len(tasks), 100))
    write_json(folder / "metrics.json", {**summary, "agnostic": summary, "seen": seen})
    count = len(tasks)
    seconds = {"training": 60.0, "decomposition": 0.5, "evaluation": 20.0, "spectrum": 0.5}
    costs = {
        "trained_parameters": [1000] * count, "carried_bytes": [0] * count, "reference_images": 0,
        "peak_memory_bytes": 2_000_000_000, "peak_gpu_memory_bytes": None, "total_seconds": seconds,
    }  # fmt: skip
    write_json(folder / "cost.json", {**costs, **cost})
    hardware = {"device": "cpu", "gpu": None, "processor": "a processor", "threads": 2, "platform": "linux"}
    write_json(folder / "run.json", {"status": status, "weights_sha256": "0", "hardware": hardware})
    write_csv(folder / "rank.csv", RANK.split(","), rank_rows(count, trained=True, blocks=2))
    return folder


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def rank_rows(done: int, trained: bool, blocks: int = 12) -> list[list[object]]:
    rows: list[list[object]] = []
    levels = {"q": 0.50, "k": 0.49, "v": 0.60, "o": 0.62}
    for after in range(done + 1):
        for tower, dim in (("image", 768), ("text", 512)):
            for block in range(blocks):
                for kind, level in levels.items():
                    grown = after if trained else 0
                    energy_rank = round(dim * (level + 0.004 * block)) + grown
                    update: list[object] = [0.5, 0.01, 0.02, 0.02] if after and trained else ["", "", "", ""]
                    if after and not trained:
                        update[0] = 0.0
                    share, entropy = energy_rank / dim, 0.8 * dim + 2 * block + 0.3 * grown
                    site = [after, tower, block, kind, dim, 0.95]
                    rows.append([*site, energy_rank, share, entropy, dim - energy_rank, *update])
    return rows
