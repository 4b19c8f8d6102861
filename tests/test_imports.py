"""Where imports stand; which room may import which, import-linter holds (`uv run lint-imports`, rules in pyproject.toml)."""

import ast
import tomllib
from pathlib import Path

from tests.conftest import ROOT


MOST = 17  # for start-up alone, in the commands and in the Python door


def inside_functions(path: Path) -> list[str]:
    """`FILE:LINE: IMPORT` of each import inside a function of a file."""
    code = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(code) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    imports = {
        node for each in functions for node in ast.walk(each) if isinstance(node, ast.Import | ast.ImportFrom)
    }  # a set, since a function inside a function is walked twice
    ordered = sorted(imports, key=lambda node: node.lineno)
    return [f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}" for node in ordered]


def test_few_imports_stand_inside_functions() -> None:
    files = [file for room in ("benchmarks", "strategies", "plotting") for file in sorted((ROOT / room).rglob("*.py"))]
    found = [line for file in files for line in inside_functions(file)]
    assert len(found) <= MOST, "\n".join(found)


def test_every_command_is_known_to_the_import_linter() -> None:
    """`Commands are imported by nobody` names them one by one; `benchmarks.__main__` only starts them."""
    files = [*(ROOT / "benchmarks").glob("[!_]*.py"), *(ROOT / "benchmarks").glob("*/__main__.py")]
    commands = {
        (file.parent if file.name == "__main__.py" else file.with_suffix("")).relative_to(ROOT).as_posix()
        for file in files
        if '__name__ == "__main__"' in file.read_text(encoding="utf-8")
    }
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (protected,) = (contract for contract in contracts if contract["type"] == "protected")
    named = {name.removesuffix(".__main__") for name in protected["protected_modules"]}
    assert {name.replace("/", ".") for name in commands} == named
