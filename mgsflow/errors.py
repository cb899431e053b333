"""Errors that say what is wrong, where, and what to do.

Every error that a user can cause derives from `MgsflowError` and doubles a built-in, so that library code that
expects `FileNotFoundError` or `ValueError` still works. The command line turns them into one line and exit code 2.
"""

from __future__ import annotations


class MgsflowError(Exception):
    """Base of every error that mgsflow raises on purpose."""


class InputError(MgsflowError, ValueError):
    """A value, an array or a file's content that cannot be used."""


class InputNotFound(MgsflowError, FileNotFoundError):  # noqa: N818
    """A file or folder that was named is not there."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class RecipeError(MgsflowError, ValueError):
    """A study file that cannot be carried out; the message names the YAML path."""


class StoreError(MgsflowError, RuntimeError):
    """A store that cannot be read or written as asked."""


class DamagedData(StoreError):  # noqa: N818
    """Stored data that are not what was written: missing, truncated, altered, or of another block.

    Parameters
    ----------
    path : str
        Of the array or group in the store.
    index : tuple of int, or None
        Scan and block (z, y, x), where they are known.
    reason : str
        What is wrong.
    """

    def __init__(self, path: str, index: tuple[int, ...] | None, reason: str) -> None:
        super().__init__(path, index, reason)
        self.path, self.index, self.reason = path, index, reason

    def __str__(self) -> str:
        block = "" if self.index is None else f", scan {self.index[0]}, block {self.index[1:]}"
        return (
            f"{self.path}{block}: {self.reason}; run the study again, which computes it anew from its inputs "
            "(`mgsflow check` reads everything)"
        )


class StudyNotFound(FileNotFoundError, StoreError):  # noqa: N818
    """No study store at the given path."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DoesNotFit(MemoryError, MgsflowError):  # noqa: N818
    """The work needs more memory or disk than it was given; the message says what would fit."""


class ComputeError(MgsflowError, RuntimeError):
    """Work that was stopped by the cluster or the machine, not by its input."""
