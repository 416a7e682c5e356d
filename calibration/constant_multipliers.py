"""The baseline for the engines: a multiplication for every weight, and an adder tree for every output."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from psahw.architecture.codes import Codes
from psahw.architecture.ranges import dot_range, signed_bits
from psahw.gateware.arith import adder_tree, saturate
from psahw.gateware.stream import vector_signature

__all__ = ["ConstantMultipliers"]


class ConstantMultipliers(wiring.Component):
    """``y = sat(rshift(W·x + bias, shift))`` for every vector ``x`` of a stream.

    It is written as high-level synthesis of the unrolled loops would write it: nothing is shared, except by the
    synthesiser. There are registers after the products, after every level of the trees, after the bias, and at the
    output, and all of them move together, as in `psahw.gateware.adder_graph.AdderGraph`.

    Throughput: one vector per clock cycle. Latency: ``(inputs - 1).bit_length() + 3`` clock cycles.

    Parameters
    ----------
    weight : array of int
        Weights (outputs, inputs). Each row must have one that is not zero.
    bias : array of int
        Biases (outputs), in units of the accumulator.
    shift : array of int
        Shifts (outputs), from 0 to 31.
    out_bits : int
        Width of a result.

    Raises
    ------
    ValueError
        If a shape is wrong, or a row of ``weight`` has only zeros.

    Members
    -------
    i : In(stream)
        Vectors of int8.
    o : Out(stream)
        Vectors of ``out_bits`` bits.
    """

    def __init__(self, *, weight, bias, shift, out_bits=8):
        weight = np.asarray(weight, np.int64)
        if weight.ndim != 2 or not weight.any(axis=1).all():
            raise ValueError(f"weight must be (outputs, inputs) without rows of zeros, not {weight.shape}")
        for name, value in (("bias", bias), ("shift", shift)):
            if np.shape(value) != weight.shape[:1]:
                raise ValueError(f"{name} must have shape {weight.shape[:1]}, not {np.shape(value)}")
        self._weight, self._bias, self._shift, self._out_bits = weight, np.asarray(bias), np.asarray(shift), out_bits
        super().__init__(
            {
                "i": In(vector_signature(weight.shape[1])),
                "o": Out(vector_signature(len(weight), Codes(out_bits))),
            }
        )

    @property
    def latency(self) -> int:
        """Clock cycles from an input beat to its result."""
        return (self._weight.shape[1] - 1).bit_length() + 3

    def elaborate(self, platform):
        m = Module()

        en = ~self.o.valid | self.o.ready
        valid = Signal(self.latency - 1)
        m.d.comb += self.i.ready.eq(en)
        with m.If(en):
            m.d.sync += Cat(valid, self.o.valid).eq(Cat(self.i.valid, valid))

        for j, weights in enumerate(self._weight.tolist()):
            low, high = (int(limit) for limit in dot_range(self._weight[j]))
            products = []
            for i, w in enumerate(weights):
                value = self.i.payload[i] * Const(w, signed(signed_bits(w, w)))
                products.append(Signal(signed(len(value)), name=f"product_{j}_{i}", reset_less=True))
                with m.If(en):
                    m.d.sync += products[-1].eq(value)
            total = adder_tree(m, products, bits=signed_bits(low, high), name=f"sum_{j}", en=en)
            shift = int(self._shift[j])
            offset = int(self._bias[j]) + (1 << shift >> 1)
            rounded = Signal(signed(signed_bits(low + offset, high + offset)), name=f"rounded_{j}", reset_less=True)
            with m.If(en):
                m.d.sync += [
                    rounded.eq(total + offset),
                    self.o.payload[j].eq(saturate(rounded >> shift, Codes(self._out_bits))),
                ]

        return m
