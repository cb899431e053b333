"""Links between files, and parts of volumes that were never written or are lost."""

import h5py
import numpy as np
import pytest
import zarr

from mgsflow.blocks import Box
from mgsflow.errors import InputError, InputNotFound
from mgsflow.readers import open_scan

VOLUME = np.arange(1, 1 + 6 * 7 * 8, dtype="uint16").reshape(6, 7, 8)
WHOLE = Box.of(VOLUME.shape)


def check(reader, expected=VOLUME):
    np.testing.assert_array_equal(reader.read(WHOLE), expected)


@pytest.fixture
def linked(tmp_path):
    with h5py.File(tmp_path / "recon.h5", "w") as file:
        file["entry/data"] = VOLUME
    return tmp_path


def test_external_link_beside_a_data_set_of_the_same_path(linked):
    with h5py.File(linked / "master.h5", "w") as file:
        file["entry/data"] = VOLUME[::-1]
        file["recon/volume"] = h5py.ExternalLink("recon.h5", "/entry/data")
        file["soft"] = h5py.SoftLink("/recon/volume")
    for name in ("recon/volume", "/recon/volume", "soft"):
        source = open_scan(linked / "master.h5", dataset=name)
        check(source)
        assert {p.name for p in source.files} == {"master.h5", "recon.h5"}
    check(open_scan(linked / "master.h5", dataset="entry/data"), VOLUME[::-1])
    with pytest.raises(InputError, match=r"has 2 .*: /entry/data .*, /(recon/volume|soft)"):
        open_scan(linked / "master.h5")


def test_master_of_links_alone(linked):
    with h5py.File(linked / "master.nxs", "w") as file:
        file["entry/linked"] = h5py.ExternalLink("recon.h5", "/entry")
        file["again"] = h5py.SoftLink("/entry/linked/data")
        file["entry/loop"] = h5py.SoftLink("/entry")
        file["lost"] = h5py.ExternalLink("nowhere.h5", "/entry")
        file["nothing"] = h5py.SoftLink("/none")
    check(open_scan(linked / "master.nxs"))
    with pytest.raises(InputNotFound, match=r"/lost is a link to /entry of nowhere\.h5, which is missing"):
        open_scan(linked / "master.nxs", dataset="lost/data")
    with pytest.raises(InputError, match="/nothing is a link to /none, which is not in the file"):
        open_scan(linked / "master.nxs", dataset="nothing")


def test_link_into_a_file_that_lacks_it(linked):
    with h5py.File(linked / "master.h5", "w") as file:
        file["a"] = h5py.ExternalLink("recon.h5", "/other")
    with pytest.raises(InputError, match=r"/a is a link to /other of recon\.h5, which has no such data"):
        open_scan(linked / "master.h5", dataset="a")


def test_hdf5_that_was_stopped(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("d", VOLUME.shape, "uint16", chunks=(1, 7, 8), fillvalue=9)
        data[:4] = VOLUME[:4]
    with pytest.raises(InputError, match=r"2 of 6 chunks were never written; they would be read as 9\. .*missing=fill"):
        open_scan(tmp_path / "a.h5")
    source = open_scan(tmp_path / "a.h5", missing="fill")
    assert "2 of 6 chunks were never written; read as 9" in source.warnings[0]
    expected = VOLUME.copy()
    expected[4:] = 9
    check(source, expected)
    with pytest.raises(InputError, match="missing must be refuse or fill"):
        open_scan(tmp_path / "a.h5", missing="ignore")


def virtual(folder, write, mapped=6):
    layout = h5py.VirtualLayout(VOLUME.shape, "uint16")
    for i, name in enumerate(("first.h5", "second.h5")):
        with h5py.File(folder / name, "w") as file:
            if i == 0:
                file["d"] = VOLUME[:3]
            else:
                write(file)
        stop = min(3 * i + 3, mapped)
        layout[3 * i : stop] = h5py.VirtualSource(name, "d", shape=(3, 7, 8))[: stop - 3 * i]
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
    return folder / "a.h5"


@pytest.mark.parametrize(
    ("write", "mapped", "message"),
    [
        (lambda f: f.create_dataset("other", data=VOLUME[3:]), 6, r"d of second\.h5 does not exist"),
        (lambda f: f.create_dataset("d", (3, 7, 8), "uint16", chunks=(1, 7, 8)), 6, r"d of second\.h5: 3 of 3 chunks"),
        (lambda f: f.create_dataset("d", (3, 7, 8), "uint16"), 6, r"d of second\.h5: none of it was written"),
        (lambda f: f.create_dataset("d", data=VOLUME[3:5]), 6, r"d of second\.h5 has shape \(2, 7, 8\), smaller"),
        (lambda f: f.create_dataset("d", data=VOLUME[3:]), 5, "56 of 336 voxels .* are drawn from no file"),
    ],
)
def test_virtual_data_set_with_parts_missing(tmp_path, write, mapped, message):
    with pytest.raises(InputError, match=message):
        open_scan(virtual(tmp_path, write, mapped))


def test_virtual_data_set_that_is_there(tmp_path):
    check(open_scan(virtual(tmp_path, lambda f: f.create_dataset("d", data=VOLUME[3:]))))


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_chunks_that_are_not_there(tmp_path, version):
    path = tmp_path / "a.zarr"
    array = zarr.create_array(path, shape=VOLUME.shape, dtype="uint16", chunks=(2, 7, 4), zarr_format=version)
    with pytest.raises(InputError, match="was created but never written"):
        open_scan(path)
    array[:] = VOLUME
    assert open_scan(path).warnings == ()
    (path / ("1.0.1" if version == 2 else "c/1/0/1")).unlink()
    source = open_scan(path)
    assert "1 of 6 chunks are not there and are read as 0" in source.warnings[0]
    expected = VOLUME.copy()
    expected[2:4, :, 4:] = 0
    check(source, expected)


def test_filters_of_beamlines(tmp_path):
    plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("d", data=VOLUME, chunks=(1, 7, 8), **plugin.Bitshuffle())
    check(open_scan(tmp_path / "a.h5"))


def test_filter_that_is_not_installed(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("d", data=VOLUME, chunks=(1, 7, 8), compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(InputError, match=r"compressed by filter 1 .*pip install mgsflow\[hdf5\] \(hdf5plugin\)"):
        open_scan(tmp_path / "a.h5")
