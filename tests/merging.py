"""Trains merging methods on small models, and keeps the weights at the start and end of each task for plain references."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from strategies.shared.merging import MergingPlugin
from tests.models import tiny_classifier, tiny_experiences, tiny_template


Weights = dict[str, Tensor]


class Trained(NamedTuple):
    """What a merging method did: weights in float64 by name, of what learns.

    Attributes:
        initial: before the first task.
        starts, ends, deployed: of each task at its first step, after its last step, and after the merge.
        model: the classifier as it is now.
    """

    initial: Weights
    starts: list[Weights]
    ends: list[Weights]
    deployed: list[Weights]
    model: Any

    def vectors(self) -> list[Weights]:
        """The task vectors of all tasks: what no method keeps."""
        return [{name: end[name] - self.initial[name] for name in end} for end in self.ends]


def trained(plugin: MergingPlugin, device: torch.device, tasks: tuple[int, ...] = (0, 1, 0)) -> Trained:
    """Trains the tiny tasks of these indices one after the other."""
    classifier = tiny_classifier(device=device)

    def now() -> Weights:
        return {name: each.detach().double().clone() for name, each in plugin.learning(classifier.clip).items()}

    found = Trained(now(), [], [], [], classifier)
    merged = plugin.merged

    def note_end(tuned: Weights) -> Weights:
        found.ends.append({name: each.double().clone() for name, each in tuned.items()})
        return merged(tuned)

    def note_start() -> None:
        if template.clock.train_exp_iterations == 0:
            found.starts.append(now())

    plugin.merged = note_end  # type: ignore[method-assign]
    template = tiny_template(classifier, [plugin], on_step_begin=note_start)
    for task in tasks:
        template.train(tiny_experiences()[task])
        found.deployed.append(now())
    return found


def close(one: Weights, other: Weights, atol: float = 1e-6) -> bool:
    assert one.keys() == other.keys()
    return all(torch.allclose(tensor, other[name], rtol=0, atol=atol) for name, tensor in one.items())


def stored_on_vit_b_16(plugin: MergingPlugin) -> int:
    """How often the image tower of ViT-B/16, 345 MB, a method stores after its first task, besides some numbers."""
    import open_clip

    clip: Any = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False)
    tower = sum(parameter.nbytes for parameter in clip.visual.parameters())
    assert tower == 4 * 86_192_640  # 345 MB
    learning = {name: parameter.detach() for name, parameter in plugin.learning(clip).items()}
    if plugin.keeps_initial:
        plugin.keep("initial", learning)
    plugin.merged(learning)
    if plugin.start == "sequential":
        plugin.keep("last", learning)
    times, left = divmod(sum(tensor.nbytes for tensor in plugin.state_dict().values()), tower)
    assert left < 100
    return times
