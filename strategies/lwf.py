"""LwF as ZSCL runs it: the model before the task teaches, on the task's own images and prompts.

Li and Hoiem, Learning without Forgetting, arXiv 1606.09282, in the form of ZSCL's code (arXiv 2303.06628): all parameters
learn from cross-entropy plus the two distillation terms of `strategies.shared.distillation`, T = 2, weight 1 each. The teacher
is the model at the start of the task (the initial CLIP in the first), the reference images are batches of the task's training
set without random crops, the reference texts its prompts (first template).

Fidelity: as ZSCL's code, but the order of the reference images is a function of seed and task. It is not Avalanche's LwF,
which distils a classifier's outputs over the classes seen before. Nothing is kept between tasks: the teacher is the model.
"""

from pydantic.dataclasses import dataclass

from strategies.about import VERMILLION, About, Published
from strategies.shared.distillation import DistillationPlugin
from strategies.shared.settings import DistillationSettings


ABOUT = About(
    name="LwF",
    reference="Li and Hoiem, ECCV 2016, arXiv 1606.09282, as in ZSCL",
    colour=VERMILLION,
    marker=">",
    published={"LwF": Published()},
)


@dataclass(frozen=True)
class Settings(DistillationSettings):
    """Defaults: ZSCL's MTIL scripts."""


class Plugin(DistillationPlugin):
    """The method as an Avalanche plugin."""
