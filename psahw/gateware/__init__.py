"""The components of an accelerator, and the arithmetic and memories that they are made of."""
