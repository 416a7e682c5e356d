"""Run the jobs of a sweep on a Ray cluster, or on the cores of this machine.

Each job is a task, which begins when the jobs that it needs are done. This program needs ``pip install ray``. Every
node needs the same checkout, its environment, and the directory of the sweep.

    python examples/ray_sweep.py recipe.json runs/sweep --cpus 1
"""

import argparse
import json
import subprocess
import sys

import ray


@ray.remote(max_retries=2)  # if a node is lost, the job continues on another one from its checkpoint
def run(command: list[str], *needed: bool) -> bool:
    """Run a job, unless one that it needs has failed, and return whether it is done."""
    return all(needed) and subprocess.run(command).returncode == 0


def main() -> int:
    """Run all jobs, print what came of each, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("directory")
    parser.add_argument("--cpus", type=float, default=1, help="cores of one job")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of one job")
    parser.add_argument("--psahw", default=sys.executable, help="the Python that has psahw, if it is not this one")
    options = parser.parse_args()

    command = [options.psahw, "-m", "psahw", "sweep", options.recipe, "-o", options.directory, "--list", "--json"]
    sweep = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    ray.init()
    tasks: dict[str, ray.ObjectRef] = {}
    for job in sweep["jobs"]:  # each comes after those that it needs
        needed = [tasks[name] for name in job["after"]]
        tasks[job["name"]] = run.options(num_cpus=options.cpus, num_gpus=options.gpus).remote(job["line"], *needed)
    succeeded = dict(zip(tasks, ray.get(list(tasks.values())), strict=True))
    for name, success in succeeded.items():
        print(f"{name}: {'done' if success else 'failed, or needs a job that failed'}")
    return 0 if all(succeeded.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
