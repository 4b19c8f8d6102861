"""The real command on a tiny model and tiny pictures: what it writes, going on after a kill, wrong input."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from benchmarks.config import registry
from benchmarks.run import main
from benchmarks.runs import declared, schema
from benchmarks.runs.keys import KEYS
from benchmarks.runtime.locks import locked
from tests.conftest import ROOT, command, interrupt_at, write_images


SAME = (
    "config.yaml",
    "stream.json",
    "accuracy.csv",
    "accuracy_agnostic.csv",
    "accuracy_seen.csv",
    "metrics.json",
    "rank.csv",
    "spectrum.csv",
    "history.csv",
    "model.safetensors",
)


def words(images: Path, tiny_clip: Path, results: Path, *more: object, plots: bool = False) -> list[str]:
    """A run of a second or two; drawing its plots would take as long again."""
    fixed = ["--stream", f"folder:{images}", "--model", f"local-dir:{tiny_clip}", "--results", results]
    drawn = [] if plots else ["--no-plots"]
    return [str(word) for word in [*fixed, "--iterations", 4, "--batch-size", 4, *drawn, *more]]


def only_run(results: Path) -> Path:
    (config,) = results.rglob("config.yaml")
    return config.parent


def figures(run: Path) -> dict[str, bytes]:
    """Every file that does not tell the time, by name."""
    trains = run.parent.name not in ("zeroshot", "rail")  # which have no losses
    files = [run / name for name in SAME if trains or name != "history.csv"] + sorted((run / "plots").glob("*"))
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def finished(images: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of NuSA-CL over three tasks, never interrupted, by the command in a process of its own."""
    results = tmp_path_factory.mktemp("finished")
    done = command("--strategy", "nusa", *words(images, tiny_clip, results, "--rank", 4, plots=True))
    assert done.returncode == 0, done.stderr
    assert "Transfer" in done.stdout and str(only_run(results)) in done.stdout
    return only_run(results)


def test_the_run_folder(finished: Path) -> None:
    assert finished.parts[-3].startswith("folder-images") and finished.parts[-2] == "nusa"
    with (finished / "accuracy.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["after", "ants", "bees", "cats"]
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    matrix = [[float(cell) for cell in row[1:]] for row in rows]
    metrics = json.loads((finished / "metrics.json").read_text())
    transfer = (matrix[1][1] + (matrix[1][2] + matrix[2][2]) / 2) / 2
    assert metrics["transfer"] == pytest.approx(transfer)
    assert metrics["last"] == pytest.approx(sum(matrix[3]) / 3)
    assert metrics["zero_shot"] == pytest.approx(sum(matrix[0]) / 3)
    assert set(metrics["agnostic"]) >= {"transfer", "avg", "last", "forgetting"}
    with (finished / "rank.csv").open() as file:
        rank = list(csv.DictReader(file))
    assert len(rank) == 4 * 3 * 4  # states, blocks of both towers, q k v o
    assert {"after", "tower", "block", "matrix", "dim", "energy_rank", "effective_rank"} <= set(rank[0])
    assert rank[0]["update_norm"] == "" and float(rank[-1]["update_norm"]) > 0
    cost = json.loads((finished / "cost.json").read_text())
    assert cost["carried_bytes"] == [0, 0, 0] and cost["reference_images"] == 0
    assert cost["trained_parameters"] == [3 * 4 * 16] * 3  # 3 blocks, 4 matrices, 4 x 4
    states = {what: len(seconds) for what, seconds in cost["seconds"].items()}
    assert states == {"training": 3, "decomposition": 3, "evaluation": 4, "spectrum": 4, "saving": 4}
    assert all(seconds > 0 for seconds in cost["seconds"]["saving"])
    run = json.loads((finished / "run.json").read_text())
    assert run["status"] == "finished" and run["versions"]["torch"] == torch.__version__.split("+")[0]
    assert yaml.safe_load((finished / "config.yaml").read_text())["rank"] == 4
    assert not (finished / "checkpoint.safetensors").exists()
    assert {file.suffix for file in (finished / "plots").iterdir()} == {".png", ".svg"}


def test_all_that_the_run_folder_holds_is_registered(finished: Path) -> None:
    """`results/README.md` is made from the registry; what is in no folder of this run is marked there as `only where`."""
    about = json.loads((finished / "run.json").read_text())
    assert about["schema_version"] == schema.VERSION
    for file, columns in KEYS.items():
        found = json.loads((finished / file).read_text())
        names = {*found, *(f"tasks.{name}" for task in found.get("tasks", []) for name in task)}
        names |= {
            f"{above}.{name}" for above in ("seconds", "seen") if file != "run.json" for name in found.get(above, ())
        }
        always = {column.name for column in columns if "only where" not in column.meaning}
        assert always <= names <= {column.name for column in columns}, file
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    for name, columns in declared.tables().items():
        assert f"## {name}.csv" in text
        if name not in about["tables"]:  # it is measured where that is asked for, or of some methods
            continue
        header = (finished / f"{name}.csv").read_text().partition("\n")[0].split(",")
        assert [each.name for each in columns if each.name in header] == [
            each for each in header if not each.isdecimal()
        ]
        assert len([each for each in columns if each.name not in header]) == (name == "spectrum")


def test_the_merged_model_loads_in_plain_open_clip_and_gives_the_same_features(
    finished: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    """In a process that imports nothing of ours, against this project's own classifier with the same weights."""
    from benchmarks.experiment.backbones.loading import load_backbone
    from benchmarks.experiment.setup import make_classifier
    from benchmarks.images.decode import decode
    from benchmarks.streams.folder import build
    from benchmarks.streams.orders import whole

    code = f"""
import sys, open_clip, torch
from pathlib import Path
from PIL import Image
from safetensors.torch import load_file, save_file
model = open_clip.create_model("local-dir:{tiny_clip}", load_weights=False).eval()
model.load_state_dict(load_file("{finished}/model.safetensors"), strict=True)
transform = open_clip.image_transform(16, is_train=False)
tokenizer = open_clip.get_tokenizer("local-dir:{tiny_clip}")
files = sorted(Path({str(stream_of(finished))!r}, "cats", "test").glob("*/*"))
with torch.no_grad():
    images = model.encode_image(torch.stack([transform(Image.open(file)) for file in files]), normalize=True)
    texts = model.encode_text(tokenizer([f"a photo of a class {{n}}." for n in range(4)]), normalize=True)
save_file({{"images": images, "texts": texts}}, "{tmp_path}/features")
assert not [name for name in sys.modules if name.split(".")[0] in ("benchmarks", "strategies")]
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    plain = load_file(tmp_path / "features")
    backbone = load_backbone(f"local-dir:{tiny_clip}", str(finished / "model.safetensors"))
    stream = whole(build(str(stream_of(finished))))
    classifier = make_classifier(backbone, stream).eval()
    with torch.no_grad():
        ours = classifier.encode_images(decode(stream.tasks[2].test, 16))
    assert torch.allclose(plain["images"], ours, atol=1e-5)
    assert torch.allclose(plain["texts"], classifier.evaluation_features(2), atol=1e-5)
    start, end = load_file(tiny_clip / "open_clip_model.safetensors"), load_file(finished / "model.safetensors")
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    assert len(changed) == 2 * 3 and all("attn" in name for name in changed)  # it learned, in all three blocks


def stream_of(run: Path) -> Path:
    return Path(yaml.safe_load((run / "config.yaml").read_text())["stream"].removeprefix("folder:"))


def test_killed_and_started_again_it_ends_with_the_same_files(
    finished: Path, images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    line = ["--strategy", "nusa", *words(images, tiny_clip, tmp_path, "--rank", 4, plots=True)]
    begin = [sys.executable, "-m", "benchmarks.run", *line]
    with subprocess.Popen(begin, cwd=ROOT, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for text in process.stderr:
            if b"1/3 ants" in text:  # evaluated; its checkpoint is being written, or the second task has begun
                break
        time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    run = only_run(tmp_path)
    assert json.loads((run / "run.json").read_text())["status"] == "running"
    done = command(*line)
    assert done.returncode == 0, done.stderr
    assert "going on after" in done.stderr
    assert figures(run) == figures(finished)
    assert len(json.loads((run / "cost.json").read_text())["seconds"]["saving"]) == 4  # one of them 0


def test_names_that_file_systems_hardly_take(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of 250 letters works; one that is no UTF-8 is refused by its own name, before anything is read."""
    long, raw = tmp_path / ("d" * 250), tmp_path / "raw\udcff"
    for place in (long, raw):
        shutil.copytree(images, place)
    assert main(["--strategy", "zeroshot", *words(long, tiny_clip, tmp_path / "results")]) == 0
    stream = only_run(tmp_path / "results").parts[-3]
    assert stream.startswith("folder-ddd") and len(stream) < 120
    error = fails(["--strategy", "zeroshot", *words(raw, tiny_clip, tmp_path / "others")], capsys)
    assert "--stream: " in error and "raw\\udcff" in error and "rename it" in error
    assert not (tmp_path / "others").exists()
    assert "at most 19 digits" in fails(["--order", "random:" + "9" * 5000], capsys)


@pytest.mark.usefixtures("signals_heard")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_scheduler_or_a_closed_terminal_leaves_it_interrupted(
    number: int, images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    line = ["--strategy", "zeroshot", *words(images, tiny_clip, tmp_path)]
    replace = os.replace

    def signalling(source: str, target: Path) -> None:
        replace(source, target)
        if Path(target).name == "checkpoint.safetensors":
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", signalling)
        assert main(line) == 128 + number
    assert signal.getsignal(number) is before
    assert json.loads((only_run(tmp_path) / "run.json").read_text())["status"] == "interrupted"
    assert "the same command goes on" in capsys.readouterr().err
    assert main(line) == 0


def _run_until_write(line: list[str], deadly: int, before: bool, name: str = "") -> None:
    """Runs the command, and dies like a killed process just before or after a file is put in its place.

    Args:
        deadly: which one, counted from 1.
        name: counts only files of this name.
    """
    from benchmarks.runtime import files

    replace, calls = os.replace, []

    def deadly_replace(source: str, target: Path) -> None:
        if not str(target).endswith(name):
            return replace(source, target)
        calls.append(target)
        if len(calls) == deadly and before:
            os._exit(9)
        replace(source, target)
        if len(calls) == deadly:
            os._exit(9)

    files.os.replace = deadly_replace  # type: ignore[assignment]
    os._exit(main(line))


@pytest.fixture(scope="module")
def start() -> Callable[..., int | None]:
    """Runs the command until a write, in a process of its own, and gives its exit status."""
    import multiprocessing

    # A server that has imported everything and computed nothing: its children start at once, and threads work in them.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.experiment.loop", "plotting.draw", "tests.benchmarks.test_run"])

    def run(line: list[str], deadly: int = 10**9, before: bool = False, name: str = "") -> int | None:
        process = context.Process(target=_run_until_write, args=(line, deadly, before, name))
        process.start()
        process.join()
        return process.exitcode

    return run


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False])
def test_killed_at_every_write_it_ends_with_the_same_files(
    before: bool, images: Path, tiny_clip: Path, tmp_path: Path, start: Callable[..., int | None]
) -> None:
    def run(results: Path, deadly: int = 10**9) -> int | None:
        line = [
            "--strategy",
            "nusa",
            *words(images, tiny_clip, results, "--rank", 4, "--order", "ants,bees", plots=True),
        ]
        return start(line, deadly, before)

    assert run(tmp_path / "whole") == 0
    whole = only_run(tmp_path / "whole")
    names = sorted(file.name for file in whole.rglob("*"))
    for deadly in range(1, 100):
        results = tmp_path / str(deadly)
        if run(results, deadly) == 0:
            break
        assert run(results) == 0
        assert figures(only_run(results)) == figures(whole), f"killed at write {deadly}"
        assert sorted(file.name for file in only_run(results).rglob("*")) == names, f"killed at write {deadly}"
    assert deadly > 25  # every write of the run had its turn


def test_a_finished_run_is_shown_not_run_and_never_overwritten(
    finished: Path, images: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--strategy", "nusa", *words(images, tiny_clip, finished.parents[2], "--rank", 4, plots=True)]
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*") if file.is_file()}
    assert main(line) == 0
    assert "finished before" in capsys.readouterr().out
    assert main([*line, "--again"]) == 0
    assert {file: file.stat().st_mtime_ns for file in finished.rglob("*") if file.is_file()} == before
    again = finished.with_name(f"{finished.name}-2")
    assert figures(again) == figures(finished)  # same settings and seed: same figures, in another process


def test_a_finished_run_of_folders_that_have_changed_is_shown_with_a_word_about_it(
    tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = write_images(tmp_path / "pictures", {"ants": 2})
    line = ["--strategy", "zeroshot", *words(pictures, tiny_clip, tmp_path / "results")]
    assert main(line) == 0
    assert main(line) == 0
    assert "have other images" not in capsys.readouterr().err
    (pictures / "ants" / "test" / "class_1" / "0.png").unlink()
    assert main(line) == 0
    captured = capsys.readouterr()
    assert "finished before" in captured.out and "have changed since this run was made" in captured.err
    shutil.rmtree(pictures)
    assert main(line) == 0
    assert "have other images" not in capsys.readouterr().err


def test_two_runs_in_one_folder(
    finished: Path, images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / Path(*finished.parts[-3:])
    path.mkdir(parents=True)
    with locked(path, lambda who, since: None):
        error = fails(["--strategy", "nusa", *words(images, tiny_clip, tmp_path, "--rank", 4)], capsys)
    assert f"{path}: another run is writing here (process {os.getpid()}, since 20" in error


def line_of(strategy: str, images: Path, tiny_clip: Path, place: Path) -> list[str]:
    """A run of a strategy, with all that it reads besides the tasks' images."""
    captions = place / "captions.txt"
    captions.write_text("a cat\na dog\na bird\n")
    given = {"images": ["--reference-images", images], "texts": ["--reference-texts", captions]}
    references = [word for what in registry.strategy_of(strategy).plugin().reads for word in given[what]]
    return ["--strategy", strategy, *words(images, tiny_clip, place / "results", *references)]


def uninterrupted(line: list[str], results: Path) -> dict[str, bytes]:
    """The files of the same run, never interrupted, in this process."""
    line = list(line)
    line[line.index("--results") + 1] = str(results)
    assert main(line) == 0
    return figures(only_run(results))


KILLED = ("zscl", "moe_adapter", "inflora")  # besides nusa, above: a family each


@pytest.mark.parametrize("strategy", KILLED)
def test_killed_after_a_task_the_command_goes_on_and_ends_with_the_same_files(
    strategy: str, images: Path, tiny_clip: Path, tmp_path: Path, start: Callable[..., int | None]
) -> None:
    line = line_of(strategy, images, tiny_clip, tmp_path)
    assert start(line, deadly=2, name="checkpoint.safetensors") == 9  # the first task is learned
    run = only_run(tmp_path / "results")
    assert json.loads((run / "run.json").read_text())["status"] == "running"
    done = command(*line)
    assert done.returncode == 0, done.stderr
    assert "going on after 1 of 3 tasks" in done.stderr
    assert figures(run) == uninterrupted(line, tmp_path / "whole")


@pytest.mark.parametrize("strategy", [name for name in registry.names("strategy") if name not in ("nusa", *KILLED)])
def test_every_strategy_runs_and_resumes(
    strategy: str, images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = line_of(strategy, images, tiny_clip, tmp_path)
    with monkeypatch.context() as patch:
        interrupt_at(patch, "checkpoint.safetensors", 2)  # the first task is learned
        assert main(line) == 130
    run = only_run(tmp_path / "results")
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    assert main(line) == 0
    assert figures(run) == uninterrupted(line, tmp_path / "whole")


def fails(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that ends with status 2."""
    capsys.readouterr()
    assert main(line) == 2
    error = capsys.readouterr().err
    (last,) = [text for text in error.splitlines() if text.startswith("error: ")]
    assert "Traceback" not in error
    return last


def test_wrong_input_leaves_no_files(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"

    def line(*more: object, stream: object = images, model: object = f"local-dir:{tiny_clip}") -> str:
        words = ["--stream", f"folder:{stream}", "--model", str(model), "--results", str(results), "--batch-size", "4"]
        return fails([*words, *map(str, more)], capsys)

    assert "no such folder" in line(stream=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "no domain folders" in line(stream=tmp_path / "empty")
    assert '"bee"' in line("--order", "bee,ants") and 'did you mean "bees"' in line("--order", "bee,ants")
    assert "named twice" in line("--order", "ants,ants")
    assert "expected a seed" in line("--order", "random:x")
    assert "no such file" in line("--pretrained", tmp_path / "absent.pt")
    assert 'no model "ViT-B-166"' in line(model="ViT-B-166") and 'did you mean "ViT-B-16"' in line(model="ViT-B-166")
    assert "--pretrained" in line(model="ViT-B-32")
    assert "no tag of ViT-B-32" in line("--pretrained", "opnai", model="ViT-B-32")
    assert "QuickGELU" in line("--pretrained", "openai", model="ViT-B-32")
    assert "open_clip_config.json" in line(model=f"local-dir:{tmp_path}")
    if not torch.cuda.is_available():
        assert "--device cuda" in line("--device", "cuda")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((tiny_clip / "open_clip_model.safetensors").read_bytes()[:1000])
    assert str(damaged) in line("--pretrained", damaged) and "damaged" in line("--pretrained", damaged)
    pickled = tmp_path / "code.pt"
    torch.save({"state_dict": {"a": print}}, pickled)
    assert str(pickled) in line("--pretrained", pickled)
    odd: list[object] = [{"a": torch.zeros(2)}, torch.zeros(2), [], {}, {1: 2}]
    for strange in odd:
        torch.save(strange, pickled)
        assert "not the weights of" in line("--pretrained", pickled)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": 1}}')
    assert "not a config that open_clip reads" in line(model=f"local-dir:{tmp_path / 'broken'}")
    pictures = write_images(tmp_path / "pictures", {"ants": 2})
    (pictures / "ants" / "test" / "class_1" / "2.png").write_bytes(b"no picture")
    error = line(stream=pictures)
    assert "class_1/2.png: not a readable image" in error and f"prepare --stream folder:{pictures} --check" in error
    assert not results.exists()


def test_results_that_cannot_be_written(images: Path, tiny_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(words(images, tiny_clip, Path("/dev/null/results")), capsys)
    assert "/dev/null/results" in error and "cannot be written" in error


def test_a_loss_that_is_not_finite_keeps_the_finished_rows(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = fails(
        ["--strategy", "finetune", *words(images, tiny_clip, tmp_path, "--lr", "1e30", "--iterations", 12)], capsys
    )
    assert "task 1 (ants), step" in error and "not finite" in error
    run = only_run(tmp_path)
    assert len((run / "accuracy.csv").read_text().splitlines()) == 2  # header and zero-shot
    assert json.loads((run / "metrics.json").read_text())["transfer"] is None
    assert json.loads((run / "run.json").read_text())["status"] == "failed"


def test_a_damaged_checkpoint_is_named(
    images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--strategy", "zeroshot", *words(images, tiny_clip, tmp_path)]
    with monkeypatch.context() as patch:
        interrupt_at(patch, "checkpoint.safetensors", 1)
        assert main(line) == 130
    checkpoint = only_run(tmp_path) / "checkpoint.safetensors"
    whole = checkpoint.read_bytes()
    for damaged in (whole[:500], whole[: len(whole) // 2], b"", b"x" * 100):
        checkpoint.write_bytes(damaged)
        assert str(checkpoint) in fails(line, capsys)
    checkpoint.write_bytes(whole)
    assert main(line) == 0


def test_a_folder_with_another_run_is_neither_shown_nor_gone_on_with(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders are named by what differs from the recipe, so other settings may come to the same name."""
    line = ["--strategy", "zeroshot", *words(images, tiny_clip, tmp_path)]
    assert main(line) == 0
    run = only_run(tmp_path)
    other = tmp_path / "elsewhere" / images.name
    write_images(other, {"ants": 2})
    line[line.index(f"folder:{images}")] = f"folder:{other}"
    assert "the run there has stream" in fails(line, capsys)
    line[line.index(f"folder:{other}")] = f"folder:{images}"
    status = (run / "run.json").read_text()
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "batch_size": 5}))
    for state in ("finished", "running"):
        (run / "run.json").write_text(status.replace("finished", state))
        assert "has batch_size 5, not 4" in fails(line, capsys)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for name in ("weights", "images"):
        started_with = {**json.loads(status), "status": "running", f"{name}_sha256": "0"}
        (run / "run.json").write_text(json.dumps(started_with))
        assert f"began with other {name}" in fails(line, capsys)
    for damaged in ("", "[]", "{"):
        (run / "run.json").write_text(damaged)
        assert str(run / "run.json") in fails(line, capsys)
    (run / "run.json").write_text(status)
    for damaged in ("", "- 1", "a: ["):
        (run / "config.yaml").write_text(damaged)
        assert str(run / "config.yaml") in fails(line, capsys)


def test_a_home_that_cannot_be_written_is_no_hindrance(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    line = ["--strategy", "zeroshot", *words(images, tiny_clip, tmp_path, plots=True)]
    done = command(*line, env={"HOME": "/dev/null/home"})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr


def test_a_full_disk_is_named_and_the_run_goes_on_later(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit on the size of any file stands for the disk: the checkpoint does not fit."""
    line = ["--strategy", "zeroshot", *words(images, tiny_clip, tmp_path)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        error = fails(line, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "checkpoint.safetensors: cannot be written" in error
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.rglob("checkpoint.safetensors"))
    assert main(line) == 0
