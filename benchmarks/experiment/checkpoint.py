"""The files of a run that hold tensors: the checkpoint that it goes on from, and the merged model at its end."""

import json
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.runs.record import RunRecord
from benchmarks.runs.write import CHECKPOINT, MODEL
from benchmarks.runtime import files


def save_checkpoint(path: Path, model: dict[str, Tensor], strategy: dict[str, Tensor], record: RunRecord) -> None:
    """Writes one file with all that a run needs to go on, so that it can only be whole or absent."""
    tensors = {f"model.{name}": tensor for name, tensor in model.items()}
    tensors |= {f"strategy.{name}": tensor for name, tensor in strategy.items()}
    metadata = {"progress": json.dumps(record.as_json(), allow_nan=False)}
    files.write_bytes(path / CHECKPOINT, pack(tensors, metadata))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], RunRecord] | None:
    """The model's tensors, the strategy's, and what was measured; None where the run has not begun.

    Raises:
        UserError: damaged, naming the file.
    """
    file = path / CHECKPOINT
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            record = RunRecord.from_json(json.loads(opened.metadata()["progress"]))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: damaged checkpoint, or of another version; move the folder away to start anew"
        ) from error
    return _below("model.", tensors), _below("strategy.", tensors), record


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def save_model(path: Path, model: dict[str, Tensor], about: dict[str, str]) -> None:
    """The merged model as plain open_clip weights; the metadata says of what model, and with which activation."""
    files.write_bytes(path / MODEL, pack(model, about))


def pack(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file. Contiguous and on the CPU, as the format wants them; tensors must not share memory."""
    owned = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    packed = safetensors.torch.save(owned, metadata)
    return _in_order(packed) if metadata and len(metadata) > 1 else packed


def _in_order(packed: bytes) -> bytes:
    """A safetensors file with its metadata sorted: the library's order changes, and equal runs are to be equal files."""
    end = 8 + int.from_bytes(packed[:8], "little")
    header = json.loads(packed[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors' bytes stay aligned
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(packed)[end:]])
