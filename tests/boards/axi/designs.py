"""AXI designs to simulate, with `tests.boards.stub.Stub` in the place of the accelerator."""

from psahw import verilog
from psahw.boards.axi.core import Core
from psahw.boards.axi.interfaces import verilog_ports
from psahw.boards.axi.kernel import Kernel
from psahw.boards.axi.registers import CORE, KERNEL
from tests.boards.stub import CLASSES, Stub, answer

__all__ = ["OFFSETS", "expected_record", "manifest", "write_core", "write_kernel"]

DIGEST = "0123456789abcdef" * 4
OFFSETS = {name: {r.name: r.offset for r in table} for name, table in (("core", CORE), ("kernel", KERNEL))}


def manifest(*, bus_bytes, image, colours=3, interval=None):
    """Return a manifest of the stub."""
    height, width = image
    beats = height * width * colours // bus_bytes
    return {
        "network": "stub", "digest": DIGEST, "top": "psahw_accelerator", "image": list(image), "colours": colours,
        "bus_bytes": bus_bytes, "classes": CLASSES, "clock_hz": 143e6, "frame_interval": interval or beats + 1,
        "latency": beats + 1,
    }  # fmt: skip


def _stub(directory, about, pause, rest):
    """Write the Verilog of the stub, and return its signature. The last ``rest`` beats of a frame do not count."""
    height, width = about["image"]
    stub = Stub(bus_bytes=about["bus_bytes"], frame_bytes=height * width * about["colours"], pause=pause, rest=rest)
    verilog.emit(stub, "accelerator", directory)
    return stub.signature


def write_core(directory, about, *, pause=0, rest=0):
    """Write the Verilog of a core."""
    core = Core(_stub(directory, about, pause, rest), about)
    verilog.emit(core, "axi", directory, ports=verilog_ports(core))


def write_kernel(directory, about, *, rest=0, data_bytes=64, beats=16):
    """Write the Verilog of a kernel."""
    kernel = Kernel(_stub(directory, about, 0, rest), about, data_bytes=data_bytes, beats=beats)
    verilog.emit(kernel, "kernel", directory, ports=verilog_ports(kernel))


def expected_record(image: bytes, flags: int = 0) -> bytes:
    """Return the record of the stub's result, as ``docs/how-to/integrate.md`` describes it."""
    class_index, logits = answer(image)
    words = [class_index | flags << 16, *logits]
    return b"".join((word & 0xFFFFFFFF).to_bytes(4, "little") for word in words)
