"""Compares a run's accuracies before training with the published zero-shot results of CLIP ViT-B/16 on MTIL."""

from rich.table import Table

from benchmarks.comparison.published import values
from benchmarks.config import registry
from benchmarks.runs.read import Run


MODEL = "ViT-B-16-quickgelu"  # with OpenAI's weights: the model of the published results
ROW = "Zero-shot CLIP ViT-B/16"
PUBLISHED = "MTIL full-shot", "I", ROW, "Last"
TOLERANCE = registry.about("zeroshot").published[ROW].tolerance or 0.0  # points
SOURCE = "ZSCL's mtil/results.ipynb"

CAUSES = f"""What usually causes a deviation of more than {TOLERANCE} points:
  nearly every data set, by several points: QuickGELU (model without it, weights with it), or other weights
  Caltech101, EuroSAT or SUN397 only: the random split (SUN397's published one depends on a disk's order), or class names
  CIFAR100, MNIST or EuroSAT only (small images): the resize; bicubic, from the original size, without augmentation
  one data set by far: its class names or templates, as stream.json in the run folder lists them"""


def comparison(run: Run) -> tuple[Table, str] | None:
    """Returns a table of a run's zero-shot accuracies in percent next to the published ones of CLIP ViT-B/16, and a
    text to print below it.

    The table has one row for each data set, with the difference in percentage points. The text names the data sets that
    differ by more than the tolerance (0.3 points), and usual causes. The result is None for a run of another stream
    than `mtil`, of other splits than ZSCL's, of a strategy other than `zeroshot`, or of a model that was trained elsewhere.

    Args:
        run: the run.

    Raises:
        UserError: `config.yaml` is missing or damaged.
    """
    wanted = {"stream": "mtil", "splits": "zscl", "strategy": "zeroshot"}
    if "start" in run.about or any(run.config[name] != value for name, value in wanted.items()):
        return None
    table = Table(title=f"zero-shot in %, published: CLIP ViT-B/16, {SOURCE}", title_justify="left")
    for heading in ("", "here", "published", "difference"):
        table.add_column(heading, justify="right" if heading else "left")
    deviating = []
    for task, here in zip(run.tasks, run.accuracy["known"][0], strict=True):
        published = float(values()[*PUBLISHED, task].value)
        difference = here - published
        table.add_row(task, f"{here:.1f}", f"{published:.1f}", f"{difference:+.1f}")
        if abs(difference) > TOLERANCE:
            deviating.append(task)
    return table, _verdict(deviating, run.config["model"])


def _verdict(deviating: list[str], model: str) -> str:
    if not deviating:
        return f"every data set is within {TOLERANCE} points of the published value"
    other = f" (the published row is {MODEL}'s with OpenAI's weights; this is {model})" if model != MODEL else ""
    return f"more than {TOLERANCE} points off{other}: {', '.join(deviating)}\n{CAUSES}"
