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

    @property
    def what(self) -> str:
        """Where the damage is, and what it is."""
        scan, *block = self.index or (None,)
        where = ("" if scan is None else f", scan {scan}") + (f", block {tuple(block)}" if block else "")
        return f"{self.path}{where}: {self.reason}"

    def __str__(self) -> str:
        return (
            f"{self.what}; run the study again, which computes it anew from its inputs (`mgsflow check` reads "
            "everything)"
        )


class MissingPart(DamagedData, KeyError):  # noqa: N818
    """An array of a block that is not there: damage, unless the caller knows that there may be none."""

    def __init__(self, path: str, index: tuple[int, ...] | None = None, reason: str = "it is missing") -> None:
        super().__init__(path, index, reason)

    __str__ = DamagedData.__str__


class StudyNotFound(FileNotFoundError, StoreError):  # noqa: N818
    """No study store at the given path."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DoesNotFit(MemoryError, MgsflowError):  # noqa: N818
    """The work needs more memory or disk than it was given; the message says what would fit."""


class ComputeError(MgsflowError, RuntimeError):
    """Work that was stopped by the cluster or the machine, not by its input."""
