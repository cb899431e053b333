"""Damage to a finished study: each fault in each kind of array is mended by the next run, or told in one line.

The reference is the same study undamaged: after any fault, a run ends with the same arrays, to the bit, or with an
error that names what is wrong. Never with another number.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from layers import write
from stores import contents, same

from mgsflow.errors import DamagedData, MgsflowError, StoreError
from mgsflow.pipeline import run
from mgsflow.pipeline.check import check
from mgsflow.store import Study

ASKED = """\
    filter: [gaussian: {sigma: 0.8}]
    particles: {phase: sulfur}
    tortuosity: {phases: [pore], axes: [z]}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study of two scans in several blocks."""
    folder = tmp_path_factory.mktemp("finished")
    run(write(folder, ASKED), threads=1)
    return folder


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(finished, tmp_path / "study", symlinks=True)
    return tmp_path / "study" / "study.yaml"


@pytest.fixture(scope="module")
def whole(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same study, undamaged, of which more was asked later."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    shutil.copytree(finished, folder)
    more(folder / "study.yaml")
    run(folder / "study.yaml", threads=1)
    return folder


def more(study: Path) -> None:
    """Ask for what reads the phases again."""
    study.write_text(study.read_text().replace("axes: [z]", "axes: [z, y]"))


#: Kinds of arrays, by where they are in the store.
KINDS = {
    "image": "cathode/scale0/image",
    "filtered": "cathode/scale0/filtered",
    "phase": "cathode/scale0/phase",
    "particle": "cathode/scale0/particle",
    "record": "cathode/blocks/volume_fraction_phase",
    "flags": "cathode/blocks/done_segment",
    "stamps": "cathode/blocks/stamps_scale0.phase",
    "table": "cathode/parts",
}


def chunk_files(store: Path, path: str) -> list[Path]:
    found = sorted(p for p in (store / path).rglob("*") if p.is_file() and p.name != "zarr.json")
    assert found, path
    return found


def remove(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for i in np.random.default_rng(0).integers(0, len(content), 20):
        content[i] ^= 0xFF
    file.write_bytes(bytes(content))


def zeros(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def noise(file: Path) -> None:
    file.write_bytes(np.random.default_rng(1).bytes(file.stat().st_size))


def grow(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0" * 64)


def foreign(file: Path) -> None:
    """Put the file of another chunk of the same array in its place."""
    array = next(p for p in file.parents if (p / "zarr.json").is_file())
    others = [p for p in sorted(array.rglob("*")) if p.is_file() and p.name != "zarr.json" and p != file]
    different = [p for p in others if p.read_bytes() != file.read_bytes() and p.stat().st_size != file.stat().st_size]
    if not different:  # all chunks are alike: there is no other to take it for
        return
    shutil.copyfile(different[0], file)


def folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def no_metadata(file: Path) -> None:
    (next(p for p in file.parents if (p / "zarr.json").is_file()) / "zarr.json").unlink()


def half_metadata(file: Path) -> None:
    truncate(next(p for p in file.parents if (p / "zarr.json").is_file()) / "zarr.json")


def resized(file: Path) -> None:
    metadata = next(p for p in file.parents if (p / "zarr.json").is_file()) / "zarr.json"
    content = json.loads(metadata.read_text())
    if "shape" not in content:  # a group has none
        return
    content["shape"] = [max(1, n - 1) for n in content["shape"]]
    metadata.write_text(json.dumps(content))


FAULTS = (remove, empty, truncate, flip, zeros, noise, grow, foreign, folder)
METADATA_FAULTS = (no_metadata, half_metadata, resized)
#: Kinds that are struck at once: none is made of another of its group, so that each is mended for its own sake.
GROUPS = (("image",), ("filtered", "record", "flags"), ("phase", "table"), ("particle", "stamps"))
#: What is tried in the fast tests; all pairs are slow.
QUICK = {
    (("phase", "table"), flip),
    (("filtered", "record", "flags"), truncate),
}


def results(store: Path) -> dict[str, np.ndarray]:
    return {k: v for k, v in contents(store).items() if "/blocks/done_" not in k and "/blocks/stamps_" not in k}


@pytest.mark.parametrize(
    ("kinds", "fault"),
    [
        pytest.param(g, f, id=f"{'-'.join(g)}-{f.__name__}", marks=() if (g, f) in QUICK else pytest.mark.slow)
        for groups, faults in ((GROUPS, FAULTS), ([(kind,) for kind in KINDS], METADATA_FAULTS))
        for g in groups
        for f in faults
    ],
)
def test_a_fault_is_mended_or_told(
    kinds: tuple[str, ...], fault: Callable[[Path], None], study: Path, whole: Path
) -> None:
    store = study.parent / "study.zarr"
    for kind in kinds:
        fault(chunk_files(store, KINDS[kind])[0])
    more(study)
    refused = None
    try:
        run(study, threads=1)
    except MgsflowError as error:
        refused = str(error)
    if refused is not None:
        assert "\n" not in refused
        assert "zarr" in refused or "cathode" in refused
        return
    expected = results(whole / "study.zarr")
    # what no step had to read is told by a check, and mended after it
    if (damages := check(store, repair=True).damages) != ():
        assert all(d.path.startswith(tuple(KINDS[kind] for kind in kinds)) for d in damages)
        run(study, threads=1)
    found = results(store)
    assert found.keys() == expected.keys()
    assert [k for k in expected if not same(found[k], expected[k])] == []
    assert check(store).damages == ()


def test_a_shard_that_is_gone_is_no_pore(study: Path) -> None:
    """The trial that this guards against: a tortuosity of another geometry, without a word."""
    store = study.parent / "study.zarr"
    chunk_files(store, KINDS["phase"])[0].unlink()
    more(study)
    summary = run(study, threads=1)
    assert len(summary.repaired) == 1
    assert "cathode/scale0/phase, scan 0, block (0, 0, 0): its file is missing" in summary.repaired[0]


def test_without_its_inputs_damage_is_an_error(study: Path) -> None:
    store = study.parent / "study.zarr"
    chunk_files(store, KINDS["image"])[0].unlink()
    region = Study.open(store)["cathode"].volume("image", "c0")
    with pytest.raises(DamagedData, match="its file is missing or empty"):
        region.read(region.shards.block((0, 0, 0)).core)
    (study.parent / "c0.npy").unlink()
    with pytest.raises(MgsflowError, match="c0"):
        run(study, threads=1)


class TestCheck:
    """`mgsflow check`: everything is read."""

    def test_a_whole_study(self, finished: Path) -> None:
        assert check(finished / "study.zarr").damages == ()

    def test_another_block_of_the_same_size_is_told(self, study: Path) -> None:
        """Two blocks of one phase each have files of one size: only their content tells them apart."""
        store = study.parent / "study.zarr"
        files = chunk_files(store, KINDS["phase"])
        sizes: dict[int, Path] = {}
        for file in files:
            other = sizes.setdefault(file.stat().st_size, file)
            if other.read_bytes() != file.read_bytes():
                shutil.copyfile(other, file)
                break
        else:
            pytest.skip("no two blocks of one size")
        (damage,) = check(store).damages
        assert damage.reason == "it holds other voxels than were written"
        marked = check(store, repair=True)
        assert marked.steps
        run(study, threads=1)
        assert check(store).damages == ()

    def test_every_damage_is_listed(self, study: Path) -> None:
        store = study.parent / "study.zarr"
        damaged = [chunk_files(store, KINDS[kind])[0] for kind in ("image", "phase", "record")]
        for file in damaged:
            flip(file)
        assert {d.path for d in check(store).damages} == {KINDS[kind] for kind in ("image", "phase", "record")}


def test_a_store_of_schema_1_is_read_and_not_built_on(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "old.zarr", attributes={"mgsflow": {"schema": 1, "title": "old"}})
    with pytest.raises(StoreError, match="made by an older mgsflow"):
        Study.open(tmp_path / "old.zarr")
    from mgsflow.store.tree import open_study

    assert open_study(tmp_path / "old.zarr").attrs["title"] == "old"
