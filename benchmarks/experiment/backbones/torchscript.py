"""Reads the tensors of a TorchScript archive without executing the program that it also holds.

`torch.jit.load` compiles the archive's own code and runs parts of it (`__setstate__`), which may write files. An archive
is a zip file: `data.pkl` describes the modules, `data/N` is the content of storage N, and `code/` the program, of which
only the lists of parameters' and buffers' names are read here, as text.
"""

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


DTYPES = {
    "BFloat16Storage": torch.bfloat16, "BoolStorage": torch.bool, "ByteStorage": torch.uint8, "CharStorage": torch.int8,
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "IntStorage": torch.int32, "LongStorage": torch.int64, "ShortStorage": torch.int16,
}  # fmt: skip
MOST, DEEPEST = 20_000, 30  # modules and their levels; OpenAI's largest model has some hundreds on 7
PROGRAM = 16 * 2**20  # bytes of a part of the program, which may be packed
MODULE = re.compile(r"^class (\w+)\(Module\):\n  __parameters__ = \[(.*?)\]\n  __buffers__ = \[(.*?)\]", re.MULTILINE)


class _Module:
    """Stands for an object of the archive's own classes: keeps what was stored, and has no behaviour."""

    kind = ""

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.stored = state if isinstance(state, dict) else {}


class _Unpickler(pickle._Unpickler):  # Python's own: the one in C reserves memory as a file says
    """Builds tensors, lists, dicts and `_Module`s; refuses every other name."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self.archive, self.root = archive, root
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return type("_Module", (_Module,), {"kind": f"{module}.{name}"})
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *values: _tensor(*values)  # a new one each time: a file may set its attributes
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module == "torch.jit._pickle":  # types of lists, and of what stands in them
            return lambda value, *_: value
        raise pickle.UnpicklingError(f"TorchScript that needs {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        """Returns the content of a storage, one-dimensional."""
        _, dtype, key, _, count = pid
        if key in self.storages:
            return self.storages[key]
        data = bytearray(self.archive.read(f"{self.root}/data/{key}"))
        if not isinstance(dtype, torch.dtype) or len(data) != count * dtype.itemsize:
            raise pickle.UnpicklingError("TorchScript with a storage of another size than it says")
        self.storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self.storages[key]


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (0 not in size and last >= len(storage)):
        raise pickle.UnpicklingError("TorchScript with a tensor outside its storage")
    return storage.as_strided(size, stride, offset)


def read(file: Path) -> dict[str, Tensor]:
    """Returns the parameters and buffers of a TorchScript archive by their names, as its `state_dict()` would.

    Args:
        file: the path of the archive.

    Raises:
        pickle.UnpicklingError: the archive holds other objects than modules and tensors, or is damaged.
        KeyError, zipfile.BadZipFile: a part of the archive is missing or damaged.
    """
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        root = next((name for name in names if name.endswith("/data.pkl")), "").rpartition("/")[0]
        if not root:
            raise pickle.UnpicklingError("TorchScript without data.pkl")
        for part in archive.infolist():
            packed = part.compress_type != zipfile.ZIP_STORED
            if packed and (part.filename.startswith(f"{root}/data") or part.file_size > PROGRAM):
                raise pickle.UnpicklingError(
                    f"TorchScript with {part.filename} packed: torch stores tensors as they are"
                )
        listed = {}
        for name in names:
            if name.startswith(f"{root}/code/") and name.endswith(".py"):
                package = name.removeprefix(f"{root}/code/").removesuffix(".py").replace("/", ".")
                for kind, parameters, buffers in MODULE.findall(archive.read(name).decode()):
                    listed[f"{package}.{kind}"] = set(re.findall(r'"([^"]+)"', f"{parameters} {buffers}"))
        top = _Unpickler(archive, root).load()
    if not isinstance(top, _Module):
        raise pickle.UnpicklingError("TorchScript without a module")
    left = [MOST]
    return dict(_tensors(top, listed, "", left))


def _tensors(
    module: _Module, listed: dict[str, set[str]], prefix: str, left: list[int]
) -> Iterator[tuple[str, Tensor]]:
    left[0] -= 1
    if left[0] < 0 or prefix.count(".") > DEEPEST:
        raise pickle.UnpicklingError(f"TorchScript with more than {MOST} modules, or {DEEPEST} levels of them")
    for name, value in module.stored.items():
        if isinstance(value, _Module):
            yield from _tensors(value, listed, f"{prefix}{name}.", left)
        elif isinstance(value, Tensor) and name in listed.get(module.kind, ()):
            yield f"{prefix}{name}", value
