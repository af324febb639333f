"""`python -m streaming.exchange`: the simulated exchange alone, without the stages' dependencies."""

import sys

from streaming.exchange.cli import main

sys.exit(main(sys.argv[1:]))
