"""The message for operators that are not supported: short, printable, and complete in its count."""

from psahw.errors import UserError
from psahw.importing.unsupported import Unsupported


def test_one_node():
    error = Unsupported([("lstm_0", "LSTM", "no state is kept")], "a.tflite")
    assert isinstance(error, UserError)
    assert str(error) == "a.tflite: 1 operator is not supported:\n  lstm_0 (LSTM): no state is kept"


def test_many_nodes_with_long_and_unprintable_text():
    nodes = [(f"\x1b[31m{index}", "X" * 1000, "because\nof " + "y" * 1000) for index in range(225)]
    error = Unsupported(nodes, "a.onnx")
    lines = str(error).split("\n")
    assert lines[0] == "a.onnx: 225 operators are not supported:"
    assert lines[1].startswith(r"  \x1b[31m0 (XXX") and r"because\nof yyy" in lines[1]
    assert lines[-1] == "  and 25 more" and len(lines) == 202
    assert max(map(len, lines)) <= 210 and all(line.isprintable() for line in lines)
    assert len(error.nodes) == 225
