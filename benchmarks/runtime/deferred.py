"""Modules whose source is executed only when an attribute is requested that they cannot provide otherwise."""

import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from threading import RLock
from types import ModuleType
from typing import Any

from benchmarks.runtime.names_in_source import origin


_executing = RLock()
PUBLIC = ("__all__", "__version__")  # of the names with underscores around them; for the others Python asks by itself


class DeferredModule(ModuleType):
    """A module whose source has not been executed yet; afterwards it is an ordinary module."""

    def execute(self) -> None:
        """Executes the module's source, and sets its already imported submodules as attributes, as an import does.

        Does nothing if another thread has done it.
        """
        with _executing:
            if type(self) is ModuleType:  # another thread has executed it
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
    """A package whose submodules and their names can be used without executing its `__init__`."""

    def __getattr__(self, name: str) -> Any:
        """Called for attributes that the package does not have yet."""
        if name.startswith("__") and name not in PUBLIC:
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
        """Ignores the package's own submodules, since a function of the same name may replace them when the package is
        executed.
        """
        module = f"{self.__name__}.{name}"
        if module not in sys.modules or sys.modules[module] is not value:
            super().__setattr__(name, value)


class DeferredCompiler(DeferredModule):
    """torch's compiler, `torch._dynamo`, until something is compiled.

    Every optimiser asks it to exclude some functions from compilation, which needs no compiler. Any other use executes
    it.
    """

    def __getattr__(self, name: str) -> Any:
        """Called for attributes that are not defined here, also `__path__` when a submodule is imported."""
        if name.startswith("__") and name != "__path__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.execute()
        return getattr(self, name)

    def disable(self, function: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Returns a function that calls another one, which is excluded from compilation once the compiler is executed.

        Args:
            function: the function to exclude. Anything else, such as a class or None, executes the compiler at once.
            args, kwargs: further arguments of `torch._dynamo.disable`.
        """
        if not inspect.isfunction(function):  # as a decorator with arguments, or of a module or class
            self.execute()
            return self.disable(function, *args, **kwargs)
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
        """Does nothing, since no graph is being compiled."""
