"""Networks as ONNX files for other tools.

`psahw.exporting.onnx_writer` writes the integer model in standard operators, so that any ONNX runtime computes the
same logits. `psahw.exporting.qonnx_writer` writes the same network in float operators with quantisers, as FINN and
hls4ml read it. `psahw.exporting.execution` computes the logits of such models. The packages onnx, onnxruntime and
qonnx are imported only when they are used.
"""

from .onnx_writer import onnx_model
from .qonnx_writer import qonnx_model

__all__ = ["onnx_model", "qonnx_model"]
