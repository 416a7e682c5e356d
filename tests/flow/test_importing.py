"""Test `psahw.import_model` and its command: what is written, the comparison, the accuracy, and wrong use."""

import json
from dataclasses import replace

import numpy as np
import pytest

import psahw
from psahw.cli import main
from psahw.errors import CheckFailed, UserError
from psahw.flow import import_comparison, importing
from psahw.importing import inputs
from psahw.importing.comparison import compare
from psahw.importing.lowering import InputFormat, lower
from psahw.importing.reading import read_model
from psahw.importing.unsupported import Unsupported
from psahw.model.data import Source
from psahw.network import reference
from psahw.planner.graph_options import graph_layers
from tests.importing.onnx_models import FIRST, SECOND, node, save, two_layers

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


def by_hand(x):
    """Return codes of the model's outputs, whose unit is 2, for whole numbers (inputs, 4)."""
    hidden = np.clip(np.rint(np.maximum(x @ FIRST.astype(int), 0) / 2 / 4), 0, 255).astype(int)  # halves to even
    return hidden @ SECOND.astype(int)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Change to an empty directory with a model in it."""
    monkeypatch.chdir(tmp_path)
    two_layers(tmp_path / "m.onnx")
    return tmp_path


def test_command(here, capfd):
    assert main(["import", "m.onnx", "-o", "n.safetensors", "--exact", "--outputs", "a,b,c", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert (result["network"], result["source"], result["exact"]) == ("m", "ONNX", True)
    assert result["input_format"] == {"low": -128, "high": 127, "count": 256}
    comparison = result["comparison"]
    assert (comparison["tool"], comparison["inputs"], comparison["same_answers"]) == ("onnxruntime", 100, 100)
    assert comparison["first_different"] is None and comparison["outputs"]["values"] == 300
    network = psahw.load("n.safetensors")
    assert network.classes == ("a", "b", "c")
    assert network.metadata["imported"]["file"] == "m.onnx"
    x = np.random.default_rng(5).integers(-128, 128, (50, 4))
    logits = reference.run(network, (x + 128).astype(np.uint8).reshape(50, 1, 1, 4))
    np.testing.assert_array_equal(logits, by_hand(x))


def test_report(here, capfd):
    """Each operator has a line, and what is rounded is said."""
    assert main(["import", "m.onnx", "-o", "n.safetensors", "--check", "20"]) == 0
    out, err = capfd.readouterr()
    assert "m, from ONNX" in out and "exact, by 255 thresholds" in out
    assert "onnxruntime: the same class for " in out and out.endswith("wrote n.safetensors\n")
    assert [line.split("  ")[0] for line in err.splitlines()] == [
        "read the model", "find the integers", "compare with the other tool",
    ]  # fmt: skip


@pytest.mark.parametrize("bits, thresholds, multiplied", [(8, False, True), (8, True, False), (4, False, False)])
def test_thresholds(bits, thresholds, multiplied, here):
    """Thresholds replace a multiplier for few codes and on request; then adder graphs can compute the layer."""
    x = inputs(4).dense(FIRST.T, scale=0.3).relu().quantise(0.7 * 255 / ((1 << bits) - 1), bits=bits, signed=False)
    lowered = x.dense(SECOND.T).lowered("m", thresholds=thresholds)
    layers = [place.layer for place in lowered.network.linears()]
    assert (layers[0].multiplier is not None) == multiplied
    assert lowered.lines[-2].exact or multiplied
    assert ("dense1" in graph_layers(lowered.network)) == (not multiplied)


def test_no_comparison(here, monkeypatch):
    monkeypatch.setattr(import_comparison, "testify", None)
    assert psahw.import_model("m.onnx", "n.safetensors", check=0).comparison is None


def test_a_wrong_tensor(here, monkeypatch):
    """The first tensor that differs is found; an exact network whose outputs differ is not written."""
    testify = import_comparison.testify

    def wrong(*arguments):
        witness = testify(*arguments)
        witness.tensors["q1"][3, 0, 0, 1] += 8  # two codes
        witness.tensors["y"][3] += 10  # five codes
        return witness

    monkeypatch.setattr(import_comparison, "testify", wrong)
    with pytest.raises(
        CheckFailed,
        match=r"^n was not written: .* tensor 'q1' of layer .* differs first, in 1 of 14 values, by up to 2 codes",
    ):
        psahw.import_model("m.onnx", "n", exact=True, check=7)
    assert [path.name for path in here.iterdir()] == ["m.onnx"]

    def near(*arguments):
        """Round one value otherwise, as float32 may, with more to follow."""
        witness = testify(*arguments)
        witness.tensors["q1"][3, 0, 0, 1] += 4
        witness.tensors["y"][3] += 10
        return witness

    monkeypatch.setattr(import_comparison, "testify", near)
    assert psahw.import_model("m.onnx", "n", exact=True, check=7).comparison.outputs.largest == 5
    (here / "n").unlink()
    monkeypatch.setattr(import_comparison, "testify", wrong)
    lower = importing.lower

    def rounded(*arguments, **options):
        lowered = lower(*arguments, **options)
        return replace(lowered, lines=(replace(lowered.lines[0], exact=False), *lowered.lines[1:]))

    monkeypatch.setattr(importing, "lower", rounded)
    comparison = psahw.import_model("m.onnx", "n", check=7).comparison
    assert comparison.first_different.tensor == "q1"
    assert (comparison.outputs.different, comparison.outputs.largest) == (3, 5)


def test_sums_that_float32_rounds(tmp_path):
    """An output without a quantiser is compared as exactly as float32 sums of 784 products allow."""
    weight = np.random.default_rng(0).integers(-127, 128, (784, 10)).astype(np.int8)
    scales = {"xs": np.float32(0.0039), "ws": np.float32(0.0123)}
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"),
        node("DequantizeLinear", "xq xs xz", "xd"),
        node("DequantizeLinear", "w ws wz", "wd"),
        node("MatMul", "xd wd", "y"),
    ]
    constants = scales | {"w": weight, "xz": np.uint8(0), "wz": np.int8(0)}
    save(tmp_path / "m.onnx", nodes, [1, 784], constants)
    result = psahw.import_model(tmp_path / "m.onnx", tmp_path / "n")
    assert result.exact and result.comparison.equal
    weight[5, 3] += 100 if weight[5, 3] < 0 else -100  # is not explained by that
    other = save(tmp_path / "other.onnx", nodes, [1, 784], constants | {"w": weight})
    network, images = psahw.load(tmp_path / "n"), np.full((1, 1, 1, 784), 255, np.uint8)
    lowered = lower(read_model(tmp_path / "m.onnx"))
    witness = import_comparison.testify(other, read_model(other), lowered.input_format.values()[images])
    taps = {}
    logits = reference.run(network, images, taps=taps)
    assert compare(lowered, logits, taps, *witness, "y").outputs.different == 1


def test_means_that_float32_rounds(tmp_path):
    """Means of four codes, in units of 5 / 3 codes, are often in the middle between two, where float32 is not."""
    constants = {
        "in": np.float32(0.05), "out": np.float32(0.03), "zero": np.uint8(0), "zeros": np.int8(0),
        "w": np.random.default_rng(1).integers(-127, 128, (4, 5)).astype(np.int8), "one": np.float32(1),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x in zero", "xq"),
        node("DequantizeLinear", "xq in zero", "xd"),
        node("GlobalAveragePool", "xd", "g"),
        node("QuantizeLinear", "g out zero", "gq"),
        node("DequantizeLinear", "gq out zero", "gd"),
        node("Flatten", "gd", "f"),
        node("DequantizeLinear", "w one zeros", "wd"),
        node("MatMul", "f wd", "y"),
    ]
    save(tmp_path / "m.onnx", nodes, [1, 4, 2, 2], constants)
    result = psahw.import_model(tmp_path / "m.onnx", tmp_path / "n")
    first = result.comparison.first_different
    assert result.exact and first.layer == "g" and first.largest == 1 and first.different > 2


def test_random_inputs_are_of_the_bytes_in_use(here, monkeypatch):
    """With a format of three bytes, the inputs take all three numbers alike."""
    two_layers(here / "open.onnx", stated=False)
    seen = []
    testify = import_comparison.testify
    monkeypatch.setattr(import_comparison, "testify", lambda *given: (seen.append(given[2]), testify(*given))[1])
    psahw.import_model("open.onnx", "n", input_format=InputFormat(-1, 1, 3), check=100)
    numbers, counts = np.unique(seen[0], return_counts=True)
    assert numbers.tolist() == [-1, 0, 1] and counts.min() > 100


def test_inputs(here):
    """The numbers of a file are compared, and state the format that the model does not state."""
    two_layers(here / "open.onnx", stated=False)
    np.save("x.npy", np.linspace(-3, 9, 80, dtype=np.float32).reshape(20, 4))
    notes: list[str] = []
    result = psahw.import_model("open.onnx", "n", inputs="x.npy", check=15, log=notes.append)
    assert result.input_format == InputFormat(-3, 9) and "from -3 to 9" in notes[0]
    assert result.comparison.inputs == 15
    result = psahw.import_model("open.onnx", "n", inputs="x.npy", input_format=InputFormat(-8, 8, 17))
    assert result.input_format.step == 1 and result.comparison.inputs == 20


def _archive(path):
    with path.open("wb") as file:
        np.savez(file, x=np.ones((1, 4)))


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda path: np.save(path, np.ones((3, 5))), "must have the shape (inputs, 1, 1, 4), not (3, 5)"),
        (
            lambda path: np.save(path, np.ones((2, 4, 1, 1))),
            "must have the shape (inputs, 1, 1, 4), not (2, 4, 1, 1)",
        ),
        (lambda path: np.save(path, np.ones(4)), "must have the shape (inputs, 1, 1, 4), not (4,)"),
        (lambda path: np.save(path, np.ones((0, 4))), "must have the shape (inputs, 1, 1, 4), not (0, 4)"),
        (lambda path: np.save(path, np.array([[1, np.nan, 2, 3]])), "the number at [0, 0, 0, 1] is not finite"),
        (lambda path: np.save(path, np.array([["a", "b", "c", "d"]])), "must hold numbers, not <U1"),
        (lambda path: np.save(path, np.array([[None] * 4]), allow_pickle=True), "is not a .npy file of numbers"),
        (_archive, "must be a .npy file with one array"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), "is not a .npy file of numbers"),
        (lambda path: path.write_bytes(b""), "is not a .npy file of numbers"),
        (lambda path: path.mkdir(), "cannot read x.npy: "),
    ],
)
def test_bad_inputs(write, message, here, capfd):
    write(here / "x.npy")
    assert main(["import", "m.onnx", "-o", "n", "--inputs", "x.npy"]) == 2
    err = capfd.readouterr().err
    assert message in err.splitlines()[-1] and "Traceback" not in err
    assert not (here / "n").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["none.onnx", "-o", "n"], "cannot read none.onnx: No such file or directory"),
        (["m.onnx", "-o", "m.onnx"], "m.onnx is the model itself"),
        (["open.onnx", "-o", "n"], "give the lowest and the highest (--input LOW:HIGH)"),
        (["open.onnx", "-o", "n", "--input", "3"], "--input must be LOW:HIGH or LOW:HIGH:COUNT, not '3'"),
        (["open.onnx", "-o", "n", "--input", "3:1"], "LOW < HIGH, not 3:1"),
        (["open.onnx", "-o", "n", "--input", "0:1:1000"], "must be in [2, 256], not 1000"),
        (["m.onnx", "-o", "n", "--input", "0:1"], "m states the format of its input, -128.0:127.0: it cannot"),
        (["open.onnx", "-o", "n", "--inputs", "far.npy"], "the inputs do not fit into bytes: the input format must"),
        (["none.onnx", "-o", "m.onnx"], "cannot read none.onnx: No such file or directory"),
        (["m.onnx", "-o", "n", "--keep", "runs"], "m.onnx is quantised already: calibration, bits, and a"),
        (["m.onnx", "-o", "n", "--bits", "4"], "m.onnx is quantised already: calibration, bits, and a"),
        (["m.onnx", "-o", "n", "--calibration", "9"], "m.onnx is quantised already: calibration, bits, and a"),
        (["m.onnx", "-o", "n", "--outputs", "a,b"], "m has 3 outputs: give as many names, not 2"),
        (["m.onnx", "-o", "n", "--size", "3x3"], "--size needs --dataset PATH"),
        (["m.onnx", "-o", "n", "--dataset", "sample"], "sample"),
        (["m.onnx", "-o", "n", "--dataset", "svhn"], "svhn has (32, 32, 3) in 10; name one of the model's form"),
        (["m.onnx", "-o", "n", "--images", "5"], "images limits the test images of a dataset: name one"),
        (["text", "-o", "n"], "text is neither a TensorFlow Lite nor an ONNX model, or is damaged"),
        (["m.onnx", "-o", "none/n"], "cannot write none/n"),
    ],
)
def test_wrong_use(arguments, message, here, capfd):
    two_layers(here / "open.onnx", stated=False)
    np.save(here / "far.npy", [[-1e308, 1e308, 0, 0]])
    (here / "text").write_text("length,width\n1,2\n")
    before = sorted(here.iterdir()), (here / "m.onnx").read_bytes()
    assert main(["import", *arguments]) == 2
    err = capfd.readouterr().err
    assert message in err.splitlines()[-1] and "Traceback" not in err
    assert (sorted(here.iterdir()), (here / "m.onnx").read_bytes()) == before


@pytest.mark.parametrize(("output", "reason"), [("none/n", "No such file or directory"), ("here", "Is a directory")])
def test_nothing_is_computed_for_no_file(output, reason, here, monkeypatch):
    (here / "here").mkdir()
    monkeypatch.setattr(importing, "read_model", None)
    with pytest.raises(UserError, match=f"cannot write {output}: {reason}"):
        psahw.import_model("m.onnx", output)


def test_weights_of_nine_bits(here):
    """Codes minus their zero point need not fit int8; that does not make a float model."""
    constants = {
        "s": np.float32(0.5), "z": np.uint8(3), "w": np.arange(12, dtype=np.uint8).reshape(4, 3) * 20,
    }  # fmt: skip
    nodes = [node("QuantizeLinear", "x s z", "q"), node("QLinearMatMul", "q s z w s z s z", "y")]
    save(here / "wide.onnx", nodes, [1, 4], constants, output_type="UINT8")
    with pytest.raises(Unsupported, match="its weights are not integers of 8 bits"):
        psahw.import_model("wide.onnx", "n")


def test_a_float_model_with_other_bounds(here):
    """The message names the file."""
    pytest.importorskip("torch")
    ones = {"w": np.ones((64, 10), np.float32), "low": np.float32(0), "high": np.float32(1)}
    nodes = [node("Flatten", "x", "f"), node("MatMul", "f w", "m"), node("Clip", "m low high", "c")]
    save(here / "float.onnx", nodes, [1, 1, 8, 8], ones)
    with pytest.raises(Unsupported, match=r"^float.onnx: 1 operator is not supported:\n  c \(Clip\): a float model"):
        psahw.import_model("float.onnx", "n", dataset="digits", input_format=InputFormat(0, 1))


def test_flat(here):
    """A grid that the model flattens at once can be one row, which a circuit takes in a clock cycle."""
    from tests.importing.onnx_models import node, save

    constants = {"one": np.float32(1), "zero": np.int8(0), "shape": np.array([1, 4]), "w": FIRST}
    nodes = [
        node("QuantizeLinear", "x one zero", "q"), node("DequantizeLinear", "q one zero", "d"),
        node("Reshape", "d shape", "f"), node("DequantizeLinear", "w one zero", "wd"), node("MatMul", "f wd", "y"),
    ]  # fmt: skip
    save(here / "grid.onnx", nodes, [1, 1, 2, 2], constants)
    assert psahw.import_model("grid.onnx", "grid").comparison.equal
    assert psahw.load("grid").image == (2, 2)
    result = psahw.import_model("grid.onnx", "row", flat=True)
    network = psahw.load("row")
    assert (network.image, network.colours, result.comparison.equal) == ((1, 1), 4, True)
    logits = reference.run(network, np.array([128, 129, 127, 130], np.uint8).reshape(1, 1, 1, 4))
    np.testing.assert_array_equal(logits, [np.array([0, 1, -1, 2]) @ FIRST.astype(int)])
    two_layers(here / "row.onnx")
    assert psahw.import_model("row.onnx", "n", flat=True).comparison.inputs == 100  # it is one row already
    save(here / "pool.onnx", [node("GlobalAveragePool", "x", "y")], [1, 2, 2, 2])
    with pytest.raises(UserError, match="pool does not flatten its input of 2 x 2 x 2 at once"):
        psahw.import_model("pool.onnx", "n", flat=True, input_format=InputFormat(0, 1))


def test_accuracy(here):
    """Both accuracies are those of the answers that are computed by hand."""
    pixels = np.random.default_rng(1).integers(0, 256, (60, 1, 1, 4), dtype=np.uint8)
    labels = by_hand(pixels[:, 0, 0].astype(int) - 128).argmax(1)
    labels[:6] = (labels[:6] + 1) % 3  # six wrong of sixty
    np.savez("own.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    result = psahw.import_model("m.onnx", "n", exact=True, dataset="own.npz")
    figures = result.accuracy
    assert (figures.images, figures.network, figures.model, figures.same) == (60, 90.0, 90.0, 100.0)
    assert psahw.import_model("m.onnx", "n", dataset="own.npz", images=6).accuracy.model == 0.0
    with pytest.raises(UserError, match="m gives values; own has classes"):
        psahw.import_model("m.onnx", "n", dataset="own.npz", task="values")


def test_a_table(here):
    """The bytes of a network for a table stand for the numbers of its columns, also in later commands."""
    two_layers(here / "open.onnx", stated=False)
    x = np.random.default_rng(3).integers(-40, 60, (200, 4))
    x[0], x[1] = -40, 59
    kinds = by_hand(x).argmax(1)
    rows = [",".join(map(str, [*row, f"k{kind}"])) for row, kind in zip(x, kinds, strict=True)]
    (here / "rows.csv").write_text("\n".join(["a,b,c,d,kind", *rows]))
    source = Source("rows.csv", target="kind")
    form = InputFormat(-128, 127)
    result = psahw.import_model("open.onnx", "n", exact=True, input_format=form, dataset=source)
    assert (result.accuracy.network, result.accuracy.model, result.accuracy.same) == (100.0, 100.0, 100.0)
    assert psahw.evaluate("n", dataset=source).accuracy == 100.0
    spanned = psahw.import_model("open.onnx", "n", dataset=source).input_format
    assert spanned.low <= -40 and spanned.high >= 59


def test_a_float_model(here):
    """Training images choose its scales, and the float model is kept for `psahw quantize`."""
    pytest.importorskip("torch")
    from tests.importing.onnx_models import node, save

    rng = np.random.default_rng(6)
    constants = {"w": rng.normal(size=(4, 8)).astype(np.float32), "v": rng.normal(size=(8, 3)).astype(np.float32)}
    nodes = [
        node("MatMul", "x w", "h"),
        node("Relu", "h", "r"),
        node("MatMul", "r v", "y"),
        node("Softmax", "y", "p"),
    ]
    save(here / "float.onnx", nodes, [1, 4], constants)
    pixels = rng.integers(0, 256, (400, 1, 1, 4), dtype=np.uint8)
    outputs = np.maximum(pixels[:, 0, 0] / 255 @ constants["w"], 0) @ constants["v"]
    labels = (outputs - outputs.mean(0)).argmax(1)
    np.savez("own.npz", x_train=pixels, y_train=labels, x_test=pixels[:100], y_test=labels[:100])
    with pytest.raises(UserError, match=r"float\.onnx is a float model: name a dataset"):
        psahw.import_model("float.onnx", "n")
    result = psahw.import_model(
        "float.onnx", "n", dataset="own.npz", input_format=InputFormat(0, 1), calibration=50, float_directory="kept"
    )
    right = float((outputs[:100].argmax(1) == labels[:100]).mean() * 100)
    assert result.accuracy.model == pytest.approx(right, abs=1)  # but for ties in float32
    assert result.accuracy.same >= 97
    assert result.comparison is None and result.calibration.images == 50
    assert result.calibration.float_model.is_file() and result.dropped == ("Softmax p",)
    assert psahw.load("n").metadata["imported"]["source"] == "ONNX"
    with pytest.raises(UserError, match="inputs, flat, exact, thresholds and task are for quantised ones"):
        psahw.import_model("float.onnx", "n", dataset="own.npz", exact=True)
