"""The command line: each command reads arguments, calls the library, and says what came of it."""

from mgsflow.cli.app import main

__all__ = ["main"]
