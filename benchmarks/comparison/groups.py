"""Groups of runs that may be compared (same stream, splits, images, backbone and shots), in a group by method."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.config.settings import FREE
from benchmarks.runs.read import Run
from strategies.about import About


# Settings that identify a run within its method, and those that are equal in a group; all others define the method.
OF_THE_RUN = ("seed", "order", "device", FREE)
OF_THE_GROUP = ("stream", "model", "pretrained", "splits", "shots")
PATH = re.compile(r"(?<![\w.~])[~.]{0,2}/(?=\S)(?:[^/,;:()\[\]]*/)*([^/,;:()\[\]]*)")


@dataclass(frozen=True, eq=False)
class Method:
    """A strategy with certain settings, and its runs with different seeds and orders.

    Attributes:
        strategy: the strategy's name on the command line, such as `moe_adapter`.
        name: the strategy's title in tables and figures, such as `MoE-Adapters`.
        telling: the settings in which the group's methods of this strategy differ, as text: a space and `name=value`
            for each, such as `decision=image`; empty if there is only one such method.
        runs: the runs.
    """

    strategy: str
    name: str
    telling: str
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """The method in tables and figures: its title and the settings that distinguish it, `MoE-Adapters
        decision=image`.
        """
        return f"{self.name}{self.telling}"

    @property
    def key(self) -> str:
        """The method in options and csv files: its name and the settings that distinguish it, `moe_adapter
        decision=image`.
        """
        return f"{self.strategy}{self.telling}"

    @property
    def about(self) -> About:
        """The strategy's title, reference, colour and marker in figures, and the published results to compare it with."""
        return self.runs[0].method

    @property
    def is_ranked(self) -> bool:
        """Whether the method is ranked. Zero-shot and joint training are not: they bound the others from below and above. Nor
        is what starts from another model than the pretrained one, of which the others have seen nothing.
        """
        first = self.runs[0]
        return not (first.learns_nothing or first.learns_at_once or first.is_second_stage)

    def in_order(self, tasks: tuple[str, ...]) -> tuple[Run, ...]:
        """Returns the method's runs that learn the tasks in a certain order, sorted by seed; empty if there are none.

        Args:
            tasks: the names of all tasks in that order.
        """
        return tuple(run for run in self.runs if run.tasks == tasks)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that may be compared, by method: their stream, protocol, images, model, weights and number of shots are equal.

    Attributes:
        methods: the methods, each with its runs, the best Avg first.
        distinction: text that the title adds if another group would have the same title; else empty.
    """

    methods: tuple[Method, ...]
    distinction: str = ""

    @property
    def first(self) -> Run:
        """The first run of the first method, to read what is equal in all runs: stream, protocol, backbone and shots."""
        return self.methods[0].runs[0]

    @property
    def runs(self) -> list[Run]:
        """The runs of all methods in one list, method by method."""
        return [run for method in self.methods for run in method.runs]

    def about(self, name: str) -> Any:
        """Returns an entry of `run.json` that all runs share which have it; None if none has it.

        Args:
            name: the entry's key; runs of older versions may lack it.
        """
        return next((run.about[name] for run in self.runs if name in run.about), None)

    @property
    def identity(self) -> str:
        """What the protocol tells the model at test time: the task (`known`, task-aware), nothing (`unknown`,
        task-agnostic) or the classes learned so far (`seen`, class-incremental).
        """
        return self.first.protocol.identity

    @cached_property
    def orders(self) -> dict[tuple[str, ...], str]:
        """The names of the orders in which runs learn the tasks: a dict from the tuple of the tasks' names in that
        order.

        The order named `default` comes first. If runs name one order differently, the names are joined, as in `I, the
        default`.
        """
        names: dict[tuple[str, ...], set[str]] = {}
        for run in self.runs:
            names.setdefault(run.tasks, set()).add(str(run.config["order"]))
        # Runs may give the same order by its name and as the default: "I, the default".
        named = {
            tasks: ", the ".join(sorted(given, key=lambda name: name == "default")) for tasks, given in names.items()
        }
        return dict(sorted(named.items(), key=lambda item: ("default" not in item[1], item[1])))

    def only_order(self) -> tuple[str, ...]:
        """Returns the tasks' names in the order in which all runs learn them.

        Raises:
            UserError: the runs learn them in several orders.
        """
        if len(self.orders) > 1:
            raise UserError(
                f"the runs have {len(self.orders)} orders: {'; '.join(self.orders.values())}; choose one with --order"
            )
        return self.first.tasks

    @property
    def accuracy_identity(self) -> str:
        """The test condition under which Transfer and forgetting are reported: `known` or `unknown`.

        It equals `identity`, except that class-incremental protocols (`seen`) use the task-aware accuracies (`known`).
        """
        return self.first.protocol.accuracy_identity

    def in_order(self, tasks: tuple[str, ...]) -> "Group":
        """Returns the group of only those runs that learn the tasks in a certain order; methods without such a run are
        left out.

        Args:
            tasks: the names of all tasks in that order.
        """
        found = ((method, method.in_order(tasks)) for method in self.methods)
        return replace(self, methods=tuple(replace(method, runs=runs) for method, runs in found if runs))

    @property
    def title(self) -> str:
        """Stream, number of tasks, model and shots in one line: `stream mtil, 11 tasks, model ViT-B-16, 5 shots`."""
        config = self.first.config
        shots = config.get("shots")
        model = config["model"] if config.get("pretrained") is None else f"{config['model']} ({config['pretrained']})"
        splits = [f"splits {config['splits']}"] if config["splits"] != "zscl" else []
        parts = [f"stream {config['stream']}", *splits, f"{len(self.first.tasks)} tasks", f"model {model}"]
        return ", ".join([*parts, f"{shots} shots" if shots else "all training images"]) + self.distinction


def named(methods: Sequence[Method], name: str) -> Method | None:
    """Returns the method that has a name; None if there is none.

    Args:
        methods: the methods.
        name: the strategy on the command line (`nusa`) or its title (`NuSA-CL`). If there are several methods of that
            strategy, their settings follow, as in `moe_adapter decision=image`.

    Raises:
        UserError: several methods have the name.
    """
    found = [method for method in methods if name in (method.key, method.label)]
    found = found or [method for method in methods if name in (method.strategy, method.name)]
    if len(found) > 1:
        keys = ", ".join(repr(method.key) for method in found)
        raise UserError(f"--baseline {name}: {len(found)} methods are called that; there are {keys}")
    return found[0] if found else None


def unnamed(methods: Sequence[Method], name: str) -> UserError:
    """Returns the error that no method is called like a baseline.

    Args:
        methods: the methods that there are.
        name: as it was asked for.
    """
    keys = dict.fromkeys(repr(method.key) for method in methods)
    return UserError(f"--baseline {name}: no such method; there are {', '.join(keys)}")


def shown(value: Any) -> str:
    """Returns a setting's value as text for a label, in one line.

    Lists read `q+k`, dicts `name:1+other:2`, None `none`, and booleans `true` or `false`.

    Args:
        value: the setting's value, as in `config.yaml`.
    """
    if isinstance(value, list):
        return "+".join(map(str, value))
    if isinstance(value, dict):
        return "+".join(f"{name}:{number}" for name, number in value.items())
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return " ".join(str(value).split())  # in one line


def without_folders(text: str) -> str:
    """Returns a text for a paper, in which of every path only the last name is left: `folder:/home/me/birds` becomes
    `folder:birds`.

    Args:
        text: any text, for instance a group's title.
    """
    return PATH.sub(lambda match: match[1], text)


def settings(run: Run) -> dict[str, Any]:
    """Returns the settings that define a run's method, by name; runs with equal ones are runs of the same method.

    These are all but `seed`, `order`, `device` and `checkpointing`, which may differ between runs of a method, and
    `stream`, `model`, `pretrained`, `splits` and `shots`, by which runs are separated into groups. If the run read
    auxiliary images or texts, the key `references` has the first eight digits of their SHA-256. Where it started from
    another model than the pretrained one, `start_from` is that run's strategy and seed, or the file's name, and the first
    eight digits of its weights' SHA-256: `lora-seed42-1a2b3c4d`.

    Args:
        run: the run.
    """
    found = {name: value for name, value in run.config.items() if name not in (*OF_THE_RUN, *OF_THE_GROUP)}
    if start := run.about.get("start"):
        named = f"{start['strategy']}-seed{start['seed']}" if "strategy" in start else Path(str(start.get("from"))).stem
        found["start_from"] = f"{named}-{run.about.get('start_sha256', '')[:8]}"
    read = run.about.get("reference_sha256")
    return {**found, "references": read[:8]} if read else found


def alone(run: Run) -> Group:
    """Returns a group that consists of one run, whether it is finished or not, to draw the run as a group is drawn.

    Args:
        run: the run.
    """
    return Group((Method(str(run.config["strategy"]), run.method.name, "", (run,)),))


def telling(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names of the settings in which some methods differ.

    Args:
        variants: the settings of each method by name.
    """
    names = dict.fromkeys(name for variant in variants for name in variant)
    return [name for name in names if len({shown(variant.get(name)) for variant in variants}) > 1]
