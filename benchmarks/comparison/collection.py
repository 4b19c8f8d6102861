"""Several runs as pandas objects: the result of `nb.load_runs`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd

from benchmarks.comparison.groups import shown
from benchmarks.comparison.metric_columns import headline, learning_accuracy
from benchmarks.comparison.sorting import sort
from benchmarks.comparison.statistics import over_seeds
from benchmarks.config.errors import UserError
from benchmarks.runs.folder import find
from benchmarks.runs.read import Run, read_whole


ABOUT = (
    "run",
    "strategy",
    "stream",
    "order",
    "seed",
)  # first columns of every table: the run folder, and settings that identify the run


class Runs(Sequence[Run]):
    """Finished runs as a sequence of `Run` objects, each of which reads one run folder, and their values as pandas
    tables.

    An index gives a `Run`, a slice a `Runs`.

    Args:
        runs: the runs, in the order that they shall have.
        left_out: a line for each folder that was not taken, since it is damaged or unfinished, with the reason, and one
            line about all folders that were not searched.

    Attributes:
        left_out: the lines of the argument, as a list; empty in the result of a slice, `filter` or `group`.
    """

    def __init__(self, runs: Iterable[Run], left_out: Iterable[str] = ()) -> None:
        self._runs, self.left_out = list(runs), list(left_out)

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> "Runs": ...
    def __getitem__(self, place: int | slice) -> "Run | Runs":
        return Runs(self._runs[place]) if isinstance(place, slice) else self._runs[place]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __repr__(self) -> str:
        return f"<{len(self)} runs of {', '.join(sorted({run.config['strategy'] for run in self})) or 'nothing'}>"

    def filter(self, **settings: Any) -> "Runs":
        """Returns the runs whose settings have these values.

        Args:
            settings: a value for each setting's name, as in `filter(strategy="nusa", seed=[1, 2])`; a list, tuple, set
                or range accepts any of its values.

        Raises:
            UserError: a name is a setting of none of the runs.
        """
        self._check_settings("filter", settings)

        def fits(run: Run) -> bool:
            return all(
                any(shown(run.config.get(name)) == shown(each) for each in _values(value))
                for name, value in settings.items()
            )

        return Runs(filter(fits, self))

    def _check_settings(self, what: str, names: Iterable[str]) -> None:
        for name in names:
            if self._runs and not any(name in run.config for run in self):
                raise UserError(f"{what}: none of the runs has a setting {name}")

    def group(self, *settings: str) -> dict[tuple[Any, ...], "Runs"]:
        """Returns the runs in parts with equal values of some settings: a `Runs` by the tuple of these values.

        Args:
            settings: names of settings; `group("strategy", "seed")` has keys such as `("nusa", 42)`. A run without one
                of the settings has None there.

        Raises:
            UserError: a name is a setting of none of the runs.
        """
        self._check_settings("group", settings)
        found: dict[tuple[Any, ...], list[Run]] = {}
        for run in self:
            found.setdefault(tuple(run.config.get(name) for name in settings), []).append(run)
        return {values: Runs(runs) for values, runs in found.items()}

    @property
    def accuracy(self) -> pd.DataFrame:
        """Accuracies as a table with one row for each run, accuracy matrix, number of learned tasks, and task.

        Columns: `run` (path of the run folder), and its settings `strategy`, `stream`, `order`, `seed`; `identity`, the
        matrix (`known`: task-aware, `unknown`: task-agnostic, `seen`: class-incremental); `after` (number of tasks
        learned, 0 to T); `task` (its name); `accuracy` in percent, NaN where it was not measured.
        """
        parts = []
        for run in self:
            for identity in run.accuracy:
                long = run.frame(identity).rename_axis(columns="task").stack(future_stack=True).rename("accuracy")
                parts.append(_about(run, long.reset_index()).assign(identity=identity))
        columns = [*ABOUT, "identity", "after", "task", "accuracy"]
        return _joined(parts, columns)[columns]

    @property
    def metrics(self) -> pd.DataFrame:
        """Metrics as a table with one row for each run and accuracy matrix, in percent (`forgetting` in percentage
        points).

        Columns: `run` (path of the run folder), and its settings `strategy`, `stream`, `order`, `seed`; `identity`, the
        matrix (`known`: task-aware, `unknown`: task-agnostic, `seen`: class-incremental); `transfer`, `avg`, `last`,
        `forgetting`, `zero_shot` by ZSCL's formulas; `learning_accuracy`, the mean over tasks of the accuracy on a task
        that has just been learned. NaN where undefined.
        """
        rows = []
        for run in self:
            for identity, found in run.metrics.items():
                means = {name: value for name, value in found.items() if name != "per_task"}
                rows.append(
                    {**_id(run), "identity": identity, **means, "learning_accuracy": learning_accuracy(run, identity)}
                )
        names = ("transfer", "avg", "last", "forgetting", "zero_shot", "learning_accuracy")
        return pd.DataFrame(rows, columns=[*ABOUT, "identity", *names]).astype(dict.fromkeys(names, float))

    @property
    def rank(self) -> pd.DataFrame:
        """Ranks of the weights as a table with one row for each run, number of learned tasks, and weight matrix.

        Columns: `run` (path of the run folder), and its settings `strategy`, `stream`, `order`, `seed`; `after` (number
        of tasks learned, 0 to T); `tower` (`image` or `text`), `block` (from 0) and `matrix` (`q`, `k`, `v`, `o`, `fc`
        or `proj`); then the measured values such as `effective_rank` in directions, which `results/README.md` describes
        under `rank.csv`.
        """
        return _joined([_about(run, run.rank) for run in self], ABOUT)

    @property
    def cost(self) -> pd.DataFrame:
        """Costs as a table with one row for each run.

        Columns: `run` (path of the run folder), and its settings `strategy`, `stream`, `order`, `seed`;
        `trained_parameters`, their number in the first task; `storage_bytes`, the maximal storage between tasks without
        the model itself; `peak_memory_bytes` of the process and `peak_gpu_memory_bytes` (NaN without a GPU);
        `training_seconds` of all tasks including decompositions of weights, and `evaluation_seconds` of all
        evaluations.
        """
        return pd.DataFrame([{**_id(run), **_cost(run)} for run in self])

    def table(self) -> pd.DataFrame:
        """Returns a comparison of methods: one row for each method and order of each set of comparable runs, as means
        over seeds.

        Columns: `method`, `seeds` (their number); the metrics in percent, `forgetting` in percentage points, by the
        accuracies that the stream's protocol reports: `transfer`, `avg`, `last`, `forgetting` and `learning_accuracy`,
        or under a class-incremental protocol only `avg` and `last`; the standard deviation over seeds of each as
        `<metric>_std` (NaN for a single seed); `order` (its name); `runs_of` (stream, model and shots in words; runs
        that differ in these are in other rows and are not compared). Methods are sorted by Avg over all their runs, the
        best first.

        Raises:
            UserError: a file of a run folder is damaged.
        """
        rows = []
        compared = sort([run.folder for run in self])
        # A second run of the same seed does not count; any other that is left out would be missing without a word.
        if lost := [line for line in compared.left_out if not line.endswith("which counts")]:
            raise UserError(f"table: {lost[0]}; load the runs anew, without it")
        for group in compared.groups:
            for tasks, order in group.orders.items():
                for method in group.in_order(tasks).methods:
                    row: dict[str, Any] = {"method": method.label, "seeds": len(method.runs)}
                    for metric in headline(group.identity):
                        found = over_seeds(method, tasks, metric.of)
                        name = "learning_accuracy" if metric.key == "right_after" else metric.key
                        row[name] = np.nan if found is None else found.mean
                        row[f"{name}_std"] = np.nan if found is None or found.deviation is None else found.deviation
                    rows.append({**row, "order": order, "runs_of": group.title})
        return pd.DataFrame(rows)


def load(places: Sequence[Path], make: Callable[[Run], Run] = lambda run: run) -> Runs:
    """Returns the finished runs at or below some folders; damaged and unfinished ones are only listed in
    `Runs.left_out`.

    Args:
        places: run folders, packed runs, or folders above them; links below these are not followed, which a
            line of `Runs.left_out` says.
        make: converts each run, for instance into an object with more methods; by default runs stay as they are.

    Raises:
        UserError: a folder is missing, or there is no run folder in it.
    """
    searched = find(places)
    runs, left_out = [], [searched.remark] if searched.remark else []
    for folder in searched.folders:
        try:
            run = read_whole(folder)
            if run.is_finished:
                runs.append(make(run))
            else:
                left_out.append(f"{folder}: {run.about['status']}, not finished")
        except UserError as error:
            left_out.append(str(error))
    return Runs(runs, left_out)


def _values(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple | set | range) else [value]  # type: ignore[return-value]


def _id(run: Run) -> dict[str, Any]:
    return {"run": str(run.folder), **{name: run.config[name] for name in ABOUT[1:]}}


def _about(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    about = pd.DataFrame({name: [value] * len(table) for name, value in _id(run).items()})
    return about.join(table.reset_index(drop=True))


def _joined(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns))


def _cost(run: Run) -> dict[str, Any]:
    cost = run.cost
    seconds = cost["total_seconds"]
    gpu = cost.get("peak_gpu_memory_bytes")
    return {
        "trained_parameters": next(iter(cost["trained_parameters"]), 0),
        "storage_bytes": max(cost["carried_bytes"], default=0),
        "peak_memory_bytes": cost["peak_memory_bytes"],
        "peak_gpu_memory_bytes": np.nan if gpu is None else gpu,
        "training_seconds": seconds["training"] + seconds.get("decomposition", 0.0),
        "evaluation_seconds": seconds["evaluation"],
    }
