"""Networks as ONNX files for other tools.

`psahw.exporting.onnx_writer` writes the integer model in standard operators, so that any ONNX runtime computes the
same logits. The package onnx is imported only when it is used.
"""

from .onnx_writer import onnx_model

__all__ = ["onnx_model"]
