"""Loads an open_clip model with its tokenizer and image normalisation, from this project, a file, a tag or a folder."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from benchmarks.config import registry
from benchmarks.config.errors import UserError
from benchmarks.experiment.backbones import size, weights
from benchmarks.experiment.backbones.weights import WEIGHTS, Weights
from benchmarks.runtime import files
from benchmarks.runtime.devices import plain_torch
from strategies.clip.weight_matrices import blocks


MICRO = Path(__file__).parents[2] / "micro" / "clip"
VOCABULARY = "vocabulary.txt.gz"
RESIZED = {"interpolation": "bicubic", "resize_mode": "shortest"}  # as `benchmarks.images.decode` does
USUAL: dict[str, Any] = asdict(open_clip.transform.PreprocessCfg())  # of a model that states nothing else
Tokenizer = Callable[[list[str]], Tensor]  # n texts -> (n, L) int64, L the context length


@dataclass(frozen=True)
class Backbone:
    """A CLIP model in float32, with its tokenizer and image normalisation.

    Attributes:
        clip: the open_clip model, on the CPU.
        tokenize: turns a list of n prompts into token ids (n, L) int64.
        size: side of the square input images, in pixels.
        mean, std: three numbers each, for red, green and blue: what is subtracted from images in 0..1, and by what the
            difference is divided.
        sha256: hexadecimal digest of the names and bytes of all weights.
        about: metadata for files of models trained from this one: `model`, `quick_gelu` as `true` or `false`, and
            `preprocessing`, json of `mean`, `std`, `interpolation` and `resize_mode`.
    """

    clip: torch.nn.Module
    tokenize: Tokenizer
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str
    about: dict[str, str]


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
    """The local file that holds the weights, or None where a tag names them.

    Raises:
        UserError: neither a file nor a tag of the model, or a tag of weights with the other activation.
    """
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
    told = open_clip.get_pretrained_cfg(model, pretrained)
    _check_activation(model, None, bool(told.get("quick_gelu")), f"--pretrained {pretrained}")
    return None


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Context in which warnings logged at the root are dropped: open_clip's, that a model has no weights yet.

    Logging there also adds a handler, with which the caller's `logging.basicConfig` would do nothing.
    """
    root, before = logging.getLogger(), logging.root.manager.disable
    handlers = list(root.handlers)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        root.handlers[:] = handlers


def _build(model: str, folder: Path | None) -> torch.nn.Module:
    """The model with random weights.

    Raises:
        UserError: a config that open_clip cannot build or that memory cannot hold, or towers without attention of
            open_clip's own.
    """
    where = f"{folder}/{weights.CONFIG}" if folder else f"--model {model}"
    try:
        config: Any = open_clip.get_model_config(_config_name(model, folder))
        size.check(where, config if isinstance(config, dict) else {})
        with _root_logger_kept():
            clip = open_clip.create_model(_config_name(model, folder), load_weights=False)
    except UserError:
        raise
    except Exception as error:  # open_clip raises many kinds of errors on a wrong file
        raise UserError(f"{where}: not a config that open_clip reads ({weights.line(error)})") from error
    try:
        for tower in ("image", "text"):
            blocks(clip, tower)
    except ValueError as error:
        raise UserError(f"--model {model}: {error}") from error
    return clip


def _config_name(model: str, folder: Path | None) -> str:
    return f"local-dir:{folder}" if folder else model


def image_size(model: str) -> int:
    """Returns the side of a model's square input images, in pixels.

    Args:
        model: `micro`, an open_clip name, or `local-dir:FOLDER`.

    Raises:
        UserError: the model is unknown, its config names no image size, or its images are not square.
    """
    folder = _folder(model)
    try:
        config: Any = open_clip.get_model_config(_config_name(model, folder))
        return _side(model, config["vision_cfg"]["image_size"])
    except UserError:
        raise
    except Exception as error:  # open_clip raises many kinds of errors on a wrong file
        raise UserError(f"--model {model}: its config names no image size ({weights.line(error)})") from error


def _uses_quick_gelu(model: str, folder: Path | None) -> bool:
    return bool((open_clip.get_model_config(_config_name(model, folder)) or {}).get("quick_gelu"))


def _check_activation(model: str, folder: Path | None, trained: bool, where: str) -> None:
    """Raises UserError on a QuickGELU mismatch. open_clip at most warns of it, and results are silently wrong (its
    issue 771).
    """
    if trained == _uses_quick_gelu(model, folder):
        return
    other = f"{model}-quickgelu" if trained else model.removesuffix("-quickgelu")
    right = f"--model {other}"
    if other == model or other not in open_clip.list_models():
        right = f'a --model local-dir:FOLDER with "quick_gelu": {str(trained).lower()} in its {weights.CONFIG}'
    raise UserError(
        f"{where}: the weights were trained {'with' if trained else 'without'} QuickGELU, "
        f"--model {model} is {'without' if trained else 'with'}; take {right}"
    )


def _from_tag(model: str, tag: str) -> Weights:
    """Returns the weights of a tag; the preprocessing that open_clip states for the tag replaces that of a file in
    the cache.
    """
    told = open_clip.get_pretrained_cfg(model, tag)
    found = weights.read(weights.fetch(model, tag))
    # The activation was checked before anything was fetched.
    return replace(found, quick_gelu=None, preprocessing=weights.stated(told))


def _about(model: str, folder: Path | None) -> dict[str, str]:
    """Returns the metadata for files of models trained from this one; of a folder only its name, not its path."""
    name = f"local-dir:{folder.resolve().name}" if folder and folder != MICRO else model
    return {"model": name, "quick_gelu": str(_uses_quick_gelu(model, folder)).lower()}


def _side(model: str, size: Any) -> int:
    """The side of square images, from one number or two equal ones."""
    sides = set(size) if isinstance(size, (list, tuple)) else {size}
    side = sides.pop()
    if not isinstance(side, int) or side < 1:
        raise UserError(f"--model {model}: its image size is {size!r}, expected a number of pixels")
    if sides:
        raise UserError(f"--model {model}: its images are of {size} pixels; only models of square images work here")
    return side


def _check_preprocessing(model: str, config: Mapping[str, Any]) -> None:
    """Raises UserError unless mean and std are three numbers each, std above zero, and images are read and resized as
    here.
    """
    if config["mode"] != "RGB":
        raise UserError(
            f"--model {model}: its mode is {config['mode']}; here images are RGB, so its results would be wrong"
        )
    for name, ours in RESIZED.items():
        if config[name] != ours:
            raise UserError(
                f"--model {model}: its {name} is {config[name]}; here images are resized with {name} {ours}, so its results "
                "would be wrong"
            )
    for name in ("mean", "std"):
        values = config[name]
        whole = isinstance(values, (list, tuple)) and len(values) == 3
        if not whole or not all(
            isinstance(value, (int, float)) and isfinite(value) and (value > 0 or name == "mean") for value in values
        ):
            raise UserError(f"--model {model}: its {name} must be three numbers for the colours, got {values!r}")


def _digest(clip: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(clip.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def make_tokenizer(model: str, folder: Path | None, clip: Any, *, trusted: bool = False) -> Tokenizer:
    """Returns the function that turns a list of n prompts into token ids (n, L) int64, L the context length.

    Args:
        model: the model's open_clip name.
        folder: the folder of a model of one's own; None for open_clip's. If it holds `vocabulary.txt.gz`, this vocabulary
            replaces CLIP's.
        clip: the open_clip model, whose context length is used with such a vocabulary.
        trusted: whether a folder's config may name a Hugging Face tokenizer, which may run code of the folder's.

    Raises:
        UserError: the folder's config names such a tokenizer and is not trusted, or the tokenizer cannot be loaded.
    """
    vocabulary = folder / VOCABULARY if folder else None
    if vocabulary and vocabulary.is_file():
        return open_clip.SimpleTokenizer(str(vocabulary), context_length=clip.context_length)
    if folder and not trusted:
        _check_config_runs_no_code(folder)
    try:
        return open_clip.get_tokenizer(model)
    except Exception as error:  # of transformers, and of the hub's client
        text: Any = (open_clip.get_model_config(_config_name(model, folder)) or {}).get("text_cfg", {})
        raise UserError(
            f"--model {model}: its tokenizer {text.get('hf_tokenizer_name', '')} cannot be loaded ({weights.line(error)}); "
            "install transformers, and fill its cache where there is no network"
        ) from error


def _check_config_runs_no_code(folder: Path) -> None:
    """Raises UserError for a config that names a tokenizer of Hugging Face's, for which transformers may run code."""
    config = files.read_json(folder / weights.CONFIG)
    text = (config.get("model_cfg") or {}).get("text_cfg") or {} if isinstance(config, dict) else {}
    for name in ("hf_tokenizer_name", "tokenizer_kwargs"):
        if text.get(name):
            raise UserError(
                f"--model local-dir:{folder}: its {weights.CONFIG} has {name} {text[name]!r}, a tokenizer of Hugging Face's "
                f"that may run code; give the folder a {VOCABULARY}, or --trust-model-code if you trust it"
            )


@plain_torch()
def load_backbone(model: str, pretrained: str | None, *, trusted: bool = False) -> Backbone:
    """Returns a model with the weights of a tag or file.

    The model's name decides the activation, GELU or QuickGELU. Weights that are known to be trained with the other one
    (see `weights.read`) are refused; many files do not state theirs.

    Args:
        model: `micro`, an open_clip name, or `local-dir:FOLDER` in open_clip's layout.
        pretrained: an open_clip tag, the path of a weights file, or None for the weights in the model's own folder.
        trusted: whether the config of a model's own folder may name a tokenizer that may run code.

    Raises:
        UserError: the model, tag or file is unknown; the weights are damaged, of another architecture or cannot be
            downloaded; the activations differ; a tower is no plain transformer of open_clip.
    """
    folder = _folder(model)
    file = _weights_file(model, folder, pretrained)
    clip = _build(model, folder)
    found = weights.read(file) if file else _from_tag(model, str(pretrained))
    if found.quick_gelu is not None:
        _check_activation(model, folder, found.quick_gelu, f"{found.file} ({found.source})")
    weights.fit(clip, found, model)
    return _with_surroundings(clip, model, folder, found.preprocessing, trusted=trusted)


def files_of(model: str, pretrained: str | None) -> list[Path]:
    """Returns the local files that decide what `load_backbone` returns; weights that a tag names are not among them.

    Args:
        model, pretrained: as for `load_backbone`.

    Raises:
        UserError: the model, tag or file is unknown.
    """
    folder = _folder(model)
    file = _weights_file(model, folder, pretrained)
    found = [*([file] if file else []), *(sorted(folder.iterdir()) if folder else [])]
    return [each for each in found if each.is_file()]


def random_backbone(model: str) -> Backbone:
    """Returns a model by name with random weights, for measurements of speed and memory.

    Args:
        model: `micro`, an open_clip name, or `local-dir:FOLDER`.

    Raises:
        UserError: the model is unknown, or a tower is no plain transformer of open_clip.
    """
    folder = _folder(model)
    return _with_surroundings(_build(model, folder), model, folder, {})


def _with_surroundings(
    clip: Any, model: str, folder: Path | None, preprocessing: dict[str, Any], *, trusted: bool = False
) -> Backbone:
    tokenize = make_tokenizer(model, folder, clip, trusted=trusted)
    return backbone_of(clip, tokenize, model, preprocessing, _about(model, folder))


def backbone_of(
    clip: Any,
    tokenize: Tokenizer,
    model: str,
    preprocessing: Mapping[str, Any] | None = None,
    about: dict[str, str] | None = None,
) -> Backbone:
    """Returns a loaded model as a `Backbone`: with its tokenizer, image size, normalisation and digest. It is not copied.

    Args:
        clip: an open_clip model.
        tokenize: turns a list of n prompts into token ids (n, L) int64.
        model: the model's name, for error messages.
        preprocessing: `mean` and `std` (three numbers each), `interpolation` and `resize_mode`, where they differ from
            those that open_clip states for the model; None if they do not.
        about: metadata for files of models trained from this one: `model`, and `quick_gelu` as `true` or `false`; None
            for no metadata.

    Raises:
        UserError: the mean or std is not three numbers, a std is not above 0, or the model wants images of another
            shape than a square, or resized in another way than this project resizes them.
    """
    config = USUAL | open_clip.get_model_preprocess_cfg(clip) | dict(preprocessing or {})
    size = _side(model, config["size"])
    if size != _side(model, clip.visual.image_size):
        raise UserError(
            f"--model {model}: its images are of {size} pixels by its preprocess_cfg, but not by its model_cfg"
        )
    _check_preprocessing(model, config)
    open_clip.model.set_model_preprocess_cfg(clip, config)
    mean, std = tuple(map(float, config["mean"])), tuple(map(float, config["std"]))
    told = {"mean": mean, "std": std, **{name: config[name] for name in RESIZED}}
    return Backbone(
        clip, tokenize, size, mean, std, _digest(clip), {**(about or {}), "preprocessing": json.dumps(told)}
    )


def tokenize_prompts(tokenize: Tokenizer, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Returns the token ids (K, C, L) int64 of C class names in K templates, L the context length.

    Args:
        tokenize: turns a list of n prompts into token ids (n, L) int64.
        class_names: C names.
        templates: K prompts with one `{}`, which each name replaces.
    """
    # Replaced, not formatted: a class name or template may hold braces.
    return torch.stack([tokenize([template.replace("{}", name) for name in class_names]) for template in templates])
