"""Machines that get no runs, on a real Ray cluster of two nodes on this machine."""

import os
import subprocess
import sys

import pytest

from benchmarks.config.registry import ROOT


pytest.importorskip("ray")

from benchmarks.sweep.machines import _times


REFUSED = """
import ray
from ray.cluster_utils import Cluster
from benchmarks.sweep.machines import BAD, Machines, living
from benchmarks.sweep.options import Options

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=3, num_gpus=1)
ray.init(cluster.address, log_to_driver=False)
small, large = (each.node_id for each in sorted(living(), key=lambda each: each.has["CPU"]))

@ray.remote
class Where:
    def at(self):
        return ray.get_runtime_context().get_node_id()

options = Options(gpus=0)
assert Machines(options).room(Machines(options).worker(0, alone=False)) == 4
shared = Options(gpus=0.5)
assert Machines(shared).room(Machines(shared).worker(0, alone=False)) == 2
assert Machines(shared).worker(0, alone=True)["num_gpus"] == 1
machines = Machines(options, refused={large})
needs = machines.worker(0, alone=False)
assert machines.room(needs) == 1
assert machines.worker(0, alone=True)["num_cpus"] == 1  # of the machine that is left
actors = [Where.options(**needs).remote() for _ in range(2)]
(first,), waiting = ray.wait([actor.at.remote() for actor in actors], timeout=60)
assert ray.get(first) == small
assert not ray.wait(waiting, timeout=3)[0]  # for the small machine, although the large one is free
machines = Machines(options)
machines.failures[large] = BAD
assert machines.out(large) and not machines.out(small)
machines.failures[small] = BAD
assert not machines.out(large) and not machines.out(small)  # there is no other
print("done")
"""


@pytest.mark.parametrize(("there", "amount", "times"), [(4, 1, 4), (1, 0.5, 2), (2, 0.3, 6), (1, 0.1, 10), (5, 2, 2)])
def test_how_often_a_share_fits(there, amount, times):
    assert _times(there, amount) == times


def test_a_machine_that_is_refused_is_not_asked(tmp_path):
    env = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run([sys.executable, "-c", REFUSED], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("done\n"), done.stderr[-2000:]
