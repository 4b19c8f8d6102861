"""The loader reads what the sampler names, whatever the number of threads; augmentation is a function of seed and place."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import RandomSampler
from torchvision.transforms import RandomResizedCrop

from benchmarks.images.augment import RATIO, SCALE, Cropped, crop_box
from strategies.training.experiences import LabelledImages, make_benchmark
from strategies.training.loader import Loader, draw
from tests.benchmarks.images.test_cache import pictures
from tests.models import tiny_images


def batches(data: Any, threads: int, size: int = 4, count: int = 23, pin: bool = False) -> list[list[torch.Tensor]]:
    sampler = RandomSampler(data, num_samples=count, generator=torch.Generator().manual_seed(3))
    return list(Loader(data, sampler, size, seed=5, threads=threads, pin=pin))


def test_the_batches_are_the_samplers_in_order(device: torch.device) -> None:
    plain = tiny_images(3)
    data = make_benchmark([plain]).train_stream[0].dataset
    wanted = list(RandomSampler(plain, num_samples=23, generator=torch.Generator().manual_seed(3)))
    for threads in (1, 3, 8):
        found = batches(data, threads, pin=device.type == "cuda")
        assert all(tensor.is_pinned() == (device.type == "cuda") for batch in found for tensor in batch)
        assert [len(x) for x, _, _ in found] == [4, 4, 4, 4, 4, 3]
        assert torch.equal(torch.cat([x for x, _, _ in found]), torch.stack([plain[i][0] for i in wanted]))
        assert torch.cat([y for _, y, _ in found]).tolist() == [plain.targets[i] for i in wanted]
        assert set(torch.cat([t for _, _, t in found]).tolist()) == {0}


def test_a_bad_image_reaches_the_caller() -> None:
    class Broken(LabelledImages):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            raise ValueError("broken")

    plain = tiny_images(3)
    data = make_benchmark([Broken(plain.images, torch.tensor(plain.targets))]).train_stream[0].dataset
    with pytest.raises(ValueError, match="broken"):
        batches(data, 2)


def test_crops_are_a_function_of_seed_and_place_and_not_of_the_threads(tmp_path: Path) -> None:
    split = pictures(tmp_path / "pictures")
    labelled = LabelledImages(Cropped(split, 24), torch.from_numpy(split.labels))
    data = make_benchmark([labelled]).train_stream[0].dataset
    found = [torch.cat([x for x, _, _ in batches(data, threads)]) for threads in (1, 2, 5)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    cropped = Cropped(split, 24)
    before = draw.set((1, 1))
    first, again = cropped.one(4), cropped.one(4)
    draw.set((1, 2))
    assert torch.equal(first, again) and not torch.equal(first, cropped.one(4))
    draw.reset(before)


def test_crop_boxes_are_distributed_as_torchvisions() -> None:
    """Against RandomResizedCrop.get_params itself: means of all four figures over many draws, and the allowed range."""
    from PIL import Image

    width, height, count = 300, 200, 4000
    rng = np.random.default_rng(0)
    ours = np.array([crop_box(width, height, rng) for _ in range(count)], dtype=float)
    torch.manual_seed(0)
    picture = Image.new("RGB", (width, height))
    theirs = np.array(
        [RandomResizedCrop.get_params(picture, list(SCALE), list(RATIO)) for _ in range(count)], dtype=float
    )
    error = 5 * np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / count)
    assert (abs(ours.mean(axis=0) - theirs.mean(axis=0)) < error + 0.5).all()
    tops, lefts, heights, widths = ours.T
    assert (tops >= 0).all() and (lefts >= 0).all()
    assert (tops + heights <= height).all() and (lefts + widths <= width).all()


def test_a_picture_no_crop_fits_gets_the_largest_centred_one() -> None:
    top, left, height, width = crop_box(1000, 10, np.random.default_rng(0))
    assert (top, height, width) == (0, 10, math.floor(10 * RATIO[1])) and left == (1000 - width) // 2
