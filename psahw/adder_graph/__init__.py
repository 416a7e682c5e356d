"""Multiplication by a constant matrix as a graph of shifts and additions."""

from .solver import Adder, Graph, Output, solve, solve_all

__all__ = ["Adder", "Graph", "Output", "solve", "solve_all"]
