"""Scans and clusters that several test files share, made once a process."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from stores import SHAPES, SMALL

from mgsflow.blocks import Box
from mgsflow.compute import current_client
from mgsflow.phantoms import cathode, write_tiff_stack

# times on a shared machine say nothing about the code
settings.register_profile("mgsflow", deadline=None)
settings.load_profile("mgsflow")


def pytest_collection_finish() -> None:
    """Keep the collector from going through all modules and tests again and again: kernels compile in less time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.fixture(autouse=True)
def _bounded(request: pytest.FixtureRequest) -> Iterator[None]:
    """Turn a test that waits for ever into one that fails."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    limit = 900 if request.node.get_closest_marker("slow") else 300

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"{request.node.name} took over {limit} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _no_client_left() -> Iterator[None]:
    """See that no test leaves a dask client as the current one: the next would work on it unawares."""
    yield
    assert current_client() is None


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cathode scans of different extent: TIFF stacks ``c0`` and ``c1``, and ``c0.npy`` … of float32."""
    return _scans(tmp_path_factory.mktemp("scans"), SHAPES)


@pytest.fixture(scope="session")
def small_scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The like of `scans`, a quarter of their size: where a study is run many times."""
    return _scans(tmp_path_factory.mktemp("small"), SMALL)


def _scans(folder: Path, shapes: dict[str, tuple[int, int, int]]) -> Path:
    for cycle, (name, shape) in enumerate(shapes.items()):
        image = cathode(shape, cycle=cycle, seed=1).image
        write_tiff_stack(image, folder / name)
        grey = image.read(Box.of(shape)).astype(np.float32)
        np.save(folder / f"{name}.npy", grey / np.float32(65535) - np.float32(0.1))
    return folder


def _workers(count: int) -> Iterator[Any]:
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, memory_limit=None, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
        # not the default client: tests that want threads must not find it
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def one_worker() -> Iterator[Any]:
    """A client of one worker process."""
    yield from _workers(1)


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Any]:
    """A client of two worker processes."""
    yield from _workers(2)
