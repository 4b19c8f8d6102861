"""Test images that stay on the device."""

import pytest
import torch

from benchmarks.experiment.evaluation import EvaluationSet
from benchmarks.experiment.gpu_cache import MARGIN, Resident, growth, resident, room
from tests.models import tiny_classifier


class Counted:
    """Images that know how often they were read."""

    def __init__(self, count: int) -> None:
        self.images, self.reads = torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8), 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, places: int | slice) -> torch.Tensor:
        self.reads += 1
        return self.images[places]


def test_each_image_is_read_once_and_stays(device: torch.device) -> None:
    images = Counted(10)
    kept = Resident(images, device)
    images.reads = 0
    for _ in range(3):
        read = [kept[first : first + 4].cpu() for first in range(0, 10, 4)]
        assert torch.equal(torch.cat(read), images.images)
    assert images.reads == 3
    assert len(kept) == 10


def test_those_that_fit_are_kept_and_a_repeated_one_once(device: torch.device) -> None:
    large, small = Counted(10), Counted(4)
    tests = [EvaluationSet(images, torch.zeros(len(images), dtype=torch.int64)) for images in (small, large, small)]
    kept = [images for images, _ in resident(tests, device, left=9 * 3 * 4 * 4)]
    assert isinstance(kept[0], Resident)
    assert kept[2] is kept[0]
    assert kept[1] is large


def test_on_the_cpu_nothing_is_kept_twice() -> None:
    device = torch.device("cpu")
    tests = [EvaluationSet(Counted(3), torch.zeros(3, dtype=torch.int64))]
    assert resident(tests, device, room(device, larger=1)) == tests


def test_a_step_grows_with_the_figures_that_enter_the_towers() -> None:
    classifier = tiny_classifier()
    images = 4 * 5 * 32  # 4 patches and a class token of width 32
    longest = 24 * 3 * max(classifier.lengths)  # three prompts of width 24
    for task in (0, 1):
        firsts, ends = classifier.tokens(task)[0], classifier.tokens(task)[0].argmax(dim=-1)
        alike = next(place for place in range(16) if place == ends.min() or len(firsts[:, place].unique()) > 1)
        computed = alike + sum(int(end) + 1 - alike for end in ends)  # what all begin with counts once
        expected = (images + longest) / (images + 24 * computed)
        assert growth(classifier, batch_size=4, task=task) == pytest.approx(expected)


@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_the_largest_training_keeps_its_memory(device: torch.device) -> None:
    torch.empty(2**28, dtype=torch.uint8, device=device)  # the most so far, and free again
    most = torch.cuda.max_memory_allocated(device)
    assert room(device, 1) - room(device, 3) == 2 * MARGIN * most
    assert 0 < room(device, 1) <= torch.cuda.mem_get_info(device)[1] - MARGIN * most
