"""DIKI: residual key and value prompts for each task, with a Gaussian of its image features to choose and weigh them.

Mind the Interference: Retaining Pre-trained Knowledge in Parameter Efficient Continual Learning of Vision-Language
Models (Tang et al., ECCV 2024), arXiv 2407.05342. CLIP stays frozen. In the first `depth` blocks of both towers, each
task t has n = `length` key prompts K and n value prompts V, both (n, d). Every head attends to them beside the image's
or text's own tokens:

    out = W_o (Attn(x) + w * softmax(q K^T / sqrt(d_head)) V) + b_o      x, q (L, d); softmax and products in each head

V starts at zero, so that at the start the model is the original one bit for bit; K is random. While the task is
learned, w is 1. The prompts of earlier tasks never change again. Before training, the original image tower computes the
features (N, D), not scaled to unit length, of the task's training images; their mean and covariance give the Gaussian
N_t. A test image with original feature z has

    scores s_t = log N_t(z),   task t* = arg-max over the learned tasks,   w = sigmoid(s_t*) = N_t*(z) / (1 + N_t*(z))

so that an image far from all learned tasks is answered by the original CLIP. With `decision` batch, the images that are
evaluated together take one task, the one that most of their arg-maxes name; each image keeps its own w. A class prompt
has no w: for images with w >= 1/2 the text tower uses the whole branch of t* (w = 1); for the others both towers are
the original.

Cost: K and V are multiplied by W_q and W_o once, (n * heads, d) each, so that the branch of a token is two thin
products. On ViT-B/16 a task trains 8 * 8 * 2 * (768 + 512) = 163 840 parameters, eleven tasks 1 802 240: the published
1.8 M.

Fidelity, against the paper and descriptions of the authors' code. Equal: prompts, depth, both towers, frozen CLIP, zero
values, one Gaussian for each task from the original image tower over all its training images, the covariance over N - 1
with 1e-7 added to its diagonal. Different: AdamW in place of SGD with learning rate 5, which this harness's training
template does not have (no rate for AdamW was published); no choice of a model on a validation set; a batch that decides
together has 128 images, theirs 256, and by default each image decides for itself.

The sources at hand leave these points open, and here they are decided as follows. The branch is added before the output
projection, where the paper's formula for attention ends. Keys have standard deviation 0.02, as CLIP's own tokens. A
batch decides by majority. Images with w < 1/2 lose the rest of the branch, and texts have all or nothing of it, so that
their features can be cached. The score goes into the sigmoid as it is. A density has units, so that the value of w
depends on the features' length: at unit length, most images of other domains of the stream `micro` have a density above
1 too; at the length that CLIP gives them, two in three have not. With fewer training images than D, the Gaussian is
flat outside their span, and refuses new images of its own task too.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from strategies.about import BLACK, About, Published
from strategies.base import StrategyPlugin
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import TOWERS, blocks


ABOUT = About(
    name="DIKI",
    reference="Tang et al., ECCV 2024, arXiv 2407.05342",
    colour=BLACK,
    marker="s",
    published={"DIKI": Published(differs="CoOp's splits and SGD; here ZSCL's splits and AdamW")},
)

KEY_DEVIATION = 0.02
RIDGE = 1e-7  # added to the covariance's diagonal
READ = 128  # images whose features are computed at once


@dataclass(frozen=True)
class Settings:
    """Settings of DIKI: the number of prompts, the blocks that have them, and who decides on a test image's task.

    The defaults are the published ones, except for `decision`, where each image decides for itself.

    Attributes:
        length: the number of key prompts in a block, and of value prompts.
        depth: the number of blocks of each tower, from the first, that have prompts.
        decision: `image` if each test image chooses its task alone, `batch` if all images of a test batch take the task
            that most of them would choose.
    """

    length: int = Field(
        default=8,
        ge=1,
        description="key prompts in a block, and as many value prompts",
        json_schema_extra={"unit": "prompts"},
    )
    depth: int = Field(
        default=8,
        ge=1,
        description="how many blocks of each encoder, from the first, have prompts",
        json_schema_extra={"unit": "blocks"},
    )
    decision: Literal["image", "batch"] = Field(
        default="image",
        description="each test image chooses its task alone, or (published) a test batch votes for one task",
    )


class TaskPrompts(nn.Module):
    """What DIKI has of one task: key and value prompts of both towers, and the Gaussian of the task's image features.

    Args:
        clip: the open_clip model to whose blocks the prompts belong.
        settings: they give the number n of prompts in a block (`length`) and the number of blocks (`depth`).
        mean, covariance: (D,) and (D, D), of the original model's features of the task's training images.

    Attributes:
        keys, values: by tower (`image`, `text`), the prompts (depth, n, d) of its first blocks, d the width of the
            tower.
        mean, covariance: those given, in float64: rounded to float32, the covariance of few images is not positive
            definite even with the ridge.
    """

    mean: Tensor
    covariance: Tensor

    def __init__(self, clip: nn.Module, settings: Settings, mean: Tensor, covariance: Tensor) -> None:
        super().__init__()
        self.keys, self.values = nn.ParameterDict(), nn.ParameterDict()
        for tower in TOWERS["both"]:
            attentions = [block.attn for block in blocks(clip, tower)[: settings.depth]]
            zeros = torch.zeros(len(attentions), settings.length, attentions[0].embed_dim, device=mean.device)
            self.keys[tower] = nn.Parameter(KEY_DEVIATION * torch.randn_like(zeros))
            self.values[tower] = nn.Parameter(zeros)
        self.register_buffer("mean", mean.double())
        self.register_buffer("covariance", covariance.double())

    def gaussian(self) -> MultivariateNormal:
        """Returns the task's Gaussian over image features (..., D), in float64.

        Its covariance is `covariance` with 1e-7 added to the diagonal.
        """
        return MultivariateNormal(self.mean, self.covariance + RIDGE * torch.eye(len(self.mean)).to(self.mean))


def branch(attention: nn.MultiheadAttention, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Returns the prompts' part of an attention's output, W_o softmax(q K^T / sqrt(d_head)) V, of shape (B, L, d).

    B counts images or texts, L their tokens, d the values of a token, and n the prompts. The softmax over the n prompts
    is taken in each head.

    Args:
        attention: the attention whose W_q, W_o and heads are used.
        x: (B, L, d), the attention's input.
        keys, values: K and V (n, d).
    """
    heads, scale = attention.num_heads, 1 / math.sqrt(attention.head_dim)
    query_weight = attention.in_proj_weight[: attention.embed_dim].unflatten(0, (heads, -1))  # (H, d_head, d)
    query_bias = attention.in_proj_bias[: attention.embed_dim].unflatten(0, (heads, -1))  # (H, d_head)
    out_weight = attention.out_proj.weight.unflatten(1, (heads, -1))  # (d, H, d_head)
    by_head = keys.unflatten(1, (heads, -1)) * scale  # (n, H, d_head)
    down = torch.einsum("nhe,hed->hnd", by_head, query_weight).flatten(0, 1)  # (H n, d)
    bias = torch.einsum("nhe,he->hn", by_head, query_bias).flatten()  # (H n,)
    up = torch.einsum("nhe,dhe->hnd", values.unflatten(1, (heads, -1)), out_weight).flatten(0, 1)  # (H n, d)
    shares = F.linear(x, down, bias).unflatten(-1, (heads, -1)).softmax(dim=-1)  # (B, L, H, n)
    return shares.flatten(2) @ up


def decide(scores: Tensor, together: bool) -> tuple[Tensor, Tensor]:
    """Returns each image's route (B,) int64, the chosen task's index or -1, and its weight w (B,) in 0..1.

    w is the sigmoid of the image's score for its task. Images with w < 1/2 have route -1: the original model answers
    them.

    Args:
        scores: (B, T), the log density of each of B images under the Gaussian of each of T tasks.
        together: if True, all images take the task that most of them would choose.
    """
    tasks = scores.argmax(dim=1)  # (B,)
    if together:
        tasks = tasks.mode().values.expand_as(tasks)
    weights = scores.gather(1, tasks[:, None])[:, 0].sigmoid()  # (B,)
    return torch.where(weights < 0.5, -1, tasks), weights


class Plugin(StrategyPlugin):
    """DIKI: trains key and value prompts for each task, and chooses a test image's task by a Gaussian of its features.

    As the classifier's `Routing` it gives each test image a route: a task's index, or -1 for the original model. A hook
    on each attention adds the prompts' branch to its output, so that the model itself stays a plain open_clip one.

    Attributes:
        tasks: the `TaskPrompts` (prompts and Gaussian) of each learned task, in learning order.
        classifier: the model of the run; None before `begin`.
    """

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.classifier: ClipClassifier | None = None
        self.tasks = nn.ModuleList()
        self._hooks: list[Any] = []
        self._forget()

    def _forget(self) -> None:
        self.tasks = nn.ModuleList()
        self._gaussians: list[MultivariateNormal] = []
        self._used: TaskPrompts | None = None  # the prompts that the model computes with now
        self._weights = self._row_weights = torch.ones(())  # w: of the images last chosen for; of those encoded now

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run without learned tasks, and hooks the prompts onto the model's attention.

        Args:
            classifier: the model of the run; its `routing` becomes this plugin, which then decides on the task of each
                test image.
        """
        for hook in self._hooks:
            hook.remove()
        self._forget()
        self.classifier = classifier
        classifier.routing = self
        self._hooks = [
            block.attn.register_forward_hook(self._adder(tower, index))
            for tower in TOWERS["both"]
            for index, block in enumerate(blocks(classifier.clip, tower)[: self.settings.depth])
        ]

    def _adder(self, tower: str, index: int) -> Any:
        def add(attention: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, None]) -> tuple[Tensor, None]:
            if self._used is None:
                return output
            keys, values = self._used.keys[tower][index], self._used.values[tower][index]  # (n, d)
            added = branch(attention, inputs[0], keys, values)  # (B, L, d)
            return output[0] + (self._row_weights * added if tower == "image" else added), None

        return add

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self.classifier is not strategy.model:
            self.begin(strategy.model)
        self._used = None
        strategy.model.clip.requires_grad_(False)
        mean, covariance = self._measure(strategy.experience.dataset)
        # A submodule of the classifier beside CLIP, where the optimiser and the check of the weights find it.
        strategy.model.prompts = TaskPrompts(strategy.model.clip, self.settings, mean, covariance)
        self._used, self._row_weights = strategy.model.prompts, torch.ones((), device=mean.device)

    @torch.no_grad()
    def _measure(self, images: Any) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of the original model's features of a task's training images."""
        parts = range(0, len(images), READ)
        features = torch.cat(
            [self._features([images[i][0] for i in range(first, min(first + READ, len(images)))]) for first in parts]
        )  # (N, D) float64
        count, dimension = features.shape
        few = f"{count} training images for a Gaussian in {dimension} dimensions: it may refuse its own task's test images"
        self.notes = [few] if count <= dimension else []
        mean = features.mean(dim=0)
        centred = features - mean
        return mean, centred.T @ centred / max(count - 1, 1)

    def _features(self, images: Any) -> Tensor:
        assert self.classifier is not None
        batch = images if isinstance(images, Tensor) else torch.stack(images)
        return self.classifier.embed_images(batch.to(self.classifier.mean.device)).double()  # (B, D)

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        self._used = None
        self._keep(strategy.model.prompts.requires_grad_(False))

    def _keep(self, learned: TaskPrompts) -> None:
        self.tasks.append(learned)
        self._gaussians.append(learned.gaussian())

    def choose(self, images: Tensor) -> Tensor:
        """Returns each image's route (B,) int64: the task whose Gaussian gives its features the highest density.

        The route is -1, the original model, where that density is below 1, and before any task is learned. With the
        setting `decision` = `batch`, the task is the one that most images would choose, but each image can still have
        -1.

        Args:
            images: (B, 3, H, W) uint8, the images that are evaluated together.
        """
        self._used = None
        if not self._gaussians:
            return torch.full((len(images),), -1, device=images.device)
        features = self._features(images)  # (B, D)
        scores = torch.stack([gaussian.log_prob(features) for gaussian in self._gaussians], dim=1)  # (B, T)
        routes, self._weights = decide(scores, self.settings.decision == "batch")
        return routes

    def use(self, route: int, rows: Tensor) -> None:
        """Makes the model compute with the prompts of a route's task from now on.

        Args:
            route: the task's index; -1 for the original model.
            rows: (B,) bool, which images of the last call of `choose` take this route. The prompts' part of each image
                is multiplied by its density p under the task's Gaussian, as p / (1 + p).
        """
        self._used = self.tasks[route] if route >= 0 else None  # type: ignore[assignment]
        if route >= 0:
            self._row_weights = self._weights[rows, None, None].float()  # (rows, 1, 1)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the prompts and Gaussians of all learned tasks by name, with the task's index TASK in front.

        `TASK.keys.TOWER` and `TASK.values.TOWER` (depth, n, d) are its prompts, with TOWER `image` or `text`;
        `TASK.mean` (D,) and `TASK.covariance` (D, D) are its Gaussian. Empty before the first task.
        """
        return dict(self.tasks.state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the prompts and Gaussians of the learned tasks. `begin` is to be called before.

        Args:
            state: what `state_dict` returned, for each task's index TASK and each TOWER (`image`, `text`):
                `TASK.keys.TOWER`, `TASK.values.TOWER`, `TASK.mean` and `TASK.covariance`.
        """
        assert self.classifier is not None
        for task in range(len({name.partition(".")[0] for name in state})):
            own = {name.partition(".")[2]: tensor for name, tensor in state.items() if name.startswith(f"{task}.")}
            learned = TaskPrompts(self.classifier.clip, self.settings, own["mean"], own["covariance"])
            learned.load_state_dict(own)
            self._keep(learned.requires_grad_(False).to(self.classifier.mean.device))
