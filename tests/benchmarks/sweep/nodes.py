"""A Ray cluster of two nodes on this machine, in a process of its own: `python -m tests.benchmarks.sweep.nodes`.

It prints the cluster's address, then does what it reads on stdin, a line each: `lose` kills the second node as it is, `add`
adds another one; the end of stdin ends the cluster.
"""

import sys

from ray.cluster_utils import Cluster


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1, env_vars={"SECOND_NODE": "1"})
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "lose":
            cluster.remove_node(second, allow_graceful=False)
        else:
            second = cluster.add_node(num_cpus=1)
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
