import signal
import subprocess
import sys
import threading

import pytest

from mgsflow.cli.stop import stoppable

_LOST = """
import ctypes, gc, os, signal, time
from mgsflow.cli.stop import stoppable

class Dropped:
    def __del__(self):
        interrupt()

def interrupt(*_):
    global left
    if left:
        left -= 1
        os.kill(os.getpid(), signal.{number})
        for _ in range(100):
            pass

@ctypes.CFUNCTYPE(None)
def called_back():
    interrupt()

def collect():
    gc.callbacks.append(interrupt)
    try:
        gc.collect()
    finally:
        gc.callbacks.clear()

left = 1
try:
    with stoppable():
        {lost}
        assert not left
        print("lost", flush=True)
        {then}
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("lost", ["Dropped()", "collect()", "called_back()"])
@pytest.mark.parametrize("then", ["time.sleep(60)", "__import__('threading').Event().wait()"])
def test_an_interrupt_that_python_drops_comes_again(number, lost, then, tmp_path):
    script = _LOST.format(number=number, lost=lost, then=then)
    assert _go(script, tmp_path) == (0, "lost\nstopped\n", "")


def _go(script, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_an_interrupt_that_was_taken_for_an_error_comes_at_the_next_check(tmp_path):
    script = """
import os, signal
from mgsflow.cli.stop import check, stoppable
try:
    with stoppable():
        check()
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(100):
                pass
        except BaseException:
            print("not there")
        check()
except KeyboardInterrupt:
    print("stopped")
with stoppable():
    check()
"""
    assert _go(script, tmp_path) == (0, "not there\nstopped\n", "")


def test_what_breaks_because_it_was_broken_off_is_an_interrupt(tmp_path):
    script = """
import os, signal
from mgsflow.cli.stop import stoppable

class HalfMade:
    def __del__(self):
        self.place

def interrupt():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):
            pass
    except KeyboardInterrupt:
        HalfMade()
        raise ValueError("half a file") from None

try:
    with stoppable():
        HalfMade()
        interrupt()
except KeyboardInterrupt as stopped:
    print("stopped", repr(stopped.__cause__))
with stoppable():
    raise ValueError("a whole file")
"""
    code, said, errors = _go(script, tmp_path)
    assert (code, said) == (1, "stopped ValueError('half a file')\n")
    assert errors.count("AttributeError: 'HalfMade'") == 1
    assert errors.endswith("ValueError: a whole file\n")


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    script = """
import os, signal
from mgsflow.cli.stop import stoppable
signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    with stoppable():
        os.kill(os.getpid(), signal.SIGINT)
        print("on", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        import time
        time.sleep(60)
except KeyboardInterrupt:
    print("stopped", signal.getsignal(signal.SIGINT).name, signal.getsignal(signal.SIGTERM).name)
"""
    assert _go(script, tmp_path) == (0, "on\nstopped SIG_IGN SIG_DFL\n", "")


def test_what_was_there_before_is_there_again_and_other_threads_change_nothing():
    before = sys.unraisablehook, signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert sys.unraisablehook is not before[0]
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert (sys.unraisablehook, signal.getsignal(signal.SIGTERM)) == before
    seen = []

    def elsewhere():
        with stoppable():
            seen.append((sys.unraisablehook, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]
