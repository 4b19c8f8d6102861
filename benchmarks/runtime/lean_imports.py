"""Imports torchvision, timm and Avalanche without the parts that a run does not use.

When one of their modules is imported, these packages import all they have: every model, data set, metric and logger,
and with them torch's compiler, SymPy, SciPy's signal processing, torchmetrics, TensorBoard and wandb. Inside
`lean_imports()` the `__init__` of some packages is not executed until an attribute is requested that its submodules do
not have. The objects are the same, only imported later. Python 3.15 has this in the language (PEP 810).
"""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from benchmarks.runtime.deferred import DeferredCompiler, DeferredPackage


# Packages whose `__init__` does little more than import from their modules, and what a run saves without it.
PACKAGES = {
    "avalanche.benchmarks": "all benchmarks of the literature, and the metrics",
    "avalanche.evaluation.metrics": "torchmetrics and SciPy's signal processing",
    "avalanche.logging": "TensorBoard and wandb",
    "avalanche.training": "all of Avalanche's strategies",
    "avalanche.training.plugins": "the same as plugins",
    "open_clip": "uploading models to the Hugging Face hub",
    "timm": "all its models, torch's compiler and wandb",
    "timm.layers": "all its layers",
    "torchvision.datasets": "all its data sets",
    "torchvision.models": "all its models, torch's compiler and SymPy",
    "torchvision.ops": "its operations for detection, and torch's compiler",
}
COMPILER = "torch._dynamo"


@contextmanager
def lean_imports() -> Iterator[None]:
    """Context manager inside which some packages of torchvision, timm, open_clip and Avalanche are imported faster.

    Their `__init__`, which would import much that a run does not use, is not executed. Each package executes it later,
    once an attribute is requested that no submodule has. On leaving, torch's compiler is deferred in the same way until
    something is compiled. `PACKAGES` lists the packages; those that were imported before are not changed.
    """
    finder = _Finder(every=True)
    sys.meta_path.insert(0, finder)
    try:
        yield
        _defer_compiler()
    finally:
        sys.meta_path.remove(finder)
        if _afterwards not in sys.meta_path:
            sys.meta_path.insert(0, _afterwards)


class _Finder(MetaPathFinder):
    """Finds the packages above where Python finds them, and defers their execution.

    Args:
        every: whether to defer all of them, or only those of a distribution that has one deferred already. Avalanche
            imports itself in circles, which end only if all its packages are executed in their order, or none.
    """

    def __init__(self, every: bool) -> None:
        self.every = every

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns None for all other modules, which Python then finds as usual."""
        wanted = fullname in PACKAGES and (self.every or _has_deferred(fullname.partition(".")[0]))
        spec = PathFinder.find_spec(fullname, path, target) if wanted else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Deferring(spec.loader)
        return spec


_afterwards = _Finder(every=False)


def _has_deferred(distribution: str) -> bool:
    names = [name for name in PACKAGES if name.partition(".")[0] == distribution]
    return any(isinstance(sys.modules.get(name), DeferredPackage) for name in names)


class _Deferring(Loader):
    """Creates a package without executing it."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return DeferredPackage(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Gives the package the loader that executes it later."""
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader


def _defer_compiler() -> None:
    """Installs a deferred compiler, which torch's optimisers use when they are created."""
    spec = importlib.util.find_spec(COMPILER) if "torch" in sys.modules else None
    if spec is None or COMPILER in sys.modules:
        return
    module = DeferredCompiler(COMPILER)
    module.__spec__, module.__loader__, module.__file__, module.__package__ = spec, spec.loader, spec.origin, COMPILER
    sys.modules[COMPILER] = module
    setattr(sys.modules["torch"], COMPILER.rpartition(".")[2], module)
