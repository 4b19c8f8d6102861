"""RAIL: frozen CLIP, beside which a ridge regression on image features learns every task in closed form.

Xu et al., Advancing Cross-domain Discriminability in Continual Learning of Vision-Language Models, arXiv 2406.18868, NeurIPS
2024. Nothing is trained by gradients. From the unit-length image feature x (D) a regression with the one-hot labels Y of all
classes learned so far as targets gives a(x), one value for each class and 0 for a class not learned yet:

    primal    phi = relu(E x), E (h, D) random and frozen        R = (Phi^T Phi + 0.1 I)^-1 (h, h),  W = R Phi^T Y (h, C)
              a(x) = phi W, with R and W brought up to date batch by batch (recursive least squares)
    dual      K_ij = exp(-0.1 ||x_i - x_j||^2) over the N features learned from, which are all stored
              a(x) = k(x) (K + 0.001 I)^-1 Y

A test image is scored over the classes that compete: those of all tasks, or of its own where the task is known (the method
itself is not told the task; the second kind of score is this project's, for MTIL's protocol). With CLIP's probabilities p =
softmax(logits) over them (100 times the cosine, as in OpenAI's CLIP),

    scores = 0.2 p + 0.8 a      if the largest entry of p is a class that has been learned,      p otherwise

so an image that CLIP takes for a class not learned yet is answered as by zero-shot CLIP. Stored are, for the primal form, R
(4 h^2 bytes; 900 MB with h = 15000), W (60 kB a class) and the seed of E, which the run's seed decides; for the dual form the
features (2 kB an image) and labels. W, or the coefficients, count as trained parameters. Images are seen once, without
augmentation; steps, rate and batch size have no effect.

Fidelity: both forms, the fusion and all numbers are the released code's. On CoOp's splits (`--splits coop`, `xtail`) p comes
from that code's one template, elsewhere from each data set's own prompts, averaged as for all methods of this project; the
logit scale is the model's own, 100 in OpenAI's CLIP. An option of that code, on by default, has the regression answer for
tasks not learned yet too, so that Transfer is undefined; here a class has no answer before it is learned. A class is its
name, here as in evaluation: one that a later task has too counts as learned there, and its images are added to it. There each
task's classes are columns of their own. The dual form solves its system anew after each task, in float64. A stream in which a
whole task comes again is refused: it would be learned before its turn.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from strategies.about import ORANGE, About, Published
from strategies.base import Budget, StrategyPlugin, Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.numerics.precision import full_precision
from strategies.numerics.ridge import (
    kernel,
    kernel_coefficients,
    learn_batch,
    least_kernel_ridge,
    least_ridge,
    projection,
)
from strategies.shared.features import image_features
from strategies.shared.settings import only_with


ABOUT = About(
    name="RAIL",
    reference="Xu et al., NeurIPS 2024, arXiv 2406.18868",
    colour=ORANGE,
    marker="P",
    published={
        "RAIL-Primal": Published(differs={"MTIL": "CoOp's splits"}),
        "RAIL-Primal (as in RAIL/CoDyRA)": Published(),
        "RAIL-Primal (as in LADA)": Published(differs="re-run by others, with settings that are not known"),
        "RAIL-Dual": Published({"variant": "dual"}, differs={"MTIL": "CoOp's splits"}),
        "RAIL-Dual (as in LADA)": Published(
            {"variant": "dual"}, differs="re-run by others, with settings that are not known"
        ),
    },
)
BATCH = 128  # images in a step of the recursion; the result does not depend on it


@dataclass(frozen=True)
class Settings:
    """Settings of RAIL: the form of its regression, and how that is joined with CLIP. The defaults are the released code's.

    Attributes:
        variant: `primal` for a recursive regression on random features, `dual` for a kernel over all images seen.
        hidden: h, the number of random features of the primal form, which stores 4 h^2 bytes.
        ridge: the regularisation of the primal form.
        kernel_ridge: that of the dual form.
        gamma: the factor on squared distances in the kernel of the dual form.
        fusion: the share of the regression in the scores, in 0..1; that of CLIP's probabilities is 1 - fusion.
    """

    variant: Literal["primal", "dual"] = Field(
        default="primal", description="a recursive regression on random features, or a kernel over all images seen"
    )
    hidden: int = Field(
        default=15_000,
        ge=1,
        description="random features of the primal form",
        json_schema_extra={"unit": "features", **only_with("variant", "primal")},
    )
    ridge: float = Field(
        default=0.1,
        gt=0,
        description="regularisation of the primal form",
        json_schema_extra=only_with("variant", "primal"),
    )
    kernel_ridge: float = Field(
        default=0.001,
        gt=0,
        description="regularisation of the dual form",
        json_schema_extra=only_with("variant", "dual"),
    )
    gamma: float = Field(
        default=0.1,
        gt=0,
        description="factor on squared distances in the dual form's kernel",
        json_schema_extra=only_with("variant", "dual"),
    )
    fusion: float = Field(default=0.8, ge=0, le=1, description="share of the regression beside CLIP's probabilities")


class Plugin(StrategyPlugin):
    """RAIL: freezes CLIP, learns a ridge regression on image features, and is the classifier's `Head` that joins the two.

    Attributes:
        learned: the indices of the tasks learned so far; the regression has their classes in the order of learning, of those
            with equal names (`ClipClassifier.class_ids`) one.
        parts: what the regression stores, by name: `inverse` R (h, h), `weights` W (h, C) and `seed` of E in the primal
            form, `features` (N, D) and `labels` (N,) in the dual one. Empty before the first task.
    """

    settings: Settings
    data_parallel = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.learned: list[int] = []
        self.parts: dict[str, Tensor] = {}
        self._made: Tensor | None = None  # made of what is stored: E (h, D), or the dual form's coefficients (N, C)
        self._columns = torch.empty(
            0
        )  # for each class of the stream, task after task, its column of the regression, or -1

    def budgets(self, budgets: Sequence[Budget], lr: float) -> list[Budget]:
        """Returns no step for any task: nothing is trained by gradients.

        Args:
            budgets: the budgets that the settings give, one for each task, in learning order.
            lr: the peak learning rate, without effect.
        """
        return [Budget(0, lr) for _ in budgets]

    def least_bytes(self, classifier: ClipClassifier) -> dict[str, int]:
        """Returns the bytes of R, E and W over all classes for the primal form; the dual form grows with the images seen.

        Args:
            classifier: the model of the run.
        """
        size, columns = self.settings.hidden, classifier.clip.visual.output_dim + sum(classifier.class_counts)
        return {"hidden": 4 * size * (size + columns)} if self.settings.variant == "primal" else {}

    def bytes_of_images(self, classifier: ClipClassifier, count: int) -> int:
        """Returns the bytes of the dual form's kernel over all images and its factor, in float64; 0 for the primal form.

        Args:
            classifier: not used.
            count: the number of training images of all tasks.
        """
        return 2 * 8 * count**2 if self.settings.variant == "dual" else 0

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run in which nothing has been learned.

        Args:
            classifier: the model of the run; its `head` becomes this plugin.

        Raises:
            Unfit: the stream repeats a task's classes, which would be learned and not learned at once.
        """
        pairs = [(first, task) for task, first in enumerate(classifier.firsts) if first != task]
        if pairs:
            first, task = pairs[0]
            raise Unfit(
                f"--stream: task {task + 1} has the same classes as task {first + 1}, which rail cannot learn and leave to "
                "zero-shot CLIP at once; take a stream in which no task comes again"
            )
        self.learned, self.parts, self._made = [], {}, None
        self.classifier = classifier
        self._find_columns()
        classifier.head = self

    def state_dict(self) -> dict[str, Tensor]:
        """Returns what the regression stores, as in `parts`, and the learned `tasks` (T,) int64; empty before the first."""
        return {**self.parts, "tasks": torch.tensor(self.learned)} if self.learned else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the regression. To be called after `begin`.

        Args:
            state: what `state_dict` returned.
        """
        self.parts = {name: tensor.to(self.classifier.mean.device) for name, tensor in state.items() if name != "tasks"}
        self.learned = state["tasks"].tolist() if state else []
        self._find_columns()
        if state:
            self._make()

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if strategy.model.head is not self:  # Avalanche's own strategies do not call `begin`
            self.begin(strategy.model)
        strategy.model.clip.requires_grad_(False)

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        data, task = strategy.experience.dataset, strategy.experience.task_label
        features = image_features(strategy.model.eval(), data)  # (N, D)
        if task not in self.learned:
            self.learned.append(task)
            self._find_columns()
        own = self._columns_of([task])  # (C,)
        labels = own[torch.as_tensor(list(data.targets), device=own.device)]  # (N,)
        if self.settings.variant == "primal":
            self._learn_primal(features, labels)
        else:
            self._learn_dual(features, labels)
        self.fitted = self._count() * (
            self.settings.hidden if self.settings.variant == "primal" else len(self.parts["labels"])
        )

    def _learn_primal(self, features: Tensor, labels: Tensor) -> None:
        """Brings R and W up to date by the features (N, D) of a task and their columns (N,)."""
        if not self.parts:
            size, device = self.settings.hidden, features.device
            inverse = torch.eye(size, device=device).div_(self.settings.ridge)  # (h, h)
            seed = torch.tensor(torch.initial_seed() % 2**63)
            self.parts = {"inverse": inverse, "weights": torch.zeros(size, 0, device=device), "seed": seed}
            self._make()
        old, count = self.parts["weights"], self._count()
        self.parts["weights"] = F.pad(old, (0, count - old.shape[1]))  # (h, C)
        for x, y in zip(features.split(BATCH), labels.split(BATCH), strict=True):
            phi, targets = self._expanded(x), F.one_hot(y, count).float()  # (B, h), (B, C)
            _check_ridge("ridge", self.settings.ridge, least_ridge(phi))
            learn_batch(self.parts["inverse"], self.parts["weights"], phi, targets)

    def _learn_dual(self, features: Tensor, labels: Tensor) -> None:
        """Stores the features (N, D) of a task and their columns (N,), and solves for all that are stored."""
        old = self.parts or {"features": features[:0], "labels": labels[:0]}
        new = {"features": features, "labels": labels}
        self.parts = {name: torch.cat([old[name], new[name]]) for name in new}
        _check_ridge("kernel-ridge", self.settings.kernel_ridge, least_kernel_ridge(len(self.parts["labels"])))
        self._make()

    def _make(self) -> None:
        """Makes what can be made again of what is stored: E of the primal form, the coefficients of the dual one."""
        if self.settings.variant == "primal":
            width = self.classifier.clip.visual.output_dim
            drawn = projection(self.settings.hidden, width, int(self.parts["seed"]))
            self._made = drawn.to(self.classifier.mean.device)
        else:
            targets = F.one_hot(self.parts["labels"], self._count())  # (N, C)
            self._made = kernel_coefficients(
                self.parts["features"], targets, self.settings.gamma, self.settings.kernel_ridge
            )

    def _expanded(self, features: Tensor) -> Tensor:
        """The random features phi (B, h) of image features (B, D)."""
        assert self._made is not None
        with full_precision():
            return (features @ self._made.T).relu_()

    def _find_columns(self) -> None:
        """Numbers the classes learned, in the order of learning; those with equal names have one column."""
        model = self.classifier
        numbers: dict[int, int] = {}
        for task in self.learned:
            for each in model.class_ids[task].tolist():
                numbers.setdefault(each, len(numbers))
        found = [numbers.get(each, -1) for ids in model.class_ids for each in ids.tolist()]
        self._columns = torch.tensor(found, device=model.mean.device)

    def _columns_of(self, tasks: Sequence[int]) -> Tensor:
        """The columns (C,) of the classes of these tasks, task after task; -1 for one that has not been learned."""
        each = self._columns.split(self.classifier.class_counts)
        return torch.cat([each[task] for task in tasks])

    def _count(self) -> int:
        """The number of classes learned."""
        return int(self._columns.max()) + 1

    def answers(self, features: Tensor) -> Tensor:
        """Returns the regression's values a (B, C) over the classes of the learned tasks, in the order of learning.

        Args:
            features: (B, D), unit-length image features.
        """
        assert self._made is not None
        if self.settings.variant == "dual":
            return (kernel(features, self.parts["features"], self.settings.gamma) @ self._made).float()
        with full_precision():
            return self._expanded(features) @ self.parts["weights"]

    def scores(self, features: Tensor, logits: Tensor, tasks: Sequence[int]) -> Tensor:
        """Returns the scores (B, C) of images: p, or (1 - fusion) p + fusion a where p is largest for a learned class.

        Args:
            features: (B, D), unit-length image features.
            logits: (B, C), over the classes that compete.
            tasks: the tasks of these classes, in the order of the columns.
        """
        p, columns = logits.softmax(dim=1), self._columns_of(tasks)  # (B, C), (C,)
        known = columns >= 0
        if not self.learned:
            return p
        a = self.answers(features)[:, columns.clamp(min=0)] * known  # (B, C)
        is_learned = known[p.argmax(dim=1)]  # (B,)
        return torch.where(is_learned[:, None], (1 - self.settings.fusion) * p + self.settings.fusion * a, p)


def _check_ridge(option: str, given: float, least: float) -> None:
    """Raises Unfit for a ridge with which answers would be rounding."""
    if given < least:
        raise Unfit(f"--{option}: must be at least {1.1 * least:.2g} for these features, got {given}")
