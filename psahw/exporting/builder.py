"""Build an ONNX graph node by node."""

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..extras import require
from ..network.file import digest
from ..network.graph import Network

if TYPE_CHECKING:
    import onnx

__all__ = ["Builder"]

IR_VERSION = 9
"""Version of the file's structure, that of ONNX 1.14 (2023). Later ones have nothing that is needed here."""


class Builder:
    """The nodes and constants of an ONNX graph.

    Every tensor is called ``LAYER_ROLE``, where dots in the layer's name are underscores and the role has none. A
    network's layers differ also with underscores for dots, so that no two tensors have the same name.

    Parameters
    ----------
    layer
        The layer to which new nodes and constants belong.
    """

    def __init__(self) -> None:
        self._onnx = require("onnx")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._shapes: list[Any] = []
        self.layer = ""

    def name(self, role: str) -> str:
        """Return the name of a tensor of the layer."""
        return f"{self.layer.replace('.', '_')}_{role}"

    def constant(self, role: str, values: np.ndarray | np.generic) -> str:
        """Add a constant, and return its name."""
        name = self.name(role)
        self._constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(
        self,
        operator: str,
        *inputs: str,
        role: str = "",
        output: str = "",
        domain: str = "",
        shape: tuple[int, ...] | None = None,
        **attributes: Any,
    ) -> str:
        """Add a node, and return the name of its output.

        Parameters
        ----------
        operator
            The type of the node.
        inputs
            Names of its inputs.
        role
            Role of its output in the layer; the operator unless given. A layer has each role once.
        output
            Name of the output, if it has a name of its own.
        domain
            Domain of the operator; the standard one unless given.
        shape
            The output's shape, if it is float32 and the file shall state it.
        attributes
            The node's attributes.
        """
        helper = self._onnx.helper
        name = self.name(role or operator)
        output = output or name
        self._nodes.append(helper.make_node(operator, inputs, [output], name, domain=domain, **attributes))
        if shape is not None:
            self._shapes.append(helper.make_tensor_value_info(output, self._onnx.TensorProto.FLOAT, shape))
        return output

    def value(self, name: str, dtype: type[np.generic], shape: tuple[int | str, ...]) -> Any:
        """Return the description of an input or output. A length that is a string is any."""
        helper = self._onnx.helper
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    def model(
        self, network: Network, inputs: list[Any], outputs: list[Any], opsets: dict[str, int], description: str
    ) -> "onnx.ModelProto":
        """Return the model of a network, with what identifies the network as metadata.

        Raises UserError if the model is too large for a file.
        """
        helper = self._onnx.helper
        names = {value.name for value in outputs}
        shapes = [value for value in self._shapes if value.name not in names]
        graph = helper.make_graph(self._nodes, "network", inputs, outputs, self._constants, value_info=shapes)
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid(domain, number) for domain, number in opsets.items()],
            producer_name="psahw",
            producer_version=version("psahw"),
            doc_string=description,
        )
        output = network.output
        metadata = {
            "name": network.name,
            "digest": digest(network),
            "output": output.kind,
            output.words[1]: json.dumps(output.names, ensure_ascii=False),
        }
        if output.kind == "values":
            metadata |= {"scale": json.dumps(output.scale), "offset": json.dumps(output.offset)}
        helper.set_model_props(model, metadata)
        return model
