"""Test images that stay on the device."""

import torch

from benchmarks.evaluate import EvaluationSet
from benchmarks.resident import Resident, resident, room


class Counted:
    """Images that know how often they were read."""

    def __init__(self, count: int) -> None:
        self.images, self.reads = torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8), 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places: int | slice) -> torch.Tensor:
        self.reads += 1
        return self.images[places]


def test_each_image_is_read_once_and_stays() -> None:
    images = Counted(10)
    kept = Resident(images, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    images.reads = 0
    for _ in range(3):
        read = [kept[first : first + 4].cpu() for first in range(0, 10, 4)]
        assert torch.equal(torch.cat(read), images.images)
    assert images.reads == 3
    assert len(kept) == 10


def test_those_that_fit_are_kept_and_a_repeated_one_once() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    large, small = Counted(10), Counted(4)
    tests = [EvaluationSet(images, torch.zeros(len(images), dtype=torch.int64)) for images in (small, large, small)]
    kept = [images for images, _ in resident(tests, device, left=9 * 3 * 4 * 4)]
    assert isinstance(kept[0], Resident)
    assert kept[2] is kept[0]
    assert kept[1] is large


def test_on_the_cpu_nothing_is_kept_twice() -> None:
    device = torch.device("cpu")
    tests = [EvaluationSet(Counted(3), torch.zeros(3, dtype=torch.int64))]
    assert resident(tests, device, room(device)) == tests
