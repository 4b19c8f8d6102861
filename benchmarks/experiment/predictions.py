"""The predictions for every test image in every state: the best classes with their scores, in `predictions/STATE.parquet`."""

import io
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.runs.predictions import BEST, columns, place
from benchmarks.runtime import files
from strategies.numerics.data_parallel import add_up


class Predictions:
    """Collects what the model predicts for each test image of all tasks in one state, and writes it into the run folder.

    Args:
        tasks: the names of the T tasks, in learning order.
        class_counts: the number of classes of each task.
        labels: for each task the labels (N,) int64 of its test images.
        device: where the logits are.
    """

    def __init__(
        self, tasks: Sequence[str], class_counts: Sequence[int], labels: Sequence[Tensor], device: torch.device
    ) -> None:
        ends = torch.tensor(class_counts).cumsum(dim=0).tolist()
        self.tasks, self.labels, self.device = tasks, labels, device
        self.own = [slice(end - count, end) for end, count in zip(ends, class_counts, strict=True)]
        self.best = min(BEST, ends[-1])
        self._scores: list[Tensor] = []
        self._classes: list[Tensor] = []
        self._is_whole = False  # whether every process has what all have noted

    def begin(self) -> None:
        """Begins a state: forgets what was collected."""
        self._is_whole, shape = False, self.best + 1
        self._scores = [torch.zeros(len(each), shape, device=self.device) for each in self.labels]
        self._classes = [torch.zeros(len(each), shape, dtype=torch.int64, device=self.device) for each in self.labels]

    def watch(self, task: int, part: slice, union: Tensor, own: Tensor) -> None:
        """Notes the best classes of some images of a task.

        Args:
            task: the task's index.
            part: which of its test images.
            union: (B, sum of C), the scores of these images over the classes of all tasks.
            own: (B, C), those over the task's classes.
        """
        best, known = union.topk(self.best, dim=1), own.max(dim=1)  # (B, k), (B,)
        self._scores[task][part] = torch.cat([best.values, known.values[:, None]], dim=1).float()
        self._classes[task][part] = torch.cat([best.indices, known.indices[:, None] + self.own[task].start], dim=1)

    def write(self, folder: Path, state: int, *, is_first: bool) -> None:
        """Writes what was collected since `begin`, of all processes, into the run folder.

        Args:
            folder: the run folder.
            state: the number of tasks learned.
            is_first: whether this process writes.

        Raises:
            UserError: the file cannot be written, or its folder is a link.
        """
        scores, classes = torch.cat(self._scores), torch.cat(self._classes)  # (N, k + 1) each
        if not self._is_whole:
            # Each image was noted by one process; the others have zeros.
            self._scores, self._classes, self._is_whole = [add_up(scores)], [add_up(classes)], True
        if is_first:
            files.write_bytes(place(folder, state), self._parquet(scores.cpu(), classes.cpu()))

    def _parquet(self, scores: Tensor, classes: Tensor) -> bytes:
        pa: Any = import_module("pyarrow")  # here, since it is an extra
        parquet: Any = import_module("pyarrow.parquet")
        counts = [len(each) for each in self.labels]
        labels = torch.cat([each + own.start for each, own in zip(self.labels, self.own, strict=True)])
        number = pa.int16() if self.own[-1].stop < 2**15 else pa.int32()
        tasks = pa.DictionaryArray.from_arrays(
            pa.array(torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).numpy(), pa.int16()),
            pa.array(self.tasks, pa.string()),
        )
        images = torch.cat([torch.arange(count) for count in counts])
        table = {
            "task": tasks,
            "image": pa.array(images.numpy(), pa.int32()),
            "label": pa.array(labels.numpy(), number),
        }
        for place_, (best, score) in enumerate(columns(self.best)):
            table[best] = pa.array(classes[:, place_].numpy(), number)
            table[score] = pa.array(scores[:, place_].numpy(), pa.float32())
        out = io.BytesIO()
        classes_of, scores_of = zip(*columns(self.best), strict=True)
        parquet.write_table(
            pa.table(table), out, compression="zstd", use_dictionary=["task", "label", *classes_of],
            column_encoding={"image": "DELTA_BINARY_PACKED", **dict.fromkeys(scores_of, "BYTE_STREAM_SPLIT")},
            write_statistics=False,
        )  # fmt: skip
        return out.getvalue()
