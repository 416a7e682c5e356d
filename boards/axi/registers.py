"""What software sees: the register maps of the core and of the kernel, as tables.

`psahw.boards.axi.register_file.RegisterFile` makes the circuit from a table, and ``python -m psahw.boards.axi`` writes the same
table into ``docs/reference/register-map.md``.
"""

from dataclasses import dataclass
from enum import Enum

__all__ = ["CORE", "ID", "KERNEL", "VERSION", "Access", "Register", "identity", "markdown"]

ID = int.from_bytes(b"WHSP", "big")  # reads as "PSHW" byte by byte
VERSION = 0x0001_0000  # major, minor: a major one changes what a register means


class Access(Enum):
    """How a register behaves."""

    READ = "R"  # what the circuit says
    WRITE = "RW"  # what was last written
    COMMAND = "RC"  # reads what the circuit says; every 1 written is an order


@dataclass(frozen=True)
class Register:
    """32 bits at byte ``offset``. ``at_reset`` is the value of a `Access.WRITE` register before the first write."""

    offset: int
    name: str
    access: Access
    what: str
    at_reset: int = 0


def identity() -> tuple[Register, ...]:
    """Registers that say which circuit this is; the same in both maps."""
    at = 0x100
    plain = (
        ("ID", f"0x{ID:08X}: bytes P, S, H, W"),
        ("VERSION", "of this map: major in 31..16, minor in 15..0"),
        ("IMAGE", "height in 31..16, width in 15..0"),
        ("SHAPE", "colours in 31..16, classes in 15..0"),
        ("FRAME_BYTES", "bytes of an image"),
        ("RECORD_BYTES", "bytes of a result: 4 for the class and for each logit"),
        ("FRAME_INTERVAL", "planned clock cycles between results"),
        ("LATENCY", "planned clock cycles from an image's first beat to its result"),
        ("CLOCK_HZ", "clock that the plan is for, a target"),
    )
    named = [Register(at + 4 * k, name, Access.READ, what) for k, (name, what) in enumerate(plain)]
    digest = [
        Register(at + 0x40 + 4 * k, f"HASH_{k}", Access.READ, f"network's SHA-256, digits {8 * k} to {8 * k + 7}")
        for k in range(8)
    ]  # fmt: skip
    return (*named, *digest)


CORE = (
    Register(0x00, "CONTROL", Access.COMMAND, "bit 0 resets the accelerator, bit 1 clears its counters; reads as 0"),
    Register(
        0x04,
        "STATUS",
        Access.COMMAND,
        "since they were last cleared, frames that were bit 0 short, bit 1 long, bit 2 partial; written 1s clear. "
        "Bit 8: a soft reset is under way",
    ),
    Register(0x08, "MODE", Access.WRITE, "bit 0: TLAST is ignored, and frames are counted out of the bytes"),
    Register(0x0C, "FRAMES", Access.READ, "frames that went in; wraps"),
    Register(0x10, "BAD_FRAMES", Access.READ, "of these, frames with a flag; wraps"),
    Register(0x14, "RESULTS", Access.READ, "packets that went out; wraps"),
    Register(
        0x18, "COUNTER", Access.WRITE, "address of a counter: 0 frames, 1 cycles, 2 + n stall cycles of stage n"
    ),
    Register(0x1C, "COUNTER_VALUE", Access.READ, "that counter of the accelerator"),
    *identity(),
)
"""Of the core with AXI4-Stream ports."""

KERNEL = (
    Register(
        0x00,
        "AP_CTRL",
        Access.COMMAND,
        "bit 0 ap_start (set by writing 1, cleared on ap_ready), bit 1 ap_done (until ap_continue), bit 2 ap_idle, "
        "bit 3 ap_ready (cleared on read), bit 4 ap_continue (written 1), bit 9 interrupt",
    ),
    Register(0x04, "GIE", Access.WRITE, "bit 0: interrupts are enabled"),
    Register(0x08, "IER", Access.WRITE, "bit 0: ap_done interrupts, bit 1: ap_ready interrupts"),
    Register(0x0C, "ISR", Access.COMMAND, "bit 0: ap_done, bit 1: ap_ready; written 1s toggle"),
    Register(0x10, "IMAGES_LOW", Access.WRITE, "byte address of the images, bits 31..0"),
    Register(0x14, "IMAGES_HIGH", Access.WRITE, "bits 63..32"),
    Register(0x1C, "RESULTS_LOW", Access.WRITE, "byte address of the results, bits 31..0"),
    Register(0x20, "RESULTS_HIGH", Access.WRITE, "bits 63..32"),
    Register(0x28, "COUNT", Access.WRITE, "images of the batch, 0 to 2^31 - 1"),
    Register(
        0x40,
        "STATUS",
        Access.COMMAND,
        "since they were last cleared: bit 0 a read failed, bit 1 a write failed; written 1s clear",
    ),
    Register(0x44, "BUSY_CYCLES", Access.READ, "clock cycles in which ap_idle was 0; wraps"),
    Register(
        0x48, "COUNTER", Access.WRITE, "address of a counter: 0 frames, 1 cycles, 2 + n stall cycles of stage n"
    ),
    Register(0x4C, "COUNTER_VALUE", Access.READ, "that counter of the accelerator"),
    *identity(),
)
"""Of the kernel with an AXI4 port: control as Vitis has it for ap_ctrl_chain (UG1399, S_AXILITE control register map;
UG1393, control requirements for XRT-managed kernels), the arguments after it, the rest from 0x40 on."""


def markdown(table: tuple[Register, ...]) -> str:
    """The table for people, without a blank line at either end."""
    rows = [f"| 0x{r.offset:03X} | `{r.name}` | {r.access.value} | {r.what} |" for r in table]
    return "\n".join(["| offset | register | access | what |", "|---|---|---|---|", *rows])
