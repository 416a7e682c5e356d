"""Test projects, packages, and the cache of designs."""

import json
import os
import shlex

import pytest

import psahw
from psahw.cli import main
from psahw.errors import UserError
from psahw.flow.designs import accelerator_directory
from psahw.flow.elaboration import check_directory
from psahw.flow.running import simulated_board
from psahw.network import file as network_file


@pytest.fixture(scope="module")
def planned(network):
    return psahw.plan(network, "marble", fps=20_000, engines="mac")


@pytest.fixture(scope="module")
def project(network, planned, tmp_path_factory):
    return psahw.elaborate(network, planned, tmp_path_factory.mktemp("project") / "marble")


def test_elaborate(project, planned):
    """The result names the files that were written, and the plan is the accelerator's."""
    assert project.project["files"] == sorted(os.listdir(project.directory))
    written = (project.directory / "plan.json").read_text()
    assert written == json.dumps(planned.accelerator.to_dict(), indent=2) + "\n"
    assert (project.clock_hz, project.link.kind) == (143e6, "uart")
    result = project.to_dict()
    assert (result["directory"], result["fps"]) == (str(project.directory), planned.fps)
    json.dumps(result)  # plain values only


def test_printed_commands(network, tmp_path, capsys):
    """A shell splits the commands that are printed into the arguments that they stand for."""
    path, directory = tmp_path / "my network.safetensors", tmp_path / "a b ü $x 'y'"
    network_file.save(network, path)
    options = ["--board", "marble", "--fps", "20000", "--engines", "mac"]
    assert main(["elaborate", str(path), *options, "-o", str(directory)]) == 0
    (last,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("next: "))
    words = shlex.split(last)
    assert words[1] == str(directory / "build_top.sh") and os.access(words[1], os.X_OK)
    assert words[words.index("program") + 1] == str(directory)
    assert words[words.index("run") + 1] == str(path)


def test_design_is_cached(network, planned, project, tmp_path, monkeypatch):
    """The simulated Verilog is that of the project, and a second call does not generate it."""
    from psahw import generate

    monkeypatch.setenv("PSAHW_CACHE", str(tmp_path))
    directory = accelerator_directory(network, planned)
    verilog = (directory / "accelerator.v").read_bytes()
    assert verilog == (project.directory / "accelerator.v").read_bytes()
    monkeypatch.setattr(generate, "write", None)
    assert accelerator_directory(network, planned.accelerator) == directory


@pytest.mark.parametrize("kilobytes", [100, 900])  # Yosys itself does not notice that the disk is full
def test_full_disk(network, planned, kilobytes, small_file_system, monkeypatch):
    """A full disk is reported with the path, and nothing half-written stays, of a project or of a cached design."""
    disk = small_file_system(kilobytes)
    with pytest.raises(UserError, match=rf"^cannot write {disk}/x/y: No space left on device$"):
        psahw.elaborate(network, planned, disk / "x" / "y")
    assert os.listdir(disk) == []
    monkeypatch.setenv("PSAHW_CACHE", str(disk))
    with pytest.raises(UserError, match=rf"^cannot write {disk}/verilog/\w+: No space left.*set PSAHW_CACHE to"):
        accelerator_directory(network, planned)
    assert [path for path in disk.rglob("*") if path.is_file()] == []


def test_check_directory(project, tmp_path):
    """A directory is refused early, and nothing of the trial stays."""
    (tmp_path / "thesis").write_text("")
    with pytest.raises(UserError, match="was not written by psahw"):
        check_directory(tmp_path)
    with pytest.raises(UserError, match="Not a directory"):
        check_directory(tmp_path / "thesis" / "x")
    check_directory(tmp_path / "new" / "x")
    check_directory(project.directory)
    assert os.listdir(tmp_path) == ["thesis"]
    assert project.project["files"] == sorted(os.listdir(project.directory))


def test_simulated_board(project, planned):
    """Board and link come from plan or project, and others are refused."""
    for design in (planned, project.directory):
        board, link = simulated_board(design)
        assert (board.name, link) == ("marble", "uart")
        with pytest.raises(UserError, match="is for board marble, not kc705"):
            simulated_board(design, board="kc705")
    with pytest.raises(UserError, match="is for link uart, not udp"):
        simulated_board(project.directory, link="udp")
    assert simulated_board(planned, link="udp")[1] == "udp"  # the plan leaves it open


def test_package_for_another_board(network, planned, tmp_path):
    with pytest.raises(UserError, match="is for alveo-u250, not for marble"):
        psahw.package(network, planned, "vitis", tmp_path / "kernel")
    assert os.listdir(tmp_path) == []
