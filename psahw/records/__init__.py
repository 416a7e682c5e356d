"""Figures as records: what was measured, estimated or quoted, with the command and the commit that it comes from.

``results/`` in the checkout holds our records, one JSON file per kind, and `PUBLISHED` those of others. The tables of
the README and the documentation are generated from them by ``make results``.
"""

from .schema import KINDS, PUBLISHED, Record, RecordError, Value, load, load_all, save, store

__all__ = ["KINDS", "PUBLISHED", "Record", "RecordError", "Value", "load", "load_all", "save", "store"]
