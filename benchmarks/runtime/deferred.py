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
    """A module that is imported without executing its source, which then takes no time unless it is needed.

    Its source is executed by `execute`, which `dir()` and subclasses call; from then on it is an ordinary module. Errors
    of its source, such as a missing library, are raised there and not by the import.
    """

    def execute(self) -> None:
        """Executes the module's source and makes this object an ordinary module, with its submodules as attributes.

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
    """A package, such as `torchvision.models`, whose `__init__` is executed only if an attribute cannot be had otherwise.

    An attribute is taken directly from the submodule that the `__init__` would import it from, or is itself a submodule.
    Only for any other attribute the `__init__` is executed.
    """

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
    """Stands in for the module `torch._dynamo` (torch's compiler, slow to import) until something is compiled.

    `disable` and `graph_break`, which torch's optimisers call without compiling, are answered here. Requesting any other
    attribute executes the real module, and this object becomes it.
    """

    def __getattr__(self, name: str) -> Any:
        """Called for attributes that are not defined here, also `__path__` when a submodule is imported."""
        if name.startswith("__") and name != "__path__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.execute()
        return getattr(self, name)

    def disable(self, function: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Returns a wrapper of a function, which excludes it from compilation as `torch._dynamo.disable` does.

        The wrapper calls the function itself as long as this object stands in for `torch._dynamo`, and then the
        function that `torch._dynamo.disable` returns.

        Args:
            function: the function to exclude. For anything else, such as a class or None, `torch._dynamo` is executed
                and its result returned.
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
        """Stands in for `torch._dynamo.graph_break`, and does nothing, since nothing is being compiled.

        Args:
            msg: not used.
        """
