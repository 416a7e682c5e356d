"""The command line, as ``python -m psahw``."""

import sys

from .cli import main

sys.exit(main())
