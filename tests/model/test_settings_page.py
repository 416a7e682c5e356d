"""docs/reference/training-settings.md has every field and preset, with its default."""

import dataclasses
import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from psahw.model.config import ConvConfig, ModelConfig, StageConfig, TrainConfig
from psahw.model.graphs import config, topologies
from psahw.model.presets import PRESETS

PAGE = (Path(__file__).parents[2] / "docs/reference/training-settings.md").read_text()
REQUIRED = object()
COMMON, NEURONS = "field of each topology", "field of the neurons"
KINDS = {
    topologies.Mlp: (COMMON, NEURONS, "field of `mlp`"),
    topologies.Autoencoder: (COMMON, NEURONS, "field of `autoencoder`"),
    topologies.Convolutional: (COMMON, NEURONS, "field of `convolutional`"),
    topologies.Mixer: (COMMON, NEURONS, "field of `mixer`"),
    topologies.ResNet: (COMMON, NEURONS, "field of `resnet`"),
    topologies.DepthwiseSeparable: (COMMON, NEURONS, "field of `depthwise_separable`"),
    config.GraphConfig: (COMMON, "field of `graph`"),
    ModelConfig: ("field",),
    StageConfig: ("field of a stage",),
    ConvConfig: ("field of `conv`",),
    TrainConfig: ("setting",),
}


def rows(first):
    """Return the rows of the table whose first heading is `first`, as lists of cells."""
    lines = iter(PAGE.splitlines())
    next(line for line in lines if line.startswith(f"| {first} |"))
    next(lines)
    table = []
    while (line := next(lines, "")).startswith("|"):
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def default(cell):
    return REQUIRED if cell == "required" else json.loads(cell.strip("`"))


def fields(kind):
    """Return the fields of a class and their defaults, as in JSON."""
    missing = (msgspec.NODEFAULT, dataclasses.MISSING)
    listed = msgspec.structs.fields(kind) if issubclass(kind, msgspec.Struct) else dataclasses.fields(kind)
    return {
        field.name: REQUIRED if field.default in missing else json.loads(json.dumps(field.default))
        for field in listed
        if field.name != "kind"
    }


@pytest.mark.parametrize("kind", KINDS)
def test_fields(kind):
    documented = {row[0].strip("`"): default(row[2]) for table in KINDS[kind] for row in rows(table)}
    assert documented == fields(kind)


def test_layers():
    documented = {}
    for layer, field, _, value, _ in rows("layer"):
        if layer:
            documented[layer.strip("`")] = of_layer = {}
        else:
            of_layer[field.strip("`")] = default(value)
    assert documented == {kind.__struct_config__.tag: fields(kind) for kind in get_args(config.AnyLayer)}


def test_presets():
    cells = [name for table in ("name | tokens", "name | kind") for row in rows(table) for name in row[0].split(", ")]
    assert {cell.strip("`") for cell in cells} | {"conv", "conv-large"} == set(PRESETS)


@pytest.mark.parametrize("row", rows("name | kind"), ids=lambda row: row[0])
def test_sizes_of_topologies(row):
    shape, targets = row[3].split(", ")
    height, width, colours = map(int, shape.split("x"))
    count, task = targets.split()
    form = {"image": (height, width), "colours": colours, "classes": int(count)}
    task = "class" if task == "classes" else task
    model = msgspec.structs.replace(PRESETS[row[0].strip("`")].model, **form, task=task)
    assert (row[1].strip("`"), row[4:]) == (
        model.__struct_config__.tag,
        [f"{model.macs():,}", f"{model.weights():,}"],
    )
