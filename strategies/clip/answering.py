"""What a method may put between the classifier and its answers: a choice of weights for each image, or scores of its own."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Routing(Protocol):
    """Protocol of a method that evaluates different images with different weights ("routes").

    The classifier asks for the route of each image, so the code that evaluates sees a single model. A route is an
    integer; the method decides what it stands for, for instance the index of a learned task. For each batch the
    classifier calls `choose` once, then `use` before it computes the images of a route. A route's text features are
    cached; where they differ from batch to batch, `choose` calls the classifier's `forget_texts`.
    """

    def choose(self, images: Tensor) -> Tensor:
        """Returns the route of each image, (B,) int64.

        Args:
            images: (B, 3, H, W) uint8, the images that are evaluated together.
        """
        ...

    def use(self, route: int, rows: Tensor) -> None:
        """Makes the model compute both towers with the weights of `route` from now on.

        Args:
            route: a number that `choose` returned.
            rows: (B,) bool, the images of the last call of `choose` that take this route. The image tower is then given
                exactly these images, in the same order.
        """
        ...


class Head(Protocol):
    """Protocol of a method that answers with scores of its own, made of an image's feature and its logits."""

    def scores(self, features: Tensor, logits: Tensor, tasks: Sequence[int]) -> Tensor:
        """Returns the scores (B, C) of images that take the place of their logits in evaluation.

        Args:
            features: (B, D), unit-length image features.
            logits: (B, C), cosines to the classes' text features times the logit scale.
            tasks: the tasks whose C classes compete, in the order of the columns.
        """
        ...
