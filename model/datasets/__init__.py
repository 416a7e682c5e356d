"""Data sets from files: one module per kind of file, and the rules that they share.

`psahw.model.data.load` chooses the module by what the user has named.
"""
