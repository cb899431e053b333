"""Workers that were left behind: other code than the client's computes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
from stores import write_study
from toys import square

import mgsflow
from mgsflow.compute import check_workers, completed
from mgsflow.compute.source import source_digest
from mgsflow.errors import ComputeError
from mgsflow.pipeline import run
from mgsflow.transport.diffusion.distributed.tortuosity import tortuosity_factor_in_blocks

HERE = Path(__file__).parent


@contextmanager
def worker_of(package: Path) -> Iterator[Any]:
    """A client of a worker process that finds this package first."""
    given = os.environ | {"PYTHONPATH": os.pathsep.join((str(package.parent), str(HERE), str(HERE.parent)))}
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        process = subprocess.Popen(
            [*command, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(package.parent)],
            env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=package.parent,
        )  # fmt: skip
        try:
            client.wait_for_workers(1, timeout=60)
            yield client
        finally:
            process.kill()
            process.wait()


def copy(folder: Path) -> Path:
    """Return a copy of the package."""
    package = folder / "mgsflow"
    shutil.copytree(Path(mgsflow.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def test_the_same_source_elsewhere_is_the_same(tmp_path: Path) -> None:
    with worker_of(copy(tmp_path)) as client:
        assert str(tmp_path) in client.run(_where).popitem()[1]
        check_workers(client)
        assert sorted(completed(square, range(5), client)) == [0, 1, 4, 9, 16]


def test_a_worker_of_another_source_computes_nothing(tmp_path: Path, small_scans: Path) -> None:
    package = copy(tmp_path)
    with (package / "kernel.py").open("a") as file:
        file.write("LATER = True\n")
    path = write_study(tmp_path / "study", small_scans, "plain", 64)
    labels = (np.random.default_rng(0).random((16, 16, 16)) < 0.8).astype(np.uint8)
    with worker_of(package) as client:
        assert str(tmp_path) in client.run(_where).popitem()[1]
        with pytest.raises(ComputeError, match=r"worker tcp://127.* runs another mgsflow .* same environment"):
            run(path, client)
        assert not path.with_suffix(".zarr").exists()
        # one that comes while a run is on
        with pytest.raises(ComputeError, match="a worker runs another mgsflow"):
            list(completed(square, range(5), client))
        with pytest.raises(ComputeError, match="a worker runs another mgsflow"):
            tortuosity_factor_in_blocks(labels, block=8, client=client)


def test_a_worker_without_this_package(tmp_path: Path) -> None:
    package = tmp_path / "mgsflow"
    package.mkdir()
    # what Python says where there is none; the one that is installed here would be found in its place
    (package / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'mgsflow'\")")
    with (
        worker_of(package) as client,
        pytest.raises(ComputeError, match=r"does not have this mgsflow .*No module named"),
    ):
        check_workers(client)


def test_the_digest_is_of_every_file_and_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mgsflow.compute.source as source

    package = copy(tmp_path)
    monkeypatch.setattr(source, "__file__", str(package / "compute" / "source.py"))
    digest = source_digest.__wrapped__
    before = digest()
    assert before == source_digest()
    (package / "cli" / "show.py").rename(package / "cli" / "seen.py")
    moved = digest()
    (package / "cli" / "seen.py").rename(package / "cli" / "show.py")
    (package / "notes.txt").write_text("no source")
    assert digest() == before != moved


def _where() -> str:
    import mgsflow

    return str(mgsflow.__file__)
