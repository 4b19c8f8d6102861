"""On a GPU the host waits neither within the training loop nor between the batches of an evaluation."""

from collections.abc import Callable, Iterator

import pytest
import torch

from benchmarks.config import registry
from benchmarks.experiment.evaluation import BATCH, EvaluationSet, evaluate
from strategies.training.template import CHECK_EVERY
from tests.models import CLASSES, tiny_classifier, tiny_experiences, tiny_images, tiny_template


pytestmark = [
    pytest.mark.parametrize("device", ["cuda"], indirect=True),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),  # that it does not see everything
]

STEPS = 2 * CHECK_EVERY + 1  # at the second look what the first had copied is read


@pytest.fixture
def refuse(device: torch.device) -> Iterator[Callable[[bool], None]]:
    """Says whether torch refuses, from now on, what makes the host wait for the GPU."""
    yield lambda on: torch.cuda.set_sync_debug_mode("error" if on else "default")
    torch.cuda.set_sync_debug_mode("default")


def test_what_waits_is_refused(device: torch.device, refuse: Callable[[bool], None]) -> None:
    one = torch.ones(1, device=device)
    refuse(True)
    with pytest.raises(RuntimeError, match="synchronizing"):
        one.item()


@pytest.mark.parametrize("name", ["nusa", "lora", "finetune"])
def test_no_step_of_training_waits(name: str, device: torch.device, refuse: Callable[[bool], None]) -> None:
    module = registry.find("strategy", name).load()
    template = tiny_template(tiny_classifier(device=device), [module.Plugin(module.Settings())], iterations=STEPS)
    template.on_step = lambda: refuse(template.clock.train_exp_iterations < STEPS - 1)  # between the first and the last
    template.train(tiny_experiences()[0])
    assert template.clock.train_exp_iterations == STEPS


def test_no_batch_of_an_evaluation_waits(device: torch.device, refuse: Callable[[bool], None]) -> None:
    images = [tiny_images(classes, 2 * BATCH + 1) for classes in CLASSES]
    left = sum(len(each) for each in images)

    def done(count: int) -> None:
        nonlocal left
        left -= count
        refuse(left > 0)  # after the last batch the counts are read

    tests = [EvaluationSet(each.images, torch.tensor(each.targets)) for each in images]
    names = [[str(label) for label in range(classes)] for classes in CLASSES]
    evaluate(tiny_classifier(device=device), tests, names, device, 1, done)
    assert left == 0
