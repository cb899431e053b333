"""Block stores and checkpoints: what comes back is what was put in, within the budget, whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from poisson import MakePoisson, conjugate_gradients, joined

from mgsflow.blocks import Grid
from mgsflow.compute.supersteps.block_store import DiskStore, MemoryStore
from mgsflow.compute.supersteps.checkpoint import MANIFEST, Checkpoints, read_block, write_block
from mgsflow.compute.supersteps.executor import SerialExecutor, run_to_end
from mgsflow.compute.supersteps.scratch_file import ScratchFile
from mgsflow.compute.supersteps.subdomain import FaceNeighbours
from mgsflow.errors import ComputeError, DoesNotFit, InputError

BLOCKS = [(0, 0, i) for i in range(3)]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(BLOCKS), st.sampled_from("ab"), st.sampled_from(["put", "edit", "read", "drop"]),
            st.integers(0, 40),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_a_disk_store_holds_what_a_memory_store_holds(actions: list[Any]) -> None:
    budget = 2 * 40 * 8
    memory, disk = MemoryStore(), DiskStore(budget)
    for step, (index, name, action, size) in enumerate(actions):
        ours, theirs = disk.arrays(index), memory.arrays(index)
        with disk.use(index), memory.use(index):
            assert (name in ours) == (name in theirs)
            if action == "put":
                ours[name] = np.arange(size) + step
                theirs[name] = np.arange(size) + step
            elif name in theirs:
                if action == "edit":
                    for array in (ours.edit(name), theirs.edit(name)):
                        array += 1
                elif action == "read":
                    assert np.array_equal(ours[name], theirs[name])
                else:
                    del ours[name], theirs[name]
        assert disk.counts().held <= disk.counts().peak <= budget
        assert disk.counts().total == memory.counts().total
    for index in BLOCKS:
        for name in "ab":
            if name in memory.arrays(index):
                with disk.use(index):
                    assert np.array_equal(disk.arrays(index)[name], memory.arrays(index)[name])
    disk.close()


def test_what_was_not_marked_as_changed_is_not_written_back() -> None:
    store = DiskStore(1000)
    store.arrays(BLOCKS[0])["a"] = np.zeros(100)
    store.arrays(BLOCKS[1])["a"] = np.ones(100)
    written = store.counts().written
    for _ in range(3):
        for block in BLOCKS[:2]:
            store.arrays(block)["a"]
    assert store.counts().written == written + 800  # the second one, once; the first was written before
    assert store.counts().read >= 5 * 800
    # the control of `edit`: a change that is not announced is lost with the memory
    store.arrays(BLOCKS[0])["a"][:] = 5
    store.arrays(BLOCKS[1])["a"]
    assert not store.arrays(BLOCKS[0])["a"].any()
    store.arrays(BLOCKS[0]).edit("a")[:] = 5
    store.arrays(BLOCKS[1])["a"]
    assert np.all(store.arrays(BLOCKS[0])["a"] == 5)


def test_what_one_block_uses_at_once_must_fit() -> None:
    store = DiskStore(1000)
    arrays = store.arrays(BLOCKS[0])
    with store.use(BLOCKS[0]):
        arrays["a"] = np.zeros(100)
        with pytest.raises(DoesNotFit, match="'b' of block"):
            arrays["b"] = np.zeros(100)


def test_scratch_is_used_again_and_has_no_name(tmp_path: Path) -> None:
    file = ScratchFile(tmp_path)
    assert list(tmp_path.iterdir()) == []
    places = [file.write(np.full(1000, i)) for i in range(3)]
    size = file.size
    file.free(places[1])
    places[1] = file.write(np.full(990, 7))
    assert file.size == size
    for i, place in zip((0, 7, 2), places):
        n = 990 if i == 7 else 1000
        assert np.array_equal(file.read(place, (n,), np.dtype(int)), np.full(n, i))
    file.close()
    with pytest.raises(ComputeError, match="no scratch file can be made"):
        ScratchFile(tmp_path / "absent")


def _checkpointed(folder: Path, stop: int | None) -> tuple[Any, int]:
    """Solve, or stop after some iterations as if the process had ended."""
    grid = Grid.regular((8, 9, 10), 5)
    executor = SerialExecutor(FaceNeighbours(grid.counts))
    checkpoints = Checkpoints(folder, "poisson", every=0)

    def seen(done: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    try:
        parts, iterations = run_to_end(
            executor, MakePoisson(grid), lambda c: conjugate_gradients(executor, c, checkpoints, seen=seen), checkpoints
        )
    except KeyboardInterrupt:
        return None, 0
    return joined(grid, parts), iterations


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    truth, whole = _checkpointed(tmp_path / "plain", None)
    folder = tmp_path / "kept"
    _checkpointed(folder, stop=8)
    latest, older = Checkpoints(folder, "poisson").found()
    assert (latest.number, older.number) == (7, 6)
    found, rest = _checkpointed(folder, None)
    np.testing.assert_allclose(found, truth, atol=1e-7)
    assert rest < whole

    _checkpointed(tmp_path / "damaged", stop=8)
    latest, older = Checkpoints(tmp_path / "damaged", "poisson").found()
    file = latest.folder / "1.0.1.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255  # same length: only the checksum tells
    file.write_bytes(content)
    found, _ = _checkpointed(tmp_path / "damaged", None)
    np.testing.assert_allclose(found, truth, atol=1e-7)

    _checkpointed(tmp_path / "missing", stop=8)
    latest, older = Checkpoints(tmp_path / "missing", "poisson").found()
    (latest.folder / "1.0.1.npz").unlink()
    assert Checkpoints(tmp_path / "missing", "poisson").found() == [older]


def test_a_checkpoint_without_manifest_is_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "key")
    folder = checkpoints.begin()
    name, size = write_block(folder, (0, 0, 0), {"x": np.arange(3)})
    assert checkpoints.found() == []
    checkpoints.commit(folder, {name: size}, {"iteration": 4})
    (found,) = Checkpoints(tmp_path, "key").found()
    assert found.header == {"iteration": 4}
    assert np.array_equal(read_block(found.folder, (0, 0, 0))["x"], np.arange(3))
    # half a manifest, as a full disk leaves it
    manifest = found.folder / MANIFEST
    manifest.write_text(manifest.read_text()[:20])
    assert Checkpoints(tmp_path, "key").found() == []


def test_another_solves_checkpoints_are_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "one")
    checkpoints.commit(checkpoints.begin(), {}, {})
    with pytest.raises(InputError, match="another solve"):
        Checkpoints(tmp_path, "two")
    assert json.loads(next(tmp_path.glob("*/manifest.json")).read_text())["key"] == "one"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ComputeError, match="no checkpoint"):
        Checkpoints(tmp_path / "x", "key")
