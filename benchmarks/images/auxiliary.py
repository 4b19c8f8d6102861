"""Auxiliary images and texts, which some methods read besides the tasks' data: the user's, or drawn for the micro CLIP.

For the micro CLIP (this project's own small CLIP), if none are given, they are new images and captions from the
distribution that it was pretrained on. Any other model needs `--reference-images DIR` (on MTIL: ImageNet's training
images) and `--reference-texts FILE` (Conceptual Captions' validation file), each only for methods that read it.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.images.folders import folders, of_files, others, pictures, say_passed_over, shown
from benchmarks.images.opener import Opener
from benchmarks.images.sets import Images, Split
from benchmarks.micro.captions import pair


MICRO_PAIRS, MICRO_SEED = 2000, 1  # the micro CLIP's own pretraining pairs were drawn with seed 0


@dataclass(frozen=True)
class Auxiliary:
    """The data that a method reads besides those of the tasks, for instance for distillation.

    Attributes:
        images: the auxiliary images, with labels that mean nothing; None if the method reads none.
        captions: the auxiliary texts; None if the method reads none.
    """

    images: Split | None = None
    captions: tuple[str, ...] | None = None


def find(
    reads: Sequence[str],
    folder: Path | None,
    file: Path | None,
    *,
    method: str,
    drawn: bool,
    pool: int,
    batch_size: int,
) -> Auxiliary:
    """Returns the auxiliary data that a method reads besides those of the tasks; images are not decoded yet.

    Args:
        reads: what the method reads, any of `images` and `texts`.
        folder: the folder of images, also in its subfolders; None if not given.
        file: the file of captions, one in each line; None if not given.
        method: the method's name, for messages.
        drawn: whether the model is the micro CLIP, for which up to 2000 images or captions from its pretraining
            distribution are generated where none are given.
        pool: maximal number of images; of more, so many are drawn at random with a fixed seed.
        batch_size: images in a step; the folder must have at least as many.

    Raises:
        UserError: data that the method reads are not given, or data are given that it does not read; the folder has
            fewer images than a batch; the file cannot be read or has empty lines.
    """
    for what, place in (("images", folder), ("texts", file)):
        if place is not None and what not in reads:
            raise UserError(f"--reference-{what}: {method} reads no {what} besides the tasks'; leave it out")
    images = _pool(_images(folder, method, drawn, batch_size), pool) if "images" in reads else None
    return Auxiliary(images, _captions(file, method, drawn) if "texts" in reads else None)


def _images(folder: Path | None, method: str, drawn: bool, batch_size: int) -> Split:
    if folder is None and drawn:
        return _whole(
            Images("micro-reference", MICRO_PAIRS, lambda row: _pair(row)[1], "reference picture {}".format, drawn=True)
        )
    if folder is None:
        raise UserError(
            f"{method} reads images besides the tasks': name a folder of them with --reference-images "
            "(published on MTIL: ImageNet's training images, 100 000 of them drawn)"
        )
    split = _folder_images(folder)
    if len(split) < batch_size:
        raise UserError(
            f"--reference-images {folder}: {len(split)} images, fewer than a batch of {batch_size}; add some"
        )
    return split


def _pool(split: Split, pool: int) -> Split:
    drawn = np.random.default_rng(0).permutation(len(split))[:pool]
    return split.take(np.sort(drawn))


def _whole(images: Images) -> Split:
    return Split(images, np.arange(images.count), np.zeros(images.count, dtype=np.int64))


def _folder_images(folder: Path) -> Split:
    """Returns all images in a folder and its subfolders, sorted folder by folder; a line says what else is there."""
    if not folder.is_dir():
        wrong = "a file, not a folder" if folder.exists() else "no such folder"
        raise UserError(f"--reference-images {shown(folder)}: {wrong}; expected a folder with pictures in it")
    over: list[Path] = []
    files = list(_below(folder, over))
    say_passed_over(folder, over)
    return _whole(of_files(f"reference-{folder.resolve().name}", files, folder))


def _below(folder: Path, over: list[Path]) -> Iterator[Path]:
    """Yields the image files in a folder and its subfolders; what else is there is appended to `over`."""
    yield from pictures(folder)
    below = folders(folder)
    over += [path for path in others(folder) if path.name not in below]
    for name in below:
        yield from _below(folder / name, over)


def _captions(file: Path | None, method: str, drawn: bool) -> tuple[str, ...]:
    """Returns one caption for each line; what follows a tab (a URL, in Conceptual Captions' files) is ignored."""
    if file is None:
        if drawn:
            return tuple(dict.fromkeys(_pair(row)[0] for row in range(MICRO_PAIRS)))
        raise UserError(
            f"{method} reads texts besides the tasks': name a file with a caption in each line with "
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
    return pair(row, MICRO_SEED)


def give(found: Auxiliary, plugin: Any, tokenize: Callable[[list[str]], Tensor], opener: Opener) -> dict[str, str]:
    """Gives a method its auxiliary data, as decoded images and token ids, and returns their digest for `run.json`.

    It sets the plugin's `reference_images` to N images (3, S, S) uint8 and `reference_texts` to token ids (M, L), each
    only if found. The result has one key, `reference_sha256`, with a hexadecimal SHA-256 of images and captions; without
    auxiliary data it is an empty dict.

    Args:
        found: the auxiliary data of the method.
        plugin: the method's `StrategyPlugin`.
        tokenize: turns a list of n captions into token ids (n, L) int64.
        opener: decodes the images, at the model's input size S.

    Raises:
        UserError: an image cannot be read, or there is too little space for the cache.
    """
    digest = hashlib.sha256()
    if found.images is not None:
        opener.fill([found.images])
        plugin.reference_images, pixels = opener.open(found.images)
        digest.update(pixels.tobytes())
    if found.captions is not None:
        plugin.reference_texts = tokenize(list(found.captions))  # (M, L)
        digest.update("\n".join(found.captions).encode())
    return {"reference_sha256": digest.hexdigest()} if found != Auxiliary() else {}
