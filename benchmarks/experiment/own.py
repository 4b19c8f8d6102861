"""Strategies and streams of one's own, defined in a notebook or a module, as objects for `benchmarks.api`."""

import hashlib
import inspect
import re
from collections.abc import Sequence
from typing import Any

from benchmarks.config import registry
from benchmarks.config.errors import UserError, shown
from benchmarks.config.registry import Strategy
from benchmarks.images.sets import Split
from benchmarks.streams.base import Plan, Source, Task
from strategies.about import About


NAME = re.compile(r"[A-Za-z0-9][\w-]*", re.ASCII)  # of one's own strategies and streams: they name folders


def own_strategy(plugin: type, settings: type, name: str, about: About | None = None) -> Strategy:
    """Returns a method of one's own, defined in a notebook or a module, as an object for `nb.run`.

    Args:
        plugin: a subclass of `nb.StrategyPlugin`.
        settings: a frozen pydantic dataclass with the method's settings.
        name: the method's name in run folders and tables: letters, digits, `-` and `_`, not that of an existing
            strategy.
        about: its title, colour and published results, for tables and plots; by default made from the name.

    Raises:
        UserError: the name cannot be used, or `plugin` or `settings` is no class.
    """
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise UserError(f"strategy: a name of letters, digits, - and _ is needed, got {shown(name)}")
    if name in registry.names("strategy"):
        raise UserError(f"strategy {name}: there is a strategy called that already; give it another name")
    if not isinstance(about, About | None):
        raise UserError(f"strategy {name}: about: expected nb.About(...) or None, got {shown(about)}")
    if not (isinstance(plugin, type) and isinstance(settings, type)):
        raise UserError(
            f"strategy {name}: expected the classes Plugin and Settings, got {shown(plugin)} and {shown(settings)}"
        )
    return Strategy(name, settings, about or registry.about(name), _digest(plugin, settings), lambda: plugin)


def _digest(*classes: type) -> str:
    """SHA-256 of the classes' source; empty where Python does not know it."""
    try:
        return hashlib.sha256("\n".join(map(inspect.getsource, classes)).encode()).hexdigest()
    except (OSError, TypeError):
        return ""


def own_stream(name: str, tasks: Sequence[Task], protocol: str = "one's own stream") -> Plan:
    """Returns a stream of one's own tasks, in the given order, as an object for `nb.run`.

    Args:
        name: letters, digits, `-` and `_`; not the name of an existing stream.
        tasks: `nb.Task` objects, their splits made with `nb.split_of`.
        protocol: one line that the run folder records as the protocol.

    Raises:
        UserError: a task cannot be used: two have one name, class names repeat, a template has not exactly one `{}`, or
            a split is empty or has labels outside the task's classes.
    """
    _check_tasks(name, tasks)
    by_name = {task.name: task for task in tasks}
    names = tuple(by_name)
    return Plan(
        names=names, orders={"default": names}, protocol=protocol, open=lambda some: tuple(by_name[one] for one in some),
        name=name,
    )  # fmt: skip


def _check_tasks(stream: str, tasks: Sequence[Any]) -> None:
    """Raises UserError for anything that a stream's tasks cannot be, naming the task."""
    if not isinstance(tasks, list | tuple) or not tasks or not all(isinstance(task, Task) for task in tasks):
        raise UserError(f"stream {stream}: expected at least one nb.Task, got {shown(tasks)}")
    names = [task.name for task in tasks]
    if not _are_texts(names):
        raise UserError(f"stream {stream}: every task's name must be a text, got {shown(names)}")
    if twice := next((each for each in names if names.count(each) > 1), None):
        raise UserError(f'stream {stream}: two tasks are called "{twice}"; rename one')
    for task in tasks:
        where = f"stream {stream}, task {task.name}"
        if not _are_texts(task.class_names) or len(set(task.class_names)) < len(task.class_names):
            raise UserError(f"{where}: class names must be a list of texts that differ, got {shown(task.class_names)}")
        if not _are_texts(task.templates) or not all(template.count("{}") == 1 for template in task.templates):
            raise UserError(f"{where}: templates: each is a text with exactly one {{}}, got {shown(task.templates)}")
        if not isinstance(task.source, Source):
            raise UserError(f"{where}: source: expected nb.Source(...), got {shown(task.source)}")
        for half, split in (("train", task.train), ("test", task.test)):
            if not isinstance(split, Split):
                raise UserError(f"{where}: {half}: expected what nb.split_of(...) returns, got {shown(split)}")
            if not len(split):
                raise UserError(f"{where}: no {half} images")
            if split.labels.min() < 0 or split.labels.max() >= len(task.class_names):
                raise UserError(f"{where}: {half} labels must lie in 0 to {len(task.class_names) - 1}")


def _are_texts(values: Any) -> bool:
    """Whether these are one text or more, none of them empty or with control characters, in a list or tuple."""
    return (
        isinstance(values, list | tuple)
        and bool(values)
        and all(isinstance(each, str) and each.strip() and each.isprintable() for each in values)
    )
