"""history.csv against what a callback sees at every step of a real run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import api as nb
from strategies.training.template import learning_rate_share


class Steps(nb.Callback):
    """The loss, its cross-entropy and the learning rate of every step."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, ...]] = []

    def on_step_end(self, run: nb.RunState) -> None:
        assert run.task is not None and run.loss is not None and run.cross_entropy is not None
        self.seen.append((run.task + 1, run.step + 1, run.loss.item(), run.cross_entropy.item(), run.lr))


def learn(strategy: str, images: Path, tiny_clip: Path, results: Path) -> tuple[nb.Run, Steps]:
    steps = Steps()
    settings: dict[str, Any] = {
        "iterations": 23,
        "batch_size": 4,
        "lr": 1e-3,
        "warmup": 5,
        "device": "cpu",
        "plots": False,
    }
    place: dict[str, Any] = {"model": f"local-dir:{tiny_clip}", "results": results, "silent": True}
    return nb.run(strategy, f"folder:{images}", callbacks=[steps], **place, **settings), steps


@pytest.mark.parametrize(("strategy", "adds"), [("finetune", False), ("lwf", True), ("avalanche:ewc", True)])
def test_every_tenth_step_and_the_last(
    strategy: str, adds: bool, images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    run, steps = learn(strategy, images, tiny_clip, tmp_path)
    table = run.table("history")
    wanted = [each for each in steps.seen if each[1] in (10, 20, 23)]
    assert len(wanted) == 9 and len(steps.seen) == 69
    columns = ["task", "step", "loss", "cross_entropy", "lr"]
    assert table[columns].to_numpy() == pytest.approx(np.array(wanted), rel=1e-5)
    assert table["added"].tolist() == pytest.approx([loss - crossed for _, _, loss, crossed, _ in wanted], rel=1e-5)
    assert (table.loc[table.task > 1, "added"] != 0).all() if adds else (table["added"] == 0).all()
    assert table["lr"].tolist() == pytest.approx(
        [1e-3 * learning_rate_share(step, 23, 5) for step in (9, 19, 22)] * 3, rel=1e-5
    )


def test_a_run_that_trains_nothing_has_none(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    run, steps = learn("zeroshot", images, tiny_clip, tmp_path)
    assert not steps.seen and not (run.folder / "history.csv").exists()
    with pytest.raises(nb.UserError, match=r"history.csv: no such table"):
        run.table("history")
