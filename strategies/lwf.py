"""LwF as ZSCL runs it: the model before the task teaches, on the task's own images and prompts.

Li and Hoiem, Learning without Forgetting, arXiv 1606.09282, in the form of ZSCL's code (arXiv 2303.06628). All
parameters learn from cross-entropy plus the two distillation terms of `strategies.shared.distillation`, with T = 2 and
weight 1 each. The teacher is the model at the start of the task (in the first task, the initial CLIP). The auxiliary
images are batches of the task's training set without random crops, and the auxiliary texts are the task's prompts
(first template).

Fidelity: as ZSCL's code, except that the order of the auxiliary images is a function of seed and task, and that batches
run across epochs, where that code ends an epoch with a short one. It is not Avalanche's LwF, which distils a
classifier's outputs over the classes of past tasks. Nothing is stored between tasks, since the teacher is the model.
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
    published={
        "LwF": Published(
            differs={
                "MTIL 5-shot": "re-run by others, with settings that are not known",
                "CIL": "the released teacher shares storage with the student, so that it distils nothing",
            }
        )
    },
)


@dataclass(frozen=True)
class Settings(DistillationSettings):
    """Settings of LwF (Learning without Forgetting) as ZSCL runs it: temperature and weight of the distillation.

    The defaults are those of ZSCL's MTIL scripts. `temperature` divides the logits of model and teacher, and
    `distillation` is the factor on each of the two distillation terms.
    """


class Plugin(DistillationPlugin):
    """LwF as ZSCL runs it: fine-tuning of all parameters, with distillation from the model before the task.

    The distillation compares the two models on the task's own images and prompts.
    """
