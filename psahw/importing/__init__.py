"""Models of other tools: readers, and what becomes of their operators in a network.

A reader (`psahw.importing.onnx_reader`, `psahw.importing.tflite_reader`) turns a file into a `Model` of
`psahw.importing.operators`: operators on real numbers, with quantisers between them. `psahw.importing.arrays` makes
such a model from NumPy arrays. `psahw.importing.lowering` turns it into a `psahw.network.graph.Network`, and says for
each operator what it became and what is rounded.
"""

from .arrays import Tensor, inputs

__all__ = ["Tensor", "inputs"]
