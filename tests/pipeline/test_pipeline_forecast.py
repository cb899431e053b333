"""Times and traffic of a plan: the sizes they follow from, and a rehearsal of a study's own steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import SMALL, write_study

from mgsflow.blocks import Grid
from mgsflow.errors import InputError
from mgsflow.pipeline import Capacity, Rates, plan, rehearse, run
from mgsflow.pipeline.planning.capacity import Needs
from mgsflow.pipeline.planning.forecast import forecast, longest
from mgsflow.pipeline.planning.rehearsal import WINDOWS, Rate, reads, voxels_of
from mgsflow.recipe import load

ONE = Capacity(1, 1, 2**33)


@dataclass(frozen=True)
class Work:
    grid: Grid
    halo: Any = 0


@dataclass(frozen=True)
class Named:
    name: str


@dataclass(frozen=True)
class AStep:
    """What a forecast asks of a step."""

    work: Any
    name: str = "filter"
    in_driver: bool = False
    specimen: Named = Named("cathode")


def rates(**rate: float) -> Rates:
    whole = {"start": 0.0, "voxel": 1e-6, "read": 2.0, "written": 1.0} | rate
    return Rates({("cathode", "filter"): Rate(**whole)}, 0.0, 1e-9, {})


@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    block=st.tuples(*[st.integers(1, 15)] * 3),
    halo=st.tuples(*[st.integers(0, 20)] * 3),
)
def test_what_blocks_read_is_what_their_boxes_hold(shape: Any, block: Any, halo: Any) -> None:
    grid = Grid.regular(shape, block)
    assert voxels_of(Work(grid, halo)) == sum(b.outer.size for b in grid.blocks(halo))
    lengths = [tuple(n[k] for n, k in zip(reads(Work(grid, halo)), b.index)) for b in grid.blocks()]
    assert lengths == [b.outer.shape for b in grid.blocks(halo)]


@given(sizes=st.lists(st.integers(1, 100), max_size=40), slots=st.integers(1, 9))
def test_the_busiest_thread(sizes: list[int], slots: int) -> None:
    found = longest(sizes, slots)
    busy = [0] * slots  # a thread that is free takes the next
    for size in sizes:
        busy[busy.index(min(busy))] += size
    assert found == max(busy)
    assert found >= max(sum(sizes) / slots, max(sizes, default=0))


def test_more_workers_take_less_time_until_there_are_no_more_blocks() -> None:
    step = AStep(Work(Grid.regular((64, 64, 64), 32)))

    def seconds(workers: int, **rate: float) -> float:
        found = forecast(step, replace(ONE, workers=workers), Needs(0), rates(**rate))  # type: ignore[arg-type]
        assert found is not None
        assert found.busy == pytest.approx(64**3 * 1e-6 + rate.get("start", 0.0))
        return found.seconds

    alone = 64**3 * 1e-6
    assert [seconds(n) for n in (1, 2, 3, 4, 8, 200)] == pytest.approx([alone * s / 8 for s in (8, 4, 3, 2, 1, 1)])
    assert seconds(2, start=1.5) == pytest.approx(alone / 2 + 1.5)


def test_what_does_not_get_faster() -> None:
    work, many = Work(Grid.regular((64, 64, 64), 32)), replace(ONE, workers=100)
    alone = 64**3 * 1e-6

    def seconds(step: AStep, given: Rates, bandwidth: float | None = None) -> float:
        found = forecast(step, many, Needs(0), given, bandwidth)  # type: ignore[arg-type]
        assert found is not None
        return found.seconds

    assert seconds(AStep(work, in_driver=True), rates()) == pytest.approx(alone)
    # the scheduler hands out a block in 0.1 s
    assert seconds(AStep(work), replace(rates(), task=0.1)) == pytest.approx(0.8)
    # 3 bytes a voxel through 100 kB a second
    assert seconds(AStep(work), rates(), 1e5) == pytest.approx(64**3 * 3 / 1e5)
    assert seconds(AStep(work, in_driver=True), rates(), 1e5) == pytest.approx(alone)  # nothing through the store
    assert forecast(AStep(work, name="unheard"), many, Needs(0), rates()) is None  # type: ignore[arg-type]


def test_a_plan_of_another_extent_is_that_of_such_scans(tmp_path: Path) -> None:
    steps = "    segment: {thresholds: [1, 2]}\n    tortuosity: {phases: [pore]}\n"
    for name in SMALL:  # sparse files: a plan reads no voxel
        for edge in (60, 500):
            with (tmp_path / f"{name}-{edge}.raw").open("wb") as file:
                file.truncate(edge**3 * 2)
    text = write_study(tmp_path, tmp_path, steps, 128).read_text()
    found = {}
    for edge in (60, 500):
        this = text
        for name in SMALL:
            raw = tmp_path / f"{name}-{edge}.raw"
            options = f"path: {raw}, options: {{shape: [{edge}, {edge}, {edge}], dtype: uint16}}"
            this = this.replace(f"path: {tmp_path / name}", options)
        path = tmp_path / f"of-{edge}.yaml"
        path.write_text(this.replace("store: study.zarr", f"store: of-{edge}.zarr"))
        found[edge] = load(path)
    room = Capacity(4, 1, 2**31)
    assert plan(found[60], room, edge=500).lines == plan(found[500], room).lines
    assert plan(found[60], room).lines != plan(found[500], room).lines


@pytest.mark.slow
def test_a_rehearsal_tells_all_steps(small_scans: Path, tmp_path: Path) -> None:
    steps = """\
    normalise: {reference: c1}
    filter:
    - median: {radius: 1}
    segment: {multi_otsu: true}
    particles: {phase: sulfur}
    tortuosity: {phases: [pore], axes: z}
    network: {phase: pore}
    rve: {sizes: [100, 200], solve: tortuosity}
"""
    recipe = load(write_study(tmp_path, small_scans, steps, 32))
    told: list[tuple[str, int]] = []
    found = rehearse(recipe, lambda step, scan, done, total: told.append((step, done)))
    assert found.unknown == {}
    assert told == [("rehearsal", k) for k in range(len(WINDOWS) + 1)]
    assert 0 < found.task < 0.1
    assert not recipe.store.exists()
    one = plan(recipe, ONE, found)
    assert one.untold == ()
    assert all(isfinite(line.expected.seconds) for line in one.lines if line.expected is not None)
    # noise of 16 bits hardly compresses, and is written once by the ingest
    ingest = next(line.expected for line in one.lines if line.step == "ingest")
    assert ingest is not None
    size = prod(next(line.shape for line in one.lines if line.step == "ingest"))
    assert size < ingest.written < 4 * size
    four = plan(recipe, replace(ONE, workers=4), found)
    assert four.expected.seconds < one.expected.seconds
    assert four.expected.busy == pytest.approx(one.expected.busy, rel=1e-3)  # but for the checksums
    assert plan(recipe, ONE, found, bandwidth=1000.0).expected.seconds > one.expected.seconds
    assert plan(recipe, ONE, found, edge=512).expected.seconds > one.expected.seconds


@pytest.mark.slow
def test_steps_that_cannot_be_rehearsed_are_told(tmp_path: Path) -> None:
    for name in SMALL:  # one grey value: there is nothing to part
        np.save(tmp_path / f"{name}.npy", np.full((40, 40, 40), 7, np.uint16))
    recipe = load(write_study(tmp_path, tmp_path, "otsu alone", 32, suffix=".npy"))
    found = rehearse(recipe)
    assert set(found.unknown) == {"cathode"}
    planned = plan(recipe, ONE, found)
    assert "segment" in planned.untold
    with pytest.raises(InputError):  # as a run would end
        run(recipe, threads=1)


@pytest.mark.slow
def test_a_phase_without_a_way_has_no_time(tmp_path: Path) -> None:
    layers = np.zeros((40, 40, 40), np.uint16)
    layers[::4] = 30000
    for name in SMALL:
        np.save(tmp_path / f"{name}.npy", layers)
    steps = "    segment: {thresholds: [10000, 40000]}\n    tortuosity: {phases: [CBD], axes: [z, y]}\n"
    recipe = load(write_study(tmp_path, tmp_path, steps, 32, suffix=".npy"))
    assert plan(recipe, ONE, rehearse(recipe)).untold == ("tortuosity_1_z",)
