"""Weight files: downloads, reads without executing code, detects the activation, and copies weights into a model."""

import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from huggingface_hub import constants, get_session
from open_clip.model import convert_to_custom_text_state_dict
from safetensors import safe_open
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.experiment.backbones import torchscript
from benchmarks.runtime import files


WEIGHTS = "open_clip_model.safetensors"  # the file's name on the Hugging Face hub and in a folder in open_clip's layout
CONFIG, CONFIG_PARTS = "open_clip_config.json", ("model_cfg", "preprocess_cfg")
PREPROCESSING = ("mode", "mean", "std", "interpolation", "resize_mode")
WRAPPERS = ("module.", "_orig_mod.", "model.")  # before all names: of several GPUs, torch.compile, an outer module
OPENAI_EXTRAS = {"input_resolution", "context_length", "vocab_size"}  # entries of OpenAI's files that are no parameters


@dataclass(frozen=True)
class Weights:
    """The content of a weights file.

    Attributes:
        file: the path of the file.
        tensors: the weights by their names in open_clip.
        quick_gelu: whether they were trained with QuickGELU; None if unknown.
        source: in words, where `quick_gelu` was read, for an error message; empty if unknown.
        preprocessing: what is stated of how images are prepared, by the keys in `PREPROCESSING`: in the metadata of this
            project's own models, else in open_clip_config.json in the same folder.
    """

    file: Path
    tensors: dict[str, Tensor]
    quick_gelu: bool | None = None
    source: str = ""
    preprocessing: dict[str, Any] = field(default_factory=dict)


def read(file: Path) -> Weights:
    """Returns the weights of a file, without executing code in it.

    It may be a safetensors file, an open_clip training checkpoint, a plain state dict, or OpenAI's archive. Whether the
    weights were trained with QuickGELU is known from the metadata of this project's own models, else from entries that
    only OpenAI's files have (all trained with QuickGELU), else from open_clip_config.json in the same folder, else not
    at all.

    Args:
        file: the path of the file.

    Raises:
        UserError: the file is missing, damaged, a pickle of more than tensors or no state dict, or the config next to
            it is damaged.
    """
    entries, metadata = _entries(file)
    config = _config_beside(file)
    quick_gelu, source = _activation(file, entries, metadata, config)
    preprocessing = _preprocessing(file, metadata) or config.get("preprocess_cfg", {})
    return Weights(file, _state_dict(file, entries), quick_gelu, source, stated(preprocessing))


def stated(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those entries of a preprocessing config that belong to the weights and not to the architecture.

    An entry that is null states nothing, as for open_clip. Its `fill_color` is left out: it fills what lies around images
    that are resized to their longest side, which are refused.

    Args:
        preprocessing: a `preprocess_cfg` of open_clip's, or the config of a pretrained tag.
    """
    return {name: preprocessing[name] for name in PREPROCESSING if preprocessing.get(name) is not None}


def _preprocessing(file: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Returns the preprocessing that this project wrote into a file's metadata; empty if there is none."""
    try:
        found = json.loads(metadata.get("preprocessing", "{}"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{file}: damaged metadata, its preprocessing is no mapping")
    return found


def _entries(file: Path) -> tuple[Any, dict[str, str]]:
    """Returns the content of the file, with the metadata of a safetensors file."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
                return tensors, opened.metadata() or {}
        found = (
            torchscript.read(file) if _is_torchscript(file) else torch.load(file, map_location="cpu", weights_only=True)
        )
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such weights file") from error
    except pickle.UnpicklingError as error:
        raise UserError(f"{file}: damaged, or a pickle of more than tensors, which is not loaded") from error
    except Exception as error:  # torch and safetensors raise many kinds of errors on wrong bytes
        why = f"{type(error).__name__}: {line(error)}"
        raise UserError(f"{file}: damaged, or no weights file ({why})") from error
    if isinstance(found, dict) and "state_dict" in found:
        found = found["state_dict"]
    return found, {}


def _is_torchscript(file: Path) -> bool:
    """Returns whether a file is TorchScript: torch's two formats are both zip archives, but only TorchScript's has
    constants.
    """
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _config_beside(file: Path) -> dict[str, Any]:
    """The open_clip_config.json in the file's folder; empty where there is none."""
    place = file.parent / CONFIG
    config = files.read_json(place) if place.is_file() else {}
    if not isinstance(config, dict) or not all(isinstance(config.get(part, {}), dict) for part in CONFIG_PARTS):
        raise UserError(f"{place}: no config of open_clip's; mend it or move it away from {file.name}")
    return config


def _activation(file: Path, entries: Any, metadata: dict[str, str], config: dict[str, Any]) -> tuple[bool | None, str]:
    if "quick_gelu" in metadata:
        return metadata["quick_gelu"] == "true", f"its metadata, written for {metadata.get('model', 'some model')}"
    if isinstance(entries, dict) and OPENAI_EXTRAS & entries.keys():
        return True, "its format is OpenAI's own"
    if "model_cfg" in config:
        return bool(config["model_cfg"].get("quick_gelu")), str(file.parent / CONFIG)
    return None, ""


def _state_dict(file: Path, entries: Any) -> dict[str, Tensor]:
    tensors = (
        {name: it for name, it in entries.items() if name not in OPENAI_EXTRAS} if isinstance(entries, dict) else {}
    )
    if not tensors or not all(isinstance(name, str) and isinstance(it, Tensor) for name, it in tensors.items()):
        raise UserError(f"{file}: not the weights of a CLIP: it holds no tensors by name")
    while prefix := next((each for each in WRAPPERS if all(name.startswith(each) for name in tensors)), ""):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def fit(clip: torch.nn.Module, weights: Weights, model: str) -> None:
    """Copies the weights into a model of the same architecture, in the model's precision.

    Position embeddings of another size are refused, whereas open_clip's own loading would interpolate them silently.

    Args:
        clip: the open_clip model, changed in place.
        weights: the content of a weights file.
        model: the model's name, for messages.

    Raises:
        UserError: the architecture differs (the message names the first such tensor), or a weight is not finite.
    """
    tensors, wanted = weights.tensors, clip.state_dict()
    if "positional_embedding" in tensors and "positional_embedding" not in wanted:
        tensors = convert_to_custom_text_state_dict(tensors)  # names in newer classes of open_clip
    for name in {"logit_scale", "logit_bias"} & tensors.keys() & wanted.keys():
        if tensors[name].numel() == 1:  # a scalar in some files, a vector of length 1 in others
            tensors = {**tensors, name: tensors[name].reshape(wanted[name].shape)}
    names = [name for name in [*wanted, *tensors] if _shape(wanted, name) != _shape(tensors, name)]
    if names:
        resized = all(name.endswith("positional_embedding") for name in names)
        why = " (made for another image size or prompt length; positions are not resized)" if resized else ""
        raise UserError(
            f"{weights.file}: not the weights of {model}: {names[0]} is {_shape(tensors, names[0])} in the file, "
            f"{_shape(wanted, names[0])} in the model{why}"
        )
    for name, tensor in tensors.items():
        if (
            tensor.layout != torch.strided
            or tensor.is_quantized
            or tensor.is_meta
            or tensor.is_complex()
            or not tensor.isfinite().all()
        ):
            raise UserError(f"{weights.file}: {name} does not hold finite numbers; the file is damaged")
        if tensor.is_floating_point() != wanted[name].is_floating_point():
            raise UserError(
                f"{weights.file}: {name} is {tensor.dtype}, expected {wanted[name].dtype}; no weights of {model}"
            )
    clip.load_state_dict(tensors)


def _shape(tensors: dict[str, Tensor], name: str) -> str:
    if name not in tensors:
        return "absent"
    return " x ".join(map(str, tensors[name].shape)) or "a number"


def fetch(model: str, tag: str) -> Path:
    """Returns the path of the weights file of one of open_clip's pretrained tags.

    The file is downloaded from where open_clip lists it, unless it is in the local cache of earlier downloads.

    Args:
        model: an open_clip name.
        tag: one of the model's pretrained tags.

    Raises:
        UserError: the file cannot be downloaded; the message says which file to get, and where.
    """
    told = open_clip.get_pretrained_cfg(model, tag)
    trouble = _hub_trouble()
    try:
        with _hub_offline(bool(trouble)):
            return Path(open_clip.download_pretrained(told))
    except Exception as error:  # the hub's client and its HTTP library raise different errors by version
        raise UserError(
            f"--model {model} --pretrained {tag}: not in the cache, and cannot be fetched "
            f"({trouble or line(error)}); {_how_to_get(told)}"
        ) from error


def _how_to_get(told: dict[str, Any]) -> str:
    """Returns advice for a machine without network: which file to copy, and from where."""
    *repository, name = told.get("hf_hub", "/").split("/")
    wanted = name or f"{WEIGHTS} (or, where there is none, open_clip_pytorch_model.bin)"
    places = [f"{wanted} and {CONFIG} of https://huggingface.co/{'/'.join(repository)}"] if any(repository) else []
    places += [told["url"]] if told.get("url") else []
    return f"get {', or '.join(places)}, into a folder, and give --pretrained FOLDER/FILE"


def _hub_trouble() -> str:
    """Returns why the hub cannot be reached; empty if it can.

    One request is sent first, because the hub's client would try six times for each of two file names: 47 s without
    network.
    """
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # the HTTP library raises different errors by version
        return f"{constants.ENDPOINT}: {line(error)}"
    return ""


@contextmanager
def _hub_offline(offline: bool) -> Iterator[None]:
    """Makes the hub's client use only its cache."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = offline or before
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def line(error: BaseException) -> str:
    """Returns an error's message on one line, cut after 300 characters."""
    return " ".join(str(error).split())[:300]
