"""The boards' pins, as data.

KC705, Genesys 2, ULX3S, ECPIX-5 and Tang Primer 20K extend ``amaranth_boards``; Nereid, Marble and U250 are not
there, and their pins are facts from the LiteX board files (numato_nereid, berkeleylab_marble, xilinx_alveo_u250) and
the makers' documents. A platform gives a default clock with its frequency, a default reset where the board has a
button for it, ``uart`` 0 and ``led`` 0, 1, ... in the order in which `psahw.boards.shell` uses them.

What the tools have to be told beyond Amaranth's own scripts is in one class for each family. All write what they have
routed to files that `psahw.boards.tools.routed` reads. `psahw build` compares the clock itself, so that a design which misses it
still leaves a report: hence ``--timing-allow-fail``.
"""

from amaranth.build import Attrs, Clock, DiffPairs, Pins, PinsN, Resource, Subsignal
from amaranth.vendor import XilinxPlatform
from amaranth_boards.ecpix5 import ECPIX585Platform
from amaranth_boards.genesys2 import Genesys2Platform
from amaranth_boards.kc705 import KC705Platform
from amaranth_boards.resources import LEDResources, UARTResource
from amaranth_boards.tang_primer_20k import TangPrimer20kDockPlatform
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from .ethernet.rgmii import PhyTiming
from .tools import openxc7, power
from .tools.routed import NEXTPNR_REPORT, VIVADO_CLOCKS

__all__ = ["ECPIX585F", "KC705", "ULX3S85F", "AlveoU250", "Genesys2", "Marble", "Nereid", "TangPrimer20K"]


_ADD_MEMORIES = """
foreach memory [glob -nocomplain *.mem] {
    add_files $memory
}
"""


# Each clock's period and its worst setup slack, in nanoseconds (UG835, get_timing_paths).
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
    """What `psahw.boards.tools.project` tells every platform before it builds."""

    clock_hz: float  # of the accelerator
    seed = 1  # of placement
    constraints: tuple[str, ...] = ()  # of the link, for Vivado


class _Xilinx(_Routed, XilinxPlatform):
    """Vivado with what the configuration circuit needs to know (UG908, table of device properties), a script for
    power, and, for the 7 series, those of openXC7."""

    configuration: tuple[str, ...]  # properties of the design, as name and value
    connectors = ()

    @property
    def file_templates(self):
        scripts = openxc7.TEMPLATES if self.device.startswith("xc7") else {}
        return XilinxPlatform.file_templates.fget(self) | power.TEMPLATES | scripts

    def toolchain_prepare(self, fragment, name, **kwargs):
        # Not super(): a board of amaranth_boards may give the same overrides, which would be an error.
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
    """``tx`` and ``rx`` name the pins of the clock, the control signal, and the data from bit 0 on."""
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
    """UG810. Bank 15, with the UART, is at 2.5 V; ``amaranth_boards`` says 3.3 V, and lacks clock and reset."""

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
    """Digilent's reference manual; pins and configuration as ``amaranth_boards`` has them.

    The PHY is taken for a RTL8211E that is strapped to no delay in either direction, as LiteX's target does. Its
    management pins rest; its receive clock is constrained, which ``amaranth_boards`` leaves out.
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
    """Numato Lab Nereid, PCI Express card with an XC7K160T."""

    device = "xc7k160t"
    package = "fbg676"
    speed = "1"
    default_clk = "clk100"
    default_rst = "cpu_reset"
    resources = (
        Resource("clk100", 0, Pins("F22", dir="i"), Clock(100e6), Attrs(IOSTANDARD="LVCMOS33")),
        Resource("cpu_reset", 0, Pins("C26", dir="i"), Attrs(IOSTANDARD="LVCMOS33", PULLDOWN="TRUE")),
        UARTResource(0, rx="K22", tx="H22", attrs=Attrs(IOSTANDARD="LVCMOS33")),
        # One RGB LED, active low: green, blue, red
        *LEDResources(pins="H26 G26 J26", invert=True, attrs=Attrs(IOSTANDARD="LVCMOS33")),
    )
    configuration = (
        "CFGBVS VCCO",
        "CONFIG_VOLTAGE 3.3",
        "BITSTREAM.CONFIG.SPI_BUSWIDTH 4",
        "BITSTREAM.CONFIG.CONFIGRATE 16",
    )


class Marble(_Xilinx):
    """Berkeley Lab Marble, FMC carrier with an XC7K160T. It has no reset button.

    The PHY is taken for a 88E1512 that delays TXC itself after a reset; what it sends is delayed here, by as much as
    LiteX's target for the board does.
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
    """AMD Alveo U250 (UG1289). The card is passively cooled, so it must switch off when too hot."""

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


# Neither family's distributed RAM can be relied on to have initial contents: a ROM in LUTs is logic there. ABC9 in
# Yosys 0.70 confuses a wire called "a[0]", Amaranth's name for a field, with bit 0 of a port "a".
_FOR_LUT4S = """
setattr -set rom_style "logic" a:rom_style=distributed
rename -hide w:*
"""


class _OpenTools(_Routed):
    """Yosys and nextpnr. Verilog is written beside the RTLIL that they read."""

    @property
    def file_templates(self):
        return super().file_templates | {"{{name}}.v": "/* {{autogenerated}} */\n{{emit_verilog()}}\n"}

    def toolchain_prepare(self, fragment, name, **kwargs):
        options = ("--report", NEXTPNR_REPORT, "--timing-allow-fail", "--seed", str(self.seed), *self._options())
        return super().toolchain_prepare(
            fragment, name, script_after_read=_FOR_LUT4S.strip(), nextpnr_opts=options, **kwargs
        )


class _Ecp5(_OpenTools):
    """nextpnr derives the clock from oscillator and PLL."""

    def _options(self) -> tuple[str, ...]:
        # After 95 s its default router still had 136,140 of cifar10-psa-small's 137,400 connections before it.
        return "--router", "router2"


class ULX3S85F(_Ecp5, ULX3S_85F_Platform):
    """The left button (B0) is the reset."""

    default_rst = "button_pwr"


class ECPIX585F(_Ecp5, ECPIX585Platform):
    """LambdaConcept ECPIX-5. The first of its four RGB LEDs shows the status: green, blue, red, active low."""

    resources = (
        *(resource for resource in ECPIX585Platform.resources if (resource.name, resource.number) != ("rgb_led", 0)),
        *LEDResources(pins="R21 T22 T23", invert=True, attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
    )


class TangPrimer20K(_OpenTools, TangPrimer20kDockPlatform):
    """Sipeed Tang Primer 20K on its dock; the dock's first button is the reset.

    nextpnr's Gowin architecture has become a part of its himbaechel, and knows clocks by one frequency for all.
    """

    device = "GW2A-18C"
    default_rst = "button"

    required_tools = ("yosys", "nextpnr-himbaechel", "gowin_pack")

    @property
    def command_templates(self):
        synthesis, _, pack = super().command_templates
        route = r"""
        {{invoke_tool("nextpnr-himbaechel")}}
            {{quiet("--quiet")}}
            {{get_override("nextpnr_opts")|options}}
            --log {{name}}.tim
            --device {{platform.part}}
            --vopt family={{platform.family}}
            --vopt cst={{name}}.cst
            --json {{name}}.syn.json
            --write {{name}}.pnr.json
        """
        return [synthesis, route, pack]

    def _options(self) -> tuple[str, ...]:
        return "--freq", f"{self.clock_hz / 1e6:g}"
