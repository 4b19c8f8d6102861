"""Joint training: every task's images in equal budget, one task a batch, all of it at the first task."""

from collections import Counter
from typing import Any

import torch

from strategies import finetune
from strategies.base import Budget
from strategies.joint import Plugin, Settings, mixed_batches
from strategies.training.template import ClipTemplate
from tests.models import CLASSES, snapshot, tiny_classifier, tiny_experiences, tiny_template


STEPS = (5, 3)


def joint(**changes: Any) -> tuple[ClipTemplate, list[Budget]]:
    """A template as the harness makes it for the first task, and the budgets of both."""
    plugin = Plugin(Settings())
    budgets = plugin.budgets([Budget(steps, 1.0) for steps in STEPS], 0.01)
    return tiny_template(tiny_classifier(), [plugin], iterations=budgets[0].steps, **changes), budgets


def test_the_first_task_gets_all_steps_and_the_default_rate_and_the_others_none() -> None:
    _, budgets = joint()
    assert [budget.steps for budget in budgets] == [8, 0] and budgets[0].lr == 0.01


def test_each_step_is_a_batch_of_one_task_and_each_task_gets_its_steps_in_mixed_order() -> None:
    tasks: list[Any] = []
    template, _ = joint()
    template.on_step = lambda: tasks.append((template.batch_task, len(template.mb_x), template.mb_output.shape[1]))
    template.train(tiny_experiences()[0])
    assert Counter(tasks) == {(0, 4, CLASSES[0]): 5, (1, 4, CLASSES[1]): 3}
    assert tasks != sorted(tasks)
    assert len(template.losses) == 8 and template.schedule.last_epoch == 8


def test_a_task_sees_the_batches_it_would_see_alone() -> None:
    def batches(template: ClipTemplate, task: int) -> list[bytes]:
        seen: list[bytes] = []
        template.on_step = lambda: seen.append(template.mb_x.numpy().tobytes()) if template.batch_task == task else None
        template.train(tiny_experiences()[0 if template.iterations == 8 else task])
        return sorted(seen)

    for task, steps in enumerate(STEPS):
        alone = tiny_template(tiny_classifier(), [finetune.Plugin(finetune.Settings())], iterations=steps)
        assert batches(joint()[0], task) == batches(alone, task)


def test_the_later_tasks_change_nothing_and_train_nothing() -> None:
    template, budgets = joint()
    first, second = tiny_experiences()
    template.train(first)
    assert template.trained_count == sum(p.numel() for p in template.model.parameters()) - 1  # not the logit scale
    after = snapshot(template.model.clip)
    template.iterations = budgets[1].steps
    template.train(second)
    assert all(torch.equal(tensor, after[name]) for name, tensor in snapshot(template.model.clip).items())
    assert template.trained_count == 0


def test_batches_cover_a_task_before_any_image_comes_again() -> None:
    places = mixed_batches([4, 6], [2, 3], batch_size=2, seed=3)
    assert sorted(places) == list(range(10))
    assert places == mixed_batches([4, 6], [2, 3], batch_size=2, seed=3)
    assert places != mixed_batches([4, 6], [2, 3], batch_size=2, seed=4)
