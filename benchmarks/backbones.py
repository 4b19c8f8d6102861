"""Loads an open_clip model with its tokenizer and image normalisation, from the project, a file, a tag or a folder."""

import hashlib
import logging
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import SafetensorError
from torch import Tensor

from benchmarks import registry
from benchmarks.errors import UserError
from strategies.parts.sites import blocks


MICRO = Path(__file__).parent / "micro" / "clip"
WEIGHTS, VOCABULARY = "open_clip_model.safetensors", "vocabulary.txt.gz"


@dataclass(frozen=True)
class Backbone:
    """A CLIP in float32 and what goes with it.

    Attributes:
        clip: the open_clip model, on the CPU.
        tokenize: list of n prompts to (n, L) int64.
        size: side of the square images it reads, in pixels.
        mean, std: of the three channels, for images in 0..1.
        sha256: of the weights, names and bytes.
    """

    clip: torch.nn.Module
    tokenize: Callable[[list[str]], Tensor]
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str


def _folder(model: str) -> Path | None:
    """The folder of a model in open_clip's local-dir layout; None for one of open_clip's own names.

    Raises:
        UserError: no such folder or name (the nearest is offered).
    """
    if model == "micro" or model.startswith("local-dir:"):
        folder = MICRO if model == "micro" else Path(model.removeprefix("local-dir:"))
        if not (folder / "open_clip_config.json").is_file():
            raise UserError(f"--model {model}: {folder} has no open_clip_config.json")
        return folder
    if model not in open_clip.list_models():
        near = registry.nearest(model, open_clip.list_models())
        raise UserError(f'--model: open_clip has no model "{model}"{near}; or: micro, local-dir:FOLDER')
    return None


def _weights_file(model: str, folder: Path | None, pretrained: str | None) -> Path | None:
    """The local file that holds the weights, or None where a tag names them."""
    if pretrained is not None and Path(pretrained).is_file():
        return Path(pretrained)
    if folder:
        if pretrained is not None:
            raise UserError(f"--pretrained {pretrained}: no such file")
        return folder / WEIGHTS
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained is None:
        raise UserError(
            f"--model {model}: needs --pretrained with a weights file or a tag; its tags: {', '.join(tags)}"
        )
    if pretrained not in tags:
        raise UserError(f"--pretrained {pretrained}: no such file, and no tag of {model}; its tags: {', '.join(tags)}")
    return None


def _from_file(model: str, folder: Path | None, file: Path) -> torch.nn.Module:
    """The model with the weights of a file: safetensors, or a checkpoint that torch reads without unpickling code."""
    try:
        clip = open_clip.create_model(f"local-dir:{folder}" if folder else model, load_weights=False)
    except Exception as error:  # whatever open_clip makes of somebody's file
        where = f"{folder}/open_clip_config.json" if folder else f"--model {model}"
        raise UserError(f"{where}: not a config that open_clip reads ({_line(error)})") from error
    try:
        open_clip.load_checkpoint(clip, str(file), weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such weights file") from error
    except (SafetensorError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{file}: damaged or no weights file ({_line(error)})") from error
    except pickle.UnpicklingError as error:
        raise UserError(f"{file}: damaged, or a pickle of more than tensors, which is not loaded") from error
    except Exception as error:  # whatever open_clip makes of tensors that are no state dict, or another model's
        raise UserError(f"{file}: not the weights of {model} ({_line(error)})") from error
    return clip


def _from_tag(model: str, tag: str) -> torch.nn.Module:
    _check_activation(model, tag)
    try:
        return open_clip.create_model(model, pretrained=tag)
    except RuntimeError as error:
        raise UserError(f"--model {model} --pretrained {tag}: {_line(error)}; or give a weights file") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _check_activation(model: str, tag: str) -> None:
    """open_clip only warns of this mismatch, and the figures are wrong without a word (open_clip issue 771)."""
    weights = bool(open_clip.get_pretrained_cfg(model, tag).get("quick_gelu"))
    config = bool((open_clip.get_model_config(model) or {}).get("quick_gelu"))
    if weights != config:
        right = f"{model}-quickgelu" if weights else model.removesuffix("-quickgelu")
        raise UserError(
            f"--model {model} --pretrained {tag}: the weights were trained {'with' if weights else 'without'} QuickGELU, "
            f"the model is {'with' if config else 'without'}; take --model {right}"
        )


def _digest(clip: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(clip.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def make_tokenizer(model: str, folder: Path | None, clip: Any) -> Callable[[list[str]], Tensor]:
    """CLIP's tokenizer; with a vocabulary of its own where the model's folder has one."""
    vocabulary = folder / VOCABULARY if folder else None
    if vocabulary and vocabulary.is_file():
        return open_clip.SimpleTokenizer(str(vocabulary), context_length=clip.context_length)
    return open_clip.get_tokenizer(model)


def load_backbone(model: str, pretrained: str | None) -> Backbone:
    """A model by name with weights by tag or file.

    Args:
        model: `micro`, an open_clip name, or `local-dir:FOLDER` in open_clip's layout.
        pretrained: a tag, a file, or None for the weights that lie in the model's own folder.

    Raises:
        UserError: unknown model, tag or file; damaged weights; weights of another architecture; a QuickGELU mismatch; a
            tag whose weights cannot be fetched; towers without attention of open_clip's own.
    """
    logging.getLogger().setLevel(logging.ERROR)  # open_clip reports on the root logger that weights are loaded later
    folder = _folder(model)
    file = _weights_file(model, folder, pretrained)
    clip = _from_file(model, folder, file) if file else _from_tag(model, str(pretrained))
    try:
        for tower in ("image", "text"):
            blocks(clip, tower)
    except ValueError as error:
        raise UserError(f"--model {model}: {error}") from error
    config: Any = open_clip.get_model_preprocess_cfg(clip)
    size = config["size"][0] if isinstance(config["size"], (tuple, list)) else config["size"]
    tokenize = make_tokenizer(model, folder, clip)
    return Backbone(clip, tokenize, size, tuple(config["mean"]), tuple(config["std"]), _digest(clip))


def tokenize_prompts(backbone: Backbone, class_names: tuple[str, ...], templates: tuple[str, ...]) -> Tensor:
    """(K templates, C classes, L) int64."""
    # Replaced, not formatted: a class name or template may hold braces.
    return torch.stack(
        [backbone.tokenize([template.replace("{}", name) for name in class_names]) for template in templates]
    )
