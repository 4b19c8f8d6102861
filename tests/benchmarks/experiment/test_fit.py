"""Settings that ask for more than memory holds: refused before anything is made; memories of images are not."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.experiment.fit import check
from benchmarks.run import main
from benchmarks.runtime import memory
from benchmarks.runtime.environment import keep_freed_memory
from benchmarks.runtime.memory import free_bytes
from strategies.base import ALL
from strategies.shared.low_rank import UpdatePlugin
from tests.benchmarks.test_run import words
from tests.models import tiny_classifier


def plugin_of(name: str, **settings: Any) -> Any:
    strategy = registry.strategy_of(name)
    return strategy.plugin()(registry.settings_class(name)(**settings))


ABSURD = [
    ("moe_adapter", "experts", 10**9), ("moe_adapter", "width", 10**9), ("diki", "length", 10**12),
    ("lwf_vr", "sentences", 10**13), ("nusa_self", "sentences", 10**13), ("rail", "hidden", 10**7),
]  # fmt: skip


@pytest.mark.parametrize(("name", "setting", "value"), ABSURD)
def test_absurd_settings_are_named_with_what_would_fit(name: str, setting: str, value: int) -> None:
    classifier, free = tiny_classifier(), 10**8
    with pytest.raises(UserError) as caught:
        check(plugin_of(name, **{setting: value}), classifier, free)
    text = str(caught.value)
    assert text.startswith(f"--{setting.replace('_', '-')} {value}: takes at least ") and "100.0 MB of memory" in text
    fitting = int(text.rpartition("at most ")[2].removesuffix(" would fit"))
    check(plugin_of(name, **{setting: fitting}), classifier, free)
    with pytest.raises(UserError):
        check(plugin_of(name, **{setting: fitting + fitting // 100 + 1}), classifier, free)


def test_a_setting_whose_least_value_is_too_large_is_named_alone() -> None:
    with pytest.raises(UserError, match=r"^--experts 1000000000: takes at least "):
        check(plugin_of("moe_adapter", experts=10**9, width=10**6), tiny_classifier(), 10**8)


@pytest.mark.parametrize(("name", "setting", "value"), [ABSURD[0], ABSURD[2]])
def test_the_command_refuses_before_it_makes_anything(
    name: str,
    setting: str,
    value: int,
    images: Path,
    tiny_clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reads = ["--reference-images", str(images)] if name == "moe_adapter" else []
    line = ["--strategy", name, *words(images, tiny_clip, tmp_path / "out", f"--{setting}", value), *reads]
    assert main(line) == 2
    assert f"error: --{setting} {value}: takes at least " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("icarl", {"memory": 10**15}), ("avalanche:replay", {"mem_size": 10**15}), ("zscl", {"pool": 10**15}),
        ("avalanche:agem", {"patterns_per_exp": 10**15, "sample_size": 10**15}), ("inflora", {"samples": 10**15}),
        ("avalanche:gem", {"patterns_per_exp": 10**15}), ("lora", {"rank": 10**15}), ("lwf_vr", {"length": 10**15}),
    ],
)  # fmt: skip
def test_what_holds_no_more_than_there_is_is_not_refused(name: str, settings: dict[str, int]) -> None:
    check(plugin_of(name, **settings), tiny_classifier(), 10**8)


def test_training_all_parameters_of_a_model_that_memory_cannot_hold() -> None:
    classifier = tiny_classifier()
    clip = classifier.clip
    weights, image = (sum(each.nbytes for each in part.parameters()) for part in (clip, clip.visual))
    weights -= clip.logit_scale.nbytes
    for name in registry.names("strategy"):
        plugin = plugin_of(name)
        full = ALL in plugin.least_bytes(classifier)
        partial = isinstance(plugin, UpdatePlugin) or name in ("diki", "moe_adapter", "rail")
        assert full == (plugin.trains and not partial)
        needed = max(plugin.least_bytes(classifier).values(), default=0)
        if full:
            assert needed >= 3 * (weights if getattr(plugin.settings, "towers", "both") == "both" else image)
            with pytest.raises(
                UserError,
                match=r"^gradients and moments of all parameters: take .* a smaller --model",
            ):
                check(plugin, classifier, plugin.least_bytes(classifier)[ALL] - 1)
            check(plugin, classifier, needed)


def test_free_memory_is_what_the_containers_limit_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = memory.resident_bytes()
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "LIMIT", limit)
    limit.write_text(f"{own + 300_000_000}\n")
    assert free_bytes("cpu") == pytest.approx(300_000_000, abs=100_000_000)
    limit.write_text("1000\n")
    assert free_bytes("cpu") == 0


def test_memory_that_was_freed_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages may still be the process's, since `keep_freed_memory` keeps them for the next tensor."""
    keep_freed_memory()
    limit = tmp_path / "memory.max"
    limit.write_text(f"{memory.resident_bytes() + 2_000_000_000}\n")
    monkeypatch.setattr(memory, "LIMIT", limit)
    torch.ones(400_000_000).sum()  # 1.6 GB, freed at once
    assert free_bytes("cpu") > 1_000_000_000
