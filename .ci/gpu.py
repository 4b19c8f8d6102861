"""What only a GPU can tell, within eight minutes: the tests that concern a device, NuSA-CL's training step, an estimate of
MTIL, every strategy's step in each precision, options, the decompositions, and several runs at once. Needs no network:
`make gpu`, or `make gpu PYTHON=python3` where there is no uv, and then pytest besides what a run needs.
"""

import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import click


ROOT = Path(__file__).resolve().parent.parent
LIMIT = 470  # seconds, of all parts together
# The last to be cut short is the one that matters least.
PARTS = ("tests", "step", "mtil", "options", "decomposition", "strategies", "many")


def command(part: str, device: str, model: str, share: float, results: Path) -> list[str]:
    """The command of a part; what it writes goes into the folder `results`."""
    if part == "tests":  # the fixture `device` puts a device's name into those of its tests
        return [
            "pytest",
            "-q",
            "-o",
            "addopts=--import-mode=importlib",
            "-k",
            device,
            f"--junitxml={results / 'tests.xml'}",
        ]
    perf = ["benchmarks.perf", "--part", part, "--device", device, "--model", model, "--results", str(results)]
    return [*perf, "--precision", "bf16" if device == "cuda" else "float32", "--estimate", "--share", str(share)]


def summarise_tests(results: Path) -> None:
    """`tests.json` from pytest's own `tests.xml`: how many there were, and the names of those that failed."""
    report = results / "tests.xml"
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    counts = {name: int(suite.attrib[name]) for name in ("tests", "skipped", "failures", "errors")}
    failed = [
        f"{case.attrib['classname']}::{case.attrib['name']}"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    text = json.dumps({**counts, "failed": failed, "seconds": float(suite.attrib["time"])}, indent=2)
    (results / "tests.json").write_text(f"{text}\n", encoding="utf-8")
    report.unlink()


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=Path("results/gpu"), show_default=True)
@click.option("--parts", default=",".join(PARTS), show_default=True)
@click.option(
    "--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True, help="cpu: to try it out"
)
@click.option("--model", default="ViT-B-16-quickgelu", show_default=True)
@click.option(
    "--share", default=1.0, show_default=True, help="of MTIL's images, steps and classes; below 1 to try it out"
)
@click.option("--limit", default=LIMIT, show_default=True, help="seconds that all parts together may take")
def main(results: Path, parts: str, device: str, model: str, share: float, limit: int) -> None:
    """Writes a json for each part. Exit status: 0 done, 1 a part failed or was cut short, 2 no GPU."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        print("error: torch finds no CUDA device here", file=sys.stderr)
        sys.exit(2)
    results = results.resolve()
    results.mkdir(parents=True, exist_ok=True)
    began, failed = time.monotonic(), []
    for part in parts.split(","):
        left = limit - (time.monotonic() - began)
        words = command(part, device, model, share, results)
        try:
            done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, timeout=max(left, 1), check=False)
        except subprocess.TimeoutExpired:
            print(f"{part}: cut short, as all parts together may take {limit} s", file=sys.stderr)
            failed.append(part)
            continue
        if done.returncode:
            failed.append(part)
        if part == "tests" and (results / "tests.xml").exists():
            summarise_tests(results)
    print(
        f"{time.monotonic() - began:.0f} s; {', '.join(sorted(file.name for file in results.glob('*.json')))} in {results}"
    )
    if failed:
        sys.exit(f"error: {', '.join(failed)}: failed or cut short")


if __name__ == "__main__":
    main()
