"""What a run does not import, that all of it is there when it is asked for, and that it is the same then."""

import ast
import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.runtime.lean_imports import COMPILER, PACKAGES
from benchmarks.runtime.names_in_source import origin
from tests.conftest import ROOT


# Modules that imports of torchvision, timm and Avalanche bring and no run uses; each stands for a large part.
SPARED = (
    "gdown", "scipy.signal", "sympy", "tensorboard", "torch._dynamo.eval_frame", "torch._inductor",
    "torchmetrics", "torchvision.models.resnet", "timm.models", "wandb", "avalanche.benchmarks.classic.ccifar100",
)  # fmt: skip
# A whole run, and then the use of all that it did not import.
RUN = f"""
import json, sys, warnings
from benchmarks import api as nb
from benchmarks.runtime.deferred import DeferredModule

stream, model, results = sys.argv[1:]
nb.run(stream="folder:" + stream, model="local-dir:" + model, results=results, iterations=1, batch_size=2, silent=True)
imported = sorted(sys.modules)
deferred = [name for name, module in sys.modules.items() if isinstance(module, DeferredModule)]

warnings.simplefilter("ignore")
import torch, torchvision
from avalanche.benchmarks.classic import SplitMNIST
from avalanche.training.plugins import GEMPlugin
from avalanche.training.supervised import Naive
from torchvision.datasets import MNIST

alexnet = torchvision.models.alexnet()
layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
optimizer = torch.optim.AdamW(layer.parameters())
compiled = torch.compile(layer, backend="eager")
same = bool((compiled(x) == layer(x)).all())
compiled(x).sum().backward()
optimizer.step()
used = [each.__name__ for each in (SplitMNIST, GEMPlugin, Naive, MNIST, type(alexnet))]
for name in {list(PACKAGES)}:
    dir(sys.modules[name])
left = [name for name, module in sys.modules.items() if isinstance(module, DeferredModule)]
print(json.dumps(dict(imported=imported, deferred=deferred, used=used, same=same, left=left)))
"""


@pytest.fixture(scope="module")
def run(images: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run imported and deferred, and what became of that when it was used, in a process of its own."""
    places = images, tiny_clip, tmp_path_factory.mktemp("results")
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, places)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", SPARED)
def test_a_run_does_not_import(module: str, run: dict[str, Any]) -> None:
    why = "`python -X importtime -m benchmarks.run` says which package wants it: one for benchmarks/runtime/lean_imports.py"
    assert module not in run["imported"], f"a run imports {module} again; {why}"


@pytest.mark.parametrize("module", [*PACKAGES, COMPILER])
def test_a_run_asks_nothing_that_executes(module: str, run: dict[str, Any]) -> None:
    if module not in run["imported"]:
        pytest.fail(f"a run does not import {module} at all: it need not stand in benchmarks/runtime/lean_imports.py")
    why = "something wants a name of it that is not in its modules, or one that DeferredCompiler lacks"
    assert module in run["deferred"], f"a run executes {module} again: {why}"


def test_all_that_was_deferred_is_there_when_it_is_used(run: dict[str, Any]) -> None:
    assert run["used"] == ["SplitMNIST", "GEMPlugin", "Naive", "MNIST", "AlexNet"]
    assert run["same"]
    assert not run["left"]


@pytest.mark.parametrize("module", SPARED)
def test_what_a_run_is_spared_of_exists(module: str) -> None:
    assert importlib.util.find_spec(module), f"there is no {module} any more: the test above tests nothing with it"


@pytest.mark.filterwarnings("ignore")  # of what is imported
@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_is_found_where_the_package_has_it_from(package: str) -> None:
    module = importlib.import_module(package)
    dir(module)  # which executes it, where a run in this process deferred it
    found = {name: origin(package, name) for name in vars(module) if not name.startswith("_")}
    others = {
        name: where
        for name, where in found.items()
        if where and getattr(importlib.import_module(where[0]), where[1]) is not vars(module)[name]
    }
    assert not others, f"{package} means something else by these names than what source there is says: {others}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_does_nothing_but_import(package: str) -> None:
    """What else its `__init__` does would not happen in a run."""
    known = {"torchvision.ops": ["_register_custom_op()"]}  # for exports to ONNX
    spec = importlib.util.find_spec(package)
    assert spec and spec.origin, f"there is no {package} any more: take it out of benchmarks/runtime/lean_imports.py"
    does = [each for each in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body if not _is_harmless(each)]
    assert [ast.unparse(each) for each in does] == known.get(package, [])


def _is_harmless(statement: ast.stmt) -> bool:
    """Imports, definitions, assignments and text."""
    kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign
    return isinstance(statement, kinds) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )
