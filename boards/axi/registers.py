"""The register maps of the core and of the kernel, as tables.

`psahw.boards.axi.register_file.RegisterFile` generates the circuit from a table, and
``python -m psahw.boards.axi`` writes the same table into ``docs/reference/register-map.md``.
"""

from dataclasses import dataclass
from enum import Enum

__all__ = ["CORE", "ID", "KERNEL", "VERSION", "Access", "Register", "identity", "markdown"]

ID = int.from_bytes(b"WHSP", "big")  # reads as "PSHW" byte by byte
VERSION = 0x0001_0000  # major and minor version; a new major version changes the meaning of a register


class Access(Enum):
    """How a register can be accessed."""

    READ = "R"  # reads return a value of the circuit
    WRITE = "RW"  # reads return the last written value
    COMMAND = "RC"  # reads return a value of the circuit; every bit that is written as 1 is a command


@dataclass(frozen=True)
class Register:
    """A register of 32 bits.

    Parameters
    ----------
    offset
        Byte address.
    name
        Name in upper case.
    access
        How it can be accessed.
    description
        Meaning of the value, for the documentation and for Vivado.
    at_reset
        Value before the first write; for `Access.WRITE` only.
    """

    offset: int
    name: str
    access: Access
    description: str
    at_reset: int = 0


def identity() -> tuple[Register, ...]:
    """Return the registers that identify the circuit; they are the same in both maps."""
    base = 0x100
    values = (
        ("ID", f"0x{ID:08X}: bytes P, S, H, W"),
        ("VERSION", "version of this register map: major in bits 31..16, minor in bits 15..0"),
        ("IMAGE", "height in bits 31..16, width in bits 15..0"),
        ("SHAPE", "colours in bits 31..16, classes in bits 15..0"),
        ("FRAME_BYTES", "length of an image in bytes"),
        ("RECORD_BYTES", "length of a result in bytes: 4 for the class and 4 for each logit"),
        ("FRAME_INTERVAL", "clock cycles between results, as planned"),
        ("LATENCY", "clock cycles from an image's first beat to its result, as planned"),
        ("CLOCK_HZ", "clock frequency in Hz that the plan assumes (target)"),
    )
    first = [Register(base + 4 * k, name, Access.READ, text) for k, (name, text) in enumerate(values)]
    digest = [
        Register(
            base + 0x40 + 4 * k, f"HASH_{k}", Access.READ, f"SHA-256 of the network, digits {8 * k} to {8 * k + 7}"
        )
        for k in range(8)
    ]
    return (*first, *digest)


CORE = (
    Register(0x00, "CONTROL", Access.COMMAND, "bit 0 resets the accelerator, bit 1 clears its counters; reads as 0"),
    Register(
        0x04,
        "STATUS",
        Access.COMMAND,
        "errors of frames since they were last cleared: bit 0 short, bit 1 long, bit 2 partial; writing 1 clears a "
        "bit. Bit 8: a soft reset is in progress",
    ),
    Register(0x08, "MODE", Access.WRITE, "bit 0: ignore TLAST, and end a frame after FRAME_BYTES bytes"),
    Register(0x0C, "FRAMES", Access.READ, "number of received frames; wraps"),
    Register(0x10, "BAD_FRAMES", Access.READ, "number of received frames with a flag; wraps"),
    Register(0x14, "RESULTS", Access.READ, "number of sent results; wraps"),
    Register(
        0x18,
        "COUNTER",
        Access.WRITE,
        "counter to read: 0 for frames, 1 for cycles, 2 + n for stall cycles of stage n",
    ),
    Register(0x1C, "COUNTER_VALUE", Access.READ, "value of the counter that COUNTER selects"),
    *identity(),
)
"""Registers of the core with AXI4-Stream ports."""

KERNEL = (
    Register(
        0x00,
        "AP_CTRL",
        Access.COMMAND,
        "bit 0 ap_start (set by writing 1, cleared by ap_ready), bit 1 ap_done (cleared by ap_continue), bit 2 "
        "ap_idle, bit 3 ap_ready (cleared by reading), bit 4 ap_continue (write 1), bit 9 interrupt",
    ),
    Register(0x04, "GIE", Access.WRITE, "bit 0 enables the interrupt output"),
    Register(0x08, "IER", Access.WRITE, "bit 0 enables the interrupt of ap_done, bit 1 that of ap_ready"),
    Register(0x0C, "ISR", Access.COMMAND, "pending interrupts: bit 0 ap_done, bit 1 ap_ready; writing 1 toggles"),
    Register(0x10, "IMAGES_LOW", Access.WRITE, "byte address of the images, bits 31..0"),
    Register(0x14, "IMAGES_HIGH", Access.WRITE, "byte address of the images, bits 63..32"),
    Register(0x1C, "RESULTS_LOW", Access.WRITE, "byte address of the results, bits 31..0"),
    Register(0x20, "RESULTS_HIGH", Access.WRITE, "byte address of the results, bits 63..32"),
    Register(0x28, "COUNT", Access.WRITE, "number of images in the batch, 0 to 2^31 - 1"),
    Register(
        0x40,
        "STATUS",
        Access.COMMAND,
        "errors since they were last cleared: bit 0 a read failed, bit 1 a write failed; writing 1 clears a bit",
    ),
    Register(0x44, "BUSY_CYCLES", Access.READ, "number of clock cycles in which ap_idle was 0; wraps"),
    Register(
        0x48,
        "COUNTER",
        Access.WRITE,
        "counter to read: 0 for frames, 1 for cycles, 2 + n for stall cycles of stage n",
    ),
    Register(0x4C, "COUNTER_VALUE", Access.READ, "value of the counter that COUNTER selects"),
    *identity(),
)
"""Registers of the kernel with an AXI4 port.

The registers up to 0x2C follow Vitis' map for ``ap_ctrl_chain`` with three arguments (UG1399,
S_AXILITE control register map; UG1393, control requirements for XRT-managed kernels). The others
begin at 0x40.
"""


def markdown(table: tuple[Register, ...]) -> str:
    """Return the table in Markdown, without a blank line at either end."""
    rows = [f"| 0x{r.offset:03X} | `{r.name}` | {r.access.value} | {r.description} |" for r in table]
    return "\n".join(["| offset | register | access | description |", "|---|---|---|---|", *rows])
