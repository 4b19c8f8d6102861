"""The Python door: runs, callbacks and measurements, one's own method and stream, and what is said of wrong ones."""

import contextlib
import gc
import json
import logging
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass as py_dataclass
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmarks import api as nb
from benchmarks.config.recipes import has_entry
from benchmarks.config.registry import strategy_of
from benchmarks.runs.pack import pack
from strategies.training.loader import draw


RUN: dict[str, Any] = {"iterations": 3, "batch_size": 4, "device": "cpu", "plots": False, "silent": True}


@dataclass(frozen=True)
class Settings:
    """Of the method below."""

    part: str = Field(default="bias", description="whose parameters learn")


@dataclass(frozen=True)
class Unstorable:
    """Has a default that no settings file can hold."""

    part: Path = Field(default=Path("bias"), description="whose parameters learn")


class Plugin(nb.StrategyPlugin):
    """Trains the parameters of one kind."""

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        for name, parameter in strategy.model.clip.named_parameters():
            parameter.requires_grad_(name.endswith(self.settings.part))


def coloured(name: str, classes: dict[str, tuple[int, int, int]]) -> nb.Task:
    """A task of noisy images of one colour for each class."""
    rng = np.random.default_rng(len(name))

    def images(count: int) -> tuple[list[np.ndarray], list[int]]:
        labels = list(range(len(classes))) * count
        colours = np.array(list(classes.values()))
        return [np.clip(colours[y] + rng.normal(0, 20, (20, 24, 3)), 0, 255).astype(np.uint8) for y in labels], labels

    return nb.Task(
        name=name,
        class_names=tuple(classes),
        templates=("a picture of something {}.",),
        train=nb.split_of(f"{name}-train", *images(6)),
        test=nb.split_of(f"{name}-test", *images(4)),
        source=nb.Source(dataset=name),
    )


@pytest.fixture(scope="module")
def colours() -> nb.Plan:
    """A stream of two tasks of two classes, as objects."""
    tasks = [
        coloured("warm", {"red": (220, 30, 30), "yellow": (240, 220, 40)}),
        coloured("cold", {"blue": (40, 70, 220), "green": (40, 160, 50)}),
    ]
    return nb.own_stream("two-colours", tasks)


class Told(nb.Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, int | None, int]] = []

    def note(self, event: str, run: nb.RunState) -> None:
        self.events.append((event, run.learned, run.task, run.step))

    def on_run_begin(self, run: nb.RunState) -> None:
        self.note("run begins", run)

    def on_task_begin(self, run: nb.RunState) -> None:
        self.note("task begins", run)

    def on_step_begin(self, run: nb.RunState) -> None:
        self.note("step begins", run)

    def on_step_end(self, run: nb.RunState) -> None:
        assert run.loss is not None and torch.isfinite(run.loss)
        self.note("step ends", run)

    def on_task_end(self, run: nb.RunState) -> None:
        self.note("task ends", run)

    def on_evaluation_end(self, run: nb.RunState) -> None:
        assert len(run.accuracy) == len(run.tasks)
        self.note("evaluated", run)

    def on_run_end(self, run: nb.RunState) -> None:
        self.note("run ends", run)


class Losses(nb.Measurement):
    """The loss of every step."""

    table = "losses"
    keys = ("task", "step")
    columns = (
        nb.Column("task", "integer", "index of the task"),
        nb.Column("step", "integer", "index of the step within the task"),
        nb.Column("loss", "number", "cross-entropy of the batch"),
    )
    cadence = "step"

    def measure(self, run: nb.RunState) -> Iterator[dict[str, Any]]:
        assert run.loss is not None
        yield {"task": run.task, "step": run.step, "loss": float(run.loss)}


def test_importing_it_brings_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from benchmarks import api; print([m for m in ('torch', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_of_the_door_is_there() -> None:
    assert all(getattr(nb, name) is not None for name in dir(nb))
    with pytest.raises(AttributeError, match="there are"):
        _ = nb.nonsense  # type: ignore[attr-defined]


def test_own_method_own_stream_own_measurement_and_callback(colours: nb.Plan, tmp_path: Path) -> None:
    told = Told()
    method = nb.own_strategy(Plugin, Settings, "biases")
    run = nb.run(method, colours, part="bias", results=tmp_path, callbacks=[told, Losses()], **RUN)
    assert run.folder == tmp_path / "two-colours" / "biases" / "seed42,iterations=3,batch_size=4"
    assert run.tasks == ("warm", "cold") and run.config["part"] == "bias" and run.is_finished
    step = ["step begins", "step ends"] * 3
    task = ["task begins", *step, "task ends", "evaluated"]
    assert [event for event, *_ in told.events] == ["run begins", "evaluated", *task, *task, "run ends"]
    assert [at for event, *at in told.events if event == "step ends"] == [
        [learned, task, step] for learned, task in ((0, 0), (1, 1)) for step in range(3)
    ]
    losses = run.table("losses")
    assert list(losses.columns) == ["task", "step", "loss"] and len(losses) == 6 and (losses["loss"] > 0).all()
    declared = run.about["tables"]["losses"]
    assert declared["keys"] == ["task", "step"] and declared["columns"][2]["meaning"] == "cross-entropy of the batch"
    assert set(run.about["tables"]) >= {"rank", "spectrum", "cost", "losses"}

    accuracy = nb.evaluate(run.model(), colours)
    assert accuracy["task_aware"].tolist() == pytest.approx(run.accuracy["known"][-1].tolist())
    assert accuracy["task_agnostic"].tolist() == pytest.approx(run.accuracy["unknown"][-1].tolist())


def test_two_runs_in_one_process_are_those_of_two_processes(tmp_path: Path, colours: nb.Plan) -> None:
    """Another method in between leaves nothing behind that the second run would see."""
    first = nb.run("nusa", colours, rank=4, results=tmp_path / "first", **RUN)
    nb.run("finetune", colours, seed=7, results=tmp_path / "between", **RUN)
    second = nb.run("nusa", colours, rank=4, results=tmp_path / "second", **RUN)
    for name in ("accuracy", "accuracy_agnostic", "accuracy_seen", "rank", "spectrum"):
        assert (first.folder / f"{name}.csv").read_bytes() == (second.folder / f"{name}.csv").read_bytes()


def test_runs_come_as_pandas_objects(tmp_path: Path, colours: nb.Plan) -> None:
    for strategy in ("zeroshot", "lora"):
        own: dict[str, Any] = {"rank": 2} if strategy == "lora" else {}
        for seed in (1, 2) if strategy == "lora" else (1,):
            nb.run(strategy, colours, seed=seed, results=tmp_path, **own, **RUN)
    runs = nb.load_runs(tmp_path)
    assert len(runs) == 3 and not runs.left_out
    lora = runs.filter(strategy="lora", seed=[1, 2])
    assert len(lora) == 2 and set(runs.group("strategy")) == {("lora",), ("zeroshot",)}
    assert len(runs.filter(rank=2)) == 2 and len(runs.filter(seed=3)) == 0
    with pytest.raises(nb.UserError, match="none of the runs has a setting colour"):
        runs.filter(colour="red")
    accuracy = runs.accuracy
    assert len(accuracy) == 3 * 3 * 3 * 2  # runs, identities, states, tasks
    one = accuracy[(accuracy["run"] == str(lora[0].folder)) & (accuracy["identity"] == "known")]
    assert one["accuracy"].tolist() == lora[0].accuracy["known"].flatten().tolist()
    metrics = runs.metrics[runs.metrics["identity"] == "known"].set_index("run")
    assert metrics.loc[str(lora[0].folder), "last"] == pytest.approx(lora[0].metrics["known"]["last"])
    assert len(runs.rank) == sum(len(run.rank) for run in runs)
    assert (runs.cost["training_seconds"] >= 0).all() and runs.cost["peak_gpu_memory_bytes"].isna().all()
    table = runs.table()
    assert set(table["seeds"]) == {1, 2} and len(table) == 2
    mean = np.mean([run.metrics["known"]["avg"] for run in lora])
    assert table[table["seeds"] == 2]["avg"].item() == pytest.approx(mean)


class Failing(nb.Callback):
    def on_task_end(self, run: nb.RunState) -> None:
        raise ZeroDivisionError("one by nought")


class FailingButOptional(Failing):
    optional = True


def test_a_callback_that_fails_is_named_and_the_run_goes_on_later(
    colours: nb.Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = {**RUN, "silent": False}
    with pytest.raises(
        nb.UserError, match=r"callback Failing: on_task_end failed \(ZeroDivisionError: one by nought\)"
    ):
        nb.run("zeroshot", colours, results=tmp_path, callbacks=[Failing()], **RUN)
    run = nb.run("zeroshot", colours, results=tmp_path, callbacks=[FailingButOptional()], **shown)
    assert run.is_finished and "it is optional, and the run goes on" in capsys.readouterr().err


class FailingAtAStep(nb.Callback):
    def on_step_end(self, run: nb.RunState) -> None:
        raise ZeroDivisionError("one by nought")


def test_what_a_run_that_fails_had_set_for_its_images_does_not_reach_the_next_one(
    colours: nb.Plan, tmp_path: Path
) -> None:
    settings = {**RUN, "augmentation": "random-resized-crop"}
    with pytest.raises(nb.UserError, match="on_step_end failed"):
        nb.run("avalanche:replay", colours, results=tmp_path, callbacks=[FailingAtAStep()], **settings)
    assert draw.get() is None


def test_wrong_objects_are_refused_in_a_line(colours: nb.Plan, tmp_path: Path) -> None:
    def refusal(*what: Any, **more: Any) -> str:
        with pytest.raises(nb.UserError) as error:
            nb.run(*what, results=tmp_path / "results", **{**RUN, **more})
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "is no Callback" in refusal("zeroshot", colours, callbacks=[object()])
    assert "strategy: expected a name" in refusal(Plugin, colours)
    assert "stream: expected a name" in refusal("nusa", ["warm"])
    assert "there is a strategy called that already" in str(_error(lambda: nb.own_strategy(Plugin, Settings, "lora")))
    assert "a name of letters" in str(_error(lambda: nb.own_strategy(Plugin, Settings, "../m")))
    assert "expected the classes" in str(_error(lambda: nb.own_strategy(Plugin, 3, "m")))  # type: ignore[arg-type]
    tasks = list(colours.open(colours.names))
    assert "there is a stream called that already" in refusal("nusa", nb.own_stream("micro", tasks))
    assert "needs a name" in refusal("nusa", nb.own_stream("two/../colours", tasks))

    def warm(**other: Any) -> list[nb.Task]:
        return [replace(tasks[0], **other)]

    for wrong, said in (
        ([], "at least one nb.Task"),
        ([1, 2], "at least one nb.Task"),
        (tasks[0], "at least one nb.Task"),
        ([tasks[0], tasks[0]], 'two tasks are called "warm"'),
        (warm(class_names=("red", "red")), "class names must be a list of texts that differ"),
        (warm(class_names=(0, 1)), "class names must be a list of texts"),
        (warm(class_names="ry"), "class names must be a list of texts"),
        (warm(class_names=("red",)), "labels must lie in 0 to 0"),
        (warm(templates=("a picture.",)), "each is a text with exactly one"),
        (warm(templates="{}"), "templates: each is a text"),
        (warm(train=nb.split_of("none", [], [])), "no train images"),
        (warm(train=[]), "expected what nb.split_of"),
        (warm(name=7), "every task's name must be a text"),
        (warm(source="warm"), "source: expected nb.Source"),
    ):
        assert said in str(_error(lambda wrong=wrong: nb.own_stream("mine", wrong)))
    image = np.zeros((4, 4, 3), np.uint8)
    for images, labels, said in (
        ([image], [0.0], "labels: expected (N,) integers, got (1,) float64"),
        ([image], [[0]], "got (1, 1) int64"),
        ([image], [float("nan")], "expected (N,) integers"),
        ([image], [True], "got (1,) bool"),
        ([image], [0, 1], "1 images and 2 labels"),
        ([image.astype(float)], [0], "expected (H, W, 3) uint8, got (4, 4, 3) float64"),
        ([torch.zeros(3, 4, 4)], [0], "expected a Pillow image or an array, got Tensor"),
    ):
        assert said in str(_error(lambda images=images, labels=labels: nb.split_of("mine", images, labels)))
    assert "about: expected nb.About" in str(_error(lambda: nb.own_strategy(Plugin, Settings, "m", about=5)))  # type: ignore[arg-type]
    assert "Path, which a settings file can't hold" in refusal(nb.own_strategy(Plugin, Unstorable, "m"), colours)
    for huge in (10**6000, [10**6000]):
        assert str(_error(lambda huge=huge: nb.run("diki", colours, length=huge, **RUN))).count("\n") == 0
    assert "a value of type int" in str(_error(lambda: nb.run("diki", colours, length=10**6000, **RUN)))
    assert "cadence 'never'; expected one of state, ends, step" in refusal("nusa", colours, callbacks=[Never()])
    assert "settings by name" in str(_error(lambda: nb.request([1])))  # type: ignore[arg-type]
    assert "use_cache: expected True or False" in refusal("nusa", colours, use_cache="no")
    assert "silent: expected True or False" in refusal("nusa", colours, silent=1)
    assert "cache: expected a path" in refusal("nusa", colours, cache="a\0b")
    assert "File name too long" in str(_error(lambda: nb.run("zeroshot", colours, results="x" * 5000, **RUN)))
    assert "expected what nb.request" in str(_error(lambda: nb.start(5)))  # type: ignore[arg-type]
    assert "results: expected a path" in str(_error(lambda: nb.request({}, results=5)))  # type: ignore[arg-type]
    assert "expected a list" in refusal("nusa", colours, callbacks=Told())
    assert "expected a name" in str(_error(lambda: nb.stream(4)))  # type: ignore[arg-type]
    assert "expected folders" in str(_error(lambda: nb.load_runs([tmp_path])))  # type: ignore[arg-type]
    assert "stream: expected a name" in str(_error(lambda: nb.evaluate(None, 5)))  # type: ignore[arg-type]
    assert "expected auto, cpu or cuda" in str(_error(lambda: nb.evaluate(None, colours, device="foo")))
    assert "must derive from" in refusal(nb.own_strategy(object, Settings, "nothing"), colours)
    assert "frozen dataclass" in refusal(nb.own_strategy(Plugin, object, "nothing"), colours)
    assert "--ranc" in refusal("nusa", colours, ranc=4) and "did you mean" in refusal("nusa", colours, ranc=4)
    assert "no measurement" in refusal("nusa", colours, measure=["nonsense"])
    assert "no attribute `tokenizer`" in str(_error(lambda: nb.evaluate(torch.nn.Linear(1, 1), colours)))
    assert not (tmp_path / "results").exists()


def _error(work: Any) -> Exception:
    with pytest.raises(nb.UserError) as error:
        work()
    return error.value


class Clashing(nb.Measurement):
    table = "rank"
    keys = ("after",)
    columns = (nb.Column("dim", "integer", "of something else"),)


def test_a_measurement_may_not_fill_anothers_column(colours: nb.Plan, tmp_path: Path) -> None:
    with pytest.raises(nb.UserError, match="column dim of table rank is filled by Meter already"):
        nb.run("zeroshot", colours, results=tmp_path, callbacks=[Clashing()], **RUN)


OWN = '''"""Only the biases learn."""

from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from strategies.base import StrategyPlugin


@dataclass(frozen=True)
class Settings:
    towers: str = Field(default="visual", description="whose biases learn")


class Plugin(StrategyPlugin):
    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        for name, parameter in strategy.model.clip.named_parameters():
            parameter.requires_grad_(name.startswith(self.settings.towers) and name.endswith("bias"))
'''


def test_a_strategy_in_a_file_outside_the_repository(colours: nb.Plan, tmp_path: Path) -> None:
    file = tmp_path / "biasonly.py"
    file.write_text(OWN)
    run = nb.run(file, colours, results=tmp_path / "results", **RUN)
    assert run.config["strategy"] == "biasonly" and run.config["towers"] == "visual"
    assert run.about["strategy_sha256"] == strategy_of(str(file)).sha256
    assert run.cost["trained_parameters"][0] > 0

    def refusal(text: str, name: str = "broken.py") -> str:
        (tmp_path / name).write_text(text)
        return str(_error(lambda: nb.run(tmp_path / name, colours, results=tmp_path / "no", **RUN)))

    assert "not valid Python" in refusal("def")
    assert "has no class Plugin" in refusal("x = 1")
    for text, error in (
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("1 / 0", "ZeroDivisionError"),
    ):
        assert f"cannot be imported ({error}" in refusal(text)
        assert f"cannot be imported ({error}" in refusal(f"if True:\n    {text}\n    class Plugin: pass\n")
    assert "needs a class Settings" in refusal("class Plugin: pass")
    assert "cannot be imported (ModuleNotFoundError" in refusal(
        OWN.replace("from typing", "import nowhere\nfrom typing")
    )
    assert "must derive from" in refusal(OWN.replace("(StrategyPlugin)", ""))
    assert "there is a strategy called lora already" in refusal(OWN, "lora.py")
    assert "no such file" in str(_error(lambda: nb.run("nowhere.py", colours, **RUN)))
    (tmp_path / "settings.yaml").write_text(f"strategy: {file}\n")
    assert "names no code" in str(_error(lambda: nb.run(None, colours, config=tmp_path / "settings.yaml", **RUN)))  # type: ignore[arg-type]


def test_a_finished_run_of_code_that_changed_says_so(
    colours: nb.Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "biasonly.py"
    file.write_text(OWN)
    run = nb.run(file, colours, results=tmp_path / "results", **RUN)
    assert "code is other now" not in capsys.readouterr().err
    file.write_text(OWN + "\n# another thought\n")
    assert nb.run(file, colours, results=tmp_path / "results", **RUN).folder == run.folder
    assert "code is other now" in capsys.readouterr().err


def test_a_run_folder_never_names_code(colours: nb.Plan, tmp_path: Path) -> None:
    run = nb.run("zeroshot", colours, results=tmp_path / "results", **RUN)
    marker, file = tmp_path / "it-ran", tmp_path / "evil.py"
    file.write_text(OWN.replace("    towers:", f"    open({str(marker)!r}, 'w')\n    towers:"))
    config = run.folder / "config.yaml"
    config.write_text(config.read_text().replace("strategy: zeroshot", f"strategy: {file}"))
    assert nb.load_runs(tmp_path / "results")[0].config["strategy"] == str(file)
    assert not marker.exists()


class Remember(nb.Callback):
    """Holds on to the model weakly."""

    def on_run_begin(self, run: nb.RunState) -> None:
        self.model = weakref.ref(run.model)


def test_a_run_leaves_no_model_behind(colours: nb.Plan, tmp_path: Path) -> None:
    first = Remember()
    nb.run("nusa", colours, rank=4, results=tmp_path, callbacks=[first], **RUN)
    nb.run("nusa", colours, rank=4, seed=2, results=tmp_path, **RUN)
    gc.collect()
    assert first.model() is None


def test_a_settings_file_chooses_strategy_and_stream_unless_the_call_does(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("strategy: lora\nstream: folder:somewhere\n")
    assert nb.request({}, config=file).config.common.stream == "folder:somewhere"
    assert nb.request({"strategy": "nusa"}, config=file).config.common.strategy == "nusa"


def test_a_settings_file_of_a_method_in_a_file_says_how_to_name_it(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("strategy: mine\n")
    assert "if it is a file of your own, add --strategy mine.py" in str(_error(lambda: nb.request({}, config=file)))


def test_code_that_changed_before_the_run_was_finished_is_refused(colours: nb.Plan, tmp_path: Path) -> None:
    """That of any method: its file may be a built-in's that somebody edits."""
    lora = nb.strategy("lora")
    stopped = [FailsInTheSecondTask()]
    assert "FailsInTheSecondTask" in str(
        _error(lambda: nb.run(lora, colours, results=tmp_path, callbacks=stopped, **RUN))
    )
    changed = replace(lora, sha256="0" * 64)
    assert "other code of its strategy" in str(_error(lambda: nb.run(changed, colours, results=tmp_path, **RUN)))
    assert nb.run(lora, colours, results=tmp_path, **RUN).is_finished


def test_another_version_of_the_results_is_refused_on_resuming_and_said_of_a_finished_run(
    colours: nb.Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The version covers the parts that methods share too, which no digest of a method's file does."""
    with contextlib.suppress(nb.UserError):
        nb.run("lora", colours, results=tmp_path, callbacks=[FailsInTheSecondTask()], **RUN)
    (file,) = tmp_path.rglob("run.json")
    about = json.loads(file.read_text())
    earlier = {**about["figures_version"], "shared": 0}
    file.write_text(json.dumps({**about, "figures_version": earlier}))
    assert "begun by another version, whose results may differ" in str(
        _error(lambda: nb.run("lora", colours, results=tmp_path, **RUN))
    )
    file.write_text(json.dumps(about))
    nb.run("lora", colours, results=tmp_path, **RUN)
    file.write_text(json.dumps({**json.loads(file.read_text()), "figures_version": earlier}))
    capsys.readouterr()
    nb.run("lora", colours, results=tmp_path, **{**RUN, "silent": False})
    assert "made by another version, whose results may differ; --again runs it anew" in capsys.readouterr().err


def test_a_method_without_an_entry_in_the_recipe_says_what_it_gets(
    colours: nb.Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = nb.own_strategy(Plugin, Settings, "biases")
    for method in (own, "lora"):
        nb.run(method, colours, results=tmp_path, **{**RUN, "silent": False})
    said = capsys.readouterr().err
    assert said.count("general defaults") == 1
    assert (
        "biases: the recipe of folder has no entry for it; it gets general defaults: iterations 3, batch_size 4" in said
    )
    assert "lr 0.001" in said and "part bias" in said


def test_every_built_in_method_has_an_entry_in_every_recipe() -> None:
    for stream in (
        "micro",
        "mtil",
        "mtil-split:2",
        "xtail",
        "cifar100:10",
        "tinyimagenet:5",
        "folder:x",
        "repeat:2:mtil",
    ):
        assert [name for name in nb.strategies() if not has_entry(stream, name)] == [], stream
    assert nb.request({"strategy": "milora", "stream": "mtil"}).config.settings.variant == "released"


def test_the_environment_names_the_folders_of_data_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUSA_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NUSA_BENCH_DATA", str(tmp_path / "data"))
    places = nb.request({}).places
    assert (places.cache, places.data_root) == (tmp_path / "cache", tmp_path / "data")
    assert nb.request({}, cache=tmp_path / "other", data_root="here").places.cache == tmp_path / "other"


def test_what_a_finished_run_will_not_do_is_said(
    colours: nb.Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = nb.run("zeroshot", colours, results=tmp_path, **RUN)
    nb.run("zeroshot", colours, results=tmp_path, callbacks=[Losses()], measure=["interference"], **RUN)
    said = capsys.readouterr().err
    assert "its callbacks are not called" in said and "--measure interference is not looked at" in said

    pack(run.folder)
    shutil.rmtree(run.folder)
    assert nb.run("zeroshot", colours, results=tmp_path, **RUN).metrics == run.metrics
    assert not run.folder.exists()


@py_dataclass
class Plain(Losses):
    """A plain dataclass, so not hashable."""

    scale: float = 1.0


class Renamed(Losses):
    """Calls the loss something else."""

    columns = (*Losses.columns[:2], nb.Column("entropy", "number", "cross-entropy of the batch"))

    def measure(self, run: nb.RunState) -> Iterator[dict[str, Any]]:
        yield {"task": run.task, "step": run.step, "entropy": 1.0}


class FailsInTheSecondTask(nb.Callback):
    def on_task_end(self, run: nb.RunState) -> None:
        if run.task == 1:
            raise ZeroDivisionError


def test_a_run_goes_on_with_the_columns_that_it_began_with(
    colours: nb.Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*callbacks: nb.Callback) -> nb.Run:
        return nb.run("finetune", colours, results=tmp_path, callbacks=callbacks, **RUN)

    assert "FailsInTheSecondTask" in str(_error(lambda: run(Plain(), FailsInTheSecondTask())))
    assert "began with the columns loss, step, task in losses.csv, not entropy" in str(_error(lambda: run(Renamed())))
    assert len(run(Plain()).table("losses")) == 6
    assert "losses.csv" not in capsys.readouterr().err


def test_the_callers_modes_of_torch_change_nothing(
    colours: nb.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = nb.run("nusa", colours, rank=4, results=tmp_path / "first", **RUN)
    kept = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    try:
        torch.set_default_dtype(torch.bfloat16)
        torch.set_float32_matmul_precision("medium")
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            second = nb.run("nusa", colours, rank=4, results=tmp_path / "second", **RUN)
            tested = nb.evaluate(second.model(), colours)
        assert (torch.get_default_dtype(), torch.get_float32_matmul_precision()) == (torch.bfloat16, "medium")
    finally:
        torch.set_default_dtype(kept[0])
        torch.set_float32_matmul_precision(kept[1])
    for name in ("accuracy", "rank"):
        assert (first.folder / f"{name}.csv").read_bytes() == (second.folder / f"{name}.csv").read_bytes()
    assert tested["task_aware"].tolist() == second.accuracy["known"][-1].tolist()


def test_the_callers_log_is_left_alone(colours: nb.Plan, tmp_path: Path) -> None:
    before = logging.root.level, list(logging.root.handlers), logging.root.manager.disable
    nb.run("zeroshot", colours, results=tmp_path, **RUN)
    assert (logging.root.level, list(logging.root.handlers), logging.root.manager.disable) == before


def test_a_finished_run_of_another_stream_of_the_same_name_is_refused(colours: nb.Plan, tmp_path: Path) -> None:
    nb.run("zeroshot", colours, results=tmp_path, **RUN)
    other = nb.own_stream("two-colours", [replace(task, templates=("{}.",)) for task in colours.open(colours.names)])
    said = "other tasks, prompts, splits or images"
    assert said in str(_error(lambda: nb.run("zeroshot", other, results=tmp_path, **RUN)))
    tasks = list(colours.open(colours.names))
    swapped = [replace(tasks[0], train=tasks[0].test, test=tasks[0].train), tasks[1]]
    assert said in str(
        _error(lambda: nb.run("zeroshot", nb.own_stream("two-colours", swapped), results=tmp_path, **RUN))
    )
    first = tasks[0].train
    other_labels = replace(tasks[0], train=replace(first, labels=first.labels[::-1].copy()))
    plan = nb.own_stream("two-colours", [other_labels, tasks[1]])
    assert said in str(_error(lambda: nb.run("zeroshot", plan, results=tmp_path, **RUN)))
    assert nb.run("zeroshot", colours, results=tmp_path, **RUN).is_finished


class RunsAnother(nb.Callback):
    """Starts a run within a run."""

    def __init__(self, plan: nb.Plan, results: Path) -> None:
        self.plan, self.results = plan, results

    def on_run_begin(self, run: nb.RunState) -> None:
        nb.run("lora", self.plan, results=self.results, **RUN)


def test_one_run_at_a_time_in_a_process(colours: nb.Plan, tmp_path: Path) -> None:
    """Two would draw from one generator of random numbers."""
    another = RunsAnother(colours, tmp_path / "other")
    error = _error(lambda: nb.run("zeroshot", colours, results=tmp_path, callbacks=[another], **RUN))
    assert "another run goes on in this process" in str(error)
    assert nb.run("zeroshot", colours, results=tmp_path, **RUN).is_finished


def test_the_checkpoint_of_another_method_is_refused(colours: nb.Plan, tmp_path: Path) -> None:
    for method in ("lora", "nusa"):
        stopped = [FailsInTheSecondTask()]
        _error(lambda: nb.run(method, colours, results=tmp_path, callbacks=stopped, rank=4, **RUN))  # noqa: B023
    lora, nusa = (
        next((tmp_path / "two-colours" / method).rglob("checkpoint.safetensors")) for method in ("lora", "nusa")
    )
    shutil.copy(lora, nusa)
    error = _error(lambda: nb.run("nusa", colours, results=tmp_path, rank=4, **RUN))
    assert f"{nusa}: the checkpoint of a run with other settings" in str(error)


def test_a_model_of_no_numbers_is_not_evaluated(colours: nb.Plan, tmp_path: Path) -> None:
    model = nb.run("zeroshot", colours, results=tmp_path, **RUN).model()
    with torch.no_grad():
        model.visual.proj[0, 0] = float("nan")
    assert "not finite" in str(_error(lambda: nb.evaluate(model, colours)))


class Undeclared(Losses):
    """Says more than it declares."""

    def measure(self, run: nb.RunState) -> Iterator[dict[str, Any]]:
        yield {"task": run.task, "step": run.step, "loss": 1.0, "more": 2.0}


class NoNumber(Losses):
    """Gives a tensor where a number is declared."""

    def measure(self, run: nb.RunState) -> Iterator[dict[str, Any]]:
        yield {"task": run.task, "step": run.step, "loss": torch.ones(1)}


class Twice(Losses):
    """Gives two rows with the same keys."""

    def measure(self, run: nb.RunState) -> Iterator[dict[str, Any]]:
        yield {"task": run.task, "step": run.step, "loss": 1.0}
        yield {"task": run.task, "step": run.step, "loss": 2.0}


class Never(Losses):
    """Has a cadence that there is not."""

    cadence = "never"  # type: ignore[assignment]


class NoKey(Losses):
    """Leaves a key out."""

    def measure(self, run: nb.RunState) -> Iterator[dict[str, Any]]:
        yield {"step": run.step, "loss": 1.0}


@pytest.mark.parametrize(
    ("measurement", "said"),
    [
        (Undeclared, "a column more, which it does not declare"),
        (NoNumber, "column loss is declared number, a row has tensor"),
        (NoKey, "a row has no task"),
        (Twice, "two rows have the same keys, {'task': 0, 'step': 0}"),
    ],
)
def test_rows_are_what_a_measurement_declares(
    measurement: type[nb.Measurement], said: str, colours: nb.Plan, tmp_path: Path
) -> None:
    error = _error(lambda: nb.run("nusa", colours, rank=4, results=tmp_path, callbacks=[measurement()], **RUN))
    assert f"callback {measurement.__name__}: measure failed" in str(error) and said in str(error)


class Untrained(nb.StrategyPlugin):
    """Trains nothing, and turns all image features around at the first task."""

    trains = False

    def before_train_dataset_adaptation(self, strategy: Any, *args: Any, **kwargs: Any) -> Any:
        strategy.model.clip.requires_grad_(False)
        if strategy.experience.task_label == 0:
            strategy.model.clip.visual.proj.data.neg_()


def test_a_model_that_stays_is_evaluated_once_and_one_that_changes_is_not(tmp_path: Path, colours: nb.Plan) -> None:
    stays = nb.run("zeroshot", colours, results=tmp_path, **RUN)
    assert (stays.accuracy["known"] == stays.accuracy["known"][0]).all() and not np.isnan(
        stays.accuracy["seen"][2]
    ).any()
    changes = nb.run(nb.own_strategy(Untrained, Settings, "untrained"), colours, results=tmp_path, **RUN)
    assert (changes.accuracy["known"][0] == stays.accuracy["known"][0]).all()
    assert (changes.accuracy["known"][1] != stays.accuracy["known"][1]).any()
    assert (changes.accuracy["known"][2] == changes.accuracy["known"][1]).all()
