"""The optional stream.yaml of a folder stream: orders, prompts, names, and the origin of the images.

Every value is read as text, unlike elsewhere in YAML: a class folder `007`, `no` or `1.0` needs no quotes. The
docstring of `benchmarks.streams.folder` explains the keys and shows an example.
"""

from collections.abc import Iterable, Sequence
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from benchmarks.config import registry
from benchmarks.config.bounded import from_yaml
from benchmarks.config.errors import UserError


FILE = "stream.yaml"
TEMPLATES = ("a photo of a {}.",)
PROTOCOL = "folder: the user's own images and splits"


def _one_placeholder(template: str) -> str:
    rest = template.replace("{}", "", 1)
    if rest == template or "{" in rest or "}" in rest:
        raise ValueError("a template has exactly one {} and no other braces")
    return template


def _table_name(name: str) -> str:
    """The option --order splits names at commas and strips spaces."""
    if not name or name != name.strip() or "," in name or not name.isprintable():
        raise ValueError("a name is one line of text without commas and without spaces around it")
    return name


def _class_name(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError("a class name is one line of text")
    return name


Name = Annotated[str, AfterValidator(_table_name)]
Line = Annotated[str, Field(min_length=1)]
Templates = Annotated[list[Annotated[str, AfterValidator(_one_placeholder)]], Field(min_length=1)]
Order = Annotated[list[str], Field(min_length=1)]
STRICT = ConfigDict(extra="forbid")
# The correct form, by pydantic's name of the error.
RIGHT = {
    "dataclass_type": "must be lines of the form `key: value`",
    "dict_type": "must be lines of the form `key: value`",
    "list_type": "must be a list",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}


@dataclass(frozen=True, config=STRICT)
class DomainNotes:
    """What stream.yaml says about one domain of a stream of image folders; None or empty where it says nothing.

    Attributes:
        name: the task's name in tables.
        templates: prompts with one `{}`, which the class name replaces.
        class_names: by the name of a class folder, the class name for prompts.
        licence, citation, origin: licence of the images, how to cite them, and where they are from, for the record of
            the run.
    """

    name: Name | None = None
    templates: Templates | None = None
    class_names: dict[str, Annotated[str, AfterValidator(_class_name)]] = field(default_factory=dict)
    licence: str | None = None
    citation: str | None = None
    origin: str | None = None


@dataclass(frozen=True, config=STRICT)
class StreamNotes:
    """The entries of stream.yaml, an optional file that describes a stream of image folders (`--stream folder:PATH`).

    Attributes:
        order: the default order, as names of domain folders; None for the alphabetical order.
        orders: the other orders by name, each as names of domain folders.
        templates: prompts with one `{}`, for domains without their own.
        licence, citation, origin: licence of the images, how to cite them, and where they are from, for the record of
            the run, for domains without their own.
        protocol: the protocol in one line.
        domains: entries on single domains, by the name of the domain's folder.
    """

    order: Order | None = None
    orders: dict[Name, Order] = field(default_factory=dict)
    templates: Templates = field(default_factory=lambda: list(TEMPLATES))
    licence: str = ""
    citation: str = ""
    origin: str = ""
    protocol: Line = PROTOCOL
    domains: dict[str, DomainNotes] = field(default_factory=dict)

    def of(self, domain: str) -> DomainNotes:
        """Returns what stream.yaml says about one domain; a `DomainNotes` without entries if it says nothing.

        Args:
            domain: the name of the domain's folder.
        """
        return self.domains.get(domain, DomainNotes())

    def shown(self, domain: str) -> str:
        """Returns the name of a domain's task: the one that stream.yaml gives it, or else the folder's.

        Args:
            domain: the name of the domain's folder.
        """
        return self.of(domain).name or domain


class _Texts(yaml.BaseLoader):
    """A YAML loader that reads every value as text, and refuses a key that occurs twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and first.setdefault(key.value, key) is not key:
                raise yaml.constructor.ConstructorError(None, None, f'"{key.value}" stands twice', key.start_mark)
        return super().construct_mapping(node, deep)


def _load(file: Path) -> object:
    try:
        return from_yaml(file.read_text(encoding="utf-8"), _Texts)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: cannot be read: it is not UTF-8 text") from error
    except ValueError as error:
        raise UserError(f"{file}: not valid YAML: {error}") from error


def _wrong(message: str) -> UserError:
    """Returns the error with its message on one line, whatever names it quotes."""
    return UserError(" ".join(message.split()))


def _explain(error: ValidationError) -> str:
    """Returns the first error: its key, what is wrong, what would be right."""
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"] if part != "[key]"]
    where = f"{'.'.join(parts)}: " if parts else ""
    if first["type"] == "unexpected_keyword_argument":
        known = [one.name for one in fields(StreamNotes if len(parts) == 1 else DomainNotes)]
        return f"{where}no such key{registry.nearest(parts[-1], known)}; known: {', '.join(known)}"
    message = RIGHT.get(first["type"], first["msg"].removeprefix("Value error, "))
    return f"{where}{message}, got {first['input']!r:.60}"


def check_known(where: str, what: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Checks that all names in an entry of stream.yaml exist.

    Args:
        where: the file and the entry's key, for the message.
        what: what the names stand for, such as `domain folder`, for the message.
        names: the names to check.
        known: the names that exist.

    Raises:
        UserError: a name is unknown; the message names the first such, with the nearest known name.
    """
    for name in names:
        if name not in known:
            near = registry.nearest(name, list(known))
            raise _wrong(f'{where}: no {what} "{name}"{near}; there are: {", ".join(known)}')


def _check_order(where: str, order: Sequence[str], domains: Sequence[str]) -> None:
    check_known(where, "domain folder", order, domains)
    if twice := [name for name in order if order.count(name) > 1]:
        raise UserError(f'{where}: "{twice[0]}" is named twice; once is right')


def _check_names(file: Path, notes: StreamNotes, domains: Sequence[str]) -> None:
    """Checks that tasks and orders have different names, and that no order is called `default`."""
    shown: dict[str, str] = {}
    for domain in domains:
        name = notes.shown(domain)
        if name in shown:
            raise UserError(f'{file}: domains {shown[name]} and {domain} are both called "{name}"; rename one')
        shown[name] = domain
    for order in notes.orders:
        if order == "default":
            raise UserError(f"{file}: orders.default: write the default order as `order`")
        if order in shown:
            raise UserError(f"{file}: orders.{order}: a domain is called so; give the order another name")


def read_notes(file: Path, domains: Sequence[str]) -> StreamNotes:
    """Reads a stream.yaml and checks it, for instance that the domains it names exist, and returns its entries.

    Args:
        file: the path of the stream.yaml.
        domains: names of the domain folders beside it.

    Raises:
        UserError: an entry is wrong; the message names the file, the key, and what would be right.
    """
    data = _load(file)
    try:
        notes = TypeAdapter(StreamNotes).validate_python({} if data is None or data == "" else data)
    except ValidationError as error:
        raise _wrong(f"{file}: {_explain(error)}") from error
    check_known(f"{file}: domains", "domain folder", notes.domains, domains)
    for name, order in notes.orders.items():
        _check_order(f"{file}: orders.{name}", order, domains)
    if notes.order is not None:
        _check_order(f"{file}: order", notes.order, domains)
        if missing := [name for name in domains if name not in notes.order]:
            raise UserError(f"{file}: order: {missing[0]} is not in it; it names every domain once")
    _check_names(file, notes, domains)
    return notes


def task_orders(notes: StreamNotes, domains: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the orders in which the tasks can be learned: the task names in order, by the order's name.

    The first is `default`: the entry `order` of stream.yaml, or else the order of `domains`.

    Args:
        notes: the entries of stream.yaml.
        domains: names of the domain folders, in alphabetical order.
    """
    found = {"default": notes.order or domains, **notes.orders}
    return {name: tuple(notes.shown(domain) for domain in order) for name, order in found.items()}
