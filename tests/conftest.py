"""Scans and clusters that several test files share, made once a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import SHAPES, SMALL

from mgsflow.blocks import Box
from mgsflow.phantoms import cathode, write_tiff_stack


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
            n_workers=count, threads_per_worker=1, memory_limit=None, dashboard_address=":0", silence_logs=50
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
