"""Lets `python -m imghost` be the command."""

import sys

from imghost.cli.main import main

sys.exit(main())
