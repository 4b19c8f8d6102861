"""All measurements that are not taken by default, together: they change no bit of a run, whatever the method keeps beside."""

from pathlib import Path

import pytest

from benchmarks.config import registry
from tests.benchmarks.experiment.measurements.runs import learn


def named() -> list[str]:
    """Their names, without the one that has an option of its own."""
    meters = {name: source.load().Meter for name, source in registry.sources("measurement").items()}
    return [name for name, meter in meters.items() if not meter.by_default and meter.option == "--measure"]


@pytest.mark.parametrize(
    "strategy",
    [
        "diki",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("inflora", "codyra", "rail", "avalanche:ewc")),
    ],
)
def test_a_run_is_the_same_with_them(strategy: str, images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    names = named()
    assert len(names) >= 8
    probe = [f"folder:{images}"]
    run = learn(images, tiny_clip, tmp_path / "with", strategy, *names, iterations=3, lr=1e-3, probe=probe)
    plain = learn(images, tiny_clip, tmp_path / "without", strategy, iterations=3, lr=1e-3)
    for file in ("accuracy.csv", "accuracy_agnostic.csv", "rank.csv", "model.safetensors"):
        assert (run.folder / file).read_bytes() == (plain.folder / file).read_bytes(), file
    assert len(run.table("gradient_shares")) == len(run.table("activation_interference")) >= 36
