"""The networks that the authors of PSA published, converted to the format of psahw.

G. Singh and K. Bazargan, "Compressing Neural Networks Using Learnable 1-D Non-Linear Functions", ACM TRETS
18(2), 2025, doi 10.1145/3705926; MIT licence. The files are read from ``$PSAHW_REFERENCE`` or from
``../shared/reference`` next to the checkout, and never copied. Tests that need them are skipped if they are absent.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from psahw.network.graph import Network
from psahw.network.layers import Linear, Table, TokenMixing
from psahw.network.resmlp import Block, ChannelSublayer, Patch, ResMLP, Stage, TokenSublayer

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_CODES = np.arange(-128, 128)


def directory() -> Path:
    """Return the directory of the published files."""
    default = Path(__file__).parents[3] / "shared" / "reference"
    return Path(os.environ.get("PSAHW_REFERENCE", default))


def _rshift(value: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the rounded shift as the publication defines it, independent of `psahw.network.reference.rshift`."""
    half = value >> (shift.astype(int) - 1)
    return (half >> 1) + (half & 1)


def _linear(data: Any, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weight, bias and shift of a linear layer."""
    weight, shift = data[f"{name}_w"], data[f"{name}_s"]
    bias = data[f"{name}_b"].astype(np.int32) << shift
    return np.array(weight), bias, np.array(shift)


def _affine(data: Any, name: str) -> Table:
    """Return ``sat(rshift(x·w, s) + b)`` as one table for each channel."""
    product = _CODES[None] * data[f"{name}_w"].astype(int)[:, None]
    value = _rshift(product, data[f"{name}_s"][:, None]) + data[f"{name}_b"].astype(int)[:, None]
    return Table(np.clip(value, -128, 127).astype(np.int8))


def _block(data: Any, index: int, psa: bool) -> Block:
    """Return a block, with the PSA tables or with ReLU."""
    name = f"blocks_{index}"
    weight, bias, shift = _linear(data, f"{name}_token_mixer_linear")
    mixing = TokenSublayer(
        TokenMixing(weight[None], bias[None], shift[None]),
        table_in=_affine(data, f"{name}_token_mixer_affine_1"),
        table_out=_affine(data, f"{name}_token_mixer_affine_2"),
        table_residual=_affine(data, f"{name}_token_mixer_res_affine"),
    )
    linear1 = Linear(*_linear(data, f"{name}_mlp_linear_1"))
    if psa:
        table_in = Table(np.ascontiguousarray(data[f"{name}_mlp_psa_1_table"]))
        hidden = Table(np.ascontiguousarray(data[f"{name}_mlp_psa_2_table"]))
    else:
        table_in = None
        hidden = Table(np.tile(np.maximum(_CODES, 0).astype(np.int8), (linear1.outputs, 1)))
    mlp = ChannelSublayer(
        linear1,
        Linear(*_linear(data, f"{name}_mlp_linear_2")),
        table_in,
        hidden,
        table_residual=_affine(data, f"{name}_mlp_res_affine"),
    )
    return Block(mixing, mlp)


def convert(name: str) -> tuple[Network, np.ndarray]:
    """Return the network ``psa96`` or ``relu96``, and int8 logits of the first 1,000 CIFAR-10 test images.

    Raises FileNotFoundError if the published file is absent.
    """
    with np.load(directory() / f"{name}.npz", allow_pickle=False) as data:
        psa = "blocks_0_mlp_psa_1_table" in data
        form = ResMLP(
            name=name,
            image=(32, 32),
            input_table=np.ascontiguousarray(data["input_table"].T),
            patch=Patch(size=4, stride=4),
            embed=Linear(*_linear(data, "embed_linear")),
            stages=(Stage(tuple(_block(data, index, psa) for index in range(4))),),
            pool_shift=6,
            head=Linear(*_linear(data, "classifier_linear")),
            classes=CLASSES,
            metadata={"source": "doi:10.1145/3705926", "licence": "MIT"},
        )
        return form.network(), np.array(data["test_logits_first_1000"])
