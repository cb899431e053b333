"""A finished study, with every step, in the programs that open zarr: plain xarray, zarr, and validators of OME-Zarr."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from layers import write

from mgsflow.pipeline import run

pytestmark = pytest.mark.slow

EVERY = """\
    filter: [gaussian: {sigma: 0.8}]
    particles: {phase: sulfur}
    thickness: {phases: [pore]}
    tortuosity: {phases: [pore], axes: [z], fields: [concentration, flux]}
    permeability: {phase: pore, axes: z, streamlines: 10}
    network: {phase: pore}
    rve: {sizes: [8, 12], solve: tortuosity}
    sensitivity: {phase: pore}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("every")
    run(write(folder, EVERY), threads=2)
    return folder / "study.zarr"


def test_plain_xarray_opens_all_groups(store: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that there are no consolidated metadata
        tree = xr.open_datatree(store, engine="zarr")
    paths = {node.path for node in tree.subtree}
    groups = ("scale0", "metrics", "particles", "flux", "pores", "throats", "rve", "sensitivity", "comparison")
    assert {f"/cathode/{name}" for name in groups} <= paths
    for node in tree.subtree:
        if "scan" in node.ds.dims and not node.path.startswith("/cathode/parts"):
            assert {"scan", "cycle", "state"} <= set(node.ds.coords), node.path
            assert node.ds.cycle.dims == node.ds.state.dims == ("scan",)


def test_one_group_opened_alone_has_its_scans(store: Path) -> None:
    for group in ("scale0", "metrics", "flux", "blocks"):
        data = xr.open_zarr(store, group=f"cathode/{group}", consolidated=False)
        assert data.cycle.values.tolist() == [0, 1]
        assert data.state.values.tolist() == ["pristine", "charged"]
    charged = xr.open_zarr(store, group="cathode/scale0", consolidated=False).set_xindex("cycle").sel(cycle=1)
    expected = zarr.open_array(store, path="cathode/scale0/phase", mode="r")[1]
    np.testing.assert_array_equal(charged.phase, expected)


def test_every_array_has_names_for_its_dimensions(store: Path) -> None:
    root = zarr.open_group(store, mode="r")
    arrays = [member for _, member in root.members(max_depth=None) if isinstance(member, zarr.Array)]
    assert len(arrays) > 100
    for array in arrays:
        names = array.metadata.dimension_names  # type: ignore[union-attr]
        assert array.ndim == 0 or (names is not None and len(set(names)) == array.ndim), array.path
