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
# A whole run, and then the use of what it did not import.
RUN = """
import json, sys
from benchmarks import api as nb
from benchmarks.runtime.deferred import DeferredModule

def deferred():
    return [name for name, module in sys.modules.items() if isinstance(module, DeferredModule)]

stream, model, results = sys.argv[1:]
nb.run(stream="folder:" + stream, model="local-dir:" + model, results=results, iterations=1, batch_size=2, silent=True)
found = dict(imported=sorted(sys.modules), deferred=deferred())

import torch, torchvision
from avalanche.training.plugins import LwFPlugin  # imported in a circle
from avalanche.benchmarks.classic import SplitMNIST
from avalanche.training.plugins import GEMPlugin
from avalanche.training.supervised import Naive
from torchvision.datasets import MNIST

found["used"] = [each.__name__ for each in (LwFPlugin, SplitMNIST, GEMPlugin, Naive, MNIST, type(torchvision.models.alexnet()))]
"""
# The use of the compiler, after an optimiser has been made without it, and of all else.
USE_ALL = """
layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
optimizer = torch.optim.AdamW(layer.parameters())
compiled = torch.compile(layer, backend="eager")
found["same"] = bool((compiled(x) == layer(x)).all())
compiled(x).sum().backward()
optimizer.step()
for name in found["deferred"]:
    dir(sys.modules[name])
found["left"] = deferred()
"""


def told(code: str, *words: object) -> dict[str, Any]:
    """What such code found out in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{code}\nprint(json.dumps(found))", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_run_imports_no_more_than_it_uses(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    run = told(RUN, images, tiny_clip, tmp_path)
    again = [module for module in SPARED if module in run["imported"]]
    assert not again, f"a run imports {again} again; `python -X importtime -m benchmarks.run` says what wants it"
    idle = [module for module in PACKAGES if module not in run["imported"]]
    assert not idle, f"a run does not import {idle} at all: take it out of benchmarks/runtime/lean_imports.py"
    executed = [module for module in (*PACKAGES, COMPILER) if module not in run["deferred"]]
    assert not executed, (
        f"a run executes {executed}: it wants a name that is not in its modules, or not in DeferredCompiler"
    )
    assert run["used"] == ["LwFPlugin", "SplitMNIST", "GEMPlugin", "Naive", "MNIST", "AlexNet"]


@pytest.mark.parametrize(
    "names",
    [
        "avalanche.training.plugins EvaluationPlugin",
        "strategies.training.template ClipTemplate",
        pytest.param("avalanche.training.supervised Naive", marks=pytest.mark.slow),
        pytest.param("avalanche.training.templates SupervisedTemplate", marks=pytest.mark.slow),
        pytest.param("avalanche.benchmarks.classic SplitMNIST", marks=pytest.mark.slow),
        pytest.param("avalanche.evaluation.metrics accuracy_metrics", marks=pytest.mark.slow),
    ],
)
def test_a_notebook_can_import_the_rest_itself_after_one_name(names: str) -> None:
    module, name = names.split()
    code = f"import json\nfrom benchmarks import api as nb\nnb.StrategyPlugin\nfrom {module} import {name} as found"
    assert told(f"{code}\nfound = dict(name=found.__name__)") == {"name": name}


@pytest.mark.slow
def test_all_that_was_deferred_is_executed_in_the_end(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    found = told(RUN + USE_ALL, images, tiny_clip, tmp_path)
    assert COMPILER in found["deferred"]
    assert found["same"]
    assert not found["left"]


def test_what_a_run_is_spared_of_exists() -> None:
    gone = [module for module in SPARED if not importlib.util.find_spec(module)]
    assert not gone, f"there is no {gone} any more: the tests above test nothing with it"


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
