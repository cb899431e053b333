"""Ctrl-C, and the signal of batch systems and containers, as one interrupt that is not lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds after which an interrupt that was lost is sent again.
_AGAIN = 0.05


@contextmanager
def stoppable() -> Iterator[None]:
    """Have SIGINT and SIGTERM raise KeyboardInterrupt for the time of a ``with`` block, wherever they come.

    Python raises it in whatever the main thread is about, and drops it if that is a destructor, a callback of the
    garbage collector or one of a C library, as every exception there: a run would go on as if nobody had asked it to
    stop. What was dropped is sent again. Does nothing outside the main thread, which takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    main = threading.get_ident()
    sent: list[threading.Timer] = []
    before, hook = signal.signal(signal.SIGTERM, signal.default_int_handler), sys.unraisablehook

    def send_again(lost: sys.UnraisableHookArgs) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)
            return
        timer = threading.Timer(_AGAIN, signal.pthread_kill, (main, signal.SIGINT))  # to that thread: it may wait
        timer.daemon = True
        timer.start()
        sent.append(timer)

    sys.unraisablehook = send_again
    try:
        yield
    finally:
        for timer in sent:
            timer.cancel()
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)
