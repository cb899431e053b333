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
def test_an_interrupt_that_python_drops_comes_again(number, lost, then):
    script = _LOST.format(number=number, lost=lost, then=then)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "lost\nstopped\n", "")


def test_what_was_there_before_is_there_again_and_other_threads_change_nothing(capsys):
    before = sys.unraisablehook, signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    assert (sys.unraisablehook, signal.getsignal(signal.SIGTERM)) == before
    seen = []

    def elsewhere():
        with stoppable():
            seen.append((sys.unraisablehook, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]
