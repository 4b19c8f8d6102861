"""The training loop: number of steps, schedule, fresh optimiser, seeds, non-finite loss."""

import itertools
import math

import pytest
import torch

from strategies.finetune import Plugin, Settings
from strategies.training.template import NotFinite, learning_rate_share, task_seed
from tests.models import snapshot, tiny_classifier, tiny_experiences, tiny_template


def test_schedule_is_a_linear_warm_up_and_a_half_cosine() -> None:
    shares = [learning_rate_share(step, 1000, 50) for step in range(1000)]
    assert shares[0] == pytest.approx(1 / 50) and shares[49] == 1 and shares[50] == 1
    assert shares[525] == pytest.approx(0.5 * (1 + math.cos(math.pi * 475 / 950)))
    assert all(a >= b for a, b in itertools.pairwise(shares[50:])) and shares[-1] > 0
    assert learning_rate_share(0, 1, 0) == 1


def test_each_task_takes_exactly_its_steps_with_a_fresh_optimiser(device: torch.device) -> None:
    optimisers: list[object] = []
    rates: list[float | torch.Tensor] = []

    def note() -> None:
        optimisers.append(template.optimizer)
        rates.append(template.schedule.get_last_lr()[0])

    template = tiny_template(tiny_classifier(device=device), [Plugin(Settings())], iterations=7, on_step=note)
    for experience in tiny_experiences():
        template.train(experience)
    assert len(optimisers) == 14
    assert len({id(optimiser) for optimiser in optimisers}) == 2
    assert rates[:7] == rates[7:]


def test_every_image_is_seen_before_any_is_seen_again(device: torch.device) -> None:
    seen: list[bytes] = []
    template = tiny_template(tiny_classifier(device=device), [Plugin(Settings())], iterations=6)  # 24 of 12 images
    template.on_step = lambda: seen.extend(image.cpu().numpy().tobytes() for image in template.mb_x)
    template.train(tiny_experiences()[0])
    assert len(set(seen[:12])) == len(set(seen[12:])) == 12
    assert seen[:12] != seen[12:]


def test_same_seed_same_weights_and_a_task_does_not_depend_on_what_ran_before(device: torch.device) -> None:
    def train(seed: int, *tasks: int) -> dict[str, torch.Tensor]:
        classifier = tiny_classifier(device=device)
        start = snapshot(classifier.clip)
        template = tiny_template(classifier, [Plugin(Settings())], seed=seed)
        for task in tasks:
            classifier.clip.load_state_dict(start)
            template.train(tiny_experiences()[task])
        return snapshot(classifier.clip)

    first, again, other = train(1, 1), train(1, 0, 1), train(2, 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert len({task_seed(seed, task) for seed in range(50) for task in range(50)}) == 2500


def test_a_loss_that_is_not_finite_names_its_step(device: torch.device) -> None:
    template = tiny_template(tiny_classifier(device=device), [Plugin(Settings())], iterations=12, lr=1e30)
    with pytest.raises(NotFinite) as error:
        template.train(tiny_experiences()[0])
    assert 1 <= error.value.step <= 3
