"""CLIP as a classifier over the class prompts of many tasks, in the form that Avalanche's strategies expect."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Literal
from weakref import WeakSet

import torch
import torch.nn.functional as F
from avalanche.models import MultiTaskModule
from torch import Tensor, nn

from strategies.clip import images as pictures
from strategies.clip import prompts as texts
from strategies.clip.activation import fuse
from strategies.clip.answering import Head, Routing
from strategies.clip.blocks import ready_for_one_token, spare_copies
from strategies.clip.once import Once
from strategies.clip.packed import Packed, pack
from strategies.clip.recipe import tell_recipes


class _Same:
    """Equal to that of the same object alone, which it keeps alive, so that no other one takes its place in memory."""

    def __init__(self, what: object) -> None:
        self.what = what

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.what is other.what

    __hash__ = None  # type: ignore[assignment]


class ClipClassifier(MultiTaskModule):
    """CLIP as a classifier: the cosine between image feature and class-prompt feature, times the logit scale.

    Training uses the first prompt template of a task. Evaluation uses the normalised mean of the text features over all
    of the task's templates (Radford et al. 2021; ZSCL), unless `evaluation_templates` says otherwise. The task label is
    the task's index in the stream; class labels count from 0 within each task. The module works under `ClipTemplate`
    and under Avalanche's own strategies.

    Args:
        clip: an open_clip model. Its logit scale is frozen; its QuickGELU, its attention and its last blocks are replaced
            by faster implementations of the same functions.
        prompts: for each task the tokens (K templates, C classes, L positions) int64 of its class prompts.
        mean, std: three numbers each, for red, green and blue: the mean and standard deviation that normalise images in
            0..1.

    Attributes:
        clip: the open_clip model.
        mean, std: the given numbers as buffers (3, 1, 1); the device and dtype of `mean` are those of the features.
        class_counts: the number of classes of each task.
        class_ids: for each task the numbers (C,) int64 of its classes, on the CPU. Classes of several tasks that count as one
            wherever they compete have the same number. By default all differ; `benchmarks.run` goes by the classes' names.
        lengths: for each task, how many of the L positions of its prompts the text tower has to compute where prompts
            are not packed (see `strategies/clip/packed.py`).
        firsts: for each task, the index of the first task with the same prompts.
        routing: the method's `Routing` if it evaluates different images with different weights, otherwise None.
        head: the method's `Head` if it scores classes by more than logits, otherwise None. A method sets this or `routing`,
            not both.
        evaluation_templates: how many of a task's templates, from the first, evaluation averages; None for all.
        low: the dtype in which the towers compute where the hardware is faster with it (bfloat16), or None for float32.
            Weights and features are float32 in both cases.
        images_repeat: whether training images come again as they are; False where each is another random crop.
        keeps_features: whether a forward pass in training leaves its images' features in `batch_features`. Off by default:
            a model that holds them cannot be copied.
        batch_features: these unit-length features (B, D), with their graph, for a method whose loss reads them; or None.
        known_train_tasks_labels: the indices of the tasks seen in training so far.
    """

    mean: Tensor
    std: Tensor
    known_train_tasks_labels: set[int]

    def __init__(self, clip: nn.Module, prompts: Sequence[Tensor], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.clip: Any = clip
        self.clip.logit_scale.requires_grad_(False)
        fuse(clip)
        spare_copies(clip)
        ready_for_one_token(clip)
        tell_recipes(clip)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        for task, tokens in enumerate(prompts):
            self.register_buffer(f"tokens_{task}", tokens, persistent=False)
        self.class_counts = [tokens.shape[1] for tokens in prompts]
        self.class_ids = list(torch.arange(sum(self.class_counts)).split(self.class_counts))
        self.lengths = [texts.length(clip, tokens) for tokens in prompts]  # tokens that have to be computed
        self.firsts = [  # for each task the earliest one with equal prompts: a stream may repeat its tasks
            next(other for other, first in enumerate(prompts) if torch.equal(first, tokens)) for tokens in prompts
        ]
        self.routing: Routing | None = None
        self.head: Head | None = None
        self.evaluation_templates: int | None = None
        self.low: torch.dtype | None = None
        self._features: dict[tuple[int, int], Tensor] = {}  # cached evaluation features, by route and task
        self._packed: dict[tuple[int, bool, torch.device], Packed | None] = {}  # first templates, as `_packed_prompts`
        self._frozen: dict[int, tuple[Any, Tensor]] = {}  # training features of a text tower that does not learn
        self.images_repeat = True
        self.keeps_features = False
        self.batch_features: Tensor | None = None
        self._seen: tuple[Any, Once] | None = None  # features of an image tower that does not learn, by image
        self._beside: WeakSet[ClipClassifier] = WeakSet()

    def beside(self, prompts: Sequence[Tensor]) -> "ClipClassifier":
        """Returns a classifier of the same model over other prompts, to evaluate it on other classes.

        It shares weights, routing and precision, and forgets texts whenever this one does. All templates count. It has no
        `head`, whose classes are those of the tasks.

        Args:
            prompts: for each task of the new classifier the tokens (K, C, L) int64 of its class prompts.
        """
        mean, std = self.mean.flatten().tolist(), self.std.flatten().tolist()
        other = ClipClassifier(self.clip, prompts, mean, std).to(self.mean.device).eval()
        other.routing, other.low = self.routing, self.low
        self._beside.add(other)
        return other

    def tokens(self, task: int) -> Tensor:
        """Returns the tokens (K templates, C classes, L positions) int64 of a task's prompts; L is the context length.

        Args:
            task: the task's index.
        """
        return getattr(self, f"tokens_{task}")

    def cut_tokens(self, task: int) -> Tensor:
        """Returns the tokens (K templates, C classes, L') int64 of a task's prompts, cut behind its longest prompt.

        Nothing is cut (L' = L, the context length) where the text tower reads the padding, since the features would
        change.

        Args:
            task: the task's index.
        """
        return self.tokens(task)[..., : self.lengths[task]]

    def encode_images(self, images: Tensor) -> Tensor:
        """Returns unit-length features (B, D) of images (B, 3, H, W), RGB in uint8, at the model's input size.

        D is the number of values of a feature, the same for images and texts.
        """
        # Scaled on the model's device: uint8 is a quarter of the bytes to copy there. The arithmetic is that of
        # torchvision's ToTensor and Normalize.
        scaled = (images.to(self.mean.dtype) / 255 - self.mean) / self.std
        with self._autocast():
            return F.normalize(pictures.encode(self.clip, scaled).to(self.mean.dtype), dim=-1)

    def _autocast(self) -> torch.autocast:
        # Autocast keeps copies of weights until its outermost context ends; within another's, which may lie around a whole
        # training, a step would see the weights of the first one.
        return torch.autocast(self.mean.device.type, self.low, enabled=self.low is not None, cache_enabled=False)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Returns unit-length features (N, D) of N texts, given as tokens (N, L) int64.

        L may be shorter than the model's context length if only padding is cut that the text tower does not need: in a
        causal tower such as CLIP's, the positions after the last end-of-text token of all N texts.
        """
        return self._encode(tokens, texts.packed(self.clip, tokens))

    def encoder_of(self, tokens: Tensor) -> Callable[[], Tensor]:
        """Returns a function that encodes the same texts at each call, as `encode_texts` does, but packs them only once.

        It holds for the modules that the text tower has now.

        Args:
            tokens: (N, L) int64, as for `encode_texts`.
        """
        packed = texts.packed(self.clip, tokens)
        return lambda: self._encode(tokens, packed)

    def _encode(self, tokens: Tensor, packed: Packed | None) -> Tensor:
        """Unit-length features (N, D) of texts (N, L), computed in their packed form if there is one."""
        with self._autocast():
            found = texts.encode(self.clip, tokens) if packed is None else texts.encode_packed(self.clip, packed)
        return F.normalize(found.to(self.mean.dtype), dim=-1)

    def training_features(self, task: int) -> Tensor:
        """Returns unit-length text features (C, D) of the C classes of a task, from its first template.

        They are computed anew at every call while the text tower learns. Where no parameter outside the image tower
        requires a gradient and nothing random acts, they are computed once, and kept until such a parameter changes in
        place, or `train`, `eval` or `forget_texts` is called. (Writing to a parameter's `data` needs `forget_texts`.)

        Args:
            task: the task's index.
        """
        first, share = self.firsts[task], texts.sharing(self.clip)
        version = self._frozen_version("text") if share and self.training else None
        if version is not None and first in self._frozen:
            kept_version, features = self._frozen[first]
            if kept_version == version and features.device == self.mean.device:
                return features
        features = self._encode(self.cut_tokens(task)[0], None if share is None else self._packed_prompts(first, share))
        if version is not None:
            self._frozen[first] = version, features
        return features

    def encode_again(self, images: Tensor) -> Tensor:
        """Returns what `encode_images` does, without computing features again that cannot have changed.

        The features of an image are kept, on a CPU, where `images_repeat`, no parameter outside the text tower requires a
        gradient, the tower is known to do the same at each call (`strategies.clip.images.repeats`) and nobody watches it.
        They are kept until such a parameter changes in place or is replaced, or `train`, `eval` or `forget_texts` is
        called. (Writing to a parameter's `data` needs `forget_texts`.)

        Args:
            images: (B, 3, H, W) uint8, on any device.
        """
        version = self._frozen_version("image") if self._may_remember(images) else None
        if version is None or not (pictures.repeats(self.clip) and pictures.unwatched_images(self.clip)):
            return self.encode_images(images.to(self.mean.device, non_blocking=True))
        if self._seen is None or self._seen[0] != version:
            self._seen = version, Once(self.encode_images)
        return self._seen[1](images)

    def _may_remember(self, images: Tensor) -> bool:
        # On a GPU it would have to wait for the images' pixels; whether that pays has not been measured.
        own = type(self).encode_images is ClipClassifier.encode_images and "encode_images" not in vars(self)
        return own and self.images_repeat and len(images) > 0 and self.mean.device.type == "cpu"

    def _frozen_version(self, tower: Literal["image", "text"]) -> Any:
        """What differs after a change in place of a parameter outside the other tower, or if it is replaced; None if one
        learns.
        """
        version: list[Any] = [self.mean.dtype, self.low, self.mean._version, self.std._version]
        for name, parameter in self.named_parameters():
            of_clip, of_images = name.startswith("clip."), name.startswith("clip.visual.")
            if of_images if tower == "text" else of_clip and not of_images:
                continue
            if parameter.requires_grad:
                return None
            version.append((_Same(parameter), parameter._version, parameter.data_ptr()))
        return version

    def _packed_prompts(self, task: int, share: bool) -> Packed | None:
        """The prompts of a task's first template, packed; None where a text's end is not all that is read."""
        tokens = self.tokens(task)[0]  # (C, L)
        key = task, share, tokens.device
        if key not in self._packed:
            found = texts.ends(self.clip, tokens)
            self._packed[key] = None if found is None else pack(tokens, found, share)
        return self._packed[key]

    @torch.no_grad()
    def evaluation_features(self, task: int, route: int = 0) -> Tensor:
        """Returns unit-length text features (C, D) of a task's C classes: the normalised mean over its templates.

        They are cached, by task and route, until the next call of `train`, `eval` or `forget_texts`.

        Args:
            task: the task's index.
            route: the number of the weights that the model computes with at present, if the method has several (see
                `Routing`); otherwise 0.
        """
        task = self.firsts[task]
        if (route, task) not in self._features:
            templates = self.cut_tokens(task)[: self.evaluation_templates]  # (K, C, L')
            each = torch.stack([self.encode_texts(tokens) for tokens in templates])  # (K, C, D)
            self._features[route, task] = F.normalize(each.mean(dim=0), dim=-1)
        return self._features[route, task]

    def forward_single_task(self, x: Tensor, task_label: int) -> Tensor:
        """Returns the logits (B, C) of images over the C classes of one task.

        In training mode, or where gradients are enabled, it uses the task's first template, otherwise those of
        evaluation.

        Args:
            x: (B, 3, H, W) uint8, the images.
            task_label: the task's index.
        """
        if self._learning():
            features = self.training_features(task_label)  # before the images: the order decides dropout's draws
            found = self.encode_again(x)
            if self.keeps_features:
                self.batch_features = found
            return self.clip.logit_scale.exp() * found @ features.T
        return self._evaluation_logits(x, [task_label])

    def _learning(self) -> bool:
        # Gradients count too: EWC differentiates in evaluation mode, and cached features without gradients would give
        # the text tower no importance.
        return self.training or torch.is_grad_enabled()

    def forward_all_tasks(self, x: Tensor) -> dict[int, Tensor]:
        """Returns, by task index, the logits (B, C) of images over the C classes of each task seen in training.

        The images are encoded once; Avalanche's own version encodes them again for each task.

        Args:
            x: (B, 3, H, W) uint8, the images.
        """
        tasks = list(self.known_train_tasks_labels)
        if not tasks:
            return {}
        if self._learning():
            scaled = self.clip.logit_scale.exp() * self.encode_again(x)  # (B, D)
            return {task: scaled @ self.training_features(task).T for task in tasks}
        each = self._evaluation_logits(x, tasks).split([self.class_counts[task] for task in tasks], dim=1)
        return dict(zip(tasks, each, strict=True))

    def forward(self, x: Tensor, task_labels: Tensor | int | None) -> Any:
        """Returns the logits (B, C) of images, each over the classes of its own task.

        The logits of a batch of one task are not padded. In a batch of several tasks, C is the largest number of
        classes, and the missing classes of the other tasks get the dtype's minimum, hence no share of the softmax.
        (Avalanche's own version pads every batch with zeros.)

        Args:
            x: (B, 3, H, W) uint8, the images.
            task_labels: the task index of each image, (B,) int64, or one index for all images. None returns a dict
                instead: the logits of every task seen in training, by task index.
        """
        if task_labels is None:
            return self.forward_all_tasks(x)
        if isinstance(task_labels, int):
            return self.forward_single_task(x, task_labels)
        present = task_labels.unique().tolist()
        if len(present) == 1:
            return self.forward_single_task(x, present[0])
        width = max(self.class_counts[task] for task in present)
        out = x.new_full((len(x), width), torch.finfo(self.mean.dtype).min, dtype=self.mean.dtype)  # (B, width)
        for task in present:
            rows = task_labels == task
            out[rows, : self.class_counts[task]] = self.forward_single_task(x[rows], task)
        return out

    @torch.no_grad()
    def union_logits(self, images: Tensor) -> Tensor:
        """Returns the logits (B, total number of classes) of images over the classes of all tasks, in stream order.

        The classes of each task are scored with that task's own prompts. For evaluation only: there are no gradients.

        Args:
            images: (B, 3, H, W) uint8.
        """
        return self._evaluation_logits(images, range(len(self.class_counts)))

    @torch.no_grad()
    def scored(self, images: Tensor) -> Callable[[range], Tensor]:
        """Returns a function from tasks that follow one another to the scores (B, C) of images over these tasks' classes.

        The images are encoded once, at this call. Without a `head` the scores are logits, and those over fewer tasks are
        columns of those over more; a head may give others, since it may depend on which classes compete. For evaluation
        only: there are no gradients.

        Args:
            images: (B, 3, H, W) uint8.
        """
        ends, tasks = list(accumulate(self.class_counts, initial=0)), range(len(self.class_counts))
        head = self.head
        if head is None:
            union = self.union_logits(images)  # (B, sum of C)
            return lambda some: union[:, ends[some.start] : ends[some.stop]]
        features = self.encode_images(images)  # (B, D)
        logits = self._logits(features, tasks)  # (B, sum of C)

        @torch.no_grad()
        def among(some: range) -> Tensor:
            return head.scores(features, logits[:, ends[some.start] : ends[some.stop]], some)

        return among

    def _evaluation_logits(self, images: Tensor, tasks: Sequence[int]) -> Tensor:
        """Scores (B, sum of C) over the classes of these tasks, each image computed with the weights of its route."""
        if self.routing is None:
            return self._route_logits(images, tasks, route=0)
        routes = self.routing.choose(images)  # (B,)
        out = torch.empty(len(images), sum(self.class_counts[task] for task in tasks), device=self.mean.device)
        for route in routes.unique().tolist():
            rows = routes == route
            self.routing.use(route, rows)
            out[rows] = self._route_logits(images[rows], tasks, route)
        return out

    def _route_logits(self, images: Tensor, tasks: Sequence[int], route: int) -> Tensor:
        features = self.encode_images(images)  # (B, D)
        logits = self._logits(features, tasks, route)
        return logits if self.head is None else self.head.scores(features, logits, tasks)

    def _logits(self, features: Tensor, tasks: Sequence[int], route: int = 0) -> Tensor:
        """Logits (B, sum of C) of image features (B, D) over the classes of these tasks."""
        texts = torch.cat([self.evaluation_features(task, route) for task in tasks])  # (sum of C, D)
        return self.clip.logit_scale.exp() * features @ texts.T

    def forget_texts(self) -> None:
        """Empties the caches of features, so that they are computed anew, in evaluation and in training.

        That holds for the features of texts, and for those of images that `encode_again` keeps.
        """
        self._features.clear()
        self._frozen.clear()
        self._seen = None
        for other in self._beside:
            other.forget_texts()

    def train(self, mode: bool = True) -> "ClipClassifier":
        """Sets training or evaluation mode as torch does, empties the caches of features, and returns itself."""
        self.forget_texts()
        return super().train(mode)

    def adaptation(self, experience: Any) -> None:
        """In training mode, records the tasks of an Avalanche experience as seen, in `known_train_tasks_labels`.

        Nothing grows: class prompts take the place of a classifier head.

        Args:
            experience: the experience, whose `task_labels` are the indices of its tasks.
        """
        if self.training:
            self.known_train_tasks_labels = self.known_train_tasks_labels | set(experience.task_labels)
