"""What a run measures, sends and writes besides what every run does; none of it changes a metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from benchmarks.config import registry
from benchmarks.config.errors import UserError, shown
from benchmarks.runs.write import PARQUET


KINDS = {"measure": "measurement", "log": "logger", "probe": "probe"}


@dataclass(frozen=True)
class Besides:
    """What a run does besides.

    Attributes:
        measure: names of measurements in addition to those taken by default.
        log: names of loggers, to which the run's values go besides the run folder.
        probe: names of probes, with their arguments, on which the model is tested in every state.
        keep_states: whether the weights that each task changed are kept in the run folder.
        predictions: whether what is predicted for each test image is written into the run folder.
    """

    measure: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    keep_states: bool = False
    predictions: bool = False

    @property
    def options(self) -> list[tuple[str, ...]]:
        """The options of `python -m benchmarks.run` that say all this, each with its value if it has one."""
        named = [(f"--{name}", ",".join(names)) for name in ("measure", "log") if (names := getattr(self, name))]
        probes = [("--probe", name) for name in self.probe]
        switches = [(f"--{name.replace('_', '-')}",) for name in ("keep_states", "predictions") if getattr(self, name)]
        return [*named, *probes, *switches]

    @property
    def words(self) -> list[str]:
        """The words of `options`, one after the other."""
        return [word for option in self.options for word in option]

    @property
    def not_afterwards(self) -> str:
        """The options that add nothing to a run that is finished already, all but `--log`, as one text."""
        return " ".join(" ".join(option) for option in self.options if option[0] != "--log")

    @property
    def given(self) -> dict[str, Any]:
        """The arguments of `nb.run` that say all this; those with their defaults are left out."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items() if value}


NOTHING = Besides()


def besides(
    measure: Sequence[str] = (),
    log: Sequence[str] = (),
    probe: Sequence[str] = (),
    *,
    keep_states: bool = False,
    predictions: bool = False,
) -> Besides:
    """Returns what a run does besides, checked.

    Args:
        measure, log, probe, keep_states, predictions: as the attributes of `Besides`.

    Raises:
        UserError: a value has the wrong type, nothing has one of the names, or a package is missing.
    """
    check_switches(keep_states=keep_states, predictions=predictions)
    for argument, names in (("measure", measure), ("log", log), ("probe", probe)):
        if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
            raise UserError(f"{argument}: expected a list of names, got {shown(names)}")
        for name in names:
            registry.find(KINDS[argument], name.partition(":")[0] if argument == "probe" else name)
    if predictions and find_spec("pyarrow") is None:
        raise UserError(f'--predictions: needs pyarrow; pip install "{PARQUET}"')
    measured, logged, probed = (tuple(dict.fromkeys(names)) for names in (measure, log, probe))
    return Besides(measured, logged, probed, keep_states, predictions)


def check_switches(**values: Any) -> None:
    """Checks that arguments are truth values.

    Args:
        values: the arguments by name.

    Raises:
        UserError: one is another value.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise UserError(f"{name}: expected True or False, got {shown(value)}")
