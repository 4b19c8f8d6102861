"""MoE-Adapters: experts beside every MLP, a router for each task, and auto-encoders that guess an image's task (DDAS).

Boosting Continual Learning of Vision-Language Models via Mixture-of-Experts Adapters, arXiv 2403.11549 (CVPR 2024).
CLIP stays frozen. In every block of both towers, with x (L, d) the residual stream before the second layer norm,

    out = x + MLP(LN(x)) + 0.1 * sum_{e in top 2} g_e * (W_up,e dropout(relu(W_down,e x + b_down,e)) + b_up,e)

    g = softmax over the two largest of  x_0 W_t + n * (softplus(x_0 W_t^noise) + 0.01),  n ~ N(0, 1), in training only

with 22 experts (W_down (64, d), W_up (d, 64)), and x_0 the first token (CLS; the start of the text). W_t and W_t^noise
(d, 22) are task t's router, which starts from zero. All tokens of an image or prompt go to the same two experts. After
each task, in each block of each tower, the two experts chosen most in its training are frozen for good. The others
learn on, so that the answers under the router of an earlier task stay the same only where that router chooses frozen
experts.

DDAS decides which router answers. An auto-encoder for each task learns that task's features under a frozen extractor,
and the one with the smallest reconstruction error names the task. If that is the auxiliary auto-encoder (which has
learned images that belong to no task), or if the error is above `threshold`, the original CLIP answers. Text features
are those of the router that answers.

WARNING: `--decision batch`, the default since it is the published protocol, takes the mean error over the whole
evaluation batch (128 images), all of one data set. **A vote of 128 images tells the method which data set it is looking
at, which no single image does: its results are not comparable with those of methods that see each image alone.** The
comparable setting is `--decision image`.

Storage between tasks: experts, routers, which experts are frozen, auto-encoders. On ViT-B/16 after eleven tasks these
are 43 625 472 + 7 434 240 parameters and, with AlexNet's features, 8 696 164 for each auto-encoder. AlexNet's weights
are not counted as storage.

Fidelity, against the released code as described in public notes. Equal: the formulas above, their sizes and settings,
the batch decision, and the auto-encoders: 300 steps (the auxiliary one 1000) of 64 images over all images of the
training set with new crops in every epoch, at a rate of 0.01 that is divided by ten every ten epochs. Equal too:
Kaiming-uniform initialisation with a = sqrt(5), as in torch's own linear layers; an expert without an image in a step
has a zero gradient there, so that Adam's momentum still moves it; if one of the two most used experts is frozen
already, nothing is frozen in its place; AlexNet sees images normalised as for CLIP, and its features are taken before
the last ReLU. The load-balancing loss, which that code computes but never adds, is left out.

Different: the auxiliary auto-encoder learns from the run's auxiliary images, without crops (in that code: TinyImageNet),
so that the published rows are shown but not compared. Batches run across epochs, where that code ends an epoch with a
short one. In few-shot training that code begins at a rate of 0.003 (`--autoencoder-lr`). Without `--alexnet` the
features are CLIP's own. They cost a second pass of the image tower in evaluation; no threshold was published for them,
so there is none unless it is given. The class-incremental version in that code (two experts, one router, no freezing,
no DDAS) is another method, and is not here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from open_clip.utils import to_2tuple
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from strategies.about import ORANGE, About, Published
from strategies.base import TRAINED, StrategyPlugin, Unfit
from strategies.clip.classifier import ClipClassifier
from strategies.clip.images import repeats
from strategies.clip.once import Once
from strategies.clip.weight_matrices import TOWERS, blocks
from strategies.shared.ddas import AlexNetFeatures, AutoEncoder, ClipFeatures, decide, train_autoencoder
from strategies.shared.mixture import ORIGINAL, attach_mixtures
from strategies.shared.settings import ReferenceSettings
from strategies.training.loader import Unlabelled, sample


ABOUT = About(
    name="MoE-Adapters",
    reference="Yu et al., CVPR 2024, arXiv 2403.11549",
    colour=ORANGE,
    marker="D",
    published={
        "MoE-Adapters": Published(
            {"decision": "batch"},
            needs=("alexnet",),
            differs="its DDAS learns from TinyImageNet which images belong to no task, here from the auxiliary images",
        ),
    },
    figures=2,  # raised when the auto-encoders' training became the released one
)


@dataclass(frozen=True)
class Settings(ReferenceSettings):
    """Settings of MoE-Adapters: its experts, how a test image's task is decided, and how its auto-encoders are trained.

    The defaults are the paper's full-shot MTIL setting. `pool` is the largest number of auxiliary images, as in
    `ReferenceSettings`.

    Attributes:
        experts: the number of adapters in each block.
        width: the number of hidden values of an adapter.
        dropout: the probability of dropping a hidden value of an adapter while training.
        decision: `image` if each test image's task is decided alone, `batch` (published) if all images of an evaluation
            batch are given one task, which uses that they are of one data set.
        threshold: the largest reconstruction error (mean squared difference of features in 0..1) at which a learned
            task answers; above it the original CLIP does. None: no limit, or 0.0655 if `alexnet` is given.
        alexnet: path of torchvision's AlexNet weights, whose features decide on the task; None for CLIP's own features.
        autoencoder_steps: the number of optimiser steps of a task's auto-encoder.
        reference_steps: the number of optimiser steps of the auxiliary images' auto-encoder.
        autoencoder_lr: the learning rate (Adam) at which all auto-encoders begin; it is divided by ten every ten epochs.
    """

    experts: int = Field(default=22, ge=2, description="adapters in each block", json_schema_extra={"unit": "adapters"})
    width: int = Field(
        default=64, ge=1, description="hidden dimensions of an adapter", json_schema_extra={"unit": "dimensions"}
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout within an adapter while training")
    decision: Literal["batch", "image"] = Field(
        default="batch",
        description="whose images decide on the task together: an evaluation batch's (published, but a vote that knows that "
        "all are of one data set), or each image's alone",
    )
    threshold: float | None = Field(
        default=None, gt=0, description="largest reconstruction error that a router answers; 0.0655 with --alexnet"
    )
    alexnet: str | None = Field(
        default=None, description="torchvision's AlexNet weights, whose features decide; without it CLIP's do"
    )
    autoencoder_steps: int = Field(
        default=300, ge=1, description="training steps of a task's auto-encoder", json_schema_extra={"unit": "steps"}
    )
    reference_steps: int = Field(
        default=1000,
        ge=1,
        description="the same of the reference images' auto-encoder",
        json_schema_extra={"unit": "steps"},
    )
    autoencoder_lr: float = Field(
        default=0.01,
        gt=0,
        allow_inf_nan=False,
        description="its first learning rate (Adam), divided by ten every ten epochs; published for few shots: 0.003",
    )


TOP_K = 2  # experts that compute an image; as many are frozen after a task
AUTOENCODER_BATCH = 64
ALEXNET_THRESHOLD = 0.0655
ALEXNET_SMALLEST = 31  # pixels on a side; smaller images leave nothing for its last pooling


class Plugin(StrategyPlugin):
    """MoE-Adapters: trains experts beside every MLP, a router for each task, and auto-encoders of image features.

    As the classifier's `Routing` it gives each test image a route, decided by the auto-encoders: a task's index, or
    `ORIGINAL` (-1) for the original CLIP.

    Attributes:
        mixtures: the experts and routers of each block (a `Mixture`), by tower and index of the block, such as
            `image-0`.
        autoencoders: the auto-encoder of each route, by the route as text; that of `-1` has learned the auxiliary
            images.
        extract: turns images (B, 3, H, W) uint8 into the features (B, F) in 0..1 that the auto-encoders reconstruct.
        threshold: the largest reconstruction error (mean squared difference of features in 0..1) at which a task's
            router answers, or None for no limit.
    """

    settings: Settings
    reads = ("images",)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.mixtures, self.autoencoders = nn.ModuleDict(), nn.ModuleDict()
        self.extract: Callable[[Tensor], Tensor]
        self.threshold = settings.threshold
        if settings.alexnet:
            self.files = (Path(settings.alexnet),)
            self.threshold = settings.threshold or ALEXNET_THRESHOLD

    def least_bytes(self, classifier: ClipClassifier) -> dict[str, int]:
        """Returns the bytes of all experts while they are trained.

        Args:
            classifier: the model of the run.
        """
        settings = self.settings
        widths = sum(block.attn.embed_dim for tower in TOWERS["both"] for block in blocks(classifier.clip, tower))
        experts = 2 * widths * settings.experts * settings.width * TRAINED * classifier.mean.element_size()
        return {"experts": experts, "width": experts}

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run without learned tasks: makes the feature extractor, and attaches new experts to the model.

        Args:
            classifier: the model of the run; its `routing` becomes this plugin, which then decides on the task of each
                test image.

        Raises:
            Unfit: the model's images are too small for AlexNet.
            OSError: the file of AlexNet's weights does not exist, or holds something else.
        """
        settings = self.settings
        if isinstance(classifier.routing, Plugin):
            classifier.routing.use(ORIGINAL)  # experts of an earlier run are switched off
        if settings.alexnet:
            self.extract = AlexNetFeatures(Path(settings.alexnet), classifier.mean, classifier.std)
            side = min(to_2tuple(classifier.clip.visual.image_size))
            if side < ALEXNET_SMALLEST:
                raise Unfit(f"--alexnet: wants images of at least {ALEXNET_SMALLEST} pixels, the model's have {side}")
        else:
            self.extract = ClipFeatures(classifier)
        self.mixtures = attach_mixtures(classifier.clip, settings.experts, TOP_K, settings.width, settings.dropout)
        self.autoencoders = nn.ModuleDict()
        classifier.add_module("mixtures", self.mixtures)  # trained, moved and set to evaluation with the model
        classifier.routing = self

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.mixtures:  # Avalanche's own strategies do not call it
            self.begin(strategy.model)
        strategy.model.clip.requires_grad_(False)
        for mixture in self._each():
            if not self.autoencoders:  # nothing learned yet
                for expert in mixture.experts:
                    expert.reset()
            mixture.learn(strategy.experience.task_label)

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        for mixture in self._each():
            mixture.freeze(TOP_K)
        if self.reference_images is not None and not self.autoencoders:
            self._learn_features(strategy, ORIGINAL, Unlabelled(self.reference_images), self.settings.reference_steps)
        data = strategy.experience.dataset
        self._learn_features(strategy, strategy.experience.task_label, data, self.settings.autoencoder_steps)

    def _learn_features(self, strategy: Any, route: int, data: Any, steps: int) -> None:
        """Trains the auto-encoder of a route on images from `data`, drawn by torch's current seed, the task's."""
        self.use(ORIGINAL)
        loader = sample(strategy, data, steps * AUTOENCODER_BATCH, AUTOENCODER_BATCH)
        extract = Once(self.extract) if self._repeats(strategy.model) else self.extract
        features = (extract(images.to(strategy.device)) for images, *_ in loader)  # (64, F) each
        epoch = -(-len(data) // AUTOENCODER_BATCH)
        self.autoencoders[str(route)] = train_autoencoder(features, epoch, self.settings.autoencoder_lr)

    def _repeats(self, model: ClipClassifier) -> bool:
        """Whether to keep an image's features while an auto-encoder learns; AlexNet's are larger than the image."""
        small, on_cpu = not isinstance(self.extract, AlexNetFeatures), model.mean.device.type == "cpu"
        return small and on_cpu and model.images_repeat and repeats(model.clip)

    def choose(self, images: Tensor) -> Tensor:
        """Returns each image's route (B,) int64: the one whose auto-encoder reconstructs the image's features best.

        It is `ORIGINAL` (-1) where the smallest error is above the threshold, and before any task is learned. With the
        setting `decision` batch, all images take one route, by their mean errors.

        Args:
            images: (B, 3, H, W) uint8, the images that are evaluated together.
        """
        if not self.autoencoders:
            return torch.full((len(images),), ORIGINAL, device=images.device)
        self.use(ORIGINAL)
        encoders: dict[int, Any] = {int(route): encoder for route, encoder in self.autoencoders.items()}
        return decide(encoders, self.extract(images), self.settings.decision, self.threshold, ORIGINAL)

    def use(self, route: int, rows: Tensor | None = None) -> None:
        """Makes the router of a task choose the experts from now on; with `ORIGINAL` (-1), no expert computes.

        Args:
            route: a task's index, or `ORIGINAL`.
            rows: not used.
        """
        for mixture in self._each():
            mixture.route = route

    def _each(self) -> list[Any]:
        return list(self.mixtures.values())

    def _kept(self) -> nn.ModuleDict:
        return nn.ModuleDict({"mixtures": self.mixtures, "autoencoders": self.autoencoders})

    def state_dict(self) -> dict[str, Tensor]:
        """Returns experts, routers, which experts are frozen, and auto-encoders by name; empty before the first task.

        With BLOCK such as `image-0`, E and TASK indices, and ROUTE a task's index or -1, the names begin as follows:
        `mixtures.BLOCK.experts.E.`, `mixtures.BLOCK.routers.TASK.`, `mixtures.BLOCK.frozen` and `autoencoders.ROUTE.`.
        """
        return self._kept().state_dict() if self.autoencoders else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores experts, routers, which experts are frozen, and auto-encoders. To be called after `begin`.

        Args:
            state: what `state_dict` returned: tensors whose names begin with `mixtures.BLOCK.` (BLOCK such as
                `image-0`) or with `autoencoders.ROUTE.` (ROUTE a task's index or -1); or nothing.
        """
        for name, tensor in state.items():
            if name.startswith("autoencoders.") and name.endswith("encode.weight"):
                route, device = int(name.split(".")[1]), self._each()[0].frozen.device
                self.autoencoders[str(route)] = AutoEncoder(tensor.shape[1]).to(device).requires_grad_(False)
                for mixture in self._each() if route != ORIGINAL else ():
                    mixture.add_router(route)
        if state:
            self._kept().load_state_dict(state)
