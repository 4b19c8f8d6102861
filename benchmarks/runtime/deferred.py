"""Modules whose source is executed only when something is asked of them that they cannot answer otherwise."""

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from threading import RLock
from types import ModuleType
from typing import Any

from benchmarks.runtime.names_in_source import origin


_executing = RLock()


class DeferredModule(ModuleType):
    """A module that has not been executed; once it is, it is an ordinary one."""

    def execute(self) -> None:
        """Makes it what its import would have made of it, with those of its own modules that have been imported before."""
        with _executing:
            if type(self) is ModuleType:  # another thread was first
                return
            spec: Any = self.__spec__
            self.__class__ = ModuleType  # type: ignore[assignment]
            self.__path__ = spec.submodule_search_locations
            below = f"{self.__name__}."
            for name, module in list(sys.modules.items()):
                if name.startswith(below) and "." not in name.removeprefix(below):
                    setattr(self, name.removeprefix(below), module)
            spec.loader.exec_module(self)

    def __dir__(self) -> list[str]:
        self.execute()
        return dir(self)


class DeferredPackage(DeferredModule):
    """A package whose modules can be imported, and whose names are found in its modules, without executing it."""

    def __getattr__(self, name: str) -> Any:
        """Called for what the package does not have yet."""
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module = f"{self.__name__}.{name}"
        if found := origin(self.__name__, name):
            value = getattr(importlib.import_module(found[0]), found[1])
        elif name != "__all__" and importlib.util.find_spec(module):
            value = importlib.import_module(module)
        else:
            self.execute()
            return getattr(self, name)
        vars(self)[name] = value
        return value

    def __setattr__(self, name: str, value: object) -> None:
        """Takes none of its own modules, which a function of the same name hides once the package is executed."""
        if sys.modules.get(f"{self.__name__}.{name}") is not value:
            super().__setattr__(name, value)


class DeferredCompiler(DeferredModule):
    """torch's compiler, `torch._dynamo`, before anything is compiled.

    Every optimiser asks it to leave some functions alone, and without a compiler they are left alone. All else executes it.
    """

    def __getattr__(self, name: str) -> Any:
        """Called for what is not below: `__path__`, too, as whenever one of its modules is imported."""
        if name.startswith("__") and name != "__path__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.execute()
        return getattr(self, name)

    def disable(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """The function, which passes by the compiler from the moment that there is one."""
        disabled: list[Callable[..., Any]] = []

        @functools.wraps(function)
        def call(*of: Any, **named: Any) -> Any:
            if isinstance(self, DeferredCompiler):
                return function(*of, **named)
            if not disabled:
                disabled.append(self.disable(function, *args, **kwargs))
            return disabled[0](*of, **named)

        return call

    def graph_break(self, msg: str = "") -> None:
        """Of a graph that nobody is making."""
