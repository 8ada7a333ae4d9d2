"""`python -m weighbridge.cli`: the same as `weigh`."""

from weighbridge.cli.app import main

main()
