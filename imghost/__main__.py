"""Lets `python -m imghost` be the command."""

import sys

from imghost.cli import main

sys.exit(main())
