"""Compiling kernels in a process of its own, so that a worker's memory is that of its blocks.

What LLVM and numba hold of all they ever compiled stays in the process: 360 MiB for a study with every step, on a
machine where nothing is in numba's cache yet. A worker would pass its plan, be killed for it and started anew, again
and again. So a worker that misses a kernel forks; the child compiles it into the cache and ends, and the worker loads
it from there, which takes a tenth of the memory.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any

import distributed

#: Seconds after which a child that compiles is given up: it may wait for a lock that nobody holds in it.
_PATIENCE = 180.0

_PARENT_DEATH = 1  # PR_SET_PDEATHSIG

#: Whether this process was asked to compile in children, and whether it does: not in a child, nor if it was of no use.
_asked = _apart = False


def compile_apart() -> None:
    """Have this process compile in children from now on; on Linux, elsewhere nothing."""
    global _asked, _apart
    if _asked or not sys.platform.startswith("linux"):
        return
    from numba.core.caching import FunctionCache
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.dispatcher import Dispatcher

    plain = Dispatcher.compile

    def compile(dispatcher: Any, signature: Any) -> Any:
        if _apart and isinstance(dispatcher._cache, FunctionCache) and isinstance(signature, tuple):
            with global_compiler_lock:
                if signature not in dispatcher.overloads and not _cached(dispatcher, signature):
                    _in_child(plain, dispatcher, signature)
        return plain(dispatcher, signature)  # loads it; or compiles it here, if the child could not

    Dispatcher.compile = compile  # type: ignore[assignment, method-assign]
    _asked = _apart = True


def compile_apart_on_worker() -> None:
    """Do so where this is a task on a worker with a nanny, which kills it for its memory; and one that has numba."""
    if not _asked and "numba" in sys.modules and distributed.get_worker().nanny is not None:
        compile_apart()


def _cached(dispatcher: Any, signature: tuple[Any, ...]) -> bool:
    cache = dispatcher._cache
    try:
        return cache._index_key(signature, dispatcher.targetctx.codegen()) in cache._cache_file._load_index()
    except (AttributeError, OSError):  # a numba that keeps its index otherwise, a disk that fails: it is compiled here
        return True


def _in_child(compile: Any, dispatcher: Any, signature: tuple[Any, ...]) -> None:
    global _apart
    child = os.fork()
    if not child:
        try:
            _apart = False
            ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
            compile(dispatcher, signature)
        finally:  # of this process: whatever went wrong, the parent will see for itself
            os._exit(0)
    given_up = time.monotonic() + _PATIENCE
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > given_up:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.005)
    _apart = _cached(dispatcher, signature)  # if it is of no use, not a second time
