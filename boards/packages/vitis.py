"""Package for Vitis: an RTL kernel for Alveo cards, scripts that build the xclbin, and host programs."""

import xml.etree.ElementTree as ET

from ..axi.core import ADDRESS_BITS
from ..axi.registers import KERNEL
from .contents import Contents, fill, verbatim
from .vivado import register_list

__all__ = ["files"]

CONTROL, MEMORY = "s_axi_control", "m_axi_gmem"
ARGUMENTS = (  # name, first register, port, size in bytes, type on the host
    ("images", "IMAGES_LOW", MEMORY, 8, "uchar*"),
    ("results", "RESULTS_LOW", MEMORY, 8, "int*"),
    ("count", "COUNT", CONTROL, 4, "uint"),
)


def _kernel_xml(contents: Contents) -> str:
    """Return the text of ``kernel.xml`` (UG1393, RTL kernel XML file)."""
    offsets = {register.name: register.offset for register in KERNEL}
    root = ET.Element("root", versionMajor="1", versionMinor="6")
    kernel = ET.SubElement(
        root,
        "kernel",
        name=contents.top,
        language="ip_c",
        vlnv=f"psahw:kernel:{contents.top}:1.0",
        attributes="",
        preferredWorkGroupSizeMultiple="0",
        workGroupSize="1",
        interrupt="true",
        hwControlProtocol="ap_ctrl_chain",
    )
    ports = ET.SubElement(kernel, "ports")
    for name, mode, address_range, bits in (
        (CONTROL, "slave", f"0x{1 << ADDRESS_BITS:X}", 32),
        (MEMORY, "master", "0xFFFFFFFFFFFFFFFF", 8 * contents.wrapper.data_bytes),
    ):
        ET.SubElement(
            ports,
            "port",
            name=name,
            mode=mode,
            range=address_range,
            dataWidth=str(bits),
            portType="addressable",
            base="0x0",
        )
    arguments = ET.SubElement(kernel, "args")
    for number, (name, register, port, size, kind) in enumerate(ARGUMENTS):
        ET.SubElement(
            arguments,
            "arg",
            name=name,
            addressQualifier="1" if kind.endswith("*") else "0",  # global memory, or a scalar
            id=str(number),
            port=port,
            size=f"0x{size:X}",
            offset=f"0x{offsets[register]:X}",
            type=kind,
            hostOffset="0x0",
            hostSize=f"0x{size:X}",
        )
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _header(contents: Contents) -> str:
    """Return the text of ``psahw_kernel.h``, with the constants that ``host.cpp`` needs."""
    manifest = contents.manifest
    height, width = manifest["image"]
    names = ", ".join(f'"{_escaped(name)}"' for name in manifest["class_names"])
    words = ", ".join(f"0x{manifest['digest'][8 * k : 8 * k + 8]}" for k in range(8))
    offsets = {register.name: register.offset for register in KERNEL}
    return fill(
        "psahw_kernel.h",
        network=contents.title,
        kernel=contents.top,
        frame_bytes=str(height * width * manifest["colours"]),
        classes=str(manifest["classes"]),
        names=names,
        digest=words,
        hash_offset=f"0x{offsets['HASH_0']:X}",
        status_offset=f"0x{offsets['STATUS']:X}",
    )


def _escaped(text: str) -> str:
    """Return the text for use in a C string literal. Bytes that are not printable ASCII become octal escapes."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in text.encode())


def files(contents: Contents) -> dict[str, str]:
    """Return the text of a Vitis package's files by name."""
    script = fill(
        "package_kernel.tcl",
        network=contents.title,
        part=contents.part,
        top=contents.top,
        sources=" ".join(contents.sources),
        memories=" ".join(contents.memories),
        registers=register_list(KERNEL),
    )
    return {
        "kernel.xml": _kernel_xml(contents),
        "package_kernel.tcl": script,
        "link.cfg": fill("link.cfg", top=contents.top, mhz=str(int(contents.manifest["clock_hz"] / 1e6))),
        "Makefile": fill("vitis.mk", top=contents.top, sources=" ".join([*contents.sources, "$(wildcard *.mem)"])),
        "psahw_kernel.h": _header(contents),
        "host.cpp": verbatim("host.cpp"),
        "host.py": verbatim("host.py"),
    }
