"""Fine-tuning of each task, after which a merge of the tasks' weights is deployed.

With theta_0 the weights before the first task and theta_t those at the end of task t's training, tau_t = theta_t -
theta_0 is the task vector. A method says where a task starts, and what it deploys: the weights that are evaluated.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from strategies.base import ALL, TRAINED, StrategyPlugin
from strategies.clip.classifier import ClipClassifier
from strategies.shared.settings import MergingSettings


Start = Literal["initial", "sequential", "deployed"]
Weights = dict[str, Tensor]  # the weights that learn, or a difference of such, by their names in the open_clip model

INITIAL, LAST, TASKS = "initial", "last", "tasks"  # theta_0, theta_t and the number of tasks among what is stored


class MergingPlugin(StrategyPlugin):
    """Base of methods that fine-tune all parameters of one or both towers on each task, and then deploy a merge.

    The setting `towers` says which towers. A subclass defines the merge in `merged`. All processes of a run compute the
    same merge.

    Attributes:
        start: where a task starts: at `initial`, the weights theta_0 before the first task, at `sequential`, the weights
            theta_{t-1} at the end of the task before (not merged), or at `deployed`, the merge after it.
        keeps_initial: whether theta_0 is stored. It is needed where tasks start there or `merged` reads it.
        stored: what is kept between tasks, by name. `KIND.PARAMETER` are the weights of a kind; the base keeps the kinds
            `initial` (theta_0) and, for a sequential start, `last` (theta_t).
    """

    settings: MergingSettings
    data_parallel = True
    start: Start = "initial"
    keeps_initial = True

    def __init__(self, settings: MergingSettings) -> None:
        super().__init__(settings)
        self.stored: dict[str, Tensor] = {}

    def merged(self, tuned: Weights) -> Weights:
        """Returns the weights to deploy after a task, and stores what later merges need.

        Args:
            tuned: theta_t, the weights at the end of the task's training. They are the model's own tensors, to be read
                only.

        Raises:
            NotImplementedError: the subclass does not define this method.
        """
        raise NotImplementedError

    def least_bytes(self, classifier: ClipClassifier) -> dict[str, int]:
        """Returns the bytes of the gradients and of AdamW's two moments of what learns, under the name `ALL`.

        Args:
            classifier: the model of the run.
        """
        weights = sum(parameter.nbytes for parameter in self.learning(classifier.clip).values())
        return {ALL: (TRAINED - 1) * weights}

    def learning(self, clip: nn.Module) -> dict[str, nn.Parameter]:
        """Returns the parameters that learn, by name: all of the chosen towers, except the logit scale.

        Args:
            clip: the open_clip model.
        """
        both = self.settings.towers == "both"
        named = clip.named_parameters()
        return {name: each for name, each in named if name != "logit_scale" and (both or name.startswith("visual."))}

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run in which nothing is stored; theta_0 are the model's weights before the first task.

        Args:
            classifier: not used.
        """
        self.stored = {}

    def state_dict(self) -> dict[str, Tensor]:
        """Returns what is stored between tasks by name, `KIND.PARAMETER` for weights; empty before the first task."""
        return dict(self.stored)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what is stored between tasks.

        Args:
            state: what `state_dict` returned.
        """
        self.stored = dict(state)

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        clip, self.notes = strategy.model.clip, []
        learning = self.learning(clip)
        clip.requires_grad_(False)
        for parameter in learning.values():
            parameter.requires_grad_(True)
        self.stored = {name: tensor.to(strategy.device) for name, tensor in self.stored.items()}  # may be on the CPU
        if self.keeps_initial and not self.weights(INITIAL):
            self.keep(INITIAL, learning)
        if kind := {"initial": INITIAL, "sequential": LAST}.get(self.start):
            write(learning, self.weights(kind))

    @torch.no_grad()
    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        learning = self.learning(strategy.model.clip)
        deployed = self.merged({name: parameter.detach() for name, parameter in learning.items()})
        if self.start == "sequential":
            self.keep(LAST, learning)
        write(learning, deployed)

    def task_vector(self, tuned: Weights) -> Weights:
        """Returns tau_t = theta_t - theta_0, by the parameters' names.

        Args:
            tuned: theta_t.
        """
        return {name: tuned[name] - initial for name, initial in self.weights(INITIAL).items()}

    def weights(self, kind: str) -> Weights:
        """Returns the stored weights of a kind by the parameters' names; empty where there are none.

        Args:
            kind: such as `initial`.
        """
        start = f"{kind}."
        return {name.removeprefix(start): each for name, each in self.stored.items() if name.startswith(start)}

    def count(self) -> int:
        """Returns the number of tasks learned, this one among them, and stores it; to be called once after each task."""
        self.stored[TASKS] = self.stored.get(TASKS, torch.tensor(0)) + 1
        return int(self.stored[TASKS])

    def keep(self, kind: str, weights: Mapping[str, Tensor]) -> None:
        """Stores copies of weights under a kind, in the place of those that it had.

        Args:
            kind: such as `initial`.
            weights: by the parameters' names.
        """
        self.stored |= {f"{kind}.{name}": tensor.detach().clone() for name, tensor in weights.items()}


@torch.no_grad()
def write(parameters: Mapping[str, nn.Parameter], weights: Weights) -> None:
    """Writes weights into the parameters of the same names; other parameters stay.

    Args:
        parameters: by name.
        weights: by name, each of its parameter's shape.
    """
    for name, tensor in weights.items():
        parameters[name].copy_(tensor)


def moved(initial: Weights, by: Weights, scale: float) -> Weights:
    """Returns initial + scale * by, by the parameters' names.

    Args:
        initial: theta_0.
        by: a sum or choice of task vectors.
        scale: the factor on it.
    """
    return {name: initial[name] + scale * vector for name, vector in by.items()}
