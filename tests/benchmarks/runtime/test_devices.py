"""Precision, compilation, checkpointing, and memory that runs out."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.config import registry
from benchmarks.config.errors import OwnError, UserError
from benchmarks.config.resolve import resolve
from benchmarks.run import main
from benchmarks.runtime import devices
from strategies.base import StrategyPlugin
from strategies.clip.classifier import ClipClassifier
from strategies.numerics.precision import full_precision, set_tf32
from strategies.training.template import ClipTemplate
from tests.conftest import command
from tests.models import CLASSES, snapshot, tiny_classifier, tiny_experiences, tiny_images, tiny_template
from tests.newer import NEWER


def common(**settings: Any) -> Any:
    return resolve({"device": "cpu", **settings}).common


SETTINGS: dict[str, dict[str, Any]] = {
    "nusa": {"rank": 4, "rho": 0.5},
    "moe_adapter": {"experts": 4},
    "diki": {"length": 2, "depth": 1},
    "olora": {"rank": 4},  # at rank 16, a last-digit change of a weight moves an answer by 1e-4 in one start of eight
    "inflora": {"rank": 4},  # all directions, the last of which no image decides, would turn with rounding
    "rail": {"hidden": 50},
}


def check(**settings: Any) -> None:
    found = common(**settings)
    devices.check(found.device, found.arithmetic)


def learned(name: str, device: torch.device, **settings: Any) -> tuple[ClipClassifier, StrategyPlugin]:
    """A tiny model after two tasks, and the strategy."""
    strategy, classifier = registry.strategy_of(name), tiny_classifier(device=device)
    plugin = strategy.plugin()(strategy.settings(**SETTINGS.get(name, {})))
    devices.prepare(classifier, common(**settings).arithmetic)
    plugin.begin(classifier)
    template = tiny_template(classifier, plugin.plugins())
    with devices.plain_torch():  # as a run does it
        for experience in tiny_experiences():
            template.train(experience)
    return classifier.eval(), plugin


def trained(name: str, device: torch.device, **settings: Any) -> dict[str, torch.Tensor]:
    return snapshot(learned(name, device, **settings)[0].clip)


# The hooks of some see what the backward pass computes again.
@pytest.mark.parametrize("name", ["nusa", "inflora", "keeplora", "activation_null", "codyra", "nusa_self", "opcm"])
def test_checkpointing_changes_no_figure(name: str, device: torch.device) -> None:
    (plain, method), (saved, other) = learned(name, device), learned(name, device, checkpointing=True)
    pairs = (snapshot(plain.clip), snapshot(saved.clip)), (method.state_dict(), other.state_dict())
    for one, two in pairs:
        assert one.keys() == two.keys() and all(torch.equal(tensor, two[key]) for key, tensor in one.items())


@pytest.mark.parametrize("name", ["nusa", "lora", "finetune"])
def test_bf16_trains_float32_weights_to_nearly_the_same_place(name: str, device: torch.device) -> None:
    plain, low = trained(name, device), trained(name, device, precision="bf16")
    start = snapshot(tiny_classifier(device=device).clip)
    moved = torch.cat([(plain[name] - start[name]).flatten() for name in plain])
    apart = torch.cat([(low[name] - plain[name]).flatten() for name in plain])
    assert all(tensor.dtype == plain[name].dtype for name, tensor in low.items())
    assert 0 < apart.norm() < 0.5 * moved.norm()


def test_within_a_run_autocast_of_others_sees_present_weights() -> None:
    """A plugin, criterion or callback may have an autocast of its own; torch's keeps copies until the outermost ends."""
    weight, x = torch.ones(2, 2, requires_grad=True), torch.ones(1, 2)
    with devices.plain_torch():
        for expected in (2.0, 4.0):
            with torch.autocast("cpu", torch.bfloat16):
                assert torch.nn.functional.linear(x, weight).tolist() == [[expected, expected]]
            with torch.no_grad():
                weight.mul_(2)


def test_a_run_has_torchs_own_modes_and_the_caller_keeps_others() -> None:
    torch.set_default_device("meta")
    before = torch.backends.cudnn.allow_tf32
    try:
        with devices.plain_torch():
            assert torch.ones(1).device.type == "cpu" and not torch.backends.cudnn.allow_tf32
        assert torch.ones(1).device.type == "meta" and torch.backends.cudnn.allow_tf32 == before
    finally:
        torch.set_default_device(None)


def test_bf16_answers_with_the_present_weights(device: torch.device) -> None:
    """Also where they were others earlier in the same run, before a task was merged into them."""
    classifier = tiny_classifier(device=device).eval()
    devices.prepare(classifier, common(precision="bf16").arithmetic)
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8).to(device)
    with devices.plain_torch(), torch.no_grad():
        before = classifier.encode_images(images), classifier.encode_texts(classifier.tokens(0)[0])
        for parameter in classifier.clip.parameters():
            parameter.mul_(1.1)
        after = classifier.encode_images(images), classifier.encode_texts(classifier.tokens(0)[0])
    with torch.no_grad():
        anew = classifier.encode_images(images), classifier.encode_texts(classifier.tokens(0)[0])
    for old, new, right in zip(before, after, anew, strict=True):
        assert torch.equal(new, right) and not torch.allclose(old, new)


KINDS = ["moe_adapter", "diki", "inflora", "olora", "lwf", "wise_ft"]


@pytest.mark.parametrize("name", [*KINDS, *NEWER])
def test_every_kind_of_method_trains_and_answers_in_bf16(name: str, device: torch.device) -> None:
    classifier, plugin = learned(name, device, precision="bf16")
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8).to(device)
    assert classifier.union_logits(images).isfinite().all()
    assert all(tensor.dtype != torch.bfloat16 for tensor in plugin.state_dict().values())


def test_features_are_float32_whatever_the_towers_compute_in(device: torch.device) -> None:
    classifier = tiny_classifier(device=device).eval()
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8).to(device)
    whole = classifier.union_logits(images)
    devices.prepare(classifier, common(precision="bf16").arithmetic)
    classifier.eval()
    low = classifier.union_logits(images)
    assert low.dtype == torch.float32
    assert 0 < (low - whole).abs().max() < 0.1 * whole.abs().max()


def test_tf32_is_off_unless_asked_for_and_within_full_precision() -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    devices.prepare(tiny_classifier(), common())
    assert not matmul.allow_tf32 and not cudnn.allow_tf32
    assert matmul.fp32_precision == "ieee"
    assert cudnn.conv.fp32_precision != "tf32"  # type: ignore[attr-defined]
    set_tf32(True)
    with full_precision():
        assert not matmul.allow_tf32
        assert matmul.fp32_precision == "ieee"
    assert matmul.allow_tf32 and cudnn.allow_tf32
    assert matmul.fp32_precision == cudnn.conv.fp32_precision == "tf32"  # type: ignore[attr-defined]
    set_tf32(False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_tf32_on_the_cpu_is_refused() -> None:
    with pytest.raises(UserError, match="--precision tf32: not on the CPU; only CUDA devices from Ampere on have it"):
        check(precision="tf32")


@pytest.mark.parametrize("name", ["avx512_bf16", "bf16"])  # as x86 and ARM call it
def test_bf16_on_the_cpu_needs_its_units(
    name: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, name: True})
    check(precision="bf16")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, name: False})
    line = ["--strategy", "nusa", "--stream", f"folder:{images}", "--batch-size", "4", "--iterations", "1"]
    assert main([*line, "--device", "cpu", "--precision", "bf16", "--results", str(tmp_path / "results")]) == 2
    (said,) = (text for text in capsys.readouterr().err.splitlines() if "error" in text or "Traceback" in text)
    assert said == "error: --precision bf16: not on the CPU, which has no bfloat16 arithmetic; use float32"
    assert not (tmp_path / "results").exists()


def test_a_gpu_before_ampere_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    # It computes bfloat16 all the same, slower than float32.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    with pytest.raises(UserError, match="bf16: not on Tesla T4, which has no bfloat16 arithmetic; use float32"):
        check(device="cuda", precision="bf16")
    with pytest.raises(UserError, match="tf32: not on Tesla T4; only CUDA devices from Ampere on have it"):
        check(device="cuda", precision="tf32")
    check(device="cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    check(device="cuda", precision="tf32")


def test_a_compiler_that_fails_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile(function: object) -> object:
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", compile)
    with pytest.raises(
        UserError, match=r"--compile: torch finds no working compiler here \(no C\+\+ compiler\); install"
    ):
        check(compile=True)


@pytest.mark.slow  # torch's compiler alone takes 15 s to load
def test_compile_without_a_compiler_is_refused(tmp_path: Path) -> None:
    words = ("--strategy", "nusa", "--compile", "--device", "cpu", "--results", tmp_path / "results")
    done = command(*words, env={"CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)})
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if "error" in line)
    assert "--compile: torch finds no working compiler here" in line
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_blocks_compute_the_same(device: torch.device) -> None:
    torch._dynamo.reset()  # else what was compiled for another test's model may answer for this one's
    plain = trained("nusa", device)
    compiled = trained("nusa", device, compile=True)
    assert all(torch.allclose(tensor, compiled[name], atol=1e-5) for name, tensor in plain.items())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["moe_adapter", "diki", "inflora", "olora", "lwf", "icarl", "keeplora", "codyra", "nusa_self", "rail"]
)
def test_compiled_blocks_learn_the_same(name: str, device: torch.device) -> None:
    torch._dynamo.reset()
    (plain, method), (compiled, other) = learned(name, device), learned(name, device, compile=True)
    if name == "inflora":  # its hooks have seen the same inputs: the bases span the same directions
        assert method.state_dict().keys() == other.state_dict().keys()
        for block, basis in method.state_dict().items():
            found = other.state_dict()[block]
            assert torch.allclose(found @ found.T, basis @ basis.T, atol=1e-3), block
    foreign = torch.randint(0, 256, (52, 3, 16, 16), dtype=torch.uint8)
    images = torch.cat([tiny_images(CLASSES[0]).images[0:12], foreign]).to(device)  # DIKI's prompts answer the first
    assert torch.allclose(plain.union_logits(images), compiled.union_logits(images), atol=1e-4)


def test_a_batch_larger_than_a_task_is_refused(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--strategy", "lora", "--stream", f"folder:{images}", "--batch-size", "13", "--results", str(tmp_path)]
    assert main(line) == 2
    assert "--batch-size 13: ants has 12 training images; take at most as many" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_memory_that_runs_out_says_what_to_lower() -> None:
    too_much = 2**60
    with (
        pytest.raises(OwnError, match="out of memory; try --checkpointing, with which this run goes on, or a smaller"),
        devices.memory_advice(devices.less_memory(checkpointing=False)),
    ):
        torch.empty(too_much)
    with pytest.raises(RuntimeError, match="tensor size"), devices.memory_advice("less"):
        torch.ones(2) @ torch.ones(3)


def test_a_run_that_ran_out_of_memory_keeps_its_tasks_and_goes_on(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second task asks torch for more than any machine has: the same error, at a place of our choosing."""
    train = ClipTemplate.train

    def limited(template: ClipTemplate, *arguments: Any, **options: Any) -> Any:
        if template.clock.train_exp_counter == 1:
            torch.empty(2**60)
        return train(template, *arguments, **options)

    line = ["--strategy", "finetune", "--stream", f"folder:{images}", "--model", f"local-dir:{tiny_clip}", "--no-plots"]
    line += ["--iterations", "5", "--batch-size", "8", "--device", "cpu", "--results", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(ClipTemplate, "train", limited)
        assert main(line) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: out of memory; try --checkpointing")
    assert "The 2 finished rows are kept in" in error
    assert main([*line, "--checkpointing"]) == 0
    assert "going on after 1 of 3 tasks" in capsys.readouterr().err
