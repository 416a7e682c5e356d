"""Ethernet frames, computed independently of the circuit.

Their checksums come from `zlib.crc32` and from the description in RFC 1071.
"""

import struct
import zlib
from ipaddress import IPv4Address

from psahw.boards.ethernet.identity import Identity

__all__ = [
    "BOARD", "BOARD_MAC", "BOARD_PORT", "HOST", "HOST_MAC", "HOST_PORT", "ME", "arp", "checksum", "echo", "ethernet",
    "fcs", "ipv4", "on_the_wire", "parse_datagram", "received", "udp",
]  # fmt: skip

BOARD, BOARD_MAC, BOARD_PORT = "192.168.1.50", bytes.fromhex("0200c0a80132"), 50_000
HOST, HOST_MAC, HOST_PORT = "192.168.1.7", bytes.fromhex("9c5c8e112233"), 40_123
ME = Identity.parse(BOARD)


def packed(address):
    """Return the bytes of an IPv4 address."""
    return bytes(map(int, address.split(".")))


def checksum(content: bytes) -> int:
    """Return the Internet checksum of ``content``."""
    total = 0
    for at in range(0, len(content), 2):
        total += int.from_bytes(content[at : at + 2].ljust(2, b"\0"), "big")
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4(
    payload, *, source=HOST, destination=BOARD, protocol=17, version=0x45, flags=0, sum_off=0, total=None, ttl=64
):
    """Return an IPv4 packet; options other than the addresses make it wrong."""
    total = 20 + len(payload) if total is None else total
    head = (
        struct.pack(">BBHHHBBH", version, 0, total, 7, flags, ttl, protocol, 0) + packed(source) + packed(destination)
    )
    value = (checksum(head) + sum_off) & 0xFFFF
    return head[:10] + struct.pack(">H", value) + head[12:] + payload


def udp(data, *, source=HOST, destination=BOARD, ports=(HOST_PORT, BOARD_PORT), length=None, sum_off=0, summed=True):
    """Return a UDP datagram; ``length`` and ``sum_off`` make it wrong, ``summed=False`` leaves out the checksum."""
    length = 8 + len(data) if length is None else length
    head = struct.pack(">HHHH", *ports, length, 0)
    pseudo = packed(source) + packed(destination) + struct.pack(">BBH", 0, 17, length)
    value = (checksum(pseudo + head + data) or 0xFFFF) if summed else 0
    return head[:6] + struct.pack(">H", (value + sum_off) & 0xFFFF) + data


def echo(data, *, kind=8, code=0, sum_off=0):
    """Return an ICMP echo message."""
    value = (checksum(struct.pack(">BBH", kind, code, 0) + data) + sum_off) & 0xFFFF
    return struct.pack(">BBH", kind, code, value) + data


def ethernet(payload, *, to=BOARD_MAC, source=HOST_MAC, ethertype=0x0800):
    """Return a padded Ethernet frame without its check sequence."""
    return (to + source + struct.pack(">H", ethertype) + payload).ljust(60, b"\0")


def arp(*, to=b"\xff" * 6, target=BOARD, operation=1, sender=HOST):
    """Return an Ethernet frame with an ARP packet."""
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation) + HOST_MAC + packed(sender) + bytes(6) + packed(target)
    return ethernet(body, to=to, ethertype=0x0806)


def fcs(frame: bytes) -> bytes:
    """Return the frame check sequence of a frame."""
    return struct.pack("<I", zlib.crc32(frame))


def on_the_wire(frame: bytes, *, gap: int = 12, preamble: int = 7) -> list:
    """Return (byte, valid, error) for every clock cycle of a frame and the gap after it."""
    content = bytes([0x55] * preamble + [0xD5]) + frame + fcs(frame)
    return [(byte, 1, 0) for byte in content] + [(0, 0, 0)] * gap


def received(cycles) -> list[bytes]:
    """Return the frames in (byte, valid, error) of every clock cycle.

    Each frame must be complete and have a correct check sequence, and gaps must last at least
    twelve cycles.
    """
    frames, current, idle = [], bytearray(), 12
    for byte, valid, error in cycles:
        if valid:
            assert not error
            assert current or idle >= 12
            current.append(byte)
            idle = 0
        else:
            idle += 1
            if current:
                assert current[:8] == b"\x55" * 7 + b"\xd5"
                frame = bytes(current[8:])
                assert len(frame) >= 64 and fcs(frame[:-4]) == frame[-4:]
                frames.append(frame[:-4])
                current = bytearray()
    assert not current
    return frames


def parse_datagram(frame: bytes) -> tuple:
    """Return (destination MAC address, destination IPv4 address, ports, data) of a frame that the board sent."""
    assert frame[6:14] == BOARD_MAC + b"\x08\x00"
    head, total = frame[14:34], int.from_bytes(frame[16:18], "big")
    assert head[0] == 0x45 and checksum(head) == 0 and head[9] == 17
    assert head[6:8] == b"\x40\x00" and head[8] == 64 and head[12:16] == packed(BOARD)
    source, to, length, checksum_field = struct.unpack(">HHHH", frame[34:42])
    assert length == total - 20 and checksum_field == 0
    assert len(frame) == max(14 + total, 60) and not any(frame[14 + total :])
    return frame[:6], str(IPv4Address(head[16:20])), (source, to), frame[42 : 14 + total]
