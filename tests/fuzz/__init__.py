"""Fuzzing of everything that reads files, packets or options.

Each reader is given valid input that was damaged: flipped bits, missing and doubled pieces, and JSON with awkward
values. Whatever comes, the reader must succeed or raise UserError or CheckFailed with one printable line, within two
seconds of processor time and 500 MB of additional memory, and must leave no file behind.

`make fuzz` tries 10,000 cases for each reader, the test suite 200.
"""
