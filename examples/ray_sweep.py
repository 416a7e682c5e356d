"""Run the jobs of a sweep on a Ray cluster, or on the cores of this machine: one task a job, each after those that it
needs. `pip install ray` where this runs; every node needs the same checkout, its environment, and the directory.

    python examples/ray_sweep.py recipe.json runs/sweep --cpus 1
"""

import argparse
import json
import subprocess
import sys

import ray


@ray.remote(max_retries=2)  # a node that goes away: the job goes on elsewhere, from its checkpoint
def run(command: list[str], *needed: bool) -> bool:
    """Whether the job is done; not tried if one that it needs is not."""
    return all(needed) and subprocess.run(command).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("recipe")
    parser.add_argument("directory")
    parser.add_argument("--cpus", type=float, default=1, help="cores of one job")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of one job")
    parser.add_argument("--psahw", default=sys.executable, help="the Python that has psahw, if it is not this one")
    given = parser.parse_args()

    listing = [given.psahw, "-m", "psahw", "sweep", given.recipe, "-o", given.directory, "--list", "--json"]
    listed = json.loads(subprocess.run(listing, check=True, capture_output=True, text=True).stdout)
    ray.init()
    tasks: dict[str, ray.ObjectRef] = {}
    for job in listed["jobs"]:  # in an order that the dependencies allow
        needed = [tasks[name] for name in job["after"]]
        tasks[job["name"]] = run.options(num_cpus=given.cpus, num_gpus=given.gpus).remote(job["line"], *needed)
    done = dict(zip(tasks, ray.get(list(tasks.values())), strict=True))
    for name, ok in done.items():
        print(f"{name}: {'done' if ok else 'failed, or waits for one that did'}")
    return 0 if all(done.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
