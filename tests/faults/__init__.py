"""Faults injected into every command: kills, full disks, and wrong input files.

Afterwards each output is the old one or the new one, no process and no temporary file is left, and the next run
works.
"""
