"""What some methods read besides the tasks' data: reference images and texts, the user's or drawn for the micro CLIP.

With the micro CLIP and nothing named, they are pictures and captions of the kind that it was pretrained on, drawn anew; any
other model wants `--reference-images DIR` (on MTIL: ImageNet's training images) and `--reference-texts FILE` (Conceptual
Captions' validation file), each only for methods that read it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.config.errors import UserError
from benchmarks.config.settings import RunConfig
from benchmarks.images.folders import folders, of_files, pictures, shown
from benchmarks.images.sets import Images, Split


if TYPE_CHECKING:
    from benchmarks.backbones.loading import Backbone
    from benchmarks.images.opener import Opener

MICRO_PAIRS, MICRO_SEED = 2000, 1  # the micro CLIP's own pretraining pairs were drawn with seed 0


@dataclass(frozen=True)
class Reference:
    """What a method reads, each None if it doesn't."""

    images: Split | None = None
    captions: tuple[str, ...] | None = None


def find(config: RunConfig, reads: tuple[str, ...], folder: Path | None, file: Path | None) -> Reference:
    """Lists what is to be read.

    Args:
        reads: any of `images` and `texts`.
        folder, file: of images and of captions; None for the micro CLIP's own.

    Raises:
        UserError: something is to be read and nobody says where it is, or named and not read; an empty folder, or one with
            fewer images than a batch; a file that can't be read or has empty lines.
    """
    for what, place in (("images", folder), ("texts", file)):
        if place is not None and what not in reads:
            raise UserError(
                f"--reference-{what}: {config.common.strategy} reads no {what} besides the tasks'; leave it out"
            )
    images = _images(config, folder) if "images" in reads else None
    captions = _captions(config, file) if "texts" in reads else None
    return Reference(images, captions)


def _images(config: RunConfig, folder: Path | None) -> Split:
    if folder is None and config.common.model == "micro":
        pairs = Images(
            "micro-reference", MICRO_PAIRS, lambda row: _pair(row)[1], "reference picture {}".format, drawn=True
        )
        return _drawn(_whole(pairs), config)
    if folder is None:
        raise UserError(
            f"{config.common.strategy} reads images besides the tasks': name a folder of them with --reference-images "
            "(published on MTIL: ImageNet's training images, 100 000 of them drawn)"
        )
    split = _folder_images(folder)
    if len(split) < config.common.batch_size:
        raise UserError(
            f"--reference-images {folder}: {len(split)} images, fewer than a batch of {config.common.batch_size}; add some"
        )
    return _drawn(split, config)


def _drawn(split: Split, config: RunConfig) -> Split:
    drawn = np.random.default_rng(0).permutation(len(split))[: config.settings.pool]
    return split.take(np.sort(drawn))


def _whole(images: Images) -> Split:
    return Split(images, np.arange(images.count), np.zeros(images.count, dtype=np.int64))


def _folder_images(folder: Path) -> Split:
    """All pictures in a folder and in those below it, sorted folder by folder."""
    if not folder.is_dir():
        wrong = "a file, not a folder" if folder.exists() else "no such folder"
        raise UserError(f"--reference-images {shown(folder)}: {wrong}; expected a folder with pictures in it")
    return _whole(of_files(f"reference-{folder.resolve().name}", list(_below(folder)), folder))


def _below(folder: Path) -> Iterator[Path]:
    yield from pictures(folder)
    for name in folders(folder):
        yield from _below(folder / name)


def _captions(config: RunConfig, file: Path | None) -> tuple[str, ...]:
    """One in each line; what follows a tab (an address, in Conceptual Captions' files) is left out."""
    if file is None:
        if config.common.model == "micro":
            return tuple(dict.fromkeys(_pair(row)[0] for row in range(MICRO_PAIRS)))
        raise UserError(
            f"{config.common.strategy} reads texts besides the tasks': name a file with a caption in each line with "
            "--reference-texts (published on MTIL: Conceptual Captions' Validation_GCC-1.1.0-Validation.tsv)"
        )
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise UserError(
            f"--reference-texts {file}: cannot be read: {reason}; expected a text file with a caption in each line"
        ) from error
    captions = tuple(line.partition("\t")[0].strip() for line in lines)
    if not captions:
        raise UserError(f"--reference-texts {file}: empty; expected a caption in each line")
    if "" in captions:
        raise UserError(f"--reference-texts {file}: line {captions.index('') + 1} has no caption; delete it")
    return captions


@cache
def _pair(row: int) -> tuple[str, Image.Image]:
    from benchmarks.micro.captions import pair

    return pair(row, MICRO_SEED)


def give(reference: Reference, plugin: Any, backbone: "Backbone", opener: "Opener") -> dict[str, str]:
    """Sets `reference_images` and `reference_texts` of a plugin. Returns a checksum of what it gets, empty for nothing."""
    digest = hashlib.sha256()
    if reference.images is not None:
        opener.fill([reference.images])
        plugin.reference_images, found = opener.open(reference.images)
        digest.update(found.tobytes())
    if reference.captions is not None:
        plugin.reference_texts = backbone.tokenize(list(reference.captions))  # (M, L)
        digest.update("\n".join(reference.captions).encode())
    return {"reference_sha256": digest.hexdigest()} if reference != Reference() else {}
