"""What `benchmarks.perf` measures is what it says; times are never asserted."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from click.testing import CliRunner

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.perf import decomposition, growth, harness, many, measurements, memory, micro_step, mtil, peft_lora
from benchmarks.perf.__main__ import main
from benchmarks.perf.beyond import beyond_floor
from benchmarks.perf.dense import ALPHA, RANK, DenseAttention
from benchmarks.perf.setting import Setting, whole
from benchmarks.perf.timing import Laps, import_seconds, in_turns, ratio
from strategies import lora
from strategies.clip.weight_matrices import weight_matrices
from strategies.numerics.subspace import choose, decompose
from strategies.shared.low_rank import AdaptedAttention, LowRankUpdate
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a model of two blocks in each tower, which open_clip knows from here on."""
    towers = {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 64, "patch_size": 32, "width": 128, "layers": 2},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    }
    file = tmp_path_factory.mktemp("configs") / "small-of-tests.json"
    file.write_text(json.dumps(towers))
    open_clip.add_model_config(file)
    return file.stem


def told(*seconds: float) -> Callable[[], float]:
    return iter(seconds).__next__


def perf(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.perf", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_ratios_are_taken_round_by_round() -> None:
    seconds = in_turns({"a": told(2.0, 6.0, 3.0), "b": told(1.0, 2.0, 2.0)}, rounds=3)
    assert ratio(seconds["a"], seconds["b"]) == {"median": 2.0, "low": 1.5, "high": 3.0}


def test_seconds_of_imports_count_each_module_once() -> None:
    began = time.perf_counter()
    seconds = import_seconds("-c", "import unittest.mock")  # which imports much of what else there is
    assert 0 < seconds < time.perf_counter() - began


@pytest.mark.slow
def test_the_imports_of_a_run_are_those_to_its_end(tmp_path: Path) -> None:
    assert harness.run_imports(tmp_path, "cpu")() > 0
    (folder,) = tmp_path.rglob("run.json")
    assert json.loads(folder.read_text())["status"] == "finished"


def test_laps_leave_out_what_does_not_count() -> None:
    laps = Laps()
    laps.begin()
    laps.mark()
    assert not laps.seconds
    laps.mark()
    assert len(laps.seconds["step"]) == 1


def test_other_work_is_done_once_after_every_step_and_the_first_counts_for_none(small: str) -> None:
    setting, done = Setting(small, batch_size=2, classes=2, steps=3), []
    plugin = lora.Plugin(lora.Settings(rank=4))
    seconds = setting.beside(plugin, {"one": lambda: done.append(1), "two": lambda: done.append(2)}, trainings=2)
    assert done == [1, 2] * 3 * 2
    assert {name: len(each) for name, each in seconds.items()} == {"step": 4, "one": 4, "two": 4}


def test_the_dense_reference_form_computes_what_nusa_computes() -> None:
    torch.manual_seed(0)
    base = torch.nn.MultiheadAttention(256, 4, batch_first=True).requires_grad_(False)
    dense = DenseAttention(base).eval()
    updates = {}
    forms: Any = dense.updates
    for name, form in zip("qkvo", forms, strict=True):
        torch.nn.init.normal_(form.m)
        place = "qkv".find(name)
        weight = base.in_proj_weight.chunk(3)[place] if place >= 0 else base.out_proj.weight
        u, vh = choose(decompose(weight), RANK, "tail")
        scale = ALPHA / RANK**0.5
        updates[name] = LowRankUpdate(vh, u, form.m.detach(), scale=scale, dropout=0.25, trained=()).eval()
    x = torch.randn(2, 7, 256)
    thin = AdaptedAttention(base, updates).eval().forward(x, x, x)[0]
    assert (dense(x, x, x, False)[0] - thin).abs().max() < 1e-4
    assert (base(x, x, x)[0] - thin).abs().max() > 1e-2


@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_the_peft_reference_has_our_features_and_as_many_parameters(small: str) -> None:
    pytest.importorskip("peft")
    setting = Setting(small, batch_size=2, classes=3)
    ours = setting.classifier.eval()
    model = peft_lora.lora_of(ours, quick_gelu=False, rank=4, alpha=2.0, dropout=0.25).eval()
    tokens = ours.cut_tokens(0)[0]
    with torch.no_grad():
        image, text = model.features(setting.batch, tokens)
        assert (image - ours.encode_images(setting.batch)).abs().max() < 1e-5
        assert (text - ours.encode_texts(tokens)).abs().max() < 1e-5
    plugin = lora.Plugin(lora.Settings(rank=4))
    count = sum(
        p.numel() for site in weight_matrices(ours.clip) for p in plugin.make_update(site.weight()).parameters()
    )
    assert sum(parameter.numel() for parameter in peft_lora.trained(model)) == count


def test_whole_towers_compute_every_token_of_the_last_block(small: str) -> None:
    setting = Setting(small, batch_size=2, classes=3)
    model, sizes = whole(setting.classifier).eval(), []
    for last in (model.clip.visual.transformer.resblocks[-1], model.clip.transformer.resblocks[-1]):
        last.ln_2.register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0].shape[:2].numel()))
    with torch.no_grad():
        both = [(each.encode_images(setting.batch), each.training_features(0)) for each in (model, setting.classifier)]
    assert sizes == [2 * len(model.clip.visual.positional_embedding), 3 * model.lengths[0]]
    for one, other in zip(*both, strict=True):
        assert (one - other).abs().max() < 1e-5


def test_what_a_step_spends_beyond_its_floor_is_told_by_kind(small: str) -> None:
    setting = Setting(small, batch_size=2, classes=3, steps=4)
    plugin = lora.Plugin(lora.Settings(rank=8))
    beyond = beyond_floor(setting, plugin, setting.floor(), rank=8)
    assert set(beyond) == {"thin products", "wide products", "dropout", "optimiser", "all else"}
    # The floor has no thin products and no optimiser; of the other kinds it has some.
    assert beyond["thin products"] > 0 and beyond["optimiser"] > 0


def test_backbones_have_the_published_towers() -> None:
    assert decomposition.towers("ViT-B-16") == {768: 12, 512: 12}
    assert decomposition.towers("ViT-bigG-14") == {1664: 48, 1280: 32}


@pytest.mark.slow
def test_a_step_takes_no_memory_beyond_the_models_and_the_methods_own() -> None:
    figures = memory.measure("ViT-S-16", batch_size=8, classes=4)
    ratios = {name: ratio for name, ratio in figures.items() if name.endswith("_over_reckoned")}
    assert len(ratios) == 4
    for name, each in ratios.items():
        assert 0.9 < each < 1.1, name
    assert figures["nusa_peak_over_lora_peak"] <= 1


@pytest.mark.slow
def test_runs_at_once_train_as_much_as_one_alone_and_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"TOGETHER": (2,), "ROUNDS": 1, "STEPS": 4, "FEW": 2}.items():
        monkeypatch.setattr(many, name, value)
    monkeypatch.setattr(registry, "names", lambda _: ["zeroshot", "avalanche:lwf"])
    figures = many.measure("cpu", tmp_path)
    assert len(list(tmp_path.rglob("cost.json"))) == 1 + 2 + 2
    assert figures["throughput_of_2_over_1"]["median"] > 0
    assert figures["zeroshot_peak_memory_bytes"] > 0 and figures["avalanche:lwf_peak_memory_bytes"] > 0


def test_a_step_on_micro_is_set_beside_its_arithmetic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(micro_step, "STEPS", 3)
    monkeypatch.setattr(micro_step, "TASKS", "arrows,clocks")
    threads = torch.get_num_threads()
    found = micro_step.measure(tmp_path)
    assert torch.get_num_threads() == threads
    seconds = found["micro_step_seconds"]
    assert 0 < seconds["low"] <= seconds["median"] <= seconds["high"]
    # Image tower: 16 images, 17 tokens, 4 blocks of 12 d^2 products, forward and input-gradient, less three quarters of
    # the last block's; the texts and the update come on top.
    assert 1 < found["micro_step_operations"] / (2 * 2 * 16 * 17 * 3.25 * 12 * 128**2) < 2
    arithmetic = found["micro_step_operations"] / found["product_operations_per_second"]
    assert found["micro_step_over_arithmetic"] == pytest.approx(seconds["median"] / arithmetic)


@pytest.mark.slow
def test_every_measurement_is_timed_beside_the_run_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measurements, "ORDER", "digits,letters")
    monkeypatch.setattr(measurements, "STEPS", 3)
    found = measurements.measure(tmp_path)
    named = found["named_over_run"]
    assert {"basis_stability", "drift", "gradient_shares"} < named.keys() and not {"history", "probes"} & named.keys()
    assert found["default_over_run"] > 0 and all(each > 0 for each in named.values())
    assert found["all_over_run"] == pytest.approx(found["default_over_run"] + sum(named.values()))


@pytest.mark.slow
def test_a_run_at_once_that_fails_says_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ended with 2: error: --strategy"):
        many.runs("no-such", 1, 1, "cpu", tmp_path)


@pytest.mark.slow
def test_a_run_waits_and_learns_one_task_when_it_is_told_to(tmp_path: Path) -> None:
    run = growth.Run(1, "cpu", tmp_path / "run", freely=2)
    assert {what: len(each) for what, each in run.seconds().items()} == {
        "training": 2, "evaluation": 2, "spectrum": 2, "saving": 1,
    }  # fmt: skip
    run.learn()
    assert len(run.seconds()["training"]) == 3
    run.end()
    assert len(growth.total(run.seconds())) == 2


def test_a_run_that_fails_says_its_last_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        growth, "COMMAND", ("-c", "import sys; print('loading', file=sys.stderr); sys.exit('error: no')")
    )
    with pytest.raises(UserError, match=r"ended with 1: error: no$"):
        growth.Run(1, "cpu", tmp_path / "run", freely=0)


@pytest.mark.slow
def test_a_run_of_no_such_stream_fails(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ended with 2: error: --stream repeat"):
        growth.Run(0, "cpu", tmp_path / "run", freely=0)


# In the place of growth's command: it learns nothing and makes its seconds up. A late task takes 3, 5, 7 and 2 times what its
# early counterpart takes, and all that should count for nothing takes 9.
MADE_UP = """
import json, os, sys
from pathlib import Path

freely, place = int(sys.argv[1]), Path(sys.argv[-1])
factors = {"training": 3, "evaluation": 5, "spectrum": 7, "saving": 2}
seconds = {what: [] if what == "training" else [9] for what in factors}  # before any task
place.mkdir()
for task in range(1, 111):
    if task > freely:
        print("waiting", flush=True)
        sys.stdin.readline() or os._exit(0)
        with place.with_name("turns").open("a") as turns:
            turns.write(f"{place.name} {task}\\n")
    for what, factor in factors.items():
        late = task - 99  # 101 and 2, for instance, are the same task of micro
        counts = task in range(2, 11) or late in range(2, 11)
        seconds[what].append(9 if not counts else task if place.name == "early" else factor * late)
        if what == "spectrum" or task == 110:  # a saving is written by the next one
            (place / "cost.json").write_text(json.dumps({"seconds": seconds}))
"""


def test_a_late_task_is_set_beside_the_same_early_one_in_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(growth, "COMMAND", ("-c", MADE_UP))
    tasks, ratios = growth.late_over_early("cpu", tmp_path)
    assert len(tasks) == 110
    assert tasks[100:109] == [17 * early for early in range(2, 11)]
    expected = {"": 17 / 4, "_training": 3.0, "_evaluation": 5.0, "_spectrum": 7.0, "_saving": 2.0}
    assert ratios == {what: {"median": each, "low": each, "high": each} for what, each in expected.items()}
    turns = (tmp_path / "turns").read_text().splitlines()
    assert turns == [turn for task in range(1, 12) for turn in (f"late {task + 99}", f"early {task}")]


@pytest.mark.slow
def test_the_whole_of_mtil_runs_in_little(small: str, tmp_path: Path) -> None:
    figures = mtil.measure(small, "float32", "cpu", tmp_path, share=0.0005)
    assert set(figures["mtil_seconds"]) == {"training", "evaluation", "spectrum", "saving"}
    assert all(seconds > 0 for seconds in figures["mtil_seconds"].values())
    assert not figures["mtil_estimated"]


def test_the_whole_of_mtil_is_estimated_from_one_task_and_says_so(small: str, tmp_path: Path) -> None:
    figures = mtil.measure(small, "float32", "cpu", tmp_path, share=0.0005, estimate=True)
    assert figures["mtil_estimated"]
    measured, whole = figures["mtil_measured_seconds"], figures["mtil_seconds"]
    assert {what: whole[what] / measured[what] for what in whole} == pytest.approx(
        {"training": 11, "evaluation": 12, "spectrum": 12, "saving": 12}
    )
    assert figures["mtil_minutes"] == pytest.approx(sum(whole.values()) / 60)


@pytest.mark.slow
def test_the_command_writes_what_it_prints_with_hardware_and_versions(tmp_path: Path) -> None:
    small = ("--model", "ViT-S-32", "--evaluated", 8, "--classes", 2, "--device", "cpu")
    done = perf("--part", "evaluation", *small, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert {"settings", "hardware", "versions", "git", "evaluation_share_inside_towers"} <= set(written)
    assert "evaluation_share_inside_towers" in done.stdout


@pytest.mark.parametrize(
    ("model", "said"), [("ViT-B-61", "open_clip has no model"), ("RN50", "no plain open_clip transformer")]
)
def test_a_model_that_cannot_be_measured_is_refused_in_a_line(model: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Setting(model, batch_size=2, classes=2)


def test_the_whole_of_mtil_wants_a_gpu(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--part", "mtil", "--device", "cpu", "--results", str(tmp_path / "perf")])
    assert done.exit_code == 2
    assert "--part mtil: needs a CUDA device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_make_gpu_says_so_where_there_is_none(tmp_path: Path) -> None:
    line = [sys.executable, ".ci/gpu.py", "--results", str(tmp_path / "gpu")]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (2, "error: torch finds no CUDA device here\n")
    assert not (tmp_path / "gpu").exists()


@pytest.mark.slow
def test_make_gpu_writes_a_json_for_each_part_also_tried_out_on_a_cpu(tmp_path: Path) -> None:
    small = ["--device", "cpu", "--model", "ViT-S-32", "--share", "0.0005", "--parts", "tests,mtil"]
    line = [sys.executable, ".ci/gpu.py", *small, "--results", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    tests, whole = (json.loads((tmp_path / f"{part}.json").read_text()) for part in ("tests", "mtil"))
    assert tests["failed"] == [] and tests["tests"] > tests["skipped"] > 0
    assert whole["mtil_estimated"] and {"hardware", "versions"} <= whole.keys()
