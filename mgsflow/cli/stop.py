"""Ctrl-C, and the signal of batch systems and containers, as one interrupt that is not lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Seconds after which an interrupt that was lost is sent again.
_AGAIN = 0.05

#: Signals that raised an interrupt in the block that is on.
_raised: list[int] = []


@contextmanager
def stoppable() -> Iterator[None]:
    """Have SIGINT and SIGTERM raise KeyboardInterrupt for the time of a ``with`` block, wherever they come.

    Python raises it in whatever the main thread is about, and drops it if that is a destructor, a callback of the
    garbage collector or one of a C library, as every exception there: a run would go on as if nobody had asked it to
    stop. What was dropped is sent again. What breaks because it was broken off is not told: it ends in
    KeyboardInterrupt, too.

    Does nothing outside the main thread, which alone takes signals, nor with signals that are ignored, as Ctrl-C is in
    what a shell starts in the background.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    main, hook = threading.get_ident(), sys.unraisablehook
    sent: list[threading.Timer] = []
    heeded = {n: h for n in (signal.SIGINT, signal.SIGTERM) if (h := signal.getsignal(n)) is not signal.SIG_IGN}

    def stop(number: int, frame: FrameType | None) -> None:
        _raised.append(number)
        raise KeyboardInterrupt

    def unraisable(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            number = _raised[-1] if _raised else signal.SIGINT
            timer = threading.Timer(_AGAIN, signal.pthread_kill, (main, number))  # to that thread: it may wait
            timer.daemon = True
            timer.start()
            sent.append(timer)
        elif not _raised:
            hook(lost)

    sys.unraisablehook = unraisable
    for number in heeded:
        signal.signal(number, stop)
    try:
        yield
    except Exception as error:
        if _raised:
            raise KeyboardInterrupt from error
        raise
    finally:
        for timer in sent:
            timer.cancel()
        for number, handler in heeded.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
        _raised.clear()


def check() -> None:
    """Raise the interrupt that came and did not arrive: modules that look for what is optional take any error."""
    if _raised:
        raise KeyboardInterrupt
