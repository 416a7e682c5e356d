"""Quick proofs of the stream contract, and faults that every property must refute. `make prove` does all of them."""

from dataclasses import replace

import pytest

from . import checks
from .__main__ import chosen, describe, main, show
from .checks import Outcome, Task, attempt, names, proof_of
from .contract import PROPERTIES
from .faults import FAULTS
from .proofs import PROOFS
from .structure import netlists
from .tools import counterexample, prove, rtlil_of


@pytest.mark.parametrize("name", names(quick=True))
def test_check(name):
    outcome = attempt(Task(name, limit=300, again=True))
    assert outcome.passed, describe(outcome)


def test_every_property_has_a_quick_fault():
    assert {fault.property for fault in FAULTS if fault.quick} == {*PROPERTIES}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_changes_its_function(fault):
    original = getattr(fault.owner, fault.function)
    with fault.applied():
        assert getattr(fault.owner, fault.function) is not original
    assert getattr(fault.owner, fault.function) is original
    assert fault.property in proof_of(fault.name).properties


def test_counterexample():
    """In a run of the faulty queue, more beats leave than have come."""
    fault = next(fault for fault in FAULTS if fault.what == "A taken beat is offered again")
    with fault.applied():
        bench = PROOFS["queue/depth-3/stable-offers-counts-live-order"].make(("counts",))
        design = rtlil_of(bench)
    trace = counterexample(design, {"i__valid", "i__ready", "o__valid", "o__ready"}, 20)
    come, left = (
        [
            int(valid) & int(ready)
            for valid, ready in zip(trace[f"{port}__valid"], trace[f"{port}__ready"], strict=True)
        ]
        for port in "io"
    )
    assert trace["o__valid"][-1] == "1"
    assert sum(left[1:-1]) == sum(come[1:-1])  # the first clock cycle is the reset; none is there in the last one


def test_bound_that_is_too_short(monkeypatch, tmp_path):
    """The second frame leaves an adder in the fourth clock cycle, that of the reset included."""
    monkeypatch.setattr(checks, "FOLDER", tmp_path)
    monkeypatch.setitem(PROOFS, name := "add/1-lane/order", replace(PROOFS[name], depth=3))
    assert attempt(Task(name, limit=100)).status == "too short"


def test_program_that_is_not_installed(monkeypatch, tmp_path):
    """Without its programs, a proof fails; it is neither skipped nor undecided."""
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(RuntimeError, match="sby failed"):
        prove(rtlil_of(PROOFS["add/1-lane/order"].bench()), "bmc", 2)


def test_valid_does_not_depend_on_ready():
    """No ``valid`` is a function of a ``ready`` of this clock cycle, in any component with a proof."""
    components = {}
    for proof in PROOFS.values():
        if proof.component not in components:
            components[proof.component] = proof.component_alone()
    for name, netlist in netlists(components).items():
        offers = [port for port in netlist.ports if port.endswith("o__valid") and port not in netlist.inputs]
        assert not [source for source in netlist.sources(offers) if source.endswith("ready")], name


BUFFERS = {
    "Skid", "Queue", "Residual", "VectorRing", "Transpose", "Windows", "MacArray", "LocalMixing", "GraphEngine"
}  # fmt: skip
"""Components that hold beats."""


def test_ready_ends_at_a_buffer():
    """No ``ready`` at the input of a component with a buffer is a function of a ``ready`` at its output.

    A chain of ``ready`` is therefore no longer than the components between two buffers.
    """
    components = {proof.component: proof for proof in PROOFS.values() if proof.component in BUFFERS}
    assert components.keys() == BUFFERS
    alone = {name: proof.component_alone() for name, proof in components.items()}
    for name, netlist in netlists(alone).items():
        offers = [port for port in netlist.ports if port.endswith("i__ready") and port not in netlist.inputs]
        assert offers, name
        assert not [source for source in netlist.sources(offers) if source.endswith("ready")], name


def test_names():
    assert len(PROOFS) == len({proof.name for proof in PROOFS.values()})
    assert chosen(["queue/depth-3/*"], quick=False) == ["queue/depth-3/stable-offers-counts-live-order"]
    assert all("argmax" in name for name in chosen(["argmax"], quick=False))


def test_describe():
    outcome = Outcome(
        "skid/stable-offers-counts-live-order", "refuted", 1.0, {"o__valid": ["0", "1"], "o": ["ff", "0"]}
    )
    assert describe(outcome).splitlines() == [
        "FAIL refuted       1.0 s  skid/stable-offers-counts-live-order",
        "    must be proved; again: python -m tests.formal --again 'skid/stable-offers-counts-live-order'",
        "    clock cycle   0  1",
        "    o            ff  0",
        "    o__valid      0  1",
    ]
    long = show({"o": ["0"] * 99 + ["1"]}).splitlines()
    assert long[0].split()[-1] == "99" and len(long[0].split()) == len(long[1].split()) + 1


def test_list(capsys):
    assert main(["--list", "counters/2-stages"]) == 0
    assert capsys.readouterr().out == "proved   induction  for all time     counters/2-stages/counts\n"


def test_unknown_name(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["nonsense"])
    assert "no check has such a name" in capsys.readouterr().err
