"""TensorBoard: event files in the folder `tensorboard` of the run folder, one for each state."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from avalanche.logging import TensorboardLogger
from PIL import Image

from benchmarks.experiment.loggers.base import Log, own_folder
from benchmarks.experiment.loggers.content import Entry
from benchmarks.runs.read import Run


END = "end"
NEW = ".new-"  # the beginning of the name of a folder that is written into


class Logger(Log):
    """Writes the events of a state into a file of their own, which is there whole or not at all.

    `tensorboard --logdir results` shows them: losses over training steps, accuracies, ranks and metrics over tasks learned.
    """

    name = "tensorboard"
    package = "tensorboard"

    def sent(self, folder: Path) -> int:
        """Returns how many states have their event file."""
        place, count = own_folder(folder, self.name), 0
        while (place / _file(f"{count:05}")).exists():
            count += 1
        return count

    def send(self, run: Run, state: int, entries: Sequence[Entry]) -> None:
        """Writes the event file of a state; that of the first state has the settings as text, too."""

        def write(logger: Any) -> None:
            if state == 0:
                settings = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
                logger.writer.add_text("settings", f"```\n{settings}```")
            for entry in entries:
                _log(logger, entry)

        self._write(run, f"{state:05}", write)

    def send_end(self, run: Run, metrics: Entry, plots: Sequence[Path]) -> None:
        """Writes one more event file, with the metrics and the plots as images."""

        def write(logger: Any) -> None:
            _log(logger, metrics)
            for plot in plots:
                with Image.open(plot) as image:
                    logger.log_single_metric(f"plots/{plot.stem}", image.convert("RGB"), metrics.at)

        if not (own_folder(run.folder, self.name) / _file(END)).exists():
            self._write(run, END, write)

    def _write(self, run: Run, name: str, write: Any) -> None:
        place = own_folder(run.folder, self.name)
        place.mkdir(exist_ok=True)
        for left in place.glob(f"{NEW}*"):  # by a process that was killed; TensorBoard would show it as a run
            shutil.rmtree(left)
        with TemporaryDirectory(prefix=NEW, dir=place) as new:
            logger = TensorboardLogger(new)
            write(logger)
            logger.writer.close()
            (file,) = Path(new).iterdir()
            file.replace(place / _file(name))


def _file(name: str) -> str:
    """Returns a name that TensorBoard takes for one of its files; it reads them in the order of their names."""
    return f"events.out.tfevents.{name}"


def _log(logger: Any, entry: Entry) -> None:
    for name, value in entry.values.items():
        logger.log_single_metric(name, value, entry.at)
