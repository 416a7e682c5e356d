"""Run the command line with ``python -m psahw``."""

import sys

from .cli import main

sys.exit(main())
