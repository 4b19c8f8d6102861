"""The device of a run and how it computes: `--device`, `--precision`, `--compile` and `--checkpointing`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.config.errors import OutOfMemory, UserError
from benchmarks.config.settings import Arithmetic, Device
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import blocks
from strategies.numerics.precision import set_tf32


OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")  # messages of the CPU, CUDA and cuBLAS
AMPERE = (8, 0)  # the first CUDA devices with TF32 and bfloat16


def pick_device(wanted: Device) -> Device:
    """Returns the device to compute on, `cpu` or `cuda`.

    Args:
        wanted: `cpu`, `cuda`, or `auto` for `cuda` if torch finds a CUDA device.

    Raises:
        UserError: `cuda` is wanted and not available.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; use --device cpu or auto")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def check(device: Device, arithmetic: Arithmetic) -> None:
    """Checks that the device and the torch installation support the settings `--precision` and `--compile`.

    Args:
        device: `cpu` or `cuda`.
        arithmetic: precision and compilation of the towers.

    Raises:
        UserError: the device lacks the precision, or torch finds no compiler; the message says what would be right.
    """
    precision = arithmetic.precision
    if precision == "tf32" and (device != "cuda" or torch.cuda.get_device_capability() < AMPERE):
        raise UserError(
            f"--precision tf32: not on {_name(device)}; only CUDA devices from Ampere on have it; use float32"
        )
    if precision == "bf16" and not _has_bf16(device):
        raise UserError(f"--precision bf16: not on {_name(device)}, which has no bfloat16 arithmetic; use float32")
    if arithmetic.compile:
        _check_compiler(device)


def _name(device: Device) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "the CPU"


def _has_bf16(device: Device) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Without hardware support torch emulates bfloat16, many times slower than float32.
    return bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("bf16"))


def _check_compiler(device: str) -> None:
    try:
        torch.compile(torch.ones_like)(torch.ones(2, device=device))
    except Exception as error:  # torch names them by device and back end
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"--compile: torch finds no working compiler here ({reason}); install one, or leave it out"
        ) from error


def less_memory(checkpointing: bool) -> str:
    """Returns what to try with a run that is out of memory, such as `a smaller --batch-size`, as part of a message.

    Args:
        checkpointing: whether the run already uses `--checkpointing`.
    """
    others = "a smaller --batch-size or --precision bf16, which begin another run"
    return others if checkpointing else f"--checkpointing, with which this run goes on, or {others}"


@contextmanager
def plain_torch() -> Iterator[None]:
    """Context in which torch's modes are its own defaults, whatever the caller set; they are as before afterwards.

    That is: gradients, no inference mode, no autocast, float32 as the default type and as the precision of products, and
    tensors on the CPU where nothing else is said. Autocast within it keeps no copies of weights: it would keep them until
    this context ends, and later steps would see the weights of the first one.
    """
    kind, device, restore = torch.get_default_dtype(), torch.get_default_device(), _products_kept()
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False  # which torch allows in convolutions
    if device.type != "cpu":
        torch.set_default_device(None)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False, cache_enabled=False),
            torch.autocast("cuda", enabled=False, cache_enabled=False),
        ):
            yield
    finally:
        torch.set_default_dtype(kind)
        if device.type != "cpu":
            torch.set_default_device(device)
        restore()


def _products_kept() -> Callable[[], None]:
    """Returns a function that sets the precision of float32 products back to what it is now.

    A caller may have set it by torch's older flags or by its newer `fp32_precision`; the older ones raise an error where
    they contradict the newer, so these are then taken back first.
    """
    backends: Any = torch.backends
    try:
        products, convolutions = torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
    except RuntimeError:
        places = [backends, backends.cuda.matmul, backends.mkldnn.matmul, backends.mkldnn.conv]
        places += [backends.mkldnn.rnn, backends.cudnn.conv, backends.cudnn.rnn]
        before = [place.fp32_precision for place in places]
        for place in places:
            place.fp32_precision = "none"

        def restore_each() -> None:
            for place, was in zip(places, before, strict=True):
                place.fp32_precision = was

        return restore_each

    def restore() -> None:
        torch.set_float32_matmul_precision(products)
        backends.cudnn.allow_tf32 = convolutions

    return restore


def prepare(classifier: ClipClassifier, arithmetic: Arithmetic) -> None:
    """Sets precision, compilation and checkpointing of a model, in place; TF32 is set for the whole process.

    Args:
        classifier: the model, already on its device.
        arithmetic: precision, compilation and checkpointing of the towers.
    """
    set_tf32(arithmetic.precision == "tf32")
    if arithmetic.precision == "bf16":
        classifier.low = torch.bfloat16
    if arithmetic.checkpointing:
        classifier.clip.set_grad_checkpointing(True)
    if arithmetic.compile:
        # The limit counts the variants of all blocks: both towers, training and evaluation, every rank of an update.
        torch._dynamo.config.recompile_limit = 64
        # Methods act through hooks. Unguarded, a block goes on as first compiled: without a task's prompts.
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        torch._inductor.config.fallback_random = True  # dropout draws the same numbers as uncompiled
        for tower in ("image", "text"):
            for block in blocks(classifier.clip, tower):
                block.compile()


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of Python or torch means that memory ran out."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in OUT_OF_MEMORY)


@contextmanager
def memory_advice(lower: str, done: str = "") -> Iterator[None]:
    """Context manager that turns an out-of-memory error into a UserError with advice.

    Args:
        lower: what would take less memory, for instance `a smaller --batch-size`; the message is `out of memory; try`
            with this text.
        done: a sentence on what is kept of the run, for the end of the message.

    Raises:
        OutOfMemory: memory ran out inside; it is a UserError.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's OutOfMemoryError is a RuntimeError, others are plain ones
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory; try {lower}. {done}".rstrip()) from error
