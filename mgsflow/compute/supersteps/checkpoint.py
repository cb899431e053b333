"""Checkpoints of a solve on disk: whole or not there.

A checkpoint is a folder of one file a block and a manifest. Every file is written under another name and then renamed;
the manifest comes last, so that a folder without one is no checkpoint. The two latest are kept: the older serves
where the newer turns out to be damaged.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mgsflow.blocks import Triple
from mgsflow.errors import ComputeError, InputError

MANIFEST = "manifest.json"
KEPT = 2


class CheckpointDamaged(ComputeError):  # noqa: N818
    """A file of a checkpoint is not there, or not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is complete.

    Attributes
    ----------
    number : int
        Counts up over a solve, its resumptions included.
    folder : Path
    header : dict
        What the solve itself noted.
    """

    number: int
    folder: Path
    header: dict[str, Any]


class Checkpoints:
    """The checkpoints of one solve.

    Parameters
    ----------
    directory : path
        Where they are: a folder that all workers reach under the same name. Made if need be.
    key : str
        Identifies the problem: a solve never takes up what another left.
    every : float
        Seconds between two checkpoints: the most work that a failure costs, beside the running iteration.

    Raises
    ------
    InputError
        If the directory holds checkpoints of another problem.
    ComputeError
        If it cannot be made.
    """

    def __init__(self, directory: str | Path, key: str, every: float = 60.0) -> None:
        self.directory = Path(directory).resolve()
        self.key = key
        self.every = every
        self._last = time.monotonic()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ComputeError(f"no checkpoints can be kept in {directory}: {error.strerror}") from error
        found = self.found()
        self._number = found[0].number if found else 0

    def due(self) -> bool:
        """Tell whether it is time for the next checkpoint."""
        return time.monotonic() - self._last >= self.every

    def found(self) -> list[Checkpoint]:
        """Return the complete checkpoints, the latest first."""
        found = []
        for manifest in self.directory.glob(f"*/{MANIFEST}"):
            try:
                content = json.loads(manifest.read_text())
                whole = all((manifest.parent / name).stat().st_size == n for name, n in content["files"].items())
            except (OSError, ValueError, KeyError):
                continue  # damaged: as if it were not there
            if content["key"] != self.key:
                raise InputError(
                    f"{self.directory} holds checkpoints of another solve: give another directory, or remove it"
                )
            if whole:
                found.append(Checkpoint(content["number"], manifest.parent, content["header"]))
        return sorted(found, key=lambda c: c.number, reverse=True)

    def begin(self) -> Path:
        """Return a new folder for the blocks' files. No two calls return the same: a lost worker may still write."""
        self._number += 1
        attempt = 0
        while True:
            folder = self.directory / f"{self._number:06d}.{attempt}"
            try:
                folder.mkdir()
            except FileExistsError:
                attempt += 1
            except OSError as error:
                raise ComputeError(f"no checkpoint can be written in {self.directory}: {error.strerror}") from error
            else:
                return folder

    def commit(self, folder: Path, files: Mapping[str, int], header: Mapping[str, Any]) -> Checkpoint:
        """Write the manifest, and remove what is older than the two latest checkpoints."""
        content = {"key": self.key, "number": self._number, "files": dict(files), "header": dict(header)}
        _write_whole(folder / MANIFEST, json.dumps(content, indent=1).encode())
        _sync_folder(folder)
        _sync_folder(self.directory)
        kept = {c.folder for c in self.found()[:KEPT]}
        for other in self.directory.iterdir():
            if other.is_dir() and other not in kept:
                shutil.rmtree(other, ignore_errors=True)
        self._last = time.monotonic()
        return Checkpoint(self._number, folder, dict(header))

    def clear(self) -> None:
        """Remove all checkpoints: the solve has ended."""
        shutil.rmtree(self.directory, ignore_errors=True)


def write_block(folder: str | Path, index: Triple, arrays: Mapping[str, np.ndarray]) -> tuple[str, int]:
    """Write a block's arrays, and return the name and the size of the file."""
    path = Path(folder) / _name(index)
    new = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with open(new, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:
        raise ComputeError(f"checkpoint {path} cannot be written: {error.strerror}") from error
    return path.name, path.stat().st_size


def read_block(folder: str | Path, index: Triple) -> dict[str, np.ndarray]:
    """Return a block's arrays.

    Raises
    ------
    CheckpointDamaged
        If the file is not there or its checksums are wrong.
    """
    path = Path(folder) / _name(index)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointDamaged(f"checkpoint {path} cannot be read: {error}") from error


def _name(index: Triple) -> str:
    z, y, x = index
    return f"{z}.{y}.{x}.npz"


def _write_whole(path: Path, content: bytes) -> None:
    new = path.with_suffix(".tmp")
    try:
        with open(new, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:
        raise ComputeError(f"checkpoint {path} cannot be written: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    try:
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    except OSError:  # not every file system can
        return
