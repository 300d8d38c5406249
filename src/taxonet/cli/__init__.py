"""The command line: one module a verb; heavy imports wait until a verb runs."""

from taxonet.cli.app import main

__all__ = ["main"]
