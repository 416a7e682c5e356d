"""The modules that are mutated, and the tests that must notice."""

from collections.abc import Iterator
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
    """Return the targets of a group from modules and their tests below ``tests``, which are separated by spaces.

    Tests that begin with ``::`` are in the same file as the one before.
    """

    def paths(tests: str) -> Iterator[str]:
        file = ""
        for test in tests.split():
            file = test.partition("::")[0] or file
            yield f"tests/{file}" + test.removeprefix(file)

    return tuple(Target(group, module, tuple(paths(tests))) for module, tests in modules.items())


TARGETS = (
    *_targets(
        "arithmetic",
        {
            "psahw/network/reference.py": "network/test_reference.py network/test_format.py",
            "psahw/architecture/ranges.py": "architecture/test_ranges.py",
            "psahw/architecture/packing.py": "architecture/test_packing.py",
            "psahw/adder_graph/graph.py": "adder_graph/test_graph.py adder_graph/test_encoding.py "
            "adder_graph/test_builder.py",
            "psahw/adder_graph/serial.py": "adder_graph/test_serial.py gateware/test_graph_engine.py::test_cadence "
            "::test_right_shifts_in_the_graph ::test_shifts_beyond_a_word ::test_outputs",
            "psahw/adder_graph/parallel.py": "adder_graph/test_parallel.py "
            "gateware/test_adder_graph.py::test_shared_low_bits_and_shifts_to_the_right "
            "::test_registers_are_those_of_the_plan ::test_outputs ::test_resources_are_those_of_the_estimate",
            "psahw/gateware/arith.py": "gateware/test_arith.py",
            "psahw/gateware/mac_array.py": "gateware/test_mac_array.py",
        },
    ),
    *_targets(
        "scheduling",
        {
            "psahw/planner/schedule.py": "planner/test_schedule.py "
            "planner/test_depths.py::test_every_buffer_is_filled_to_its_depth",
            "psahw/architecture/timing.py": "architecture/test_timing.py planner/test_schedule.py",
            "psahw/architecture/buffers.py": "architecture/test_buffers.py "
            "gateware/test_transpose.py::test_full_throughput gateware/test_windows.py::test_any_stalls",
            "psahw/architecture/geometry.py": "architecture/test_geometry.py",
        },
    ),
    *_targets(
        "protocol",
        {
            "psahw/host/protocol.py": "boards/link/test_hello.py host/test_accelerator.py host/test_udp.py",
            "psahw/host/exchange.py": "host/test_exchange.py host/test_accelerator.py",
            "psahw/host/accelerator.py": "host/test_accelerator.py host/test_exchange.py",
            "boards/link/uart.py": "boards/link/test_uart.py",
            "boards/link/cobs.py": "boards/link/test_cobs.py",
            "boards/link/dispatcher.py": "boards/link/test_link.py::test_ports_of_the_same_name_fit_each_other "
            "::test_fields_fit_each_other ::test_hello ::test_a_long_image_is_refused ::test_images_in_flight "
            "::test_invalid_requests ::test_a_body_without_a_whole_header "
            "::test_requests_that_come_twice_or_late ::test_a_late_request_has_no_effect ::test_open "
            "::test_more_images_than_the_window_holds ::test_only_the_last_of_several_resets_need_be_confirmed "
            "::test_more_requests_than_tickets_can_wait ::test_an_image_without_room_for_its_ticket",
            "boards/link/replier.py": "boards/link/test_link.py::test_ports_of_the_same_name_fit_each_other "
            "::test_fields_fit_each_other ::test_hello_of_any_length ::test_init_wrong ::test_the_largest_result "
            "::test_times ::test_pulses ::test_counters_are_answered_in_order ::test_images_in_flight "
            "::test_invalid_requests ::test_reset_at_any_time_mixes_no_answers "
            "::test_results_before_the_end_of_an_image",
            "boards/link/image_buffer.py": "boards/link/test_link.py::test_ports_of_the_same_name_fit_each_other "
            "::test_fields_fit_each_other ::test_init_wrong ::test_times ::test_images_in_flight "
            "::test_a_full_ring_keeps_what_it_holds ::test_the_ring_of_images_wraps "
            "::test_more_images_than_the_window_holds ::test_results_before_the_end_of_an_image",
        },
    ),
    *_targets(
        "planner",
        {
            "psahw/planner/engines.py": "planner/test_engines.py planner/test_schedule.py planner/test_search.py",
            "psahw/planner/candidates.py": "planner/test_candidates.py planner/test_schedule.py "
            "planner/test_search.py",
            "psahw/planner/optimiser.py": "planner/test_optimiser.py planner/test_search.py",
            "psahw/planner/search.py": "planner/test_search.py planner/test_plan.py",
            "psahw/planner/rules.py": "planner/test_rules.py",
            "psahw/planner/plan.py": "planner/test_plan.py flow/test_planning.py",
            "psahw/flow/planning.py": "flow/test_planning.py planner/test_plan.py",
        },
    ),
    *_targets(
        "simulation",
        {
            "sim/scoreboard.py": "sim/test_scoreboard.py",
            "sim/result.py": "sim/test_runner.py",
            "sim/batches.py": "sim/test_batches.py",
        },
    ),
)
"""All targets."""

GROUPS = tuple(dict.fromkeys(target.group for target in TARGETS))
"""The names of the groups."""
