"""The readers that are fuzzed: how their input is damaged, and how they are called."""

import contextlib
import functools
import io
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import safetensors.numpy
import yaml
from hypothesis import strategies as st
from PIL import Image

from psahw import boards, sweep
from psahw.architecture.device import DEVICES
from psahw.boards.link.options import choose_link
from psahw.boards.packages import fusesoc, vitis
from psahw.boards.packages.contents import Contents
from psahw.cli import main
from psahw.cli.planning import _utilisation
from psahw.cli.training_options import parse_settings
from psahw.errors import UserError
from psahw.flow import designs, planning, programming, reporting, running
from psahw.host import images, protocol
from psahw.host.framing import FrameReader, frame
from psahw.model import data as datasets
from psahw.network import file as network_file
from psahw.network.graph import Output, Residual
from psahw.network.layers import Flatten, Layer
from psahw.network.random import StageShape, random_graph, random_network
from psahw.planner import search
from psahw.planner.rules import MAC_ONLY, Rules
from psahw.report import curves
from psahw.sim import batches
from psahw.sim.design import counter_widths, load_design

from ..data_files import idx_file, write_excel
from .models import damaged_models, read_models, valid_models
from .mutations import mutated_bytes, mutated_json, mutated_text, with_edits

__all__ = ["READERS", "Reader"]


@dataclass(frozen=True)
class Reader:
    """A reader that is fuzzed.

    Parameters
    ----------
    name
        Its name.
    valid
        Returns valid cases: files by name, or something else that ``read`` takes.
    damaged
        Returns the strategy that draws damaged cases.
    read
        Called with the case and with the directory that holds its files.
    errors
        Errors besides UserError and CheckFailed with which it may refuse a case.
    """

    name: str
    valid: Callable[[], Sequence[Any]]
    damaged: Callable[[], st.SearchStrategy[Any]]
    read: Callable[[Any, Path], None]
    errors: tuple[type[Exception], ...] = ()

    @staticmethod
    def write(case: Any, folder: Path) -> None:
        """Write the files of a case into a directory."""
        for name, content in (case if isinstance(case, dict) else {}).items():
            (folder / name).write_bytes(content)


def _json_files(examples: dict[str, Any]) -> Callable[[], Sequence[dict[str, bytes]]]:
    """Return a function that returns one case with a JSON file for each example."""
    return lambda: [{name: json.dumps(value).encode() for name, value in examples.items()}]


def _damaged_json(examples: dict[str, Any]) -> Callable[[], st.SearchStrategy[dict[str, bytes]]]:
    """Return a function that returns a strategy: one of some JSON files is damaged in structure or in its bytes."""

    @st.composite
    def damaged(draw: st.DrawFn) -> dict[str, bytes]:
        files = {name: json.dumps(value).encode() for name, value in examples.items()}
        name = draw(st.sampled_from(sorted(files)))
        structure = draw(st.integers(0, 4)) > 0
        strategy = mutated_json([examples[name]]) if structure else mutated_bytes([files[name]])
        content = draw(strategy)
        return files | {name: content.encode() if isinstance(content, str) else content}

    return damaged


# -- networks


@functools.cache
def network():
    """Return a network of one stage."""
    shape = StageShape(8, 4, groups=2, kernel=3)
    return random_network(np.random.default_rng(0), image=(8, 8), stages=(shape,), name="small")


@functools.cache
def network_parts() -> tuple[dict[str, Any], ...]:
    """Return descriptions: of version 1, with metadata, of version 2, and of version 3 with layers of every kind."""
    shared = random_network(
        np.random.default_rng(1), image=(8, 8), stages=(StageShape(8, 4, groups=8, kernel=3, shared=True),)
    )
    network().metadata.update(accuracy={"cifar10 test INT8": 82.5}, dataset="cifar10")
    return network_file.flatten(network()), network_file.flatten(shared), network_file.flatten(every_kind())


@functools.cache
def every_kind():
    """Return a graph with a layer of every kind."""
    for seed in itertools.count():
        graph = random_graph(np.random.default_rng(seed), steps=5)
        if {type(place.layer) for place in graph.places} >= {*get_args(Layer), Residual} - {Flatten}:
            return graph
    raise AssertionError


def network_bytes(text: str, tensors: dict[str, np.ndarray]) -> bytes:
    """Return a network file with a description."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return safetensors.numpy.save(contiguous, metadata={"psahw": text})


def valid_networks():
    """Return networks with and without a checksum."""
    return [{"n": network_bytes(json.dumps(config), tensors)} for config, tensors in network_parts()]


@st.composite
def damaged_networks(draw):
    """Damage a description, a header, or any bytes."""
    config, tensors = draw(st.sampled_from(network_parts()))
    match draw(st.integers(0, 3)):
        case 0 | 1:
            return {"n": network_bytes(draw(mutated_json([config])), tensors)}
        case 2:
            data = network_bytes(json.dumps(config), tensors)
            end = 8 + int.from_bytes(data[:8], "little")
            header = draw(mutated_json([json.loads(data[8:end])])).encode()
            return {"n": len(header).to_bytes(8, "little") + header + data[end:]}
        case _:
            return {"n": draw(with_edits(network_bytes(json.dumps(config), tensors)))}


def read_network(case, folder):
    """Run ``psahw info``, in this process, which must end with status 0, or 2 and one line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["info", str(folder / "n")])
    assert status in (0, 2), err.getvalue()
    assert all(line.isprintable() for line in (out.getvalue() + err.getvalue()).splitlines())
    if status:
        assert err.getvalue().count("\n") == 1
        raise UserError(err.getvalue().rstrip("\n"))


# -- plans and results


@functools.cache
def plan() -> dict[str, Any]:
    """Return a plan of the network as ``psahw plan --json`` prints it."""
    made = search.make(network(), DEVICES["xc7k160t"], clock_hz=100e6, bus_bytes=4, fps=20_000, rules=MAC_ONLY)
    return {"network": "small", "board": "marble"} | made.to_dict()


PNG = (  # one grey pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


def results() -> dict[str, Any]:
    """Return a result of each kind, by the name of its file."""
    return {
        "plan": plan(),
        "simulation": {
            "network": "small", "images": 20, "mismatched_logits": 0, "mismatched_classes": 0,
            "frame_interval": [7, 9], "frame_interval_predicted": 8, "latency": 12, "latency_predicted": 12,
            "stalls": False, "sim_cycles_per_second": 1234,
        },
        "evaluation": {
            "images": 30, "correct": 20, "accuracy": 66.7, "dataset": "sample",
            "confusion": np.eye(5, dtype=int).tolist(),
            "classes": [{"name": each, "images": 6, "precision": None, "recall": 50.0} for each in "abcde"],
            "worst": [
                {"index": 3, "right": "a", "answer": "b", "image": PNG},
                {"index": 4, "right": {"a": 1.5}, "answer": {"a": 2}, "row": {"area": 1.5}},
                {"index": 5, "right": "a", "answer": "c", "row": [1, 255]},
            ],
            "residuals": [{"name": "a", "right": [1.5, 2.5], "predicted": [0.0, 1e9]}],
        },
        "synth": {"resources": {"lut": 1234.0, "ff": 1, "dsp": 2, "bram36": 3.5}, "board": "marble"},
    }  # fmt: skip


def read_plan(case, folder):
    """Read a plan as ``--plan`` and ``--design`` do."""
    planning._choices(folder / "plan.json", network())
    designs.family_of(folder)


def read_results(case, folder):
    """Make a page of the results."""
    from psahw.network.summary import summarise
    from psahw.report.page import render

    read = {kind: reporting.read_result(kind, folder / kind, network()) for kind in results()}
    render(summarise(network()), {}, **read)


# -- projects and designs

MANIFEST = {
    "network": "small", "digest": "0" * 64, "top": "psahw_accelerator", "image": [8, 8], "colours": 3, "bus_bytes": 4,
    "classes": 5, "class_names": list("abcde"), "logit_bits": 16, "clock_hz": 100e6, "frame_interval": 83,
    "latency": 65, "settling_frames": 2, "stages": ["input", "embed"],
}  # fmt: skip
PROJECT = {
    "board": "marble", "network": "small", "link": {"kind": "uart", "baud": 3_000_000, "protocol": 1},
    "files": ["top.v"],
}  # fmt: skip
BUILD = {"board": "marble", "bitstream": "/x/top.bit", "met": True, "fmax_hz": 101.5e6, "clock_hz": 100e6}
VERILOG = b"""module psahw_accelerator(clk, counters__addr, counters__clear, counters__data);
  input clk;
  input [7:0] counters__addr;
  input counters__clear;
  output [31:0] counters__data;
endmodule
"""


def read_projects(case, folder):
    """Read a project as ``run --design`` and ``program`` do."""
    running._written_for(folder)
    running.simulated_board(folder)
    programming._bitstream(folder, None, lambda line: None)


def valid_designs():
    """Return a directory with manifest and Verilog."""
    return [{"manifest.json": json.dumps(MANIFEST).encode(), "accelerator.v": VERILOG}]


@st.composite
def damaged_designs(draw):
    """Damage the manifest, or the Verilog."""
    if draw(st.integers(0, 3)):
        return draw(_damaged_json({"manifest.json": MANIFEST})()) | {"accelerator.v": VERILOG}
    return valid_designs()[0] | {"accelerator.v": draw(with_edits(VERILOG))}


def read_designs(case, folder):
    """Read a design as ``simulate --design`` does."""
    design = load_design(folder)
    assert design.beats * design.bus_bytes == design.frame_bytes
    widths = counter_widths(design)
    assert all(0 < width < 10_000 for width in widths.values())


# -- pictures


@functools.cache
def valid_pictures() -> list[dict[str, bytes]]:
    """Return pictures of many formats and modes."""
    rng, cases = np.random.default_rng(0), []
    pixels = rng.integers(0, 256, (9, 11, 3), np.uint8)
    picture, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6
    grey16 = Image.fromarray(rng.integers(0, 65536, (9, 11), np.uint16))
    formats = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX", "SGI")
    turned = {"PNG": {"exif": exif}, "JPEG": {"exif": exif}, "WEBP": {"exif": exif}}
    pictures = [(picture, format, turned.get(format, {})) for format in formats]
    pictures += [(picture.convert("P"), "PNG", {"transparency": 3}), (picture.convert("RGBA"), "PNG", {})]
    pictures += [(grey16, "PNG", {}), (grey16, "TIFF", {}), (picture.convert("CMYK"), "TIFF", {})]
    pictures += [(picture, "GIF", {"save_all": True, "append_images": [picture, picture]})]
    pictures += [(picture, "TIFF", {"compression": "tiff_lzw"})]
    for image, format, options in pictures:
        image.save(content := io.BytesIO(), format, **options)
        cases.append({"picture": content.getvalue()})
    return cases


@st.composite
def damaged_pictures(draw):
    """Damage any bytes of a picture."""
    return {"picture": draw(mutated_bytes([case["picture"] for case in valid_pictures()]))}


def read_pictures(case, folder):
    """Read a picture as ``run`` does."""
    loaded = images.load(images.find([folder / "picture"]), (8, 8, 3))
    assert loaded.shape == (1, 8, 8, 3) and loaded.dtype == np.uint8


# -- data sets


@functools.cache
def valid_data() -> list[dict[str, bytes]]:
    """Return tables, an archive of arrays, and a folder of IDX files."""
    polars = pytest.importorskip("polars")
    rows = [(n * 1.5, n % 3, "ab"[n % 2]) for n in range(40)]
    frame, cases = polars.DataFrame(rows, schema=["x", "w", "y"], orient="row"), []
    writers = {"csv": frame.write_csv, "parquet": frame.write_parquet}
    writers["xlsx"] = lambda file: write_excel(file, [frame.columns, *rows])
    pixels, labels = np.arange(180, dtype=np.uint8).reshape(20, 3, 3), np.arange(20, dtype=np.uint8) % 2
    writers["npz"] = lambda file: np.savez(file, x=pixels, y=labels, classes=["even", "odd"])
    for suffix, write in writers.items():
        write(content := io.BytesIO())
        cases.append({f"data.{suffix}": content.getvalue()})
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    cases.append(dict(zip(names, map(idx_file, (pixels, labels, pixels, labels)), strict=True)))
    return cases


@st.composite
def damaged_data(draw):
    """Damage any bytes of one file."""
    files = draw(st.sampled_from(valid_data()))
    name = draw(st.sampled_from(sorted(files)))
    return files | {name: draw(mutated_bytes([files[name]]))}


def read_data(case, folder):
    """Read a data set as ``train`` does."""
    name = next(iter(case))
    table = name.endswith((".csv", ".parquet", ".xlsx"))
    source = datasets.Source(str(folder / name if "." in name else folder), target="y" if table else None)
    dataset = datasets.load(source)
    assert len(dataset.train_images) == len(dataset.train_labels) and dataset.train_images.dtype == np.uint8
    assert dataset.train_labels.max() < len(dataset.classes) >= 2


# -- recipes, logs, batches

RECIPE = {
    "jobs": {
        "teacher": {"command": "train", "arguments": ["--config", "tiny"]},
        "w8": {"command": "quantize", "arguments": ["{teacher}", "--bits", "8"], "after": ["teacher"]},
        "test": {"command": "evaluate", "arguments": ["{w8}"]},
    }
}
RESULT = {"job": ["train", "--config", "tiny"], "arguments": ["train"], "result": {"epochs": 1}}
EPOCH = {"event": "epoch", "time": 1.5, "epoch": 1, "loss": 2.5, "validation_accuracy": None}
BATCH = {
    "key": "k",
    "result": {
        "network": "small", "images": 8, "mismatched_logits": 0, "mismatched_classes": 0, "correct": 5,
        "accuracy": 62.5, "cycles": 900, "seconds": 0.5, "results": 8, "frame_interval": 83,
        "frame_interval_predicted": 83, "latency": 65, "latency_predicted": 65,
        "latency_all": [65, 70], "frames_counted": 8, "stage_stalls": {"input": 3},
        "mismatches": [], "stalls": False, "gap": [0, 0], "settling_frames": 2, "sim_cycles_per_second": 1800,
    },
}  # fmt: skip


def read_recipes(case, folder):
    """Read a recipe and the result of a job, as ``sweep`` does."""
    made = sweep.load(folder / "recipe.json", folder)
    for job in made.jobs.values():
        made.arguments(job)
        made.missing(job)


def valid_logs():
    """Return a log of three events, and one whose last line was interrupted."""
    lines = [json.dumps(event).encode() for event in ({"event": "start", "epoch": 0}, EPOCH, EPOCH | {"epoch": 2})]
    return [{"log.jsonl": b"\n".join(lines) + b"\n"}, {"log.jsonl": b"\n".join(lines) + b'\n{"event": "ep'}]


@st.composite
def damaged_logs(draw):
    """Damage an event, or any bytes."""
    (log, *_) = valid_logs()
    if draw(st.booleans()):
        return {"log.jsonl": draw(with_edits(log["log.jsonl"]))}
    return {"log.jsonl": log["log.jsonl"] + draw(mutated_json([EPOCH])).encode() + b"\n"}


def read_logs(case, folder):
    """Draw the curves of a run, as ``report`` does."""
    curves.training_charts({"run": curves.read_run(folder)})


def read_batches(case, folder):
    """Merge kept results of batches, as ``simulate --keep`` does."""
    from psahw.sim.result import problems

    result = batches._kept_result(folder / "batch.json", "k")
    problems(batches.merge({0: result, 8: result}))


# -- packets

HELLO = protocol.Hello(
    window=3, height=8, width=8, colours=3, classes=5, logit_bits=16, stages=2, clock_hz=100_000_000,
    frame_interval=83, latency=65, settling_frames=2, digest="ab" * 32, network="small", board="marble",
    build="psahw",
)  # fmt: skip


def packets() -> list[bytes]:
    """Return frames with a hello, a result and a counter."""
    result = np.array([1, 65, 0, 12345, 1, 2, 3, -4, 5], "<i4").tobytes()
    payloads = {protocol.Kind.HELLO: HELLO.pack(), protocol.Kind.IMAGE: result, protocol.Kind.COUNTER: bytes(4)}
    headers = {kind: bytes([protocol.ANSWER | kind]).ljust(protocol.header_bytes(kind), b"\0") for kind in payloads}
    return [frame(headers[kind] + payload) for kind, payload in payloads.items()]


@st.composite
def damaged_packets(draw):
    """Damage the bytes on the line, or a body within a good frame."""
    sent = packets()
    index = draw(st.integers(0, len(sent) - 1))
    if draw(st.booleans()):
        sent[index] = draw(with_edits(sent[index]))
    else:
        (body,) = FrameReader(2000).feed(sent[index])
        sent[index] = frame(draw(with_edits(body)))
    return b"".join(sent)


def read_packets(case, folder):
    """Take frames from a line, and take their bodies for a hello or a result, as the host does."""
    reader = FrameReader(protocol.longest_answer(5))
    for body in reader.feed(case):
        assert len(body) <= protocol.longest_answer(5)
        if (answer := protocol.parse(body)) is None:
            continue
        if answer.kind == protocol.ANSWER | protocol.Kind.HELLO:
            hello = protocol.Hello.unpack(answer.payload)
            assert hello.frame_bytes > 0 and 0 < hello.classes <= protocol.MAX_CLASSES
        elif answer.kind == protocol.ANSWER | protocol.Kind.IMAGE:
            assert protocol.Result.unpack(answer.payload, 5).class_index < 5
    if reader.broken:
        raise UserError("broken frames")


# -- options

OPTIONS: dict[str, tuple[list[str], Callable[[str], object]]] = {
    "engines": (["mac,serial", "mac:4x2", "serial:8,parallel"], Rules.parse),
    "engine": (["stages.1.*=serial:4", "head=mac,parallel"], lambda text: Rules.parse("mac", (text,))),
    "utilisation": (["0.7", "lut=0.5,dsp=1"], _utilisation),
    "set": (["seed=3", "betas=[0.9, 0.98]", "optimizer=adamw"], lambda text: parse_settings((text,))),
    "address": (["192.168.1.50", "10.0.0.9:50000"], lambda text: choose_link(boards.get("marble"), "udp", text)),
    "link": (["uart", "udp"], lambda text: choose_link(boards.get("kc705"), text)),
    "board": (["marble", "ULX3S-85f"], boards.get),
    "network": (["cifar10-psa", "absent.safetensors"], network_file.find),
    "recipe": (["claims", "recipe.json"], sweep.find),
}


def valid_options():
    """Return a value of each option."""
    return [(name, texts[0]) for name, (texts, _) in OPTIONS.items()]


@st.composite
def damaged_options(draw):
    """Damage the value of an option."""
    name = draw(st.sampled_from(sorted(OPTIONS)))
    return name, draw(mutated_text(OPTIONS[name][0]))


def read_options(case, folder):
    """Read the value of an option as the commands do."""
    name, text = case
    OPTIONS[name][1](text)


# -- configurations


@functools.cache
def configurations() -> dict[str, Any]:
    """Return configurations of every kind, by the names of their files."""
    from psahw.model.graphs.config import GraphConfig
    from psahw.model.presets import PRESETS

    named = {name: PRESETS[name].model for name in ("tiny", "pyramid", "conv", "mlp", "mixer", "resnet8")}
    graph = GraphConfig(series=named["mixer"].layers(), image=(32, 32), colours=3, classes=10)
    return {f"{name}.json": config.to_dict() for name, config in (named | {"graph": graph}).items()}


def _toml(config: dict[str, Any]) -> bytes:
    """Return a configuration as TOML. A list or table within it is written on its line."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return (
                "{" + ", ".join(f"{key} = {text(entry)}" for key, entry in value.items() if entry is not None) + "}"
            )
        return "[" + ", ".join(map(text, value)) + "]" if isinstance(value, list | tuple) else json.dumps(value)

    return "".join(f"{key} = {text(value)}\n" for key, value in config.items() if value is not None).encode()


def valid_configurations() -> list[dict[str, bytes]]:
    """Return configurations of every kind, in JSON and in TOML."""
    return [
        {name: json.dumps(config).encode() for name, config in configurations().items()},
        {name.replace(".json", ".toml"): _toml(config) for name, config in configurations().items()},
    ]


@st.composite
def damaged_configurations(draw):
    """Damage a file of either form, or a change of a field."""
    match draw(st.integers(0, 3)):
        case 0 | 1:
            return draw(_damaged_json(configurations())())
        case 2:
            name = draw(st.sampled_from(sorted(valid_configurations()[1])))
            return {name: draw(with_edits(valid_configurations()[1][name]))}
    changes = ["hidden=32", "activation=gelu", "channels=[16]", "image=[32, 32]", "patch_size=4"]
    return draw(mutated_text(changes))


def read_configurations(case, folder):
    """Read configurations as ``train --config`` and ``--shape`` do."""
    from psahw.model.presets import load_model_config

    if isinstance(case, str):
        load_model_config("tiny", [case])
        return
    for name in case:
        load_model_config(folder / name)


# -- names


@st.composite
def any_names(draw):
    """Draw names for a network and its classes."""
    special = ["cifar10-psa", 'a "b" \\c', "$x [exit] {y}", "a: {b: c} # d", "?" * 9 + "é\U0001f600"]
    text = st.one_of(st.sampled_from(special), st.text(max_size=12), mutated_text(special))
    return draw(text), tuple(draw(text) if draw(st.booleans()) else name for name in "abcde")


def _from_c(literal: str) -> bytes:
    """Return the bytes of a C string literal without its quotation marks, which may have octal escapes alone."""
    content, at = bytearray(), 0
    while at < len(literal):
        if literal[at] == "\\":
            content.append(int(literal[at + 1 : at + 4], 8))
            at += 4
        else:
            content.append(ord(literal[at]))
            at += 1
    return bytes(content)


def read_names(case, folder):
    """Name a network, and write its name into packages: it is refused, or cannot change what surrounds it."""
    import dataclasses

    name, classes = case
    try:
        named = dataclasses.replace(network(), name=name, output=Output("class", classes))
    except ValueError as error:
        raise UserError(str(error)) from None
    manifest = MANIFEST | {"network": named.name, "class_names": list(named.classes)}
    contents = Contents(boards.get("kc705"), manifest, None, "psahw_axi", ("axi.v",), ("a.mem",))  # type: ignore[arg-type]
    header = vitis._header(contents)
    (line,) = [line for line in header.splitlines() if '", "' in line]
    literals = line[line.index('"') + 1 : line.rindex('"')].split('", "')
    assert [_from_c(literal).decode() for literal in literals] == list(classes)
    core = yaml.safe_load(fusesoc.files(contents)["psahw.core"])
    assert core.keys() == _core_keys()
    network_file.save(named, folder / "named")
    assert (network_file.load(folder / "named").name, named.classes) == case
    (folder / "named").unlink()


@functools.cache
def _core_keys():
    """Return the keys of the FuseSoC description of a network with a plain name."""
    contents = Contents(boards.get("kc705"), MANIFEST, None, "psahw_axi", ("axi.v",), ("a.mem",))  # type: ignore[arg-type]
    return yaml.safe_load(fusesoc.files(contents)["psahw.core"]).keys()


READERS = [
    Reader("network", valid_networks, damaged_networks, read_network),
    Reader("model", valid_models, damaged_models, read_models),
    Reader("plan", lambda: _json_files({"plan.json": plan()})(), lambda: _damaged_json({"plan.json": plan()})(),
           read_plan),
    Reader("results", lambda: _json_files(results())(), lambda: _damaged_json(results())(), read_results),
    Reader("project", _json_files({"project.json": PROJECT, "build.json": BUILD}),
           _damaged_json({"project.json": PROJECT, "build.json": BUILD}), read_projects),
    Reader("design", valid_designs, damaged_designs, read_designs),
    Reader("picture", valid_pictures, damaged_pictures, read_pictures),
    Reader("data set", valid_data, damaged_data, read_data),
    Reader("recipe", _json_files({"recipe.json": RECIPE, "teacher.json": RESULT}),
           _damaged_json({"recipe.json": RECIPE, "teacher.json": RESULT}), read_recipes),
    Reader("log", valid_logs, damaged_logs, read_logs),
    Reader("batch", _json_files({"batch.json": BATCH}), _damaged_json({"batch.json": BATCH}), read_batches),
    Reader("packet", lambda: [b"".join(packets())], damaged_packets, read_packets,
           errors=(protocol.ProtocolError,)),
    Reader("option", valid_options, damaged_options, read_options),
    Reader("configuration", valid_configurations, damaged_configurations, read_configurations),
    Reader("name", lambda: [("small", tuple("abcde"))], any_names, read_names),
]  # fmt: skip
"""All readers."""
