"""The accuracy of any open_clip model on a stream, without training it."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.config.errors import UserError
from benchmarks.experiment.backbones.loading import Backbone, backbone_of
from benchmarks.experiment.evaluation import EvaluationSet, evaluate
from benchmarks.experiment.prompts import one_name_each
from benchmarks.experiment.setup import make_classifier
from benchmarks.images.opener import Opener
from benchmarks.runtime.devices import pick_device, plain_torch
from benchmarks.runtime.progress import ProgressBar
from benchmarks.streams.base import Plan
from benchmarks.streams.orders import arrange
from strategies.clip.weight_matrices import blocks


@plain_torch()
def accuracy_of(model: Any, plan: Plan, tokenizer: Any, order: str, device: Any, cache: Path | None) -> pd.DataFrame:
    """Tests an open_clip model on every task of a stream.

    Args:
        model: the open_clip model; it is not changed.
        plan: the stream, of which nothing has been read yet.
        tokenizer: turns a list of n prompts into token ids (n, L) int64; None takes the model's attribute `tokenizer`.
        order: `default`, the name of another order of the stream, `random:SEED`, or task names separated by commas,
            which select tasks.
        device: `auto`, `cpu` or `cuda`.
        cache: the folder for decoded images; None stores none.

    Returns:
        One row for each task, indexed by its name, with top-1 accuracies in percent: `task_aware` among the task's own
        classes, `task_agnostic` among the classes of all tasks.

    Raises:
        UserError: the model has no tokenizer, its towers are no plain transformers, the order is wrong, or data are
            missing.
    """
    tokenize = tokenizer or getattr(model, "tokenizer", None)
    if tokenize is None:
        raise UserError(
            "evaluate: the model has no attribute `tokenizer`; give tokenizer=, as open_clip.get_tokenizer(NAME)"
        )
    try:
        for tower in ("image", "text"):
            blocks(model, tower)
    except (AttributeError, ValueError) as error:
        raise UserError(f"evaluate: {error}; expected an open_clip model") from error
    if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
        raise UserError("evaluate: the model has weights that are not finite, so its scores mean nothing")
    return ModelTest(
        backbone_of(deepcopy(model).float(), tokenize, type(model).__name__), plan, order, device, cache
    ).table()


class ModelTest:
    """A model that is ready to be tested on a stream, as often as its weights change.

    Args:
        backbone: the model, which is moved to the device, with its tokenizer.
        plan, order, device, cache: as for `accuracy_of`.

    Attributes:
        clip: the open_clip model.
    """

    def __init__(self, backbone: Backbone, plan: Plan, order: str, device: Any, cache: Path | None) -> None:
        stream, self._on = arrange(plan, order), torch.device(pick_device(device))
        self.clip = backbone.clip
        self._classifier = make_classifier(backbone, stream).to(self._on)
        with ProgressBar(silent=True) as bar:
            opener = Opener(backbone.size, cache, bar)
            opener.fill([task.test for task in stream.tasks])
            self._tests = [EvaluationSet(opener.open(t.test)[0], torch.from_numpy(t.test.labels)) for t in stream.tasks]
        self._names = one_name_each(backbone.tokenize, stream)
        self._index = pd.Index([task.name for task in stream.tasks], name="task")

    def table(self) -> pd.DataFrame:
        """Returns the accuracies with the weights that the model has now, as of `accuracy_of`."""
        found = evaluate(self._classifier, self._tests, self._names, self._on)
        return pd.DataFrame({"task_aware": found.known, "task_agnostic": found.unknown}, index=self._index)
