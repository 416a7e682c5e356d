"""``psahw sweep``."""

import shlex
import sys
from pathlib import Path

import click

from ..display import counted
from ..errors import CheckFailed, UserError
from ..files import writable_directory
from ..quoting import quote
from ..sweep import Sweep, load
from . import output

__all__ = ["COMMANDS"]


def _list(sweep: Sweep, recipe: str, as_json: bool) -> None:
    """Print a shell line for each job, in an order that their dependencies allow."""
    lines = {
        name: [sys.executable, "-m", "psahw", "sweep", recipe, "-o", str(sweep.directory), "--only", name]
        for name in sweep.jobs
    }
    if not as_json:
        for line in lines.values():
            output.print_line(shlex.join(line))
        return
    jobs = [
        {"name": name, "after": list(job.after), "done": sweep.done(job), "line": lines[name],
         "command": ["psahw", *sweep.arguments(job)]}
        for name, job in sweep.jobs.items()
    ]  # fmt: skip
    output.print_json({"directory": sweep.directory, "jobs": jobs})


def _run_one(sweep: Sweep, name: str, as_json: bool) -> None:
    """Run one job, unless it is done already."""
    if name not in sweep.jobs:
        raise UserError(f"--only: no job {quote(name)}; jobs are {', '.join(sweep.jobs)}")
    job = sweep.jobs[name]
    if missing := sweep.missing(job):
        raise UserError(f"job {quote(name)} needs {', '.join(missing)}, which must be done first")
    already = sweep.done(job)
    if not already:
        writable_directory(sweep.directory)
        if (problem := sweep.run_job(job)) is not None:
            raise CheckFailed(f"job {quote(name)} failed: {problem}")
    if as_json:
        output.print_json({"name": name, "already": already, "result": sweep.result_path(job)})
    else:
        output.print_line(f"{name}: {'was done' if already else 'done'}, {sweep.result_path(job)}")


@click.command()
@click.argument("recipe")
@click.option("-o", "--output", "directory", required=True, metavar="DIR", help="Directory of jobs and results.")
@click.option("--jobs", "workers", type=output.COUNT, default=1, show_default=True, metavar="N",
              help="Jobs at once.")  # fmt: skip
@click.option("--only", metavar="NAME", help="Run only this job, for Slurm, Ray and the like.")
@click.option("--list", "listed", is_flag=True, help="Print a shell line for each job, and run nothing.")
@output.json_option
def sweep(recipe, directory, workers, only, listed, as_json):
    """Run the jobs of a recipe that are not done yet: trainings, quantisations, evaluations.

    RECIPE is a JSON file, or the name of a recipe that ships with psahw, such as cifar10. A job is done when its
    result exists, so that the same command continues an interrupted sweep. Recipes, and how to run them on several
    machines, are described in docs/how-to/sweep.md.

    \b
    psahw sweep recipe.json -o runs/sweep --jobs 4
    psahw sweep cifar10 -o runs/cifar10
    psahw sweep recipe.json -o runs/sweep --list
    psahw sweep recipe.json -o runs/sweep --only w5
    """
    if listed and only is not None:
        raise UserError("--list and --only exclude each other")
    loaded = load(recipe, directory)
    if listed:
        return _list(loaded, recipe, as_json)
    if only is not None:
        return _run_one(loaded, only, as_json)
    states = {name: "was done" if loaded.done(job) else "not run" for name, job in loaded.jobs.items()}
    writable_directory(Path(directory))
    problems = {}
    for job, problem in loaded.run(workers):
        states[job.name] = "done" if problem is None else "failed"
        if problem is not None:
            problems[job.name] = problem
        output.note(f"{job.name}: {states[job.name]}{f', {problem}' if problem else ''}")
    if as_json:
        output.print_json({"directory": directory, "jobs": states, "problems": problems})
    else:
        output.print_table(["job", "state"], list(states.items()))
    if problems:
        left = [name for name, state in states.items() if state == "not run"]
        rest = f"; not run because they need those results: {', '.join(left)}" if left else ""
        raise CheckFailed(f"{len(problems)} of {counted(len(states), 'job')} failed: {', '.join(problems)}{rest}")


COMMANDS = [sweep]
