"""``python -m gateway`` is ``gochat-gateway``."""

from gateway.cli import main

main()
