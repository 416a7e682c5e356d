"""Small models of TensorFlow Lite, written through the schema's own objects."""

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = ["Builder"]

TYPES = {
    np.dtype(np.int8): "INT8", np.dtype(np.uint8): "UINT8", np.dtype(np.int32): "INT32", np.dtype(np.int16): "INT16",
    np.dtype(np.float16): "FLOAT16", np.dtype(np.float32): "FLOAT32",
}  # fmt: skip


class Builder:
    """A model in the making. Tensors are named by numbers, in the order in which they are added.

    Attributes
    ----------
    model, graph
        The schema's objects, which a test may change before it saves them.
    """

    def __init__(self):
        self.graph = schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[], name="main")
        self.model = schema.ModelT(
            version=3, operatorCodes=[], subgraphs=[self.graph], buffers=[schema.BufferT()], description="test"
        )

    def tensor(self, shape, dtype=np.int8, scale=None, zero_point=0, axis=0, data=None, name=None):
        """Add a tensor, a constant if it has data, and return its index."""
        buffer = 0
        if data is not None:
            buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT(data=np.frombuffer(data.astype(dtype).tobytes(), np.uint8)))
        quantization = None
        if scale is not None:
            scale = np.atleast_1d(np.float32(scale))
            zero_points = np.full(len(scale), zero_point, np.int64)
            quantization = schema.QuantizationParametersT(scale=scale, zeroPoint=zero_points, quantizedDimension=axis)
        index = len(self.graph.tensors)
        self.graph.tensors.append(
            schema.TensorT(
                shape=np.int32(shape),
                type=getattr(schema.TensorType, TYPES[np.dtype(dtype)]),
                buffer=buffer,
                name=name or f"t{index}",
                quantization=quantization,
            )
        )
        return index

    def constant(self, data, scale=None, zero_point=0, axis=0):
        """Add a constant, and return its index."""
        return self.tensor(data.shape, data.dtype, scale, zero_point, axis, data)

    def node(self, kind, inputs, outputs, options=None, **fields):
        """Add an operator, with the fields of its options."""
        code = schema.OperatorCodeT(builtinCode=getattr(schema.BuiltinOperator, kind), version=1)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        operator = schema.OperatorT(
            opcodeIndex=len(self.model.operatorCodes), inputs=np.int32(inputs), outputs=np.int32(outputs)
        )
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in fields.items():
                assert hasattr(operator.builtinOptions, name)
                setattr(operator.builtinOptions, name, value)
        self.model.operatorCodes.append(code)
        self.graph.operators.append(operator)

    def content(self, inputs, outputs):
        """Return the model as the content of a file."""
        self.graph.inputs, self.graph.outputs = np.int32(inputs), np.int32(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def save(self, path: Path, inputs, outputs):
        """Write the model to a file, and return its path."""
        path.write_bytes(self.content(inputs, outputs))
        return path
