"""Reads a run folder; `results/README.md` describes its files.

This module needs no torch or Avalanche, and pandas only for tables of weights and of probes, so that it reads a thousand
folders in seconds.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.config import registry
from benchmarks.config.bounded import from_yaml
from benchmarks.config.errors import UserError
from benchmarks.config.terminal import plain
from benchmarks.runs import csv_files, schema
from benchmarks.runs.folder import RunFiles
from benchmarks.runs.metrics import class_incremental, summarise
from benchmarks.runs.shapes import CONFIG, COST, METHOD, STREAM, about_of, checked
from strategies.about import About


if TYPE_CHECKING:
    import pandas as pd

# By what the protocol tells a model at test time: the file of the accuracy matrix, and its name in tables.
MATRICES = {
    "known": ("accuracy.csv", "task known"),
    "unknown": ("accuracy_agnostic.csv", "task unknown"),
    "seen": ("accuracy_seen.csv", "among the classes seen so far"),
}
ROUNDING = 1e-6  # points; the matrix and its metrics are written with full precision


@dataclass(frozen=True)
class Protocol:
    """The test protocol of a run's stream.

    Attributes:
        name: the protocol's name and source, in words.
        identity: what the model is told at test time: the task (`known`, task-aware), nothing (`unknown`,
            task-agnostic), or the classes learned so far (`seen`, class-incremental).
        tests: (T,) test images of each task, in the run's order; empty in folders from before version 0.2.
        digest: SHA-256 of the content of `stream.json`, with the tasks in any order: equal for equal splits, class
            names, templates and protocol, so that runs may be compared.
    """

    name: str
    identity: str
    tests: tuple[int, ...]
    digest: str

    @property
    def accuracy_identity(self) -> str:
        """The test condition under which Transfer and forgetting are reported: `known` or `unknown`.

        It equals `identity`, except that class-incremental protocols (`seen`) use the task-aware accuracies (`known`).
        """
        return "known" if self.identity == "seen" else self.identity


@dataclass(frozen=True, eq=False)
class Run:
    """One run, as its folder or a packed file holds it. Most files are read on first use, which raises UserError if the
    file is missing or damaged.

    Attributes:
        folder: the run folder, which need not exist if the run is packed.
        tasks: the T names in learning order.
        accuracy: accuracy matrices by `known` (task-aware), `unknown` (task-agnostic) and `seen` (class-incremental),
            each (T+1, T) in percent: row i after i tasks, row 0 before any training, a column for each task; NaN is
            unmeasured. Folders from before version 0.2 have no `seen`.
    """

    folder: Path
    tasks: tuple[str, ...]
    accuracy: dict[str, np.ndarray]

    @property
    def files(self) -> RunFiles:
        """Reads any file of the run by its name, from the run folder or what it was packed in."""
        return RunFiles(self.folder)

    @property
    def sample(self) -> tuple[tuple[str, ...], int]:
        """The tasks in learning order, and the seed: runs of two methods that have them in common are compared as a pair."""
        return self.tasks, self.config["seed"]

    @cached_property
    def config(self) -> dict[str, Any]:
        """All settings of the run by name (with underscores): those in `config.yaml`, and for settings that are newer
        than the run the value that equals what it did.

        Among them are `strategy`, `stream`, `seed`, `order` and `model`.
        """
        file = self.files.at("config.yaml")
        try:
            found = from_yaml(self.files.text("config.yaml"))
        except ValueError as error:
            raise UserError(f"{file}: damaged, not valid YAML ({error})") from error
        return schema.complete(checked(file, found, CONFIG))

    @cached_property
    def protocol(self) -> Protocol:
        """How the stream is tested, from `stream.json`: what the model is told at test time, and the number of test
        images.
        """
        file = self.files.at("stream.json")
        if not self.files.has("stream.json") and "seen" not in self.accuracy:
            digest = hashlib.sha256("\n".join(sorted(self.tasks)).encode()).hexdigest()
            return Protocol("not written down (before version 0.2)", "known", (), digest)
        found = checked(file, self.files.json("stream.json"), STREAM)
        tests = tuple(task["test"] for task in found["tasks"])
        named = sorted(json.dumps(task, sort_keys=True) for task in found["tasks"])
        if len(tests) != len(self.tasks):
            raise UserError(f"{file}: damaged, it is not about the tasks in accuracy.csv")
        digest = hashlib.sha256("\n".join([found["protocol"], found["identity"], *named]).encode()).hexdigest()
        return Protocol(found["protocol"], found["identity"], tests, digest)

    @cached_property
    def cost(self) -> dict[str, Any]:
        """The content of `cost.json`.

        Keys: `trained_parameters` (a list, by task), `carried_bytes` (storage between tasks in bytes; a list, by task),
        `reference_images` and `reference_texts` (numbers of auxiliary ones), `peak_memory_bytes`,
        `peak_gpu_memory_bytes` (None without a GPU), `seconds` (lists by `training`, `decomposition`, `evaluation`,
        `spectrum` (measurements), `saving`) and `total_seconds` (the sum of each). Older folders lack some.
        """
        file = self.files.at("cost.json")
        found = checked(file, self.files.json("cost.json"), COST)
        counts = [len(found[name]) for name in ("trained_parameters", "carried_bytes")]
        if self.is_finished and counts != 2 * [len(self.tasks)]:
            raise UserError(f"{file}: damaged, it is not about the tasks in accuracy.csv")
        return found

    @cached_property
    def about(self) -> dict[str, Any]:
        """The content of `run.json`: the run's state and origin.

        Keys: `status` (`running`, `finished`, `failed` or `interrupted`), `started` (UTC), `seconds` (of the last
        start), `command`, `method`, `weights_sha256`, `images_sha256`, `versions`, `git`, `hardware` and others that
        `benchmarks.runs.keys` describes. Older folders lack some.
        """
        return about_of(self.files)

    @property
    def environments(self) -> list[dict[str, Any]]:
        """Where the run was computed: dicts with `versions` and `hardware` as in `run.json`, one for each part of a run that
        went on in another environment or extends another run, in their order. Older folders lack some keys.
        """
        parts: list[dict[str, Any]] = self.about.get("parts", [self.about])
        if extends := self.about.get("extends"):
            parts = [*extends.get("parts", [extends]), *parts]
        return [{name: part.get(name) or {} for name in ("versions", "hardware")} for part in parts]

    @cached_property
    def method(self) -> About:
        """The method's title, reference, colour and marker in figures: from `run.json`, or if that has none, from the
        installed strategy.
        """
        written = self.about.get("method")
        if written is None:
            return registry.about(str(self.config["strategy"]))
        return checked(self.files.at("run.json"), written, METHOD)  # type: ignore[return-value]

    @cached_property
    def rank(self) -> "pd.DataFrame":
        """The table `rank.csv`: one row for each number of tasks learned, tower, block and weight matrix.

        These four are its columns `after` (0 to T), `tower` (`image` or `text`), `block` (from 0) and `matrix` (`q`,
        `k`, `v`, `o`, `fc` or `proj`); `results/README.md` describes the others, such as `effective_rank`.
        """
        return _frames().rank(self.files)

    @cached_property
    def spectrum(self) -> "pd.DataFrame | None":
        """The table `spectrum.csv`: one row for each weight matrix before and after the stream; None in older folders.

        The columns are `after`, `tower`, `block`, `matrix`, and the singular values in falling order as `1`, `2`, ...
        """
        return _frames().spectrum(self.files)

    @cached_property
    def history(self) -> "pd.DataFrame | None":
        """The table `history.csv`: losses in nats and learning rate at every tenth step of each task, and at its last; None
        in older folders, and of a run that trained nothing.

        The columns are `task`, `step` (both from 1), `loss`, `cross_entropy`, `added` and `lr`.
        """
        return _frames().history(self.files, len(self.tasks)) if self.files.has("history.csv") else None

    @cached_property
    def probes(self) -> dict[tuple[str, str], np.ndarray]:
        """The values of `probes.csv`, if the run was made with `--probe`: by the probe's and the metric's name, such as
        `("imagenet", "top1")`, (T+1,) percent after 0 to T tasks; NaN where it was not tested. Empty without probes.
        """
        found = _frames().probes(self.files, len(self.tasks)) if self.files.has("probes.csv") else {}
        return found  # type: ignore[no-any-return]

    def predictions(self, state: int | None = None) -> "pd.DataFrame":
        """Returns what was predicted for each test image in a state, if the run was made with `--predictions`.

        The columns are `task` (its name), `image` (index within the task's test images), `label`, `best_1` to `best_5`
        with `score_1` to `score_5` (the best of all tasks' classes, and their logits), `own_best` and `own_score` (the best
        of the task's own classes). A class is an index into the classes of all tasks, task after task in learning order.

        Args:
            state: the number of tasks learned; None for all.

        Raises:
            UserError: there are none of this state, or the file is damaged.
        """
        return _frames().predictions.read(self.folder, len(self.tasks) if state is None else state)

    def confusion(self, state: int | None = None) -> "pd.DataFrame":
        """Returns in which task's classes the test images of each task end when the classes of all tasks compete.

        It is a table (T, T) in percent: rows are the tasks that the images are of, columns the tasks of the predicted
        classes. A class name that several tasks share counts as the image's own task's.

        Args:
            state: the number of tasks learned; None for all.

        Raises:
            UserError: the run has no predictions of this state, or a file is damaged.
        """
        return _frames().predictions.confusion(
            self.predictions(state), self.tasks, _frames().predictions.class_names(self.files)
        )

    def table(self, name: str) -> "pd.DataFrame":
        """Returns any table that a measurement filled, as a pandas frame.

        Args:
            name: the table's name without suffix, for instance `rank`.

        Raises:
            UserError: the run has no such table, or it is damaged.
        """
        return _frames().measured(self.files, name)

    @cached_property
    def entropy_rank(self) -> tuple[float, float] | None:
        """The entropy rank before any training and after the last task, in directions; None if not measured.

        The entropy rank of a matrix is exp of the entropy of its singular values scaled to sum 1. Both values are means
        over the attention matrices of both towers.
        """
        return csv_files.entropy_rank(self.files, len(self.tasks))

    @property
    def is_finished(self) -> bool:
        """Whether the run has learned and evaluated all tasks: its `run.json` has the status `finished`."""
        return self.about["status"] == "finished"

    @property
    def learns_at_once(self) -> bool:
        """Whether all tasks were learned in one training, the first (joint training): no later task trained a
        parameter. Then only zero-shot accuracies and those after the last task are meaningful. Also true of a model that
        was trained elsewhere and is only tested.
        """
        trained = self.cost["trained_parameters"]
        if self.learns_nothing:
            return self.is_second_stage
        return len(trained) > 1 and trained[0] > 0 and not any(trained[1:])

    @property
    def is_partial(self) -> bool:
        """Whether some task-aware accuracies of a finished run were not measured: a run that was extended by tasks on which
        its earlier states were not tested. Metrics over these are undefined.
        """
        return bool(np.isnan(self.accuracy["known"]).any())

    @property
    def is_second_stage(self) -> bool:
        """Whether the run started from another model than the pretrained one: another run's, or a file of weights."""
        return "start" in self.about

    @property
    def learns_nothing(self) -> bool:
        """Whether no task trained a parameter and nothing is stored between tasks, as under zero-shot CLIP."""
        return not any(self.cost["trained_parameters"]) and not any(self.cost["carried_bytes"])

    def frame(self, identity: str) -> "pd.DataFrame":
        """Returns an accuracy matrix (T+1, T) in percent as a pandas frame: index `after` 0..T, columns the tasks.

        Args:
            identity: `known` (task-aware), `unknown` (task-agnostic) or `seen` (class-incremental).
        """
        return _frames().accuracy(self.accuracy[identity], self.tasks)

    @cached_property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The metrics of each accuracy matrix, by `known` (task-aware), `unknown` (task-agnostic) and `seen`.

        Each is a dict with `transfer`, `avg`, `last`, `forgetting`, `zero_shot` (means over tasks in percent,
        `forgetting` in percentage points; None where unmeasured) and `per_task` (the same names, each a list with a
        value for each task). They are computed from the matrices, not read from `metrics.json`.
        """
        return {identity: summarise(states) for identity, states in self.accuracy.items()}

    def contradiction(self) -> str | None:
        """Returns the first place where `metrics.json` differs from what follows from the accuracy matrices, as a line
        to print.

        The result is None if it does not differ, or is missing.
        """
        if not self.files.has("metrics.json"):
            return None
        written = self.files.json("metrics.json")
        right: dict[str, Any] = {**self.metrics["known"], "agnostic": self.metrics["unknown"]}
        if "seen" in self.accuracy and isinstance(written, dict) and "seen" in written:
            right["seen"] = class_incremental(self.accuracy["seen"][1:], np.array(self.protocol.tests))
        where = _differs(written, right)
        return f"{self.files.at('metrics.json')}: {where} by the accuracy matrices, which count" if where else None


def _differs(there: Any, right: Any, name: str = "") -> str | None:
    """Returns the first place where `there` differs from `right`, as `agnostic.avg is 99.00 there, 41.20`; None if
    nowhere.
    """
    if isinstance(right, dict) and isinstance(there, dict):
        pairs = [(there.get(key), value, f"{name}.{key}".strip(".")) for key, value in right.items()]
    elif isinstance(right, list) and isinstance(there, list) and len(right) == len(there):
        pairs = [(*both, f"{name}[{place}]") for place, both in enumerate(zip(there, right, strict=True))]
    else:
        numbers = all(isinstance(each, int | float) for each in (there, right))
        same = abs(there - right) <= ROUNDING if numbers else there is None and right is None
        return None if same else f"{name or 'all'} is {_short(there)} there, {_short(right)}"
    return next((found for pair in pairs if (found := _differs(*pair))), None)


def _short(value: Any) -> str:
    return "none" if value is None else f"{value:.2f}" if isinstance(value, int | float) else "no number"


def read(folder: Path) -> Run:
    """Returns the run in a folder, or packed under the folder's name. The run may be unfinished.

    Args:
        folder: the run folder; a packed run may be given by the folder's name, or by its zip file.

    Raises:
        UserError: there is no run, an accuracy matrix is damaged, or the folder was written by a newer version of this
            project that this one cannot read.
    """
    files = RunFiles.of(folder)
    if not files.is_packed and not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name a run folder, results/STREAM/STRATEGY/RUN")
    needed = [MATRICES[identity][0] for identity in ("known", "unknown")]
    if missing := [name for name in needed if not files.has(name)]:
        raise UserError(f"{folder} is not a run folder: it has no {', '.join(missing)}")
    schema.version(files)
    there = {identity: name for identity, (name, _) in MATRICES.items() if files.has(name)}
    found = {identity: csv_files.accuracies(files, name) for identity, name in there.items()}
    tasks = found["known"][0]
    for identity, (names, _) in found.items():
        if names != tasks:
            raise UserError(f"{files.at(there[identity])}: other tasks than in accuracy.csv")
    return Run(files.folder, tuple(map(plain, tasks)), {identity: states for identity, (_, states) in found.items()})


def read_whole(folder: Path) -> Run:
    """Returns the run in a folder like `read`, and has read its files, but not the large tables.

    Whatever is wrong with one of many folders becomes a UserError, so that the others can be used.

    Args:
        folder: the run folder; a packed run may be given by the folder's name, or by its zip file.

    Raises:
        UserError: one of the files is missing or damaged in any way.
    """
    try:
        run = read(folder)
        _ = run.config, run.about, run.method
        if run.is_finished:
            _ = run.protocol, run.cost, run.metrics, run.entropy_rank, run.probes
    except UserError:
        raise
    except Exception as error:  # of any kind: a stranger's files may hold anything
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{folder}: damaged ({why:.200})") from error
    return run


def _frames() -> Any:
    """Imports pandas only when a table is first requested."""
    from benchmarks.runs import frames

    return frames
