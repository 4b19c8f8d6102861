"""What a worker says of its machine, and when it ends a run; machines with other code, on a real cluster of two nodes."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.config.registry import ROOT
from benchmarks.experiment.measurements.base import RunState
from benchmarks.sweep.cells import cells
from benchmarks.sweep.door import shared_by_all
from benchmarks.sweep.grid import Block
from benchmarks.sweep.outcomes import Progress


pytest.importorskip("ray")

from benchmarks.sweep.engine import absolute
from benchmarks.sweep.progress import ProgressCallback
from benchmarks.sweep.worker import Setup, Worker


OTHER = """
import os, sys
from dataclasses import replace
from pathlib import Path
from ray.cluster_utils import Cluster
from benchmarks.config.errors import UserError
from benchmarks.sweep.door import plan, shared_by_all
from benchmarks.sweep.engine import run_cells
from benchmarks.sweep.grid import Block
from benchmarks.sweep.options import Options
from benchmarks.sweep.view import View
from benchmarks.sweep.worker import Worker


class Other(Worker):
    def ready(self):
        found = super().ready()
        return replace(found, code="of another version") if "SECOND" in os.environ else found


cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1, env_vars={"SECOND": "1"})
shared = shared_by_all(Path(sys.argv[1]))
asked = plan([Block({"strategy": ["zeroshot"], "seed": ["1", "2"]})], shared)
view = View(asked.cells, (), silent=True)
try:
    run_cells(asked.cells, shared, Options(cluster.address, gpus=0), view, 0, worker=Other)
except UserError as error:
    print(error)
"""

# A worker that says of its first run that it was interrupted and dies at the second; the next one has other code.
CHANGED = """
import os, sys
from dataclasses import replace
from pathlib import Path
from benchmarks.config.errors import UserError
from benchmarks.sweep.door import plan, shared_by_all
from benchmarks.sweep.engine import run_cells
from benchmarks.sweep.grid import Block
from benchmarks.sweep.options import Options
from benchmarks.sweep.outcomes import Outcome
from benchmarks.sweep.view import View
from benchmarks.sweep.worker import Worker


class Changing(Worker):
    @property
    def edited(self):
        return self.setup.shared.places.results / "edited"

    def ready(self):
        return replace(super().ready(), code="edited") if self.edited.exists() else super().ready()

    def run(self, name, attempt, given, sha256):
        if attempt < int(os.environ["LAST_ATTEMPT"]):
            return Outcome("interrupted", "out of reach")
        self.edited.touch()
        os._exit(1)


asked = plan([Block({"strategy": ["zeroshot"]})], shared_by_all(Path(sys.argv[1])))
try:
    print(run_cells(asked.cells, asked.shared, Options(gpus=0), View(asked.cells, ()), 0, worker=Changing))
except UserError as error:
    print(error)
"""


@pytest.fixture
def setup(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / ".sweep").touch()
    shared = absolute(shared_by_all(tmp_path / "results"))
    return Setup(shared, tmp_path, threads=1, gpus=False, marker=tmp_path / "results" / ".sweep")


def test_a_machine_that_does_not_see_the_results(setup, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Worker(setup, None).wrong() == ""
    elsewhere = replace(setup, marker=tmp_path / "gone")
    assert "not the driver's folder; --scratch DIR" in Worker(elsewhere, None).wrong()
    (tmp_path / "file").touch()
    assert "file" in Worker(replace(setup, scratch=tmp_path / "file" / "below"), None).wrong()


def test_a_machine_that_would_make_another_run(setup):
    (cell,) = cells([Block({"strategy": ["nusa"]})], setup.shared, opened=False)
    sha256 = cell.request.config.strategy.sha256
    found = Worker(setup, None).run(cell.name, 1, cell.given, "another")
    assert found.status == "failed" and found.error.startswith("nusa: other code on ")
    found = Worker(setup, None).run("micro/nusa/seed42,lr=1", 1, cell.given, sha256)
    assert found.status == "failed" and "other default settings on" in found.error


def test_a_run_is_not_ended_before_what_it_learned_is_saved():
    nothing: Any = None
    run = RunState(nothing, {}, ("a", "b"), nothing, nothing, task=0, step=3, steps=9)
    for event in ("on_run_begin", "on_task_begin", "on_step_end"):
        with pytest.raises(KeyboardInterrupt):
            getattr(ProgressCallback(lambda progress: True, lambda: None), event)(run)
    told = ProgressCallback(lambda progress: True, lambda: None)
    told.on_task_end(run)
    told.on_evaluation_end(run)


def test_a_run_that_is_evaluated_is_alive_but_not_ended():
    heard: list[Progress] = []

    def tell(progress):
        heard.append(progress)
        return True

    told = ProgressCallback(tell, lambda: None)
    for _ in range(1000):
        told.moved()
    assert heard == [Progress(0, 0)]  # once a second at most


@pytest.mark.slow
def test_workers_of_another_version(tmp_path):
    env = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    words = [sys.executable, "-c", OTHER, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert "it has other code or versions of this project" in done.stdout, done.stderr[-2000:]
    assert not (tmp_path / "micro").exists()


def changing(tmp_path, last_attempt):
    one_processor = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
    env = {**os.environ, "LAST_ATTEMPT": str(last_attempt)}
    words = [*one_processor, sys.executable, "-c", CHANGED, str(tmp_path)]
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_a_sweep_whose_only_machine_does_no_runs_any_more_ends(tmp_path):
    done = changing(tmp_path, 2)
    assert "zeroshot/seed42: its worker was lost (out of reach); it goes on after 0 tasks" in done.stderr
    assert "no machine does runs any more: " in done.stdout, done.stderr[-2000:]
    assert "it has other code or versions of this project" in done.stdout


@pytest.mark.slow
def test_a_run_that_is_always_interrupted_is_given_up(tmp_path):
    lost = "its worker was lost 3 times at the same task; the last time: out of reach"
    done = changing(tmp_path, 9)
    assert lost in done.stdout, done.stderr[-2000:]


def test_a_log_is_not_written_through_a_link(setup, tmp_path):
    (cell,) = cells([Block({"strategy": ["zeroshot"]})], setup.shared, opened=False)
    (tmp_path / "precious").write_text("as it was")
    cell.folder.mkdir(parents=True)
    (cell.folder / "log.txt").symlink_to(tmp_path / "precious")
    found = Worker(setup, None).run(cell.name, 1, cell.given, cell.request.config.strategy.sha256)
    assert found.status == "failed" and "log.txt: no plain file; delete it" in found.error
    assert (tmp_path / "precious").read_text() == "as it was"
