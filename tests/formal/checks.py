"""Proofs and refutations as checks with a name, which run in processes of their own and keep what they found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec

from psahw.files import write_whole
from psahw.processes import call_each

from .contract import TWICE, Bench
from .faults import FAULTS, Fault
from .proofs import PROOFS, Proof
from .tools import counterexample, digest, prove, rtlil_of

__all__ = ["FOLDER", "Outcome", "Task", "attempt", "attempt_all", "names", "proof_of", "wanted"]

FOLDER = Path(__file__).parents[2] / "build" / "proofs"
DEEPEST = 60  # clock cycles in which a run that violates an assertion is sought


class Outcome(msgspec.Struct, frozen=True):
    """The result of a check.

    ``status`` is ``"proved"``, ``"refuted"``, ``"undecided"``, or ``"too short"`` if no frame after a frame leaves
    within the bound of a proof. ``seconds`` is processor time, and ``trace`` has the values of the component's ports
    in a run that violates an assertion, clock cycle by clock cycle. ``kept`` outcomes are those of earlier runs.
    """

    name: str
    status: str
    seconds: float
    trace: dict[str, list[str]] = {}
    kept: bool = False

    @property
    def passed(self) -> bool:
        """The check came out as it must."""
        return self.status == wanted(self.name)


@dataclass(frozen=True)
class Task:
    """A check to be done.

    ``limit`` is the processor time of the solver in seconds. With 0, there is only an outcome if one is kept. With
    ``again``, a kept outcome is not used.
    """

    name: str
    limit: int
    again: bool = False


@cache
def _faults() -> dict[str, Fault]:
    return {fault.name: fault for fault in FAULTS}


def names(*, quick: bool = False) -> list[str]:
    """Return the names of all checks, or of those in the test suite: proofs first, then faults to be refuted."""
    return [name for name, check in {**PROOFS, **_faults()}.items() if check.quick or not quick]


def wanted(name: str) -> str:
    """Return the status that a check must have."""
    return "proved" if name in PROOFS else "refuted"


def proof_of(name: str) -> Proof:
    """Return a proof by its name, or the one that must notice a fault, with the property that the fault violates.

    A fault needs a run of a few clock cycles, not an invariant: it is looked for by ``bmc``, which is quicker.

    Raises KeyError if there is no such check.
    """
    if name in PROOFS:
        return PROOFS[name]
    fault = _faults()[name]
    proof = next(
        proof for key, proof in PROOFS.items() if key.startswith(fault.proof) and fault.property in proof.properties
    )
    return proof if proof.engine == "bmc" else replace(proof, engine="bmc", depth=DEEPEST, skip=fault.skip)


def _design(name: str) -> tuple[Bench, str]:
    """Return the bench of a check, and its design in RTLIL."""
    proof = proof_of(name)
    if name in PROOFS:
        bench = proof.bench()
        return bench, rtlil_of(bench)
    fault = _faults()[name]
    with fault.applied():
        bench = proof.make((fault.property,))
        bench.helped = fault.helped  # if not, the fault must violate the property, not what helps to prove it
        return bench, rtlil_of(bench)


def _second_frame(name: str) -> str:
    """Return a design whose assertion fails when a second frame leaves, for a proof with a bound; else ``""``."""
    proof = proof_of(name)
    return rtlil_of(proof.make((TWICE,))) if name in PROOFS and proof.bound else ""


def _ports(component) -> set[str]:
    """Return the names of a component's ports, as they are in a trace."""
    return {"__".join(map(str, path)) for path, _, _ in component.signature.flatten(component)}


def attempt(task: Task) -> Outcome:
    """Do a check, unless its outcome is kept in `FOLDER`. Undecided ones are not kept."""
    proof = proof_of(task.name)
    bench, design = _design(task.name)
    second = _second_frame(task.name)
    depth = proof.depth or bench.cycles
    path = FOLDER / f"{digest(design + second, proof.engine, depth, proof.skip)}.json"
    if path.exists() and not task.again:
        outcome = msgspec.json.decode(path.read_bytes(), type=Outcome)
        return msgspec.structs.replace(outcome, name=task.name, kept=True)
    if not task.limit:
        return Outcome(task.name, "undecided", 0.0)
    verdict = prove(design, proof.engine, depth, skip=proof.skip, limit=task.limit)
    status, seconds = verdict.status, verdict.seconds
    if second and status == "proved":
        verdict = prove(second, "bmc", depth, limit=task.limit)
        seconds = round(seconds + verdict.seconds, 1)
        status = {"refuted": "proved", "proved": "too short"}.get(verdict.status, verdict.status)
    refuted = status == "refuted" and task.name in PROOFS
    trace = counterexample(design, _ports(bench.component), DEEPEST, limit=task.limit) if refuted else {}
    outcome = Outcome(task.name, status, seconds, trace)
    if outcome.status != "undecided":
        FOLDER.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(outcome))
    return outcome


def attempt_all(tasks: Sequence[Task], jobs: int = 1) -> Iterator[Outcome]:
    """Yield the outcomes of checks as they end, ``jobs`` of them at once. Raises RuntimeError if a program fails."""
    for _, outcome in call_each(attempt, tasks, workers=jobs):
        yield outcome
