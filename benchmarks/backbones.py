"""Loads an open_clip model with its tokenizer and image normalisation, from the project, a file, a tag or a folder."""

import hashlib
import logging
import pickle
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
WEIGHTS = "open_clip_model.safetensors"


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
    """The folder of a model that is not one of open_clip's own names."""
    if model == "micro":
        return MICRO
    return Path(model.removeprefix("local-dir:")) if model.startswith("local-dir:") else None


def _create(model: str, pretrained: str | None) -> torch.nn.Module:
    """The model with open_clip's own weights of a tag, or without weights where they come from a file."""
    if folder := _folder(model):
        if not (folder / "open_clip_config.json").is_file():
            raise UserError(f"--model {model}: {folder} has no open_clip_config.json")
        return open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    if model not in open_clip.list_models():
        near = registry.nearest(model, open_clip.list_models())
        raise UserError(f'--model: open_clip has no model "{model}"{near}; or: micro, local-dir:FOLDER')
    if pretrained is None or Path(pretrained).is_file():
        return open_clip.create_model(model, load_weights=False)
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained not in tags:
        raise UserError(f"--pretrained {pretrained}: no such file, and no tag of {model}; its tags: {', '.join(tags)}")
    _check_activation(model, pretrained)
    try:
        return open_clip.create_model(model, pretrained=pretrained)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"--model {model} --pretrained {pretrained}: {reason}; or give a weights file") from error


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


def _weights_file(model: str, pretrained: str | None) -> Path | None:
    """The local file that holds the weights, or None where a tag names them."""
    folder = _folder(model)
    if pretrained is not None and Path(pretrained).is_file():
        return Path(pretrained)
    if folder is None and pretrained is None:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise UserError(f"--model {model}: needs --pretrained with a weights file or a tag; its tags: {tags}")
    if folder is not None and pretrained is not None:
        raise UserError(f"--pretrained {pretrained}: no such file")
    return folder / WEIGHTS if folder else None


def _load(clip: torch.nn.Module, file: Path, model: str) -> None:
    """Safetensors, or a checkpoint that torch reads without unpickling code."""
    try:
        open_clip.load_checkpoint(clip, str(file), weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such weights file") from error
    except (SafetensorError, EOFError, OSError) as error:
        raise UserError(f"{file}: damaged or no weights file ({str(error).splitlines()[0]})") from error
    except pickle.UnpicklingError as error:
        raise UserError(f"{file}: damaged, or a pickle of more than tensors, which is not loaded") from error
    except (RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"{file}: not the weights of {model} ({' '.join(str(error).split())[:200]})") from error


def _digest(clip: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(clip.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _tokenizer(model: str, clip: Any) -> Callable[[list[str]], Tensor]:
    if model == "micro":
        return open_clip.SimpleTokenizer(str(MICRO / "vocabulary.txt.gz"), context_length=clip.context_length)
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
    file = _weights_file(model, pretrained) if _folder(model) or model in open_clip.list_models() else None
    clip = _create(model, pretrained)
    if file:
        _load(clip, file, model)
    for tower in ("image", "text"):
        try:
            blocks(clip, tower)
        except ValueError as error:
            raise UserError(f"--model {model}: {error}") from error
    config: Any = open_clip.get_model_preprocess_cfg(clip)
    size = config["size"][0] if isinstance(config["size"], (tuple, list)) else config["size"]
    return Backbone(clip, _tokenizer(model, clip), size, tuple(config["mean"]), tuple(config["std"]), _digest(clip))


def tokenize_prompts(backbone: Backbone, class_names: tuple[str, ...], templates: tuple[str, ...]) -> Tensor:
    """(K templates, C classes, L) int64."""
    # Replaced, not formatted: a class name or template may hold braces.
    return torch.stack(
        [backbone.tokenize([template.replace("{}", name) for name in class_names]) for template in templates]
    )
