"""Kernels compiled in children: the same results, in the cache, and little memory in the process that uses them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from stores import write_study

_MODULE = """
import numpy as np
from numba import njit

@njit(cache=True)
def inner(x):
    return np.sqrt(x) + 1

@njit(cache=True)
def outer(x):
    return inner(x).sum()

@njit
def never_cached(x):
    return x + 1

@njit(cache=True)
def wrong(x):
    return x.there_is_no_such_thing
"""


def _run(script: str, folder: Path, **environment: str) -> str:
    (folder / "kernels.py").write_text(_MODULE)
    given = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache")} | environment
    head = "import numpy as np, kernels\nfrom mgsflow.compute import compile_apart as module\nmodule.compile_apart()\n"
    done = subprocess.run(
        [sys.executable, "-c", head + script],
        env=given, cwd=folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_kernel_is_compiled_by_a_child_and_loaded(tmp_path: Path) -> None:
    script = """
forks = []
plain = module.os.fork
module.os.fork = lambda: forks.append(1) or plain()
assert kernels.outer(np.full(4, 9.0)) == 16
assert kernels.outer(np.full(4, 9.0)) == 16
assert kernels.inner(np.full(1, 9.0)) == 4
assert kernels.never_cached(1) == 2
print(len(forks), sum(kernels.outer.stats.cache_hits.values()), sum(kernels.outer.stats.cache_misses.values()))
assert kernels.outer(np.full(4, 9, np.float32)) == 16
print(len(forks), module._apart)
"""
    assert _run(script, tmp_path) == "1 1 0\n2 True\n"
    assert _run(script, tmp_path) == "0 1 0\n0 True\n"


def test_what_a_child_cannot_do_is_done_or_told_here(tmp_path: Path) -> None:
    script = """
from numba.core.errors import TypingError
try:
    kernels.wrong(1)
except TypingError as error:
    print("no_such_thing" in str(error), module._apart)
module.compile_apart()
assert not module._apart
print(kernels.outer(np.full(4, 9.0)))
"""
    assert _run(script, tmp_path) == "True False\n16.0\n"


def test_a_child_that_hangs_is_given_up(tmp_path: Path) -> None:
    script = """
import time
from numba.core.dispatcher import Dispatcher
module._PATIENCE = 0.2
plain = module._in_child
module._in_child = lambda compile, *what: plain(lambda *_: time.sleep(60), *what)
print(kernels.outer(np.full(4, 9.0)), module._apart)
"""
    assert _run(script, tmp_path) == "16.0 False\n"


_STEPS = """\
    segment: {thresholds: [23100, 32500]}
    measures: [volume]
    permeability: {phase: pore, axes: z}  # the largest kernels
"""


@pytest.mark.slow
def test_no_worker_is_killed_for_what_it_compiles(small_scans: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path, small_scans, _STEPS, 48)
    done = subprocess.run(
        [sys.executable, "-m", "mgsflow.cli", "run", str(study), "--workers", "2", "--memory-limit", "400MiB"],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (peak,) = re.findall(r"peak memory (\d+) MiB a worker", done.stdout)
    assert int(peak) < 0.95 * 400  # where a nanny kills it
