# amaranth: UnusedElaboratable=no
"""The core with AXI4-Stream ports, driven by cocotbext-axi on Verilator."""

import random

import pytest

from psahw.boards.axi.registers import ID
from tests.boards.axi.designs import DIGEST, OFFSETS, expected_record, manifest, write_core

FRAME = 48
REST = 2  # beats at the end of a frame that do not count, so that results come before the end of their frames
AT = OFFSETS["core"]
SHORT, LONG, PARTIAL = 1, 2, 4
OKAY, SLVERR = 0, 2


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """Return a function that simulates the core, and returns its results and the whole report."""
    pytest.importorskip("cocotbext.axi", reason="the extra `sim` is not installed")
    from psahw.sim.cocotb_tests import run

    directory = tmp_path_factory.mktemp("core")
    write_core(directory, manifest(bus_bytes=4, image=(4, 4)), pause=1, rest=REST)

    def simulate(packets, *, expected=None, **request):
        request = {
            "expected": len(packets) if expected is None else expected,
            "patience": 5000,
            "reads": AT,
            **request,
        }
        report = run(
            directory, "psahw_axi", ["axi.v", "accelerator.v"], "axi_testbench.core", {"packets": packets, **request}
        )
        return [bytes.fromhex(record) for record in report["results"]], report

    return simulate


def frames(count, seed=1, size=FRAME):
    """Return random frames."""
    rng = random.Random(seed)
    return [rng.randbytes(size) for _ in range(count)]


def record(image, flags=0):
    """Return the record of an image's result."""
    return expected_record(image[: FRAME - 4 * REST], flags)


def packet(data, **options):
    """Return a packet for `psahw.sim.axi_testbench.core`."""
    return {"data": data.hex(), **options}


@pytest.mark.parametrize("pauses", [0, 0.3, 0.7])
def test_frames(core, pauses):
    images = frames(25)
    results, report = core([packet(image) for image in images], pauses=pauses)
    assert results == [record(image) for image in images]
    registers = report["registers"]
    assert [registers[name] for name in ("FRAMES", "BAD_FRAMES", "RESULTS", "STATUS")] == [25, 0, 25, 0]
    assert registers["COUNTER_VALUE"] == 25  # the accelerator's own counter 0


@pytest.mark.parametrize("pauses", [0, 0.5])
def test_packets_of_wrong_length(core, pauses):
    """Each packet is corrected and flagged, and does not affect its neighbours."""
    good = frames(5, seed=2)
    one_beat, short, long, longer = (frames(1, seed=3, size=size)[0] for size in (4, 44, 52, 3 * FRAME))
    partial = frames(1, seed=4)[0]
    keep = [k not in (7, 20, 21) for k in range(FRAME)]
    sent = [good[0], one_beat, short, good[1], long, good[2], longer, good[3], partial, good[4]]
    packets = [packet(data) for data in sent]
    packets[8]["keep"] = [int(k) for k in keep]
    results, report = core(packets, pauses=pauses)
    zeroed = bytes(b if k else 0 for b, k in zip(partial, keep, strict=True))
    assert results == [
        record(good[0]),
        record(one_beat + bytes(44), SHORT),
        record(short + bytes(4), SHORT),
        record(good[1]),
        record(long[:FRAME], LONG),
        record(good[2]),
        record(longer[:FRAME], LONG),
        record(good[3]),
        record(zeroed, PARTIAL),
        record(good[4]),
    ]
    registers = report["registers"]
    assert (registers["FRAMES"], registers["BAD_FRAMES"], registers["STATUS"]) == (10, 5, SHORT | LONG | PARTIAL)


def test_a_frame_that_ends_in_the_middle_of_a_beat(core):
    """The last beat has fewer bytes, so the frame is short and partial."""
    data = frames(1)[0][:42]
    results, _ = core([packet(data)])
    assert results == [record(data + bytes(6), SHORT | PARTIAL)]


def test_status_is_cleared_by_ones(core):
    short = packet(bytes(4), after=200, then=[[AT["STATUS"], SHORT]])
    long = packet(bytes(2 * FRAME))
    _, report = core([short, long])
    assert report["registers"]["STATUS"] == LONG


def test_frames_without_tlast(core):
    """With MODE 1, one packet contains five frames, and then 15 packets contain a third of a frame each."""
    images = frames(5, seed=5)
    whole = b"".join(images)
    results, report = core(
        [packet(whole), *(packet(whole[k : k + 16]) for k in range(0, len(whole), 16))],
        expected=10,
        writes=[[AT["MODE"], 1]],
    )
    assert results == [record(image) for image in images] * 2
    assert report["registers"]["STATUS"] == 0


def test_soft_reset_within_a_frame(core):
    """Frames in the accelerator and the rest of the packet are discarded.

    Later frames are correct, and the registers of identity and mode keep their values.
    """
    images = frames(4, seed=6)
    broken = packet(b"".join(images[:2]), after=8, then=[[AT["CONTROL"], 1]])
    results, report = core([broken, packet(images[2]), packet(images[3])], expected=2)
    assert results == [record(images[2]), record(images[3])]
    assert report["registers"]["STATUS"] & 1 << 8 == 0


def test_soft_reset_while_a_result_is_sent(core):
    """With a slow sink, a packet is sent as a whole or not at all, whenever the reset comes."""
    images = frames(3, seed=7)
    expected, lengths = [record(image) for image in images], set()
    for after in range(20, 60, 4):
        packets = [packet(images[0], after=after, then=[[AT["CONTROL"], 1]]), *map(packet, images[1:])]
        results, _ = core(packets, expected=2, sink_pauses=0.9, linger=1000)
        assert results in (expected, expected[1:])
        lengths.add(len(results))
    assert lengths == {2, 3}


def test_counters(core):
    """CONTROL bit 1 clears the counters. The stub returns the address of a counter that it does not have."""
    images = frames(3)
    _, report = core([packet(images[0], after=100, then=[[AT["CONTROL"], 2]]), *map(packet, images[1:])])
    assert report["registers"]["COUNTER_VALUE"] == 2
    assert report["registers"]["FRAMES"] == 3
    _, report = core([packet(images[0])], writes=[[AT["COUNTER"], 7]])
    assert report["registers"]["COUNTER_VALUE"] == 7


def test_identity(core):
    _, report = core([packet(frames(1)[0])])
    registers = report["registers"]
    assert registers["ID"].to_bytes(4, "little") == b"PSHW" and registers["ID"] == ID
    assert (registers["IMAGE"], registers["SHAPE"]) == (4 << 16 | 4, 3 << 16 | 5)
    assert (registers["FRAME_BYTES"], registers["RECORD_BYTES"], registers["CLOCK_HZ"]) == (48, 24, 143_000_000)
    assert "".join(f"{registers[f'HASH_{k}']:08x}" for k in range(8)) == DIGEST


def test_invalid_accesses(core):
    """Accesses to unused addresses, and writes to read-only registers, are answered with SLVERR.

    The next access is served as usual.
    """
    holes = [0x2C, 0xFFC]
    _, report = core([packet(frames(1)[0])], probes=[*holes, AT["ID"], AT["MODE"], AT["CONTROL"]])
    assert report["probes"] == [[SLVERR, SLVERR], [SLVERR, SLVERR], [OKAY, SLVERR], [OKAY, OKAY], [OKAY, OKAY]]
