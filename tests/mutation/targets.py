"""The modules that are mutated, and the tests that must notice."""

from dataclasses import dataclass

__all__ = ["GROUPS", "TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A module and the tests that cover it, the quickest first.

    Parameters
    ----------
    group
        The group whose score the module counts for.
    module
        Path of the module in the checkout.
    tests
        Paths of tests, or node IDs.
    """

    group: str
    module: str
    tests: tuple[str, ...]


def _targets(group: str, modules: dict[str, str]) -> tuple[Target, ...]:
    """Return the targets of a group from modules and their tests, which are separated by spaces."""
    return tuple(Target(group, module, tuple(tests.split())) for module, tests in modules.items())


TARGETS = (
    *_targets(
        "arithmetic",
        {
            "psahw/network/reference.py": "tests/network/test_reference.py tests/network/test_format.py",
            "psahw/architecture/ranges.py": "tests/network/test_layers.py tests/planner/test_cost.py "
            "tests/gateware/test_mac_array.py",
            "psahw/architecture/packing.py": "tests/architecture/test_packing.py",
            "psahw/adder_graph/graph.py": "tests/adder_graph/test_graph.py tests/adder_graph/test_builder.py",
            "psahw/adder_graph/serial.py": "tests/adder_graph/test_serial.py",
            "psahw/adder_graph/parallel.py": "tests/adder_graph/test_parallel.py",
            "psahw/gateware/arith.py": "tests/gateware/test_arith.py",
            "psahw/gateware/mac_array.py": "tests/gateware/test_mac_array.py",
        },
    ),
    *_targets(
        "scheduling",
        {
            "psahw/planner/schedule.py": "tests/planner/test_schedule.py tests/planner/test_depths.py",
            "psahw/architecture/timing.py": "tests/architecture/test_timing.py tests/planner/test_schedule.py "
            "tests/planner/test_depths.py",
            "psahw/architecture/buffers.py": "tests/architecture/test_buffers.py tests/planner/test_schedule.py",
            "psahw/architecture/geometry.py": "tests/architecture/test_geometry.py",
        },
    ),
    *_targets(
        "protocol",
        {
            "psahw/host/protocol.py": "tests/boards/link/test_hello.py tests/host/test_accelerator.py",
            "psahw/host/exchange.py": "tests/host/test_exchange.py tests/host/test_accelerator.py",
            "psahw/host/accelerator.py": "tests/host/test_accelerator.py tests/host/test_exchange.py",
            "boards/link/uart.py": "tests/boards/link/test_uart.py",
            "boards/link/cobs.py": "tests/boards/link/test_cobs.py",
            "boards/link/dispatcher.py": "tests/boards/link/test_link.py",
            "boards/link/replier.py": "tests/boards/link/test_link.py",
            "boards/link/image_buffer.py": "tests/boards/link/test_link.py",
        },
    ),
    *_targets(
        "planner",
        {
            "psahw/planner/engines.py": "tests/planner/test_search.py tests/planner/test_schedule.py",
            "psahw/planner/candidates.py": "tests/planner/test_search.py tests/planner/test_schedule.py",
            "psahw/planner/optimiser.py": "tests/planner/test_optimiser.py tests/planner/test_search.py",
            "psahw/planner/search.py": "tests/planner/test_search.py tests/planner/test_plan.py",
            "psahw/planner/rules.py": "tests/planner/test_rules.py",
            "psahw/planner/plan.py": "tests/planner/test_plan.py tests/flow/test_planning.py",
            "psahw/flow/planning.py": "tests/flow/test_planning.py tests/planner/test_plan.py",
        },
    ),
    *_targets(
        "simulation",
        {
            "sim/scoreboard.py": "tests/sim/test_scoreboard.py",
            "sim/result.py": "tests/sim/test_runner.py",
            "sim/batches.py": "tests/sim/test_batches.py",
        },
    ),
)
"""All targets."""

GROUPS = tuple(dict.fromkeys(target.group for target in TARGETS))
"""The names of the groups."""
