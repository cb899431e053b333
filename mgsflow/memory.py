"""Bytes: reading them, saying them, and what a worker needs beside its blocks.

The planned peak of a worker is ``WORKER_BASE + threads × task``, where a task's bytes come from the kernels' own
`scratch` and from what zarr holds while it decodes and encodes a shard. Tests hold the plan against the measured
high-water mark of real workers.
"""

from __future__ import annotations

import os
import re
from math import ceil, nan, prod
from pathlib import Path

import psutil

from mgsflow.blocks import Triple
from mgsflow.errors import InputError

MIB = 1024**2

#: What a worker process holds before its first block: interpreter, numpy, zarr, distributed, numba and its
#: compiled kernels. Measured on CPython 3.11, x86-64 Linux, with kernels from numba's cache: 105 MiB of its own, and
#: 100 to 150 MiB of shared libraries, of which the kernel maps the more the fresher they are in its page cache.
WORKER_BASE = 288 * MIB

#: What the allocator keeps of freed chunks between the blocks of a long run, as a share of a task.
HOLES = 0.15

#: Share of its limit that a plan may fill: a dask worker is ended at 95 %.
USABLE = 0.9

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _UNITS |= {_letter: 1000**_power, f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power}


def parse_bytes(text: str | int) -> int:
    """Return the bytes in ``512MiB``, ``4 GB`` or a plain number.

    Raises
    ------
    InputError
        If the text is not a size.
    """
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].lower() not in _UNITS:
        raise InputError(f"{text!r} is not a size in bytes: write 512MiB, 4GB or a whole number")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def format_bytes(count: float) -> str:
    """Return a size with a binary unit and three digits: ``1.50 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def available() -> int:
    """Return the bytes this process may use: the machine's memory, or less where a control group says so."""
    limits = [psutil.virtual_memory().total]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup") / name
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):
            continue
    return min(limits)


def cores() -> int:
    """Return the number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_rss() -> int:
    """Return the most memory this process ever held, in bytes (0 where the system does not say)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0


def file_bytes() -> tuple[float, float]:
    """Return the bytes this process has read from files and written to them, cached ones too; NaN if none says."""
    try:
        counts = psutil.Process().io_counters()
        return float(counts.read_chars), float(counts.write_chars)
    except (AttributeError, psutil.Error):  # as on macOS
        return nan, nan


def decode_bytes(itemsize: int, chunk: Triple) -> int:
    """Return the bytes held while a box is read from a sharded zarr array, the result excluded.

    A few rows of chunks are asked for at a time (see `mgsflow.store.region`), six chunks or one row; each is there
    encoded, decoded and, at the edge of the box, cropped.
    """
    return 30 * prod(chunk) * itemsize


def write_bytes(core: Triple, itemsize: int, chunk: Triple) -> int:
    """Return the bytes held while a block is written as a shard, the block excluded.

    Noise does not compress: every encoded chunk is taken as large as the plain one, held once by itself and once in
    the joined shard. zarr also compares the voxels with the fill value: a byte each.
    """
    whole = prod(ceil(n / c) * c for n, c in zip(core, chunk))
    return whole * (2 * itemsize + 1) + decode_bytes(itemsize, chunk)
