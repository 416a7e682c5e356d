"""Amaranth platforms: the pins of each board, and additions to the tools' scripts.

KC705, Genesys 2, ULX3S, ECPIX-5, Tang Primer 20K and Tang Nano 9K extend ``amaranth_boards``, which lacks Nereid,
Marble and U250. Their pins are facts from the LiteX board files (numato_nereid, berkeleylab_marble,
xilinx_alveo_u250) and the manufacturers' documents.

Every platform has a default clock with its frequency, a default reset if the board has a button for it, the
resource ``uart`` 0, and the resources ``led`` 0, 1 and so on in the order in which `psahw.boards.shell` uses them.

One class per family adds to Amaranth's scripts. All scripts write the routed clocks and the utilisation to files
that `psahw.boards.tools.routed` reads. nextpnr gets ``--timing-allow-fail``, because ``psahw build`` compares the
clock itself and needs the report of a design that misses it.
"""

from amaranth.build import Attrs, Clock, DiffPairs, Pins, PinsN, Resource, Subsignal
from amaranth.vendor import XilinxPlatform
from amaranth_boards.ecpix5 import ECPIX585Platform
from amaranth_boards.genesys2 import Genesys2Platform
from amaranth_boards.kc705 import KC705Platform
from amaranth_boards.resources import LEDResources, UARTResource
from amaranth_boards.tang_nano_9k import TangNano9kPlatform
from amaranth_boards.tang_primer_20k import TangPrimer20kDockPlatform
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from psahw.synthesis import copies

from .ethernet.rgmii import PhyTiming
from .tools import openxc7, power, timing
from .tools.routed import NEXTPNR_REPORT, VIVADO_CLOCKS

__all__ = [
    "ECPIX585F", "KC705", "ULX3S85F", "AlveoU250", "Genesys2", "Marble", "Nereid", "TangNano9K", "TangPrimer20K",
]  # fmt: skip


_ADD_MEMORIES = """
foreach memory [glob -nocomplain *.mem] {
    add_files $memory
}
"""


# Writes the period and the worst setup slack of each clock, in nanoseconds (UG835, get_timing_paths).
_WRITE_CLOCKS = f"""
set routed [open {VIVADO_CLOCKS} w]
foreach clock [get_clocks] {{
    set path [get_timing_paths -quiet -setup -max_paths 1 -to $clock]
    if {{[llength $path]}} {{
        puts $routed "$clock [get_property PERIOD $clock] [get_property SLACK $path]"
    }}
}}
close $routed
"""


class _Routed:
    """Settings that `psahw.boards.tools.project` makes on a platform before it builds.

    Attributes
    ----------
    clock_hz
        Frequency of the accelerator's clock, in Hz.
    seed
        Seed of placement, for tools that take one.
    constraints
        Tcl commands for Vivado that constrain the link.
    """

    clock_hz: float
    seed = 1
    constraints: tuple[str, ...] = ()


class _Xilinx(_Routed, XilinxPlatform):
    """A platform for Vivado, with the scripts for power and timing, and with openXC7's scripts on the 7 series.

    ``configuration`` has properties for the configuration circuit, each as name and value (UG908, table of device
    properties).
    """

    configuration: tuple[str, ...]
    connectors = ()

    @property
    def file_templates(self):
        scripts = openxc7.TEMPLATES if self.device.startswith("xc7") else {}
        return XilinxPlatform.file_templates.fget(self) | power.TEMPLATES | timing.TEMPLATES | scripts

    def toolchain_prepare(self, fragment, name, **kwargs):
        # super() could be a board of amaranth_boards that passes the same overrides, which would be an error.
        return XilinxPlatform.toolchain_prepare(
            self,
            fragment,
            name,
            add_constraints="\n".join(
                (*(f"set_property {line} [current_design]" for line in self.configuration), *self.constraints)
            ),
            script_after_read=_ADD_MEMORIES.strip(),
            script_before_bitstream=_WRITE_CLOCKS.strip(),
            **kwargs,
        )


def _rgmii(*, rst: str, tx: str, rx: str, attrs: Attrs, rst_attrs: Attrs) -> Resource:
    """Return an RGMII resource.

    ``tx`` and ``rx`` name the pins of the clock, of the control signal, and of the data from bit 0 to bit 3.
    """
    signals = []
    for name, pins, direction in (("tx", tx.split(), "o"), ("rx", rx.split(), "i")):
        clock = (Clock(125e6),) if name == "rx" else ()
        signals += [
            Subsignal(f"{name}_clk", Pins(pins[0], dir=direction), *clock),
            Subsignal(f"{name}_ctl", Pins(pins[1], dir=direction)),
            Subsignal(f"{name}_data", Pins(" ".join(pins[2:]), dir=direction)),
        ]
    return Resource("eth_rgmii", 0, Subsignal("rst", PinsN(rst, dir="o"), rst_attrs), *signals, attrs)


class KC705(_Xilinx, KC705Platform):
    """Xilinx KC705 (UG810).

    Bank 15, with the UART, is at 2.5 V, where ``amaranth_boards`` has 3.3 V. ``amaranth_boards`` also lacks the clock
    and the reset.
    """

    resources = (
        *(resource for resource in KC705Platform.resources if resource.name != "uart"),
        UARTResource(0, rx="M19", tx="K24", attrs=Attrs(IOSTANDARD="LVCMOS25")),
        Resource("clk200", 0, DiffPairs("AD12", "AD11", dir="i"), Clock(200e6), Attrs(IOSTANDARD="LVDS")),
        Resource("cpu_reset", 0, Pins("AB7", dir="i"), Attrs(IOSTANDARD="LVCMOS15")),
    )
    default_clk = "clk200"
    default_rst = "cpu_reset"
    configuration = (
        "CFGBVS VCCO",
        "CONFIG_VOLTAGE 2.5",
    )


class Genesys2(_Xilinx, Genesys2Platform):
    """Digilent Genesys 2, with pins and configuration from ``amaranth_boards`` and Digilent's reference manual.

    As in LiteX's target, the PHY is assumed to be a RTL8211E that is strapped to no delay in either direction. Its
    management pins are unused. Its receive clock is constrained, which it is not in ``amaranth_boards``.
    """

    resources = (
        *(resource for resource in Genesys2Platform.resources if resource.name != "eth_rgmii"),
        _rgmii(
            rst="AH24",
            tx="AE10 AK14 AJ12 AK11 AJ11 AK10",
            rx="AG10 AH11 AJ14 AH14 AK13 AJ13",
            attrs=Attrs(IOSTANDARD="LVCMOS15"),
            rst_attrs=Attrs(IOSTANDARD="LVCMOS33"),
        ),
    )
    phy = PhyTiming(delay_tx=True, delay_rx=True)
    connectors = Genesys2Platform.connectors
    configuration = (
        "CFGBVS VCCO",
        "CONFIG_VOLTAGE 3.3",
        "BITSTREAM.CONFIG.CONFIGRATE 50",
        "BITSTREAM.CONFIG.SPI_BUSWIDTH 4",
        "BITSTREAM.CONFIG.SPI_32BIT_ADDR YES",
        "BITSTREAM.CONFIG.SPI_FALL_EDGE YES",
        "BITSTREAM.GENERAL.COMPRESS TRUE",
    )


class Nereid(_Xilinx):
    """Numato Lab Nereid, a PCI Express card with an XC7K160T."""

    device = "xc7k160t"
    package = "fbg676"
    speed = "1"
    default_clk = "clk100"
    default_rst = "cpu_reset"
    resources = (
        Resource("clk100", 0, Pins("F22", dir="i"), Clock(100e6), Attrs(IOSTANDARD="LVCMOS33")),
        Resource("cpu_reset", 0, Pins("C26", dir="i"), Attrs(IOSTANDARD="LVCMOS33", PULLDOWN="TRUE")),
        UARTResource(0, rx="K22", tx="H22", attrs=Attrs(IOSTANDARD="LVCMOS33")),
        # One RGB LED, active low: green, blue, red.
        *LEDResources(pins="H26 G26 J26", invert=True, attrs=Attrs(IOSTANDARD="LVCMOS33")),
    )
    configuration = (
        "CFGBVS VCCO",
        "CONFIG_VOLTAGE 3.3",
        "BITSTREAM.CONFIG.SPI_BUSWIDTH 4",
        "BITSTREAM.CONFIG.CONFIGRATE 16",
    )


class Marble(_Xilinx):
    """Berkeley Lab Marble, an FMC carrier with an XC7K160T and without a reset button.

    The PHY is assumed to be an 88E1512 that delays TXC itself after a reset. The received data are delayed in the
    FPGA, as much as in LiteX's target for the board.
    """

    device = "xc7k160t"
    package = "ffg676"
    speed = "2"
    default_clk = "clk125"
    resources = (
        Resource("clk125", 0, DiffPairs("AC9", "AD9", dir="i"), Clock(125e6), Attrs(IOSTANDARD="DIFF_SSTL15")),
        UARTResource(0, rx="C16", tx="K15", attrs=Attrs(IOSTANDARD="LVCMOS25")),
        *LEDResources(pins="Y13 V12", attrs=Attrs(IOSTANDARD="LVCMOS15")),
        _rgmii(
            rst="B9",
            tx="F10 C9 H11 H12 D8 D9",
            rx="E11 J11 J10 J8 H8 H9",
            attrs=Attrs(IOSTANDARD="LVCMOS25"),
            rst_attrs=Attrs(IOSTANDARD="LVCMOS25"),
        ),
    )
    phy = PhyTiming(delay_tx=False, delay_rx=True)
    configuration = (
        "CFGBVS VCCO",
        "CONFIG_VOLTAGE 2.5",
        "BITSTREAM.CONFIG.SPI_BUSWIDTH 4",
    )


class AlveoU250(_Xilinx):
    """AMD Alveo U250 (UG1289), which is passively cooled and therefore must switch off when it overheats."""

    device = "xcu250"
    package = "figd2104"
    speed = "2L-e"
    default_clk = "clk300"
    default_rst = "cpu_reset"
    resources = (
        Resource("clk300", 0, DiffPairs("AY37", "AY38", dir="i"), Clock(300e6), Attrs(IOSTANDARD="DIFF_SSTL12")),
        Resource("cpu_reset", 0, PinsN("AL20", dir="i"), Attrs(IOSTANDARD="LVCMOS12")),
        UARTResource(0, rx="BF18", tx="BB20", attrs=Attrs(IOSTANDARD="LVCMOS12")),
        *LEDResources(pins="BC21 BB21 BA20", attrs=Attrs(IOSTANDARD="LVCMOS12")),
    )
    configuration = (
        "CFGBVS GND",
        "CONFIG_VOLTAGE 1.8",
        "BITSTREAM.CONFIG.OVERTEMPSHUTDOWN ENABLE",
        "BITSTREAM.GENERAL.COMPRESS TRUE",
    )


# Distributed RAM of ECP5 and Gowin does not reliably have initial contents, so ROMs in LUTs become logic.
# Wires are renamed because ABC9 in Yosys 0.70 confuses a wire "a[0]", Amaranth's name for a field, with bit 0 of a
# port "a".
_FOR_LUT4S = f"""
{copies.SCRIPT}setattr -set rom_style "logic" a:rom_style=distributed
rename -hide w:*
"""


class _OpenTools(_Routed):
    """A platform for Yosys and nextpnr, which read RTLIL. The design is also written as Verilog."""

    @property
    def file_templates(self):
        return super().file_templates | {"{{name}}.v": "/* {{autogenerated}} */\n{{emit_verilog()}}\n"}

    def toolchain_prepare(self, fragment, name, **kwargs):
        options = ("--report", NEXTPNR_REPORT, "--timing-allow-fail", "--seed", str(self.seed), *self._options())
        return super().toolchain_prepare(
            fragment, name, script_after_read=_FOR_LUT4S.strip(), nextpnr_opts=options, **kwargs
        )


class _Ecp5(_OpenTools):
    """An ECP5 platform, where nextpnr derives the accelerator's clock from the oscillator and the PLL."""

    def _options(self) -> tuple[str, ...]:
        # After 95 s, nextpnr's default router had 136,140 of cifar10-psa-small's 137,400 connections left.
        return "--router", "router2"


class ULX3S85F(_Ecp5, ULX3S_85F_Platform):
    """Radiona ULX3S 85F, whose left button (B0) is the reset."""

    default_rst = "button_pwr"


class ECPIX585F(_Ecp5, ECPIX585Platform):
    """LambdaConcept ECPIX-5 85F, whose first RGB LED shows the status: green, blue, red, active low."""

    resources = (
        *(resource for resource in ECPIX585Platform.resources if (resource.name, resource.number) != ("rgb_led", 0)),
        *LEDResources(pins="R21 T22 T23", invert=True, attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
    )


class _Gowin(_OpenTools):
    """A Gowin platform.

    nextpnr's Gowin architecture is now a part of nextpnr-himbaechel, and takes one frequency for all clocks.
    """

    default_rst = "button"
    required_tools = ("yosys", "nextpnr-himbaechel", "gowin_pack")

    @property
    def device(self) -> str:
        """The name of the FPGA."""
        return self.family

    @property
    def command_templates(self):
        synthesis, _, pack = super().command_templates
        route = r"""
        {{invoke_tool("nextpnr-himbaechel")}}
            {{quiet("--quiet")}}
            {{get_override("nextpnr_opts")|options}}
            --log {{name}}.tim
            --device {{platform.part}}
            --vopt family={{platform._chipdb_device}}
            --vopt cst={{name}}.cst
            --json {{name}}.syn.json
            --write {{name}}.pnr.json
        """
        return [synthesis, route, pack]

    def _options(self) -> tuple[str, ...]:
        return "--freq", f"{self.clock_hz / 1e6:g}"


class TangPrimer20K(_Gowin, TangPrimer20kDockPlatform):
    """Sipeed Tang Primer 20K on its dock, whose first button is the reset."""


class TangNano9K(_Gowin, TangNano9kPlatform):
    """Sipeed Tang Nano 9K, whose first button is the reset."""
