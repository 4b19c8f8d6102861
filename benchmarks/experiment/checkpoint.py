"""The files of a run that hold tensors: the checkpoint from which it can be resumed, and the merged model at its
end.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import xxhash
from safetensors import SafetensorError, safe_open
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.config.settings import FREE
from benchmarks.runs.record import RunRecord
from benchmarks.runs.write import CHECKPOINT, METHOD, MODEL
from benchmarks.runtime import files


# What reading a damaged checkpoint raises.
DAMAGED = (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError)

# Entries of a file's metadata: the digest of its own tensors, and beside a model that of what its method stores.
DIGEST, METHOD_DIGEST = "digest", "method_digest"


def save_checkpoint(
    path: Path,
    model: dict[str, Tensor],
    strategy: dict[str, Tensor],
    record: RunRecord,
    settings: Mapping[str, Any],
) -> None:
    """Writes all that is needed to resume a run into one file of its folder.

    It replaces an earlier checkpoint only once it is complete, so an interruption leaves the earlier one.

    Args:
        path: the run folder.
        model: state dict of the open_clip model.
        strategy: state dict of the method's plugin.
        record: everything measured so far: accuracies, tables of the measurements and costs.
        settings: all settings of the run, so that no other run takes the checkpoint for its own.

    Raises:
        UserError: the file cannot be written.
    """
    tensors = together(model, strategy)
    metadata = {"progress": json.dumps(record.as_json(), allow_nan=False), "settings": _of(settings)}
    files.write_bytes(path / CHECKPOINT, pack(tensors, metadata))


def states(path: Path) -> int:
    """Returns how many states the checkpoint in a run folder holds: evaluations, one more than tasks learned; 0 without
    a checkpoint.

    No tensors are read.

    Args:
        path: the run folder.

    Raises:
        UserError: the file is damaged; the message names it.
    """
    files.check_readable(file := path / CHECKPOINT)
    if not file.exists():
        return 0
    try:
        with safe_open(file, framework="pt") as opened:
            return _record(opened).states
    except DAMAGED as error:
        raise _damaged(file) from error


def _record(opened: Any) -> RunRecord:
    return RunRecord.from_json(json.loads(opened.metadata()["progress"]))


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns the tensors of a safetensors file by their names, on the CPU, and its metadata.

    Args:
        file: the file.

    Raises:
        UserError: it is missing or damaged, or holds other tensors than `pack` put there.
    """
    files.check_readable(file)
    try:
        with safe_open(file, framework="pt") as opened:
            tensors, metadata = _all(opened), opened.metadata() or {}
    except DAMAGED as error:
        raise UserError(f"{file}: missing or damaged; it should hold tensors of the run") from error
    _check_digest(file, tensors, metadata, "")
    return tensors, metadata


def _all(opened: Any) -> dict[str, Tensor]:
    return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)


def _check_digest(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], advice: str) -> None:
    """Raises UserError if a file's tensors are others than were written; versions before 0.4 wrote no digest."""
    if metadata.get(DIGEST) not in (None, digest(tensors)):
        raise UserError(f"{file}: damaged: it holds other tensors than were written{advice}")


def _damaged(file: Path) -> UserError:
    return UserError(f"{file}: damaged checkpoint, or of another version; move the folder away to start anew")


def load_checkpoint(
    path: Path, settings: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Tensor], RunRecord] | None:
    """Returns what `save_checkpoint` wrote into a run folder; None if it has no checkpoint.

    Args:
        path: the run folder.
        settings: all settings of the run.

    Returns:
        The state dict of the open_clip model, that of the method's plugin, and the record of everything measured.

    Raises:
        UserError: the file is damaged, or of a run with other settings; the message names it.
    """
    files.check_readable(file := path / CHECKPOINT)
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            record, metadata, tensors = _record(opened), opened.metadata(), _all(opened)
    except DAMAGED as error:
        raise _damaged(file) from error
    _check_digest(file, tensors, metadata, "; move the folder away to start anew")
    of = metadata.get("settings")
    if of is not None and of != _of(settings):
        raise UserError(f"{file}: the checkpoint of a run with other settings; move the folder away to start anew")
    return *apart(tensors), record


def _of(settings: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in settings.items() if name not in ("device", FREE)}
    return json.dumps(kept, sort_keys=True, default=str)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Returns a digest, in hexadecimal, of tensors with their names, types and shapes.

    Args:
        tensors: the tensors by name, on any device.
    """
    found = xxhash.xxh3_128()
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        found.update(f"{name} {plain.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(plain.view(torch.uint8).numpy().data)
    return found.hexdigest()


def together(model: Mapping[str, Tensor], strategy: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of a state as one dict, by names such as `model.logit_scale` and `strategy.0.basis`.

    Args:
        model: state dict of the open_clip model.
        strategy: state dict of the method's plugin.
    """
    found = {f"model.{name}": tensor for name, tensor in model.items()}
    return found | {f"strategy.{name}": tensor for name, tensor in strategy.items()}


def apart(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the state dicts of the open_clip model and of the method's plugin.

    Args:
        tensors: what `together` returned.
    """
    return _below("model.", tensors), _below("strategy.", tensors)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save_model(path: Path, model: dict[str, Tensor], strategy: dict[str, Tensor], about: dict[str, str]) -> None:
    """Writes the merged model into the folder `path` as plain open_clip weights, `model.safetensors`, and what the method
    stores besides, if it stores anything, as `method.safetensors`.

    Args:
        path: the run folder.
        model: state dict of the open_clip model.
        strategy: state dict of the method's plugin.
        about: metadata of the file: `model`, the model's name, `quick_gelu`, `true` or `false`, and `preprocessing`, json.

    Raises:
        UserError: a file cannot be written.
    """
    if strategy:
        files.write_bytes(path / METHOD, pack(strategy))
    files.write_bytes(path / MODEL, pack(model, about | {METHOD_DIGEST: digest(strategy)}))


def read_model(path: Path) -> dict[str, Tensor]:
    """Returns what `save_model` wrote into a run folder, as one dict as of `together`.

    Args:
        path: the run folder.

    Raises:
        UserError: a file is missing or damaged, or the two do not belong together.
    """
    model, metadata = read_tensors(path / MODEL)
    stored = read_tensors(path / METHOD)[0] if (path / METHOD).is_file() else {}
    if metadata.get(METHOD_DIGEST) not in (None, digest(stored)):  # versions before 0.4 wrote none
        raise UserError(f"{path / METHOD}: missing, or not what belongs to {MODEL} beside it")
    return together(model, stored)


def pack(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Returns the bytes of a safetensors file, with a digest of the tensors. Equal tensors and metadata give equal bytes.

    Args:
        tensors: the tensors by name; they are copied to the CPU, and no two may share memory.
        metadata: texts by name, which the file's header holds besides.
    """
    owned = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return _in_order(safetensors.torch.save(owned, (metadata or {}) | {DIGEST: digest(owned)}))


def _in_order(packed: bytes) -> bytes:
    """Returns a safetensors file with its metadata sorted: the library's order varies, and equal runs should give equal
    files.
    """
    end = 8 + int.from_bytes(packed[:8], "little")
    header = json.loads(packed[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors' bytes stay aligned
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(packed)[end:]])
