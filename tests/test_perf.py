"""What `benchmarks.perf` reckons is what a step takes; times are never asserted."""

import pytest

from benchmarks.perf import memory


@pytest.mark.slow
def test_a_step_takes_no_memory_beyond_the_models_and_the_methods_own() -> None:
    figures = memory.measure("ViT-S-16", batch_size=8, classes=4)
    ratios = {name: ratio for name, ratio in figures.items() if name.endswith("_over_reckoned")}
    assert len(ratios) == 4
    for name, ratio in ratios.items():
        assert 0.9 < ratio < 1.1, name
