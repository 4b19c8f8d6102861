"""What installed packages offer by entry points is found; it cannot hide what is built in."""

from pathlib import Path

import pytest

from benchmarks import api as nb
from benchmarks.config import registry
from benchmarks.experiment.callbacks import chosen_measurements
from strategies.base import StrategyPlugin


METHOD = '''"""Nothing learns, by another package."""

from pydantic.dataclasses import dataclass

from strategies.base import StrategyPlugin


@dataclass(frozen=True)
class Settings:
    """None."""


class Plugin(StrategyPlugin):
    """Freezes all."""

    trains = False

    def before_train_dataset_adaptation(self, strategy, *args, **kwargs):
        strategy.model.clip.requires_grad_(False)
'''
STREAM = '''"""The first two tasks of micro, by another package."""

from dataclasses import replace
from pathlib import Path

from benchmarks.streams import micro


def build(argument: str, data_root: Path):
    plan = micro.build("", data_root)
    return replace(plan, names=("shapes", "scans"), orders={"default": ("shapes", "scans")})
'''
MEASUREMENT = '''"""How many tasks were learned, by another package."""

from benchmarks.experiment.measurements.base import Measurement
from benchmarks.runs.columns import Column


class Meter(Measurement):
    table = "learned"
    keys = ("after",)
    columns = (Column("after", "integer", "state"), Column("twice", "integer", "twice the state"))

    def measure(self, run):
        yield {"after": run.learned, "twice": 2 * run.learned}
'''
POINTS = """
[nusa_bench.strategies]
frozen = other_package.method
nusa = other_package.method

[nusa_bench.streams]
two-of-micro = other_package.stream

[nusa_bench.measurements]
learned = other_package.measurement
broken = other_package.nowhere
"""


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package, as importlib.metadata sees one."""
    package, about = tmp_path / "other_package", tmp_path / "other_package-1.0.dist-info"
    package.mkdir()
    about.mkdir()
    (package / "__init__.py").write_text("")
    for name, text in (("method", METHOD), ("stream", STREAM), ("measurement", MEASUREMENT)):
        (package / f"{name}.py").write_text(text)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_entry_points_are_found_and_run(other_package: Path, tmp_path: Path) -> None:
    assert "frozen" in nb.strategies() and nb.streams()["two-of-micro"].startswith("The first two tasks")
    assert registry.find("strategy", "nusa").module == "strategies.nusa"  # not hidden by the other package's
    assert "broken" not in registry.names("measurement")
    assert not any(
        type(each).__module__ == "other_package.measurement" for each in chosen_measurements(StrategyPlugin(None))
    )
    run = nb.run(
        "frozen",
        "two-of-micro",
        measure=["learned"],
        results=tmp_path / "results",
        device="cpu",
        plots=False,
        silent=True,
    )
    assert run.tasks == ("shapes", "scans") and not any(run.cost["trained_parameters"])
    assert run.table("learned")["twice"].tolist() == [0, 2, 4]
    (other_package / "other_package" / "method.py").write_text(f"{METHOD}\n")
    with pytest.raises(nb.UserError, match=r"method\.py: changed since this process imported it; start Python anew"):
        nb.run("frozen", "two-of-micro", results=tmp_path / "again", device="cpu", plots=False, silent=True)


def test_a_strategys_file_may_be_named_by_its_path_too() -> None:
    source = registry.find("strategy", "nusa")
    assert registry.find("strategy", str(source.file)) == source
