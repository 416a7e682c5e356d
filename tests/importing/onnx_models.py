"""Small ONNX models for tests, and their comparison with onnxruntime or qonnx's executor."""

import numpy as np

from psahw.importing.onnx_check import tensors
from psahw.importing.onnx_reader import read
from psahw.importing.operators import evaluate

QONNX = "qonnx.custom_op.general"

FIRST = np.array([[3, -2], [1, 4], [-5, 0], [7, 6]], np.int8)  # (inputs, outputs), as MatMul has them
SECOND = np.array([[1, -1, 2], [-3, 2, 1]], np.int8)


def node(kind, inputs, output, domain="", **attributes):
    """Return a node with one output; its inputs are one text with spaces between."""
    import onnx

    return onnx.helper.make_node(kind, inputs.split(), [output], name=output, domain=domain, **attributes)


def save(path, nodes, shape, constants=None, *, output=None, dtype="FLOAT", opset=17, output_type="FLOAT"):
    """Write a model with the input ``x``, and return the path.

    Parameters
    ----------
    path
        Where to write it.
    nodes
        Its nodes; the last one gives its output unless ``output`` names another.
    shape
        Shape of the input, in which texts are open lengths.
    constants
        Arrays by name.
    """
    import onnx

    output = output or nodes[-1].output[0]
    graph = onnx.helper.make_graph(
        nodes,
        "test",
        [onnx.helper.make_tensor_value_info("x", getattr(onnx.TensorProto, dtype), shape)],
        [onnx.helper.make_tensor_value_info(output, getattr(onnx.TensorProto, output_type), None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    domains = {n.domain for n in nodes} - {""}
    imports = [onnx.helper.make_opsetid("", opset), *(onnx.helper.make_opsetid(d, 1) for d in domains)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def two_layers(path, *, stated=True):
    """Write a model of two dense layers with power-of-two scales: QDQ operators, as onnxruntime writes them.

    Inputs are whole numbers, weights are halves of `FIRST` and `SECOND`, and activations are unsigned multiples of 4.

    Parameters
    ----------
    path
        Where to write it.
    stated
        Whether the model has a quantiser for its input.
    """
    constants = {
        "w1": FIRST, "w2": SECOND, "one": np.float32(1), "half": np.float32(0.5), "four": np.float32(4),
        "zero": np.int8(0), "uzero": np.uint8(0),
    }  # fmt: skip
    nodes = (
        [node("QuantizeLinear", "x one zero", "xq"), node("DequantizeLinear", "xq one zero", "xd")] if stated else []
    )
    nodes += [
        node("DequantizeLinear", "w1 half zero", "w1d"),
        node("MatMul", f"{'xd' if stated else 'x'} w1d", "s1"),
        node("Relu", "s1", "r1"),
        node("QuantizeLinear", "r1 four uzero", "q1"),
        node("DequantizeLinear", "q1 four uzero", "d1"),
        node("DequantizeLinear", "w2 half zero", "w2d"),
        node("MatMul", "d1 w2d", "y"),
    ]
    return save(path, nodes, [1, 4], constants)


def agree(path, images, *, exact=False, tolerance=1e-5):
    """Check that all tensors of a model are as another interpreter computes them, and return the model.

    Parameters
    ----------
    path
        The ONNX file.
    images
        Real numbers of shape (images, rows, columns, channels).
    exact
        Whether the output must be equal, and not only the same within a tolerance.
    tolerance
        The largest relative difference.
    """
    model = read(path)
    expected, values = tensors(path, images), evaluate(model, images)
    assert model.output in expected and len(expected) > 1
    for name, reference in expected.items():
        size = max(np.abs(reference).max(), 1e-9)
        np.testing.assert_allclose(values[name], reference, rtol=tolerance, atol=tolerance * size, err_msg=name)
    if exact:
        np.testing.assert_array_equal(values[model.output], expected[model.output])
    return model
