"""The table of proofs."""

from . import buffers, links, products, streams, sums, tables
from .proof import Proof

__all__ = ["PROOFS", "Proof"]

PROOFS = {
    proof.name: proof for module in (streams, buffers, tables, sums, products, links) for proof in module.proofs()
}
"""All proofs by name."""
