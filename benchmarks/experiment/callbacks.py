"""Notifies callbacks of a run's events, collects the rows of measurements, and names the callback that fails."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.experiment.measurements.base import Cadence, Callback, Given, Measurement, RunState
from benchmarks.runs.columns import Column
from benchmarks.runs.record import MATRIX_TABLES, RunRecord
from benchmarks.runtime.devices import is_out_of_memory
from benchmarks.runtime.progress import ProgressBar
from strategies.base import StrategyPlugin


class Callbacks:
    """The callbacks of one run: tells them its events, and collects the rows of the measurements among them.

    Args:
        given: the callbacks, in the order in which they are notified. The measurements among them are asked for their
            rows in rising order of their attribute `turn`.
        bar: prints a line when an optional callback fails.

    Attributes:
        told: the callbacks that are notified; an optional one that failed is taken out.
        measurements: the measurements among them, in rising order of `turn`.

    Raises:
        UserError: an object is no `Callback`, or two measurements fill the same column.
    """

    def __init__(self, given: Sequence[Callback], bar: ProgressBar) -> None:
        for each in given:
            if not isinstance(each, Callback):
                raise UserError(f"callbacks: {each!r} is no Callback; derive its class from benchmarks.api.Callback")
        self.told, self.bar = list(given), bar
        own = [each for each in given if isinstance(each, Measurement)]
        self.measurements = sorted(own, key=lambda each: each.turn)
        self._all = self.measurements  # also those that fail later: rows that they gave before are kept
        # By the measurement's id, since a user's may not be hashable: its rows of the steps since the last evaluation.
        self._steps: dict[int, list[dict[str, Any]]] = {}
        _check(self.measurements)

    def prepare(self, given: Given) -> None:
        """Gives every measurement what the run begins with.

        Args:
            given: what the run begins with.

        Raises:
            UserError: the run lacks what a measurement needs, or one that is not optional failed.
        """
        for each in list(self.measurements):
            try:
                each.prepare(given)
            except UserError:
                raise
            except Exception as error:
                self._failed(each, "prepare", error)

    def tell(self, event: str, run: RunState) -> None:
        """Calls one method of every callback with the state of the run.

        Args:
            event: the method's name, for instance `on_task_begin`.
            run: the state of the run.

        Raises:
            UserError: a callback that is not optional failed; the message names the callback and the event.
        """
        for each in list(self.told):
            try:
                getattr(each, event)(run)
            except Exception as error:
                self._failed(each, event, error)

    def _failed(self, callback: Callback, event: str, error: Exception) -> None:
        if is_out_of_memory(error):
            raise error
        why = " ".join(f"{type(error).__name__}: {error}".split())
        line = f"callback {type(callback).__name__}: {event} failed ({why})"
        if not callback.optional:
            raise UserError(f"{line}; what was finished before is kept, and the same command goes on") from error
        self.told = [each for each in self.told if each is not callback]
        self.measurements = [each for each in self.measurements if each is not callback]
        self.bar.say(f"{line}; it is optional, and the run goes on without it")

    def step_end(self, run: RunState) -> None:
        """Calls `on_step_end` of every callback, then collects the rows of the measurements whose cadence is `step`.

        The next call of `measure` adds these rows to the run's tables.

        Args:
            run: the state of the run.

        Raises:
            UserError: a callback that is not optional failed; the message names the callback and the event.
        """
        self.tell("on_step_end", run)
        for each in [each for each in self.measurements if each.cadence == "step"]:
            self._steps.setdefault(id(each), []).extend(self._rows(each, run))

    def measure(self, run: RunState, record: RunRecord) -> None:
        """Asks each measurement that is due after the evaluation just done for its rows, and adds them to the run's tables.

        It also adds the rows that `step_end` has collected since the last call. Rows that several measurements give for
        one table, with the same values in its key columns, become one row.

        Args:
            run: the state of the run.
            record: everything that the run has measured so far, among it the tables.

        Raises:
            UserError: a measurement that is not optional failed.
        """
        due = {id(each): self._rows(each, run) for each in self.measurements if each.due(run)}
        due |= self._steps
        self._steps = {}
        filled = [each for each in self._all if id(each) in due]
        for table in dict.fromkeys(each.table for each in filled):
            parts = [each for each in filled if each.table == table]
            record.add_rows(table, _joined([(each, due[id(each)]) for each in parts]), parts[0].number_format)

    def _rows(self, measurement: Measurement, run: RunState) -> list[dict[str, Any]]:
        try:
            return _once([_checked(measurement, dict(row)) for row in measurement.measure(run)], measurement.keys)
        except Exception as error:
            self._failed(measurement, "measure", error)
            return []

    def tables(self) -> dict[str, Any]:
        """Returns the description of the measurements' tables for `run.json`, by the table's name.

        Each has the keys `file` (the csv's name), `keys` (names of the columns that identify a row) and `columns`, a
        list of one dict for each column: the attributes `name`, `kind`, `meaning`, `unit`, `since` and `default` of its
        `Column`.
        """
        found: dict[str, Any] = {}
        for each in self.measurements:
            table = found.setdefault(each.table, {"file": f"{each.table}.csv", "keys": list(each.keys), "columns": []})
            table["columns"] += [vars(column) for column in each.columns]
        return found


def _checked(measurement: Measurement, row: dict[str, Any]) -> dict[str, Any]:
    """The row; raises UserError if it lacks a key, or has a column or a kind of value that is not declared."""
    kinds = {column.name: column.kind for column in measurement.columns}
    numbered = any(name.endswith("...") for name in kinds)
    if missing := [key for key in measurement.keys if row.get(key) is None]:
        raise UserError(f"a row has no {missing[0]}, one of the keys that it declares")
    for name, value in row.items():
        if name not in kinds and name not in measurement.keys and not (numbered and name.isdigit()):
            raise UserError(f"a row has a column {name}, which it does not declare")
        kind = kinds.get(name, "text" if isinstance(value, str) else "number")
        right = str if kind == "text" else int if kind == "integer" else int | float
        if value is not None and (isinstance(value, bool) or not isinstance(value, right)):
            raise UserError(f"column {name} is declared {kind}, a row has {value!r:.60}; give plain Python values")
    return row


def _once(rows: list[dict[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """The rows; raises UserError if two of them have the same keys, of which only one could be kept."""
    seen = Counter(tuple(row[key] for key in keys) for row in rows)
    if twice := next((key for key, count in seen.items() if count > 1), None):
        raise UserError(f"two rows have the same keys, {dict(zip(keys, twice, strict=True))}")
    return rows


def _joined(parts: Sequence[tuple[Measurement, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Returns the rows of one table; rows of several measurements that have the same keys become one row."""
    joined: dict[tuple[Any, ...], dict[str, Any]] = {}
    for part, rows in parts:
        for row in rows:
            joined.setdefault(tuple(row[key] for key in part.keys), {}).update(row)
    return list(joined.values())


def _check(measurements: Iterable[Measurement]) -> None:
    filled: dict[tuple[str, str], Measurement] = {}
    for each in measurements:
        name = type(each).__name__
        if missing := [attribute for attribute in ("table", "keys", "columns") if not hasattr(each, attribute)]:
            raise UserError(f"measurement {name}: declares no {missing[0]}; see docs/adding.md")
        if not all(isinstance(column, Column) for column in each.columns):
            raise UserError(f"measurement {name}: its columns must be nb.Column objects, got {each.columns!r:.100}")
        if each.cadence not in get_args(Cadence):
            raise UserError(
                f"measurement {name}: cadence {each.cadence!r}; expected one of {', '.join(get_args(Cadence))}"
            )
        if each.table in MATRIX_TABLES or not each.table.isidentifier():
            raise UserError(f'measurement {name}: a table can\'t be called "{each.table}"; give it a name of its own')
        for column in each.columns:
            if (other := filled.setdefault((each.table, column.name), each)) is not each:
                raise UserError(
                    f"measurement {name}: column {column.name} of table {each.table} is filled by {type(other).__name__} "
                    "already; give it another name"
                )


def chosen_measurements(strategy: StrategyPlugin, named: Sequence[str] = ()) -> list[Measurement]:
    """Returns new instances of this project's measurements that are taken by default, and of those named in addition.

    Args:
        strategy: the method's plugin; what it does not have is measured by name only.
        named: names of measurements, also of installed packages, as for `--measure`.

    Raises:
        UserError: a name is unknown (the message offers the nearest), or a measurement's file cannot be imported.
    """
    for name in named:
        registry.find("measurement", name)
    found = []
    for source in registry.sources("measurement").values():
        ours = source.module is not None and source.module.startswith("benchmarks.")
        if not ours and source.name not in named:
            continue
        meter = source.load().Meter
        if not (isinstance(meter, type) and issubclass(meter, Measurement)):
            raise UserError(f"{source.file}: its Meter is no Measurement; derive it from benchmarks.api.Measurement")
        if source.name in named and meter.option != "--measure":
            raise UserError(f"--measure {source.name}: is taken with {meter.option}")
        if (meter.by_default and meter.fits(strategy)) or source.name in named:
            found.append(meter())
    return found
