"""TensorFlow Lite's operators with weights: convolutions and dense layers."""

import numpy as np

from .operators import Convolution, Flatten
from .tflite_file import Node
from .tflite_graph import CODES, Conversion, Damaged, Padding, Refused, padding_sum

__all__ = ["node_convolution", "node_dense", "windows"]


def _weights(graph: Conversion, index: int, axis: int, floats: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return weights, int8 codes or float64, and their float64 scale, or one for each position of an axis."""
    tensor = graph.tensors[index]
    if floats:
        if tensor.type in CODES and index not in graph.folded:
            raise Refused(f"its weights are {tensor.type} for float inputs, whose codes depend on the input")
        return graph.constant(index, "FLOAT32").astype(np.float64), np.ones(())
    codes, scale = graph.constant(index, "INT8", "UINT8"), graph.scale(tensor)
    if len(scale) > 1 and tensor.axis != axis:
        raise Refused(f"its weights must have scales along axis {axis}, not {tensor.axis}")
    if len(scale) not in (1, codes.shape[axis]):
        raise Refused(f"its weights must have 1 or {codes.shape[axis]} scales, not {len(scale)}")
    if tensor.type == "UINT8":
        zero = int(tensor.zero_point[0]) if len(tensor.zero_point) else 0
        if len(scale) > 1 or not 0 <= zero <= 255:
            raise Refused("its weights must have one zero point in [0, 255]")
        wide = codes.astype(np.int16) - np.int16(zero)
        if wide.min() < -128 or wide.max() > 127:
            raise Refused(f"its weights minus the zero point {zero} do not fit int8")
        codes = wide.astype(np.int8)
    elif tensor.zero_point.any():
        raise Refused("its weights must have the zero point 0")
    return codes, scale if len(scale) > 1 else scale.reshape(())


def _bias(graph: Conversion, node: Node, source: int, scale: np.ndarray, outputs: int) -> np.ndarray | None:
    """Return the bias as float64, or None. Codes count in units of the input's scale times the weights'."""
    if len(node.inputs) < 3 or (index := node.inputs[2]) < 0:
        return None
    quantiser = graph.quantiser(source)
    array = graph.constant(index, "FLOAT32" if quantiser is None else "INT32").astype(np.float64)
    if array.shape != (outputs,):
        raise Refused(f"its bias must have the shape [{outputs}], not {list(array.shape)}")
    if quantiser is None:
        return array
    unit, stated = quantiser.scale * scale, graph.scale(graph.tensors[index])
    if graph.tensors[index].zero_point.any():
        raise Refused("its bias must have the zero point 0")
    if len(stated) not in (0, 1, outputs) or (len(stated) and not np.allclose(stated, unit, rtol=0.02, atol=0)):
        raise Refused("the scale of its bias must be that of the input times that of the weights")
    return array * unit


def windows(node: Node, grid: tuple[int, int], size: tuple[int, int]) -> Padding:
    """Return the padding of windows, with an odd row below and an odd column to the right."""
    options = node.options
    stride = options.strideH, options.strideW
    if min(*stride, *size) < 1 or options.padding not in (0, 1):
        raise Damaged(f"{node.name} has the stride {stride}, the window {size} and the padding {options.padding}")
    if options.padding == 1:  # VALID
        return 0, 0, 0, 0
    totals = [
        max((-(-length // step) - 1) * step + window - length, 0)
        for length, step, window in zip(grid, stride, size, strict=True)
    ]
    return totals[0] // 2, -(-totals[0] // 2), totals[1] // 2, -(-totals[1] // 2)


def node_convolution(graph: Conversion, node: Node) -> None:
    """Add a convolution, with the padding in front of it."""
    options, depthwise = node.options, node.kind.startswith("DEPTHWISE")
    first = node.inputs[0] if node.inputs else -1
    padded = graph.padded.get(first)
    source = graph.source(node) if padded is None else padded.source
    rows, columns, channels = graph.shape(source)
    graph.same_type(node, source)
    if len(node.inputs) < 2 or node.inputs[1] < 0:
        raise Damaged(f"{node.name} has no weights")
    if (options.dilationHFactor, options.dilationWFactor) != (1, 1):
        raise Refused(f"dilation of {options.dilationHFactor} x {options.dilationWFactor}")
    floats = graph.quantiser(source) is None
    weight, scale = _weights(graph, node.inputs[1], 3 if depthwise else 0, floats)
    if weight.ndim != 4:
        raise Refused(f"its weights must have 4 axes, not {weight.ndim}")
    if depthwise:
        if weight.shape[0] != 1 or weight.shape[3] % channels:
            wanted = f"[1, rows, columns, a multiple of {channels}]"
            raise Damaged(f"the weights of {node.name} must be {wanted}, not {list(weight.shape)}")
        weight, groups = weight[0].transpose(2, 0, 1)[..., None], channels
    else:
        groups = channels // weight.shape[3]
        if groups * weight.shape[3] != channels or len(weight) % max(groups, 1):
            wanted = f"{channels} channels"
            raise Damaged(f"the weights of {node.name} do not fit {wanted}: {list(weight.shape)}")
    before = (0, 0, 0, 0) if padded is None else padded.padding
    grid = rows + before[0] + before[1], columns + before[2] + before[3]
    inner = windows(node, grid, (weight.shape[1], weight.shape[2]))
    padding = padding_sum(before, inner)
    bias = _bias(graph, node, source, scale, len(weight))
    parameters = {
        "weight": weight, "scale": scale, "bias": bias, "stride": (options.strideH, options.strideW),
        "padding": padding, "groups": groups,
    }  # fmt: skip
    graph.chain(
        node, (source,), [("", Convolution, parameters), *graph.ending(node, options.fusedActivationFunction)]
    )


def node_dense(graph: Conversion, node: Node) -> None:
    """Add a dense layer, in front of which an image is flattened."""
    source = graph.source(node)
    rows, columns, _ = graph.shape(source)
    graph.same_type(node, source)
    if len(node.inputs) < 2 or node.inputs[1] < 0:
        raise Damaged(f"{node.name} has no weights")
    if node.options.weightsFormat:
        raise Refused("its weights are shuffled")
    weight, scale = _weights(graph, node.inputs[1], 0, graph.quantiser(source) is None)
    if weight.ndim != 2:
        raise Damaged(f"the weights of {node.name} must have 2 axes, not {weight.ndim}")
    bias = _bias(graph, node, source, scale, len(weight))
    step = ("", Convolution, {"weight": weight[:, None, None, :], "scale": scale, "bias": bias})
    steps = [step, *graph.ending(node, node.options.fusedActivationFunction)]
    if graph.shape(graph.output(node))[:2] != (rows, columns):
        steps.insert(0, ("flatten", Flatten, {}))
    graph.chain(node, (source,), steps)
