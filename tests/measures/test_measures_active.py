"""Active triple-phase boundary against a count edge by edge, with masks of scipy's labels."""

from itertools import product

import numpy as np
import pytest
import zarr
from scipy import ndimage

from mgsflow.errors import InputError
from mgsflow.measures import TriplePhase, active_tpb, measure

RNG = np.random.default_rng(17)
IMAGE = RNG.integers(0, 3, (9, 10, 11)).astype(np.uint8)
VOXEL = (0.5, 1.0, 2.0)


def by_hand(image, masks, voxel_size):
    """Return total and active length, by a loop over edges and the four voxels around each."""
    total = active = 0.0
    for axis in range(3):
        u, v = (k for k in range(3) if k != axis)
        for place in product(*(range(n - (k != axis)) for k, n in enumerate(image.shape))):
            around = []
            for du, dv in product((0, 1), repeat=2):
                voxel = list(place)
                voxel[u] += du
                voxel[v] += dv
                around.append(tuple(voxel))
            labels = {int(image[w]) for w in around}
            percolating = {int(image[w]) for w in around if masks[image[w]][w]}
            total += voxel_size[axis] * (len(labels) >= 3)
            active += voxel_size[axis] * (len(percolating) >= 3)
    return total, active


def through(mask, axis, connectivity):
    """Return the parts of a mask that touch both borders along an axis, by scipy's labels."""
    rank = {6: 1, 18: 2, 26: 3}[connectivity]
    labels, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, rank))
    ends = np.moveaxis(labels, axis, 0)
    both = np.intersect1d(ends[0], ends[-1])
    return np.isin(labels, both[both > 0])


@pytest.mark.parametrize("phases", [3, 5])
@pytest.mark.parametrize("block", [100, (4, 3, 11)])
def test_total_and_active_length_are_those_of_a_loop_over_edges(phases, block):
    image = RNG.integers(0, phases, (7, 8, 9)).astype(np.uint8)
    masks = [RNG.random(image.shape) < 0.7 for _ in range(phases)]
    total, active = by_hand(image, masks, VOXEL)
    assert 0 < active < total
    d = active_tpb(image, VOXEL, active=masks, block=block)
    volume = image.size * 1.0
    assert float(d.tpb_edge_length) == pytest.approx(total, rel=1e-12)
    assert float(d.active_tpb_edge_length) == pytest.approx(active, rel=1e-12)
    assert float(d.active_tpb_edge_density) == pytest.approx(active / volume, rel=1e-12)
    assert float(d.active_tpb_fraction) == pytest.approx(active / total, rel=1e-12)
    for p in range(phases):
        assert float(d.active_phase_fraction[p]) == masks[p][image == p].mean()


@pytest.mark.parametrize(("axis", "connectivity"), [("z", 6), ("y", 6), ("x", 18), ("z", 26)])
def test_along_an_axis_the_percolating_parts_are_active(axis, connectivity):
    fields = [ndimage.gaussian_filter(np.random.default_rng(k).normal(size=(14, 13, 15)), 0.8) for k in range(3)]
    image = np.argmax(fields, axis=0).astype(np.uint8)
    masks = [through(image == p, "zyx".index(axis), connectivity) for p in range(3)]
    d = active_tpb(image, VOXEL, axis=axis, connectivity=connectivity)
    total, active = by_hand(image, masks, VOXEL)
    assert float(d.tpb_edge_length) == pytest.approx(total, rel=1e-12)
    assert float(d.active_tpb_edge_length) == pytest.approx(active, rel=1e-12)
    assert 0 < active < total  # negative control: it is not the same thing


def test_nothing_is_active_where_a_phase_does_not_percolate():
    image = np.zeros((8, 6, 6), np.uint8)
    image[:, 3:, :3] = 1
    image[:, 3:, 3:] = 2
    whole = active_tpb(image, 1.0, axis="z")
    assert (float(whole.tpb_edge_length), float(whole.active_tpb_edge_length)) == (8.0, 8.0)
    image[4, 3:, :3] = 2  # one phase is cut
    cut = active_tpb(image, 1.0, axis="z", phases=["pore", "carbon", "sulfur"])
    assert float(cut.tpb_edge_length) > 8
    assert float(cut.active_tpb_edge_length) == 0
    assert cut.active_phase_fraction.values.tolist() == [1.0, 0.0, 1.0]


def test_one_mask_for_all_and_phases_that_are_active_everywhere(tmp_path):
    masks = [RNG.random(IMAGE.shape) < 0.6 for _ in range(3)]
    one = np.choose(IMAGE, masks)
    wanted = active_tpb(IMAGE, VOXEL, active=masks)
    assert active_tpb(IMAGE, VOXEL, active=one).identical(wanted)
    stored = zarr.create_array(tmp_path / "mask.zarr", shape=one.shape, dtype="bool", chunks=(4, 4, 4))
    stored[...] = one
    assert active_tpb(IMAGE, VOXEL, active=stored, block=5).identical(wanted)
    partly = active_tpb(IMAGE, VOXEL, active=[None, masks[1], None])
    assert float(partly.active_tpb_edge_length) == by_hand(IMAGE, [IMAGE == 0, masks[1], IMAGE == 2], VOXEL)[1]
    everywhere = active_tpb(IMAGE, VOXEL, active=[None] * 3)
    assert float(everywhere.active_tpb_fraction) == 1.0
    edges = measure(IMAGE, [TriplePhase(3)], VOXEL, "abc")
    assert float(everywhere.tpb_edge_density) == float(edges.tpb_edge_density)


def test_no_edges_and_an_absent_phase():
    d = active_tpb(np.zeros((3, 4, 5), np.uint8), 1.0, active=[None, None], phases=["a", "b"])
    assert float(d.active_tpb_edge_length) == 0
    assert np.isnan(d.active_tpb_fraction)
    assert float(d.active_phase_fraction.sel(phase="a")) == 1
    assert np.isnan(d.active_phase_fraction.sel(phase="b"))


def test_every_variable_says_its_unit_and_name():
    for name, variable in active_tpb(IMAGE, VOXEL, active=[None] * 3).data_vars.items():
        assert variable.attrs["units"], name
        assert variable.attrs["long_name"], name


def test_refusals():
    ones = np.ones(IMAGE.shape, bool)
    with pytest.raises(InputError, match="either axis"):
        active_tpb(IMAGE, VOXEL)
    with pytest.raises(InputError, match="either axis"):
        active_tpb(IMAGE, VOXEL, axis="z", active=ones)
    with pytest.raises(InputError, match="axis must be"):
        active_tpb(IMAGE, VOXEL, axis="w")
    with pytest.raises(InputError, match="one for each of 3"):
        active_tpb(IMAGE, VOXEL, active=[ones])
    with pytest.raises(InputError, match="mask of phase 1 must be an array of bool"):
        active_tpb(IMAGE, VOXEL, active=[ones, ones[1:], ones])
    with pytest.raises(InputError, match="mask of phase 0 must be an array of bool"):
        active_tpb(IMAGE, VOXEL, active=ones.astype(np.uint8))
    with pytest.raises(InputError, match="three axes"):
        active_tpb(IMAGE[0], VOXEL, active=ones)
    with pytest.raises(InputError, match="phases must be"):
        active_tpb(np.full((2, 2, 2), 63, np.uint8), VOXEL, active=np.ones((2, 2, 2), bool))
    with pytest.raises(InputError, match="voxel_size is missing"):
        active_tpb(IMAGE, None, active=ones)
