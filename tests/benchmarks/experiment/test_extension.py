"""More tasks for a finished run: equal to a run that had them from the start, and empty where nothing was kept."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import api as nb
from benchmarks.comparison.groups import alone
from benchmarks.experiment import kept_states
from benchmarks.run import main
from plotting import curves, matrix, rank
from plotting.captioned import PARTIAL
from tests.conftest import interrupt_at


FIRST, ALL = "ants,bees", "ants,bees,cats"
# One that stores nothing, and several that store directions, images, or a teacher.
METHODS: dict[str, dict[str, Any]] = {
    "nusa": {"rank": 4},
    "inflora": {"rank": 4},
    "olora": {"rank": 2},
    "icarl": {"memory": 12},
    "zscl": {},
    "avalanche:ewc": {},
    "avalanche:replay": {},
    "diki": {"length": 2},
    "keeplora": {"rank": 4},
    "activation_null": {"variant": "ness"},
    "codyra": {"rank": 4},
    "magmax": {},
    "opcm": {},
    "ema": {"start": "sequential", "rule": "running"},
    "nusa_self": {"rank": 4, "texts": "seen"},
    "rail": {"hidden": 50},
    "moe_adapter": {"experts": 3, "width": 2},
}


def learn(images: Path, tiny_clip: Path, results: Path, strategy: str = "nusa", **more: Any) -> nb.Run:
    settings: dict[str, Any] = {"iterations": 3, "batch_size": 4, "device": "cpu", "plots": False, "silent": True}
    settings |= {"stream": f"folder:{images}", "model": f"local-dir:{tiny_clip}", **METHODS.get(strategy, {})}
    if strategy == "moe_adapter":
        settings |= {"auxiliary_images": images / "ants" / "train"}
    if strategy == "zscl":
        texts = results.parent / "texts.txt"
        texts.write_text("\n".join(f"a thing of kind {number}" for number in range(40)))
        settings |= {"auxiliary_images": images / "ants" / "train", "auxiliary_texts": texts}
    return nb.run(strategy, results=results, **{**settings, **more})


def go_on(run: nb.Run, results: Path, **more: Any) -> nb.Run:
    extra = {"auxiliary_images": run.about["reference_images"], "auxiliary_texts": run.about["reference_texts"]}
    return nb.run(extend=run.folder, order="cats", results=results, plots=False, silent=True, **extra, **more)


def rows(run: nb.Run, table: str, **where: Any) -> pd.DataFrame:
    found = run.table(table)
    for name, value in where.items():
        found = found[found[name] == value]
    return found.reset_index(drop=True)


@pytest.mark.parametrize("strategy", METHODS)
def test_with_kept_states_it_is_the_run_that_had_all_tasks_from_the_start(
    strategy: str, images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    whole = learn(images, tiny_clip, tmp_path / "whole", strategy, order=ALL)
    first = learn(images, tiny_clip, tmp_path / "first", strategy, order=FIRST, keep_states=True)
    assert kept_states.kept(first.folder) == 2
    longer = go_on(first, tmp_path / "longer", keep_states=True)
    assert longer.tasks == whole.tasks and longer.folder.name == f"{whole.folder.name},extended"
    for identity, states in whole.accuracy.items():
        np.testing.assert_array_equal(longer.accuracy[identity], states, err_msg=identity)
    for name in ("model.safetensors", "rank.csv", "spectrum.csv", "history.csv", "metrics.json"):
        assert (longer.folder / name).exists() == (whole.folder / name).exists()
        if not (whole.folder / name).exists():  # RAIL takes no steps, and has no history of them
            assert name == "history.csv" and strategy == "rail"
            continue
        assert (longer.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    for name in ("trained_parameters", "carried_bytes"):
        assert longer.cost[name] == whole.cost[name]
    assert {name: len(each) for name, each in longer.cost["seconds"].items()} == {
        name: len(each) for name, each in whole.cost["seconds"].items()
    }
    assert longer.about["extends"]["tasks"] == 2 and longer.about["extends"]["from"] == str(first.folder)
    assert kept_states.kept(longer.folder) == 3


def test_without_them_the_cells_are_empty_and_the_metrics_over_them_unknown(
    images: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    whole = learn(images, tiny_clip, tmp_path / "whole", order=ALL)
    longer = go_on(learn(images, tiny_clip, tmp_path / "first", order=FIRST), tmp_path / "longer")
    known, unknown = longer.accuracy["known"], longer.accuracy["unknown"]
    np.testing.assert_array_equal(known[[0, 2, 3]], whole.accuracy["known"][[0, 2, 3]])
    np.testing.assert_array_equal(known[1, :2], whole.accuracy["known"][1, :2])
    assert np.isnan(known[1, 2]) and np.isnan(unknown[1]).all()
    np.testing.assert_array_equal(unknown[[0, 2, 3]], whole.accuracy["unknown"][[0, 2, 3]])
    np.testing.assert_array_equal(longer.accuracy["seen"], whole.accuracy["seen"])
    metrics = json.loads((longer.folder / "metrics.json").read_text())
    assert metrics["transfer"] is None and metrics["avg"] is None
    assert (
        metrics["last"] == whole.metrics["known"]["last"]
        and metrics["forgetting"] == whole.metrics["known"]["forgetting"]
    )


def test_of_a_model_that_nothing_changes_every_state_is_known(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    whole = learn(images, tiny_clip, tmp_path / "whole", "zeroshot", order=ALL)
    longer = go_on(learn(images, tiny_clip, tmp_path / "first", "zeroshot", order=FIRST), tmp_path / "longer")
    for identity, states in whole.accuracy.items():
        np.testing.assert_array_equal(longer.accuracy[identity], states)


def test_the_recorded_call_asks_for_the_same_again(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    first = learn(images, tiny_clip, tmp_path / "first", order=FIRST)
    call = go_on(first, tmp_path / "longer").about["command"]
    assert call.startswith("nb.run(") and "order='cats'" in call and "rank" not in call.replace(str(first.folder), "")
    again = eval(call.replace("nb.run(", "nb.request(dict(").replace(", extend=", "), extend="), {"nb": nb})
    assert again.is_finished is False and again.extension.learned == 2


def test_interrupted_it_goes_on_and_a_second_time_it_is_shown(
    images: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = learn(images, tiny_clip, tmp_path / "first", order=FIRST)
    straight = go_on(first, tmp_path / "straight")
    with monkeypatch.context() as patch:
        interrupt_at(patch, "checkpoint.safetensors", 1)
        with pytest.raises(KeyboardInterrupt):
            go_on(first, tmp_path / "stopped")
    stopped = go_on(first, tmp_path / "stopped")
    for name in ("accuracy.csv", "accuracy_agnostic.csv", "rank.csv", "model.safetensors"):
        assert (stopped.folder / name).read_bytes() == (straight.folder / name).read_bytes()
    before = (stopped.folder / "run.json").read_bytes()
    assert go_on(first, tmp_path / "stopped").folder == stopped.folder
    assert (stopped.folder / "run.json").read_bytes() == before


@pytest.fixture(scope="module")
def finished(images: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> nb.Run:
    return learn(images, tiny_clip, tmp_path_factory.mktemp("finished"), order=FIRST)


@pytest.mark.parametrize(
    ("order", "more", "message"),
    [
        ("bees", {}, "--order: bees is a task of"),
        ("dogs", {}, '--order: no task or order "dogs"'),
        (None, {}, "name the tasks to add with --order"),
        ("cats", {"seed": 43}, "has seed 42, not 43"),
        ("cats", {"strategy": "lora"}, "has the strategy nusa, not lora"),
        ("cats", {"config": "x.yaml"}, "--config: goes without --extend"),
        (["cats", 3], {}, "order: expected the names of the tasks to add"),
    ],
)
def test_wrong_extensions_are_refused_in_a_line(
    order: Any, more: dict[str, Any], message: str, finished: nb.Run, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"order": order} if order else {}
    with pytest.raises(nb.UserError, match=message):
        nb.run(extend=finished.folder, results=tmp_path, plots=False, silent=True, **settings, **more)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("status", "is interrupted, not finished"),
        ("model", "it has no model.safetensors"),
        ("stored", "it has no method.safetensors"),
        ("images", "images"),
        ("code", "the strategy's code is other now"),
        ("weights", "damaged"),
    ],
)
def test_runs_that_cannot_go_on(
    change: str, message: str, images: Path, finished: nb.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    about, cost = (json.loads((run / f"{name}.json").read_text()) for name in ("run", "cost"))
    if change == "model":
        (run / "model.safetensors").unlink()
    elif change == "stored":
        cost["carried_bytes"][-1] = 8
    elif change == "weights":
        (run / "model.safetensors").write_bytes(b"no tensors")
    about |= {
        "status": {"status": "interrupted"},
        "images": {"images_sha256": "0"},
        "code": {"strategy_sha256": "0"},
    }.get(change, {})
    (run / "run.json").write_text(json.dumps(about))
    (run / "cost.json").write_text(json.dumps(cost))
    words = ["--extend", run, "--order", "cats", "--results", tmp_path / "results", "--no-plots"]
    assert main([str(word) for word in words]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line


def test_a_damaged_kept_state_is_named(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    first = learn(images, tiny_clip, tmp_path / "first", order=FIRST, keep_states=True)
    (first.folder / "states" / "1.safetensors").write_bytes(b"no tensors")
    with pytest.raises(nb.UserError, match=r"1\.safetensors: missing or damaged"):
        go_on(first, tmp_path / "longer")


def test_a_model_that_is_another_runs_is_noticed(finished: nb.Run, tmp_path: Path) -> None:
    """Told by its accuracies, which those in `accuracy.csv` are not."""
    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    table = pd.read_csv(run / "accuracy.csv")
    table.loc[2, ["ants", "bees"]] = [0.0 if value > 50 else 100.0 for value in finished.accuracy["known"][2]]
    table.to_csv(run / "accuracy.csv", index=False)
    with pytest.raises(nb.UserError, match=r"after 2 tasks .* test images of its tasks .* are another run's"):
        nb.run(extend=run, order="cats", results=tmp_path / "longer", plots=False, silent=True)


def test_values_that_are_not_finite_are_named(images: Path, tiny_clip: Path, tmp_path: Path) -> None:
    first = learn(images, tiny_clip, tmp_path / "first", order=FIRST)
    tensors = load_file(first.folder / "model.safetensors")
    tensors["logit_scale"] = torch.tensor(float("nan"))
    save_file(tensors, first.folder / "model.safetensors")
    with pytest.raises(nb.UserError, match=r"damaged: model\.logit_scale has values that are not finite"):
        go_on(first, tmp_path / "longer")


@pytest.mark.parametrize("change", ["shape", "values", "missing", "names", "other"])
def test_what_the_method_stores_must_be_what_it_stored(
    images: Path, tiny_clip: Path, tmp_path: Path, change: str
) -> None:
    first = learn(images, tiny_clip, tmp_path / "first", "magmax", order=FIRST)
    place = first.folder / "method.safetensors"
    tensors = load_file(place)
    name = sorted(name for name, each in tensors.items() if each.is_floating_point() and each.dim() > 1)[0]
    place.unlink()
    if change == "other":  # what another run stored, as that wrote it
        other = learn(images, tiny_clip, tmp_path / "other", "magmax", order=FIRST, seed=7)
        shutil.copy(other.folder / place.name, place)
    elif change != "missing":
        one = tensors[name]
        changed = {"shape": {name: one[1:].clone()}, "values": {name: 2 * one}, "names": {"a": one.clone()}}
        save_file(tensors | changed[change], place)
    with pytest.raises(
        nb.UserError, match=r"no method\.safetensors, what|method\.safetensors: missing, or not what belongs to model"
    ):
        go_on(first, tmp_path / "longer")


@pytest.mark.parametrize("name", ["model.safetensors", "method.safetensors", "states/1.safetensors"])
def test_a_pipe_is_not_read(name: str, finished: nb.Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    (run / name).unlink(missing_ok=True)
    (run / name).parent.mkdir(exist_ok=True)
    os.mkfifo(run / name)
    with pytest.raises(nb.UserError, match=f"{name}: no plain file"):
        nb.run(extend=run, order="cats", results=tmp_path / "longer", plots=False, silent=True)


def test_a_file_that_the_finished_run_names_is_not_run(finished: nb.Run, tmp_path: Path) -> None:
    run, ran = tmp_path / "run", tmp_path / "ran"
    shutil.copytree(finished.folder, run)
    (tmp_path / "theirs.py").write_text(f"open({str(ran)!r}, 'w')\n")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("strategy: nusa", f"strategy: {tmp_path / 'theirs.py'}"))
    with pytest.raises(nb.UserError, match="a file is run only if you name it"):
        nb.run(extend=run, order="cats", results=tmp_path / "longer", plots=False, silent=True)
    assert not ran.exists()


def test_a_table_that_only_a_part_of_the_run_has_is_said(
    images: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go_on(learn(images, tiny_clip, tmp_path / "first", order=FIRST), tmp_path / "longer", probe=["micro"])
    assert "probes.csv: not measured during the whole run" in capsys.readouterr().err


def test_a_model_behind_a_link_is_read_and_rows_without_values_are_explained(finished: nb.Run, tmp_path: Path) -> None:
    """A user's own weights may lie on another disk; a caption says why cells of the matrix are blank."""
    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    shutil.move(run / "model.safetensors", tmp_path / "elsewhere")
    (run / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    longer = nb.run(extend=run, order="cats", results=tmp_path / "longer", plots=False, silent=True)
    assert PARTIAL in matrix.caption([longer], "known") and PARTIAL not in matrix.caption([finished], "known")
    assert PARTIAL in matrix.caption([finished, longer], "known")
    assert PARTIAL not in rank.caption(alone(longer)) and PARTIAL in curves.caption(alone(longer))
