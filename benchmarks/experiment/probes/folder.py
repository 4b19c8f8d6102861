"""Any folder of images, zero-shot: top-1 on the test images of each domain, in the layout of the stream folder:PATH."""

from benchmarks.experiment.probes.base import Probe, folder_of, top1
from benchmarks.streams import folder
from benchmarks.streams.orders import whole


def build(argument: str) -> list[Probe]:
    """Returns a probe for each domain of a folder of images: zero-shot classification among the domain's classes.

    Args:
        argument: the folder, as of the stream `folder:PATH`; names, templates and splits are as there.

    Raises:
        UserError: the folder is missing, or is not laid out so.
    """
    folder_of("folder", argument, "<domain>/test/<class>/<image>")
    return [
        Probe(
            name=task.name,
            images=task.test,
            texts=task.class_names,
            templates=task.templates,
            score=top1(task.test.labels),
            protocol=f"{task.name}: {len(task.test)} test images, top-1 among {len(task.class_names)} classes",
        )
        for task in whole(folder.build(argument)).tasks
    ]
