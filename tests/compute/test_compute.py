"""Passes over blocks, and the running of many tasks on threads and on clusters that lose workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import differences, write_study
from toys import BoxSum, Held, Kept, Liar, Place, Steps, die, die_once, noted, refuse, square

from mgsflow.blocks import Box, Grid
from mgsflow.compute import (
    Output,
    Pass,
    completed,
    connect,
    current_client,
    indices,
    worker_peaks,
)
from mgsflow.errors import ComputeError, InputError, InputNotFound, MgsflowError
from mgsflow.pipeline import run

cuts = st.tuples(*[st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)] * 3)


def volume(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 1000, shape).astype(np.uint16)


def empty(shape: tuple[int, ...], dtype: Any) -> Held:
    return Held(np.full(shape, 77, dtype))


# ------------------------------------------------------------------------------------------------------- one pass


@settings(max_examples=40, deadline=None)
@given(cuts, st.randoms())
def test_a_pass_with_outputs_on_the_way_is_the_whole(cuts: tuple, order: Any) -> None:
    grid = Grid(cuts)
    source = Held(volume(grid.shape))
    chain = (BoxSum((1, 0, 2)), Place(), BoxSum((0, 1, 1)))
    middle, last, copy = empty(grid.shape, np.int64), empty(grid.shape, np.int64), empty(grid.shape, np.uint16)
    on_input, on_middle, on_last = Kept(), Kept(), Kept()
    work = Pass(
        source,
        grid,
        chain,
        (
            Output(0, copy, ((Steps(), on_input),)),
            Output(2, middle, ((Steps(), on_middle),)),
            Output(3, last),
            Output(3, None, ((Steps(), on_last),)),
        ),
    )
    todo = list(indices(grid))
    order.shuffle(todo)
    assert [work.run(i) for i in todo] == todo
    one = chain[0](source.array)
    two = chain[1](one)
    three = chain[2](two)
    assert np.array_equal(copy.array, source.array)
    assert np.array_equal(middle.array, two)
    assert np.array_equal(last.array, three)
    for kept, stage in ((on_input, source.array), (on_middle, two), (on_last, three)):
        assert len(kept.found) == len(grid)
        assert sum(kept.found.values()).tolist() == Steps.whole(stage)  # type: ignore[attr-defined]
    for box in source.reads:  # no more is read than declared
        assert Box.of(grid.shape).contains(box)
    assert work.halo == (2, 2, 4)


def test_a_pass_reads_each_block_once_and_with_its_halo() -> None:
    source = Held(volume((10, 9, 8)))
    grid = Grid.regular(source.shape, 4)
    work = Pass(source, grid, (BoxSum((1, 1, 1)),), (Output(1, empty(source.shape, np.int64)),))
    for index in indices(grid):
        work.run(index)
    assert source.reads == [b.outer for b in grid.blocks(1)]


def test_a_kernel_that_lies_spoils_the_result() -> None:
    source = Held(volume((8, 8, 16)))
    sink = empty(source.shape, np.int64)
    work = Pass(source, Grid.regular(source.shape, 8), (Liar((1, 1, 2)),), (Output(1, sink),))
    for index in indices(work.grid):
        work.run(index)
    wrong = sink.array != Liar((1, 1, 2))(source.array)
    assert wrong.any()
    assert sorted(set(np.argwhere(wrong)[:, 2])) == [7, 8] or set(np.argwhere(wrong)[:, 2]) <= {6, 7, 8, 9}


def test_memory_counts_the_halo_and_what_comes_out() -> None:
    source = Held(volume((20, 20, 20)))
    grid = Grid.regular(source.shape, 10)
    plain = Pass(source, grid, (), (Output(0, empty(source.shape, np.uint16)),)).memory()
    haloed = Pass(source, grid, (BoxSum((2, 2, 2)),), (Output(1, empty(source.shape, np.int64)),)).memory()
    assert plain >= 2 * 10**3 * 2
    assert haloed >= 14**3 * (2 + 8)
    # the halo is clipped at the borders of the volume: a block that is all of it has none
    whole = Pass(source, Grid.regular(source.shape, 20), (BoxSum((9, 9, 9)),), ()).memory()
    assert whole == 20**3 * (2 + 8)


# -------------------------------------------------------------------------------------------------------- executor


@pytest.fixture(params=["threads", "cluster"])
def where(request: pytest.FixtureRequest) -> Any:
    """Keyword arguments of `completed`."""
    if request.param == "threads":
        return {"threads": 2}
    return {"client": request.getfixturevalue("two_workers")}


def test_every_item_is_done_once(where: Any) -> None:
    assert sorted(completed(square, range(50), **where)) == [n * n for n in range(50)]
    assert list(completed(square, [], **where)) == []
    assert list(completed(square, iter([7]), **where)) == [49]


def test_the_type_of_an_error_is_kept_and_the_rest_is_not_begun(where: Any) -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for n in range(1000):
            begun.append(n)
            yield n

    with pytest.raises(InputError, match="five is refused: take another"):
        list(completed(refuse, items(), **where))
    assert len(begun) < 100
    assert sorted(completed(square, range(3), **where)) == [0, 1, 4]  # what runs tasks is still fit


def test_a_caller_that_has_enough(where: Any, tmp_path: Path) -> None:
    results = completed(noted, ((str(tmp_path), n) for n in range(200)), **where)
    assert next(results) in range(10)
    results.close()
    time.sleep(0.3)  # what was under way ends
    after = len(list(tmp_path.iterdir()))
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == after < 40


def test_an_interrupt_of_the_driver(where: Any, tmp_path: Path) -> None:
    def driver() -> None:
        for count, _ in enumerate(completed(noted, ((str(tmp_path), n) for n in range(200)), **where)):
            if count == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        driver()
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) < 40


def test_an_interrupt_in_a_thread_s_work() -> None:
    def work(n: int) -> int:
        if n == 3:
            raise KeyboardInterrupt
        return n

    with pytest.raises(KeyboardInterrupt):
        list(completed(work, range(1000), threads=2))


def test_no_more_threads_than_told() -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def work(n: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1
        return n

    assert sorted(completed(work, range(60), threads=3)) == list(range(60))
    assert most[0] == 3


def test_both_workers_work(two_workers: Any, tmp_path: Path) -> None:
    list(completed(noted, [(str(tmp_path), n) for n in range(12)], client=two_workers))
    by = [file.read_text().split() for file in tmp_path.iterdir()]
    assert all(len(pids) == 1 for pids in by)
    assert len({pids[0] for pids in by}) == 2
    assert str(os.getpid()) not in {pids[0] for pids in by}


# --------------------------------------------------------------------------------------------------------- clusters


def cluster(**options: Any) -> Any:
    import distributed

    return distributed.LocalCluster(
        **{
            "n_workers": 2,
            "threads_per_worker": 1,
            "memory_limit": None,
            "dashboard_address": "127.0.0.1:0",
            "silence_logs": 50,
            **options,
        }
    )


@pytest.mark.slow
def test_a_current_client_is_found_and_left_open(small_scans: Path, tmp_path: Path) -> None:
    import distributed

    assert current_client() is None
    reference = write_study(tmp_path / "threads", small_scans, "otsu", 48)
    run(reference, threads=1)
    with cluster(processes=False) as made, distributed.Client(made) as client:
        assert current_client() is client
        with connect() as found:
            assert found is client
        seen = list(completed(_worker_name, range(6)))
        assert set(seen) == {"worker"}
        path = write_study(tmp_path / "client", small_scans, "otsu", 48)
        run(path)
        assert client.status == "running"
        assert client.submit(square, 3).result() == 9
    assert current_client() is None
    assert differences(reference.with_suffix(".zarr"), path.with_suffix(".zarr")) == []
    assert set(completed(_worker_name, range(6), threads=2)) == {"none"}


def _worker_name(n: int) -> str:
    import distributed

    try:
        distributed.get_worker()
    except ValueError:
        return "none"
    return "worker"


def test_a_client_given_is_taken_before_the_current_one(two_workers: Any) -> None:
    import distributed

    with cluster(n_workers=1, processes=False) as made, distributed.Client(made):
        pids = set(completed(_pid, range(8), client=two_workers))
    assert os.getpid() not in pids
    assert two_workers.status == "running"


def _pid(n: int) -> int:
    return os.getpid()


def test_connect_to_a_scheduler_by_address_and_by_file(two_workers: Any, tmp_path: Path) -> None:
    address = two_workers.scheduler.address
    with connect(scheduler=address) as client:
        assert client.scheduler.address == address
        assert sorted(completed(square, range(5))) == [0, 1, 4, 9, 16]
    assert client.status == "closed"
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"type": "Scheduler", "address": address, "workers": {}}))
    with connect(scheduler_file=file) as client:
        assert client.scheduler.address == address
    assert two_workers.status == "running"
    assert two_workers.submit(square, 4).result() == 16  # the cluster is not ours to close


def test_connect_makes_workers_of_its_own_and_ends_them() -> None:
    with connect(workers=1, memory_limit="1GiB") as client:
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["nthreads"] == 1
        assert worker["memory_limit"] == 2**30
        (peak,) = worker_peaks(client).values()
        assert 2**25 < peak < 2**30
        (pid,) = client.run(os.getpid).values()
    assert client.status == "closed"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(("when", "presses"), [("_start", 1), ("_close", 1), ("_close", 2)])
def test_an_interrupt_waits_until_workers_are_started_or_closed_if_it_comes_once(
    when: str, presses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    made = []
    plain = getattr(distributed.LocalCluster, when)

    async def interrupted(cluster: Any) -> None:
        made.append(cluster)
        for _ in range(presses):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.2)
        await plain(cluster)

    monkeypatch.setattr(distributed.LocalCluster, when, interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), connect(workers=1):
            assert when == "_close"
        assert (made[0].status.name == "closed") == (presses == 1)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
        monkeypatch.undo()
        made[0].close()


def test_without_arguments_it_is_threads_of_this_process() -> None:
    with connect() as client:
        assert client is None
    assert worker_peaks(None).keys() == {"this process"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"scheduler": "tcp://a:1", "workers": 2}, InputError, "one of --scheduler, --scheduler-file and --workers"),
        ({"scheduler": "tcp://a:1", "scheduler_file": "f"}, InputError, "one of"),
        ({"memory_limit": "1GiB"}, InputError, "give --workers too"),
        ({"workers": 0}, InputError, "at least 1, got 0"),
        ({"workers": 1, "memory_limit": "lots"}, InputError, "'lots' is not a size"),
        ({"scheduler_file": "none.json"}, InputNotFound, "no scheduler file at none.json"),
        ({"scheduler": "nonsense://x"}, MgsflowError, "nonsense"),
    ],
)
def test_connect_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message), connect(**arguments):
        pytest.fail("connected")


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    plain = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda *a, **k: plain(*a, **(k | {"timeout": 1})))
    with (
        pytest.raises(ComputeError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"),
        connect("tcp://127.0.0.1:9"),
    ):
        pytest.fail("connected")


# ------------------------------------------------------------------------------------------------------ lost workers


def test_a_worker_that_dies_in_mid_task_costs_nothing_but_time(tmp_path: Path) -> None:
    import distributed

    with cluster() as made, distributed.Client(made, set_as_default=False) as client:
        jobs = [(str(tmp_path / "died"), n) for n in range(12)]
        assert sorted(completed(die_once, jobs, client=client)) == [n * n for n in range(12)]
        assert (tmp_path / "died").exists()


def test_a_task_that_always_kills_its_worker_ends_the_run() -> None:
    import dask
    import distributed

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        cluster() as made,
        distributed.Client(made, set_as_default=False) as client,
    ):
        began = time.monotonic()
        with pytest.raises(ComputeError, match=r"again and again on the same block.*--memory-limit.*block:"):
            list(completed(die, range(8), client=client))
        assert time.monotonic() - began < 30
        assert client.status == "running"


@pytest.mark.slow
def test_a_worker_killed_during_a_run_changes_nothing(small_scans: Path, tmp_path: Path) -> None:
    import distributed

    reference = write_study(tmp_path / "threads", small_scans, "fixed", 32)
    blocks = run(reference, threads=2).blocks
    path = write_study(tmp_path / "cluster", small_scans, "fixed", 32)
    with cluster() as made, distributed.Client(made, set_as_default=False) as client:
        victims = list(client.run(os.getpid).values())[:1]

        def strike(step: str, scan: str, count: int, total: int) -> None:
            if step == "segment" and count == 5 and victims:
                os.kill(victims.pop(), signal.SIGKILL)

        summary = run(path, client=client, progress=strike)
        assert not victims
    assert summary.blocks == blocks
    assert differences(reference.with_suffix(".zarr"), path.with_suffix(".zarr")) == []


def test_a_cluster_that_is_closed_in_mid_run() -> None:
    import distributed

    made = cluster(n_workers=1)
    client = distributed.Client(made, set_as_default=False)
    try:
        results = completed(partial(_slow, 0.1), range(50), client=client)
        next(results)
        made.close()
        with pytest.raises(ComputeError):
            list(results)
    finally:
        client.close()
        made.close()


def _slow(seconds: float, n: int) -> int:
    time.sleep(seconds)
    return n
