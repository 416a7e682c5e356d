# amaranth: UnusedElaboratable=no
"""The kernel with its own memory port, driven by cocotbext-axi on Verilator."""

import random

import pytest

from tests.boards.axi.designs import OFFSETS, expected_record, manifest, write_kernel

AT = OFFSETS["kernel"]
IDLE, DONE, READY = 0b0100, 0b0010, 0b1000
READ_ERROR = 8  # flag in a record
PAGE = 4096
UNTOUCHED = 0xA5
DESIGNS = {  # bus_bytes, shape of an image, data_bytes, beats, rest
    "narrow": (4, (4, 4, 3), 8, 16, 0),
    # 45 bytes per image, which divide no word; results come before the end of their frames.
    "odd": (3, (3, 5, 3), 64, 16, 4),
    "equal": (4, (2, 2, 1), 4, 8, 0),  # a word holds one image, which is a single beat
}


@pytest.fixture(scope="module", params=DESIGNS)
def kernel(request, tmp_path_factory):
    """Return a simulated kernel of each design."""
    pytest.importorskip("cocotbext.axi", reason="the extra `sim` is not installed")
    bus_bytes, (*image, colours), data_bytes, beats, rest = DESIGNS[request.param]
    directory = tmp_path_factory.mktemp("kernel")
    about = manifest(bus_bytes=bus_bytes, image=image, colours=colours)
    write_kernel(directory, about, rest=rest, data_bytes=data_bytes, beats=beats)
    return Simulated(directory, image[0] * image[1] * colours, rest * bus_bytes, data_bytes, beats)


class Simulated:
    """A kernel with a stub in the place of the accelerator, which ignores the last ``rest`` bytes of a frame."""

    def __init__(self, directory, frame, rest, data_bytes, beats):
        self.directory, self.frame, self.data_bytes, self.beats = directory, frame, data_bytes, beats
        self.rest = rest

    def images(self, count, seed=1):
        """Return random images."""
        rng = random.Random(seed)
        return [rng.randbytes(self.frame) for _ in range(count)]

    def run(self, batches, *, margin=300, base=0, **request):
        """Simulate batches, each given as (address of the images, address of the results, images).

        Returns
        -------
        list of bytes
            Memory contents where the results of each batch should be, with ``margin`` more bytes on
            both sides.
        dict
            Report of the simulation.
        """
        from psahw.sim.cocotb_tests import run

        dump = [[base + results - margin, 24 * len(images) + 2 * margin] for _, results, images in batches]
        fill = [[where, bytes([UNTOUCHED] * size).hex()] for where, size in dump]
        fill += [[base + at, b"".join(images).hex()] for at, _, images in batches if images]
        report = run(
            self.directory,
            "psahw_kernel",
            ["kernel.v", "accelerator.v"],
            "axi_testbench.kernel",
            {
                "batches": [
                    {"images": base + at, "results": base + results, "count": len(images)}
                    for at, results, images in batches
                ],
                "fill": fill,
                "dump": dump,
                "memory": base + (1 << 18),
                "offsets": AT,
                "patience": 20_000,
                **request,
            },
        )
        return [bytes.fromhex(part) for part in report["memory"]], report

    def records(self, images):
        """Return the expected results of ``images``."""
        return b"".join(expected_record(image[: self.frame - self.rest]) for image in images)

    def memory(self, images, margin=300):
        """Return the expected memory contents where the results of ``images`` should be."""
        guard = bytes([UNTOUCHED] * margin)
        return guard + self.records(images) + guard

    def check_bursts(self, report, batches):
        """Check the addresses and lengths of all bursts.

        They consist of whole words, do not cross a page, are not longer than allowed, and together
        contain exactly the words of the batches' bytes.
        """
        for kind, size in (("read", self.frame), ("write", 24)):
            touched = set()
            for addr, beats in report["bursts"][kind]:
                assert addr % self.data_bytes == 0 and 1 <= beats <= self.beats
                assert addr // PAGE == (addr + beats * self.data_bytes - 1) // PAGE
                words = range(addr, addr + beats * self.data_bytes, self.data_bytes)
                assert touched.isdisjoint(words)
                touched.update(words)
            expected = set()
            for batch in batches:
                first, last = batch[kind == "write"], batch[kind == "write"] + size * len(batch[2]) - 1
                start = first // self.data_bytes * self.data_bytes
                expected.update(range(start, last + 1, self.data_bytes))
            assert touched == expected


@pytest.mark.parametrize("pauses", [0, 0.3, 0.7])
def test_batch(kernel, pauses):
    """Images and results begin just before a page, at odd addresses."""
    images = kernel.images(40)
    batches = [(PAGE - 3, 9 * PAGE - 15, images)]
    contents, report = kernel.run(batches, pauses=pauses, watch=True)
    assert contents == [kernel.memory(images)]
    assert report["states"] == [IDLE, IDLE | DONE | READY, IDLE] or report["states"] == [IDLE, DONE | READY, IDLE]
    assert report["registers"]["STATUS"] == 0
    kernel.check_bursts(report, batches)
    assert report["outstanding"]["read"] >= 2


def test_every_alignment(kernel):
    """Images and results of successive batches begin at every position in a word of 8 bytes."""
    batches = [
        (0x1000 + 0x400 * k + k, 0x8000 + 0x400 * k + (5 * k) % 8 + 3 * (k == 7), kernel.images(1 + k % 3, seed=k))
        for k in range(8)
    ]
    contents, report = kernel.run(batches)
    assert contents == [kernel.memory(images) for _, _, images in batches]
    assert report["registers"]["STATUS"] == 0


def test_chained_batches(kernel):
    """A batch begins when the previous one is ready but not done; one batch is empty."""
    batches = [
        (0x1000, 0x9001, kernel.images(6, seed=1)),
        (0x2345, 0xA000, []),
        (0x3333, 0xB002, kernel.images(5, seed=2)),
        (0x4000, 0xC003, kernel.images(1, seed=3)),
    ]
    contents, report = kernel.run(batches, chain=True, pauses=0.3)
    assert contents == [kernel.memory(images) for _, _, images in batches]
    assert all(state & DONE for state in report["states"][1:-1]) and report["states"][-1] & DONE == 0


def test_addresses_above_32_bits(kernel):
    images = kernel.images(3)
    contents, _ = kernel.run([(0x0FF1, 0x9003, images)], base=0x7_FFFF_F000, broken=[["read", 0, 1]])
    assert contents == [kernel.memory(images)]


def test_read_errors(kernel):
    """The batch ends. Results from the failed read on are flagged, and those of a later batch are not."""
    images, later = kernel.images(12, seed=4), kernel.images(4, seed=5)
    at, hole = 0x1005, 0x1005 + 7 * kernel.frame
    batches = [(at, 0x9000, images), (0x3000, 0xA001, later)]
    contents, report = kernel.run(batches, broken=[["read", hole, hole + 1]])
    assert report["registers"]["STATUS"] == 1
    heads = [int.from_bytes(contents[0][300 + 24 * k : 304 + 24 * k], "little") >> 16 for k in range(12)]
    word = hole // kernel.data_bytes * kernel.data_bytes  # the first byte that was not read
    bad = (word - at) // kernel.frame
    assert heads == [0] * bad + [READ_ERROR] * (12 - bad)
    assert contents[0][300 : 300 + 24 * bad] == kernel.records(images[:bad])
    assert contents[1] == kernel.memory(later)


def test_write_errors(kernel):
    """The batch ends. Everything else is written correctly, and the register reports the failed write."""
    images, later = kernel.images(12, seed=6), kernel.images(4, seed=7)
    hole = 0x9000 + 24 * 5
    batches = [(0x1001, 0x9000, images), (0x3000, 0xA001, later)]
    contents, report = kernel.run(batches, broken=[["write", hole, hole + 1]])
    assert report["registers"]["STATUS"] == 2
    assert all(state & DONE for state in report["states"][1:-1])
    expected, word = kernel.memory(images), hole // kernel.data_bytes * kernel.data_bytes
    first = 300 + word - 0x9000
    assert contents[0][first : first + kernel.data_bytes] == bytes([UNTOUCHED] * kernel.data_bytes)
    assert (
        contents[0][:first] + contents[0][first + kernel.data_bytes :]
        == expected[:first] + expected[first + kernel.data_bytes :]
    )
    assert contents[1] == kernel.memory(later)
