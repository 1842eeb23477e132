# PYTHON_ARGCOMPLETE_OK (shells that complete every command look for this)
"""`python -m bot` is the command `toolbridge`."""

import sys

from bot.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
