"""Finds strategies, streams, measurements and their like by name, and reads a strategy's settings without importing torch.

`--help` and `--list` must answer at once, but importing a strategy takes many seconds. So a module's first docstring
line, its `Settings` class and its `ABOUT` are read from its source; nothing else of it is executed.

A name is that of a file in this project, or of an entry point of an installed package (groups `nusa_bench.strategies`,
`.streams`, `.measurements`, `.loggers`, `.probes` and `.studies`; the value names a module). A strategy may also be given
as a path to a file.
"""

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.config.errors import UserError
from benchmarks.config.sources import class_says, file_of, parsed
from benchmarks.config.terminal import say
from strategies.about import About, default


ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "strategy": ROOT / "strategies",
    "stream": ROOT / "benchmarks" / "streams",
    "measurement": ROOT / "benchmarks" / "experiment" / "measurements",
    "logger": ROOT / "benchmarks" / "experiment" / "loggers",
    "probe": ROOT / "benchmarks" / "experiment" / "probes",
    "study": ROOT / "benchmarks" / "studies",
}
GROUPS = {
    "strategy": "nusa_bench.strategies",
    "stream": "nusa_bench.streams",
    "measurement": "nusa_bench.measurements",
    "logger": "nusa_bench.loggers",
    "probe": "nusa_bench.probes",
    "study": "nusa_bench.studies",
}
# A file that defines one of these names is of that kind; the other files in these folders are shared code.
NEEDED = {
    "strategy": "Plugin", "stream": "build", "measurement": "Meter", "logger": "Logger", "probe": "build", "study": "figure",
}  # fmt: skip
DEFINES = {kind: {name} for kind, name in NEEDED.items()} | {"strategy": {"Plugin", "Settings"}}
HYPHENS = ("stream", "study")  # the kinds whose names have hyphens where their files' have underscores
# What precedes a wrong name of a kind in an error: the option, or the argument, that it was given to.
WHERE = {"measurement": "--measure", "logger": "--log", "study": "NAME"}
# The modules that a `Settings` class and an `ABOUT` may use: those that are fast to import.
LIGHT_MODULES = {
    "__future__", "typing", "pydantic", "pydantic.dataclasses", "strategies.about", "strategies.shared.settings",
}  # fmt: skip


_imported: dict[str, str] = {}  # by module the SHA-256 digest of its file when it was imported here


@dataclass(frozen=True)
class Source:
    """A file that defines a strategy, a stream, a measurement, a logger, a probe or a study.

    Attributes:
        kind: `strategy`, `stream`, `measurement`, `logger`, `probe` or `study`.
        name: the name of what it defines on the command line.
        file: its path.
        module: the full name by which it is imported, such as `strategies.nusa`; None for a user's own file.
    """

    kind: str
    name: str
    file: Path
    module: str | None

    @property
    def is_own_project(self) -> bool:
        """Whether the file belongs to this project, not to the user or an installed package.

        `FOLDERS` has the folder of each kind.
        """
        return FOLDERS[self.kind] in self.file.parents

    @property
    def tree(self) -> ast.Module:
        """The file's syntax tree. Raises UserError if the file cannot be read or is not Python."""
        return parsed(self.file)

    @property
    def summary(self) -> str:
        """The first line of the module's docstring, for `--list`."""
        return (ast.get_docstring(self.tree) or "").partition("\n")[0]

    @property
    def sha256(self) -> str:
        """The SHA-256 digest of the source file, in hexadecimal."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    def load(self) -> ModuleType:
        """Imports the module and returns it; for a strategy or a measurement this imports torch and Avalanche.

        Raises:
            UserError: the import fails, or the module does not define what its kind needs: `Plugin` for a strategy,
                `build` for a stream or a probe, `Meter` for a measurement, `Logger` for a logger, `figure` for a study.
        """
        module = self.imported()
        if not hasattr(module, NEEDED[self.kind]):
            raise UserError(
                f"{self.file}: it has no {NEEDED[self.kind]}, which a {self.kind} needs; see docs/adding.md"
            )
        return module

    def imported(self) -> ModuleType:
        """Imports the module and returns it, whatever it defines.

        Raises:
            UserError: the import fails, or the file has changed since it was imported.
        """
        digest = self.sha256
        if self.module and _imported.setdefault(self.module, digest) != digest:
            raise UserError(f"{self.file}: changed since this process imported it; start Python anew")
        try:
            return importlib.import_module(self.module) if self.module else _import_file(self.file, digest)
        except (Exception, SystemExit) as error:  # a user's file may raise anything
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(f"{self.file}: cannot be imported ({why}); mend it") from error


def _import_file(file: Path, digest: str) -> ModuleType:
    name = f"nusa_bench_own_{file.stem}_{digest[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader  # a .py file always has one
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _defines(file: Path, names: set[str]) -> bool:
    return any(isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in names for node in parsed(file).body)


@cache
def _built_in(kind: str) -> dict[str, Source]:
    """Returns the files in the kind's folder by name: a strategy in a subfolder is `FOLDER:FILE`, a stream may be a
    package.
    """
    folder = FOLDERS[kind]
    patterns = ("*.py", "*/*.py") if kind == "strategy" else ("*.py", "*/__init__.py")
    found = {}
    for file in (file for pattern in patterns for file in folder.glob(pattern) if _defines(file, DEFINES[kind])):
        parts = [part for part in file.relative_to(folder).with_suffix("").parts if part != "__init__"]
        name = ":".join(parts)
        name = name.replace("_", "-") if kind in HYPHENS else name
        found[name] = Source(kind, name, file, ".".join([*folder.relative_to(ROOT).parts, *parts]))
    return dict(sorted(found.items()))


@cache
def _installed(kind: str, path: tuple[str, ...]) -> dict[str, Source]:
    """Those of the packages installed along `sys.path`, if their files are Python; finding them takes some 20 ms."""
    found = {}
    for point in entry_points(group=GROUPS[kind]):
        file = file_of(point.module)
        with contextlib.suppress(UserError):
            if file and parsed(file):
                found[point.name] = Source(kind, point.name, file, point.module)
    return found


@cache
def _say_hidden(kind: str, name: str) -> None:
    say(f"{kind} {name}: this project's is taken, not the one that an installed package calls so")


def sources(kind: str) -> dict[str, Source]:
    """Returns the files (`Source`) that define everything of one kind, such as all strategies, by their names.

    This project's come first, then those of installed packages, except those whose names this project uses.

    Args:
        kind: `strategy`, `stream`, `measurement`, `logger`, `probe` or `study`.
    """
    own, others = _built_in(kind), _installed(kind, tuple(sys.path))
    return {**own, **{name: source for name, source in others.items() if name not in own}}


def names(kind: str) -> list[str]:
    """Returns the command-line names of all strategies, streams, measurements, loggers, probes or studies, sorted.

    Args:
        kind: which of them: `strategy`, `stream`, `measurement`, `logger`, `probe` or `study`.
    """
    return sorted(sources(kind))


def nearest(word: str, known: list[str]) -> str:
    """Returns ` (did you mean "nusa"?)` with the most similar known name, or an empty text if none is similar.

    Args:
        word: the name that was given.
        known: the names to choose from.
    """
    close = get_close_matches(word, known, n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


def find(kind: str, name: str) -> Source:
    """Returns the file (`Source`) that defines a strategy, a stream or another kind of thing; nothing is imported.

    Args:
        kind: `strategy`, `stream`, `measurement`, `logger`, `probe` or `study`.
        name: the name on the command line, for a stream without the colon and what follows it. For a strategy also the
            path of a Python file, which ends in `.py`.

    Raises:
        UserError: the name is unknown (the message offers the nearest), or there is no such file, or it defines no
            strategy or has the name of another one.
    """
    if kind == "strategy" and name.endswith(".py"):
        return _own_file(Path(name))
    known = sources(kind)
    if name not in known:
        where = WHERE.get(kind, f"--{kind}")
        raise UserError(f'{where}: no {kind} "{name}"{nearest(name, list(known))}; known: {", ".join(known)}')
    if name in _built_in(kind) and name in _installed(kind, tuple(sys.path)):
        _say_hidden(kind, name)
    return known[name]


def _own_file(file: Path) -> Source:
    if not file.is_file():
        raise UserError(f"--strategy {file}: no such file; expected a Python file with classes Settings and Plugin")
    for source in _built_in("strategy").values():
        if source.file == file.resolve():
            return source
    if file.stem in sources("strategy"):
        raise UserError(
            f"--strategy {file}: there is a strategy called {file.stem} already; give the file another name"
        )
    source = Source("strategy", file.stem, file.resolve(), None)
    if not any(isinstance(node, ast.ClassDef) and node.name == "Plugin" for node in source.tree.body):
        source.imported()  # a file that cannot be imported may lack the class for that reason, which is said first
        raise UserError(f"--strategy {file}: it has no class Plugin; see docs/adding.md")
    return source


def _executed(source: Source, wanted: ast.stmt, name: str) -> Any:
    """Returns the value of one statement of a strategy's source, executed with its light imports and nothing else."""
    imports = [node for node in source.tree.body if isinstance(node, ast.ImportFrom) and node.module in LIGHT_MODULES]
    # The module's name lets a class resolve its annotations and be pickled under its real name.
    namespace: dict[str, Any] = {"__name__": source.module or f"nusa_bench_own_{source.file.stem}"}
    try:
        exec(compile(ast.Module(body=[*imports, wanted], type_ignores=[]), str(source.file), "exec"), namespace)
    except Exception as error:  # a user's class may refer to anything
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{source.file}: its {name} cannot be read without the rest of the file ({why}); "
            f"write it with {', '.join(sorted(LIGHT_MODULES - {'__future__'}))} only"
        ) from error
    return namespace[name]


@cache
def _settings_class(source: Source, digest: str) -> Any:
    classes = [node for node in source.tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    if not classes:
        raise UserError(f"{source.file}: a strategy needs a class Settings")
    return _executed(source, classes[0], "Settings")


@cache
def _about(source: Source, digest: str) -> About:
    assigned = [
        node for node in source.tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ABOUT"
    ]
    found = _executed(source, assigned[0], "ABOUT") if assigned else default(source.name)
    if not isinstance(found, About):
        raise UserError(f"{source.file}: its ABOUT must be a strategies.about.About")
    return found


def about(strategy: str) -> About:
    """Returns how a strategy is shown: its name for tables, reference, colour, marker and published results.

    It is the `ABOUT` of the strategy's file. Without one, or for an unknown strategy, the name for tables is that of the
    command line, the reference is empty, and colour and marker are derived from the name.

    Args:
        strategy: the strategy's name on the command line.

    Raises:
        UserError: the file's `ABOUT` cannot be read.
    """
    source = sources("strategy").get(strategy)
    return _about(source, source.sha256) if source else default(strategy)


def settings_class(strategy: str) -> Any:
    """Returns a strategy's class `Settings`, whose fields are the strategy's own settings.

    It is a frozen pydantic dataclass. Torch is not imported for it.

    Args:
        strategy: the strategy's name; never a path, since names also come from run folders, which must not name code.

    Raises:
        UserError: the name is unknown, or the strategy's file has no `Settings` class.
    """
    if strategy not in sources("strategy"):
        raise UserError(f'no strategy "{strategy}"')
    return strategy_of(strategy).settings


@dataclass(frozen=True)
class Strategy:
    """A method, as a run needs to know it before torch is imported.

    Attributes:
        name: its name on the command line and in the run folder.
        settings: its class `Settings` (not an instance), a frozen pydantic dataclass of the strategy's own settings.
        about: its name for tables, reference, colour, marker and published results.
        sha256: hexadecimal digest of the file that defines it; empty if unknown, for instance in a notebook.
        plugin: returns its `Plugin` class; the call imports torch and Avalanche.
        reads: the data that it reads besides the tasks', any of `images` and `texts`; None if only an import would tell.
        trains: whether it trains anything; None likewise.
    """

    name: str
    settings: Any
    about: About
    sha256: str
    plugin: Callable[[], Any]
    reads: tuple[str, ...] | None = None
    trains: bool | None = None

    @property
    def is_own(self) -> bool:
        """Whether the strategy is the user's or an installed package's, not one of this project."""
        return self.name not in _built_in("strategy")


def strategy_of(name: str) -> Strategy:
    """Returns a strategy by its name or file; its plugin, which needs torch, is not imported yet.

    Args:
        name: the strategy's name on the command line, or a path that ends in `.py`.

    Raises:
        UserError: the name is unknown, or the file defines no strategy, or its `Settings` or `ABOUT` cannot be read.
    """
    source = find("strategy", name)
    return _strategy(source, source.sha256)


@cache
def _strategy(source: Source, digest: str) -> Strategy:
    settings, about = _settings_class(source, digest), _about(source, digest)
    said = class_says(source.tree, "Plugin")
    return Strategy(
        source.name, settings, about, digest, lambda: _plugin(source), said.get("reads"), said.get("trains")
    )


def _plugin(source: Source) -> Any:
    return source.load().Plugin
