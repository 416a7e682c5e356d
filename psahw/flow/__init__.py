"""The steps from a network to a checked circuit, as functions that return dataclasses.

``psahw`` offers the functions of these modules under its own name, and the command line is one of their users. None
of them prints anything. Long steps report through callables, all of them optional:

``step(title)``
    is called as each long step begins;
``progress(complete, total)``
    is called as the items of the current step are completed;
``log(line)``
    is called with what else is worth knowing.
"""
