"""DIKI: residual key and value prompts for each task, with a Gaussian of its image features to choose and weigh them.

Mind the Interference: Retaining Pre-trained Knowledge in Parameter Efficient Continual Learning of Vision-Language
Models (Tang et al., ECCV 2024), arXiv 2407.05342. CLIP stays frozen. In the first `depth` blocks of both towers, each
task t has n = `length` key prompts K and n value prompts V, both (n, d). Every head attends to them beside the image's
or text's own tokens:

    out = W_o (Attn(x) + w * softmax(q K^T / sqrt(d_head)) V) + b_o      x, q (L, d); softmax and products in each head

K starts uniform in -1..1, V at zero, so that at the start the model is the original one bit for bit. While the task is
learned, w is 1. The prompts of earlier tasks never change again. Before training, the original image tower computes the
unit-length features (N, D) of the task's training images. Their mean and covariance (over N - 1, with 1e-7 added to its
diagonal) give the Gaussian N_t. A test image with original feature f has

    scores s_t = log N_t(f),   task t* = arg-max over the learned tasks,   w = sigmoid(s_t* / divisor - 1)

so that the farther an image is from all learned tasks, the nearer its answer is to the original CLIP's; the branch is
never dropped. With `decision` batch, the images that are evaluated together take one task, the one that most of their
arg-maxes name, and each keeps the w of its own arg-max. The text tower has the branch of the same task, times the mean
of w over these images. With `decision` image, its factor is the image's own w, rounded to a multiple of 1/16.

Cost: K and V are multiplied by W_q and W_o once, (n * heads, d) each, so that the branch of a token is two thin
products. On ViT-B/16 a task trains 8 * 8 * 2 * (768 + 512) = 163 840 parameters, eleven tasks 1 802 240: the published
1.8 M. In an evaluation with `decision` batch, all class prompts are encoded anew for every test batch; with `decision`
image, once for each multiple of 1/16 that occurs in a task, at most 17 times for each learned task.

Fidelity, against the paper and descriptions of the authors' code. Equal: prompts, their start, depth, both towers,
frozen CLIP, Gaussians, an image's own task, w with its divisor 512; with `--decision batch --templates first` also the
vote, the text tower's factor and the template. Different by default, so that no image's answer depends on others:
`decision` image. Its rounded factor of the text tower is our choice, which lets text features be cached. Different by
default, as all methods here: the mean over all templates. Different always: AdamW in place of SGD with rate 5 and a
cosine down to a thousandth of it, which this harness's training template does not have (no rate for AdamW was
published); float32 in place of fp16; no choice of a model on a validation set; test batches of 128 images, theirs 256.
The covariance is float64: in float32, as theirs, that of few images is not positive definite. With fewer training
images than D, the Gaussian is flat outside their span, and refuses new images of its own task too.
"""

import math
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from strategies.about import BLACK, About, Published
from strategies.base import TRAINED, StrategyPlugin
from strategies.clip.blocks import allow
from strategies.clip.classifier import ClipClassifier
from strategies.clip.weight_matrices import TOWERS, blocks
from strategies.shared.features import image_features


ABOUT = About(
    name="DIKI",
    reference="Tang et al., ECCV 2024, arXiv 2407.05342",
    colour=BLACK,
    marker="s",
    published={
        "DIKI": Published(
            differs="CoOp's splits, SGD, fp16, a model chosen by validation; here ZSCL's splits, AdamW, float32"
        )
    },
    figures=2,  # raised in release 0.4: weights, keys and features as in the authors' code
)

RIDGE = 1e-7  # added to the covariance's diagonal
LEVELS = 16  # the text tower's factor for an image that decides alone is a multiple of 1 / LEVELS


@dataclass(frozen=True)
class Settings:
    """Settings of DIKI: the number of prompts, the blocks that have them, and how test images are answered.

    The defaults are the published ones, except for `decision` and `templates`, whose defaults make the method
    comparable with the others here.

    Attributes:
        length: the number of key prompts in a block, and of value prompts.
        depth: the number of blocks of each tower, from the first, that have prompts.
        decision: `image` if each test image chooses its task alone, `batch` if all images of a test batch take the task
            that most of them would choose.
        divisor: what divides the log density of an image's features in its weight: `512`, the constant of the authors'
            code, or `dimension`, the number D of values of a feature. On ViT-B/16, D is 512.
        templates: the prompt templates with which test images are classified: `all`, their mean as in all methods here,
            or the `first` only.
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
    # A number in YAML or Python is taken as its text.
    divisor: Annotated[Literal["512", "dimension"], BeforeValidator(str)] = Field(
        default="512",
        description="divides the log density in an image's weight: 512 (published), or the features' dimension",
        json_schema_extra={"before": "none"},  # of older runs: the sigmoid of the log density itself
    )
    templates: Literal["all", "first"] = Field(
        default="all",
        description="test images are classified by the mean of all templates, or (published) by the first",
    )


class TaskPrompts(nn.Module):
    """What DIKI has of one task: key and value prompts of both towers, and the Gaussian of the task's image features.

    Args:
        clip: the open_clip model to whose blocks the prompts belong.
        settings: they give the number n of prompts in a block (`length`) and the number of blocks (`depth`).
        mean, covariance: (D,) and (D, D), of the original model's unit-length features of the task's training images.

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
            zeros = torch.zeros(len(attentions), settings.length, attentions[0].embed_dim)  # (depth, n, d)
            # Drawn on the CPU, so that the start is the same on every device.
            self.keys[tower] = nn.Parameter(nn.init.uniform_(zeros.clone(), -1, 1).to(mean.device))
            self.values[tower] = nn.Parameter(zeros.to(mean.device))
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


def decide(scores: Tensor, divisor: int, together: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Returns each image's task (B,) int64, and the branch's factors (B,) in 0..1 in its image and its text tower.

    The image tower's factor is w = sigmoid(s / divisor - 1), with s the image's largest score. The text tower's is w,
    rounded to a multiple of 1/16, or where images decide together the mean of w over all of them.

    Args:
        scores: (B, T), the log density of each of B images under the Gaussian of each of T tasks.
        divisor: what divides the largest score.
        together: if True, all images take the task that most of them have as that of their largest score.
    """
    best, tasks = scores.max(dim=1)  # (B,)
    weights = (best / divisor - 1).sigmoid()  # (B,)
    if together:
        return tasks.mode().values.expand_as(tasks), weights, weights.mean().expand_as(weights)
    return tasks, weights, (weights * LEVELS).round() / LEVELS


class Plugin(StrategyPlugin):
    """DIKI: trains key and value prompts for each task, and chooses a test image's task by a Gaussian of its features.

    As the classifier's `Routing` it gives each test image a route: its task and the text tower's factor in one number,
    or -1 for the original model. A hook on each attention adds the prompts' branch to its output, so that the model
    itself stays a plain open_clip one.

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
        self._chosen: dict[str, Tensor] = {}  # by tower, the branch's factor (B,) of each image last chosen for
        self._factors: dict[str, Tensor] = {}  # by tower, the branch's factor in what is computed now

    def begin(self, classifier: ClipClassifier) -> None:
        """Begins a run without learned tasks, and hooks the prompts onto the model's attention.

        Args:
            classifier: the model of the run; its `routing` becomes this plugin, which then decides on the task of each
                test image. Its `evaluation_templates` becomes that of the setting `templates`.
        """
        for hook in self._hooks:
            hook.remove()
        self._forget()
        self.classifier = classifier
        classifier.routing = self
        classifier.evaluation_templates = 1 if self.settings.templates == "first" else None
        self._hooks = [
            block.attn.register_forward_hook(self._adder(tower, index))
            for tower in TOWERS["both"]
            for index, block in enumerate(blocks(classifier.clip, tower)[: self.settings.depth])
        ]

    def least_bytes(self, classifier: ClipClassifier) -> dict[str, int]:
        """Returns the bytes of a task's prompts while they are trained.

        Args:
            classifier: the model of the run.
        """
        towers = [blocks(classifier.clip, tower)[: self.settings.depth] for tower in TOWERS["both"]]
        widths = sum(block.attn.embed_dim for tower in towers for block in tower)
        return {"length": 2 * widths * self.settings.length * TRAINED * classifier.mean.element_size()}

    def _adder(self, tower: str, index: int) -> Any:
        def add(attention: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, None]) -> tuple[Tensor, None]:
            if self._used is None:
                return output
            keys, values = self._used.keys[tower][index], self._used.values[tower][index]  # (n, d)
            return output[0] + self._factors[tower] * branch(attention, inputs[0], keys, values), None  # (B, L, d)

        return allow(add, "takes_one_token", "takes_packed")

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        if self.classifier is not strategy.model:
            self.begin(strategy.model)
        self._used = None
        strategy.model.clip.requires_grad_(False)
        mean, covariance = self._measure(image_features(strategy.model, strategy.experience.dataset).double())
        # A submodule of the classifier beside CLIP, where the optimiser and the check of the weights find it.
        strategy.model.prompts = TaskPrompts(strategy.model.clip, self.settings, mean, covariance)
        self._used = strategy.model.prompts
        self._factors = dict.fromkeys(TOWERS["both"], torch.ones((), device=mean.device))

    def _measure(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of the original model's features (N, D) of a task's training images."""
        count, dimension = features.shape
        few = f"{count} training images for a Gaussian in {dimension} dimensions: it may refuse its own task's test images"
        self.notes = [few] if count <= dimension else []
        self.notes += [] if self.tasks else self._cut()
        mean = features.mean(dim=0)
        centred = features - mean
        return mean, centred.T @ centred / max(count - 1, 1)

    def _cut(self) -> list[str]:
        """A line about the towers that have fewer blocks than the setting `depth`; none where both have as many."""
        assert self.classifier is not None
        lengths = {tower: len(blocks(self.classifier.clip, tower)) for tower in TOWERS["both"]}
        short = [f"{length} in the {tower} tower" for tower, length in lengths.items() if length < self.settings.depth]
        return [f"depth {self.settings.depth} is cut to {' and '.join(short)}: all blocks"] if short else []

    def after_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        self._used = None
        self._keep(strategy.model.prompts.requires_grad_(False))

    def _keep(self, learned: TaskPrompts) -> None:
        self.tasks.append(learned)
        self._gaussians.append(learned.gaussian())

    def choose(self, images: Tensor) -> Tensor:
        """Returns each image's route (B,) int64: 17 * its task's index + 16 * its text tower's factor, rounded.

        The task is the one whose Gaussian gives the image's features the highest density, or with the setting
        `decision` = `batch` the one for which this holds in most images. Before any task is learned the route is -1,
        the original model.

        Args:
            images: (B, 3, H, W) uint8, the images that are evaluated together.
        """
        self._used = None
        if not self._gaussians:
            return torch.full((len(images),), -1, device=images.device)
        assert self.classifier is not None
        features = self.classifier.encode_images(images.to(self.classifier.mean.device)).double()  # (B, D)
        scores = torch.stack([gaussian.log_prob(features) for gaussian in self._gaussians], dim=1)  # (B, T)
        divisor = features.shape[1] if self.settings.divisor == "dimension" else int(self.settings.divisor)
        together = self.settings.decision == "batch"
        tasks, self._chosen["image"], self._chosen["text"] = decide(scores, divisor, together)
        if together:  # the mean of the weights is another one in each batch
            self.classifier.forget_texts()
        return tasks * (LEVELS + 1) + (self._chosen["text"] * LEVELS).round().long()

    def use(self, route: int, rows: Tensor) -> None:
        """Makes the model compute with the prompts of a route's task from now on.

        Args:
            route: a number that `choose` returned; -1 for the original model.
            rows: (B,) bool, which images of the last call of `choose` take this route. The prompts' part of each image
                is multiplied by the image's weight, that of each text by the route's factor.
        """
        self._used = None
        if route >= 0:
            self._used = self.tasks[route // (LEVELS + 1)]  # type: ignore[assignment]
            images, texts = (self._chosen[tower][rows].float() for tower in ("image", "text"))  # (rows,)
            self._factors = {"image": images[:, None, None], "text": texts[0]}

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
