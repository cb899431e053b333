"""Particles: basins, saddles and merging against brute force, known packs of spheres, and every way to cut a volume."""

from __future__ import annotations

import random
from collections import deque
from itertools import product

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from real_data import DATA
from scipy import ndimage
from skimage.morphology import local_maxima
from traced import traced_peak

from mgsflow.blocks import Box, Grid
from mgsflow.compute import MemoryParts, StoredParts, indices
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import ArraySink, ArraySource, PhaseMask
from mgsflow.labelling.components.out_of_core import write_offsets
from mgsflow.labelling.distance.certified import DistanceSource
from mgsflow.labelling.relabel import Relabel
from mgsflow.particle_analysis.watershed.basins import MARGIN, BasinLabels, FindBasins, FindSeams, peak_bits
from mgsflow.particle_analysis.watershed.kernel import DEEPEST
from mgsflow.particle_analysis.watershed.merging import merge_basins
from mgsflow.particle_analysis.watershed.saddle_kernel import DIRECTIONS
from mgsflow.particle_analysis.watershed.saddles import Meetings
from mgsflow.particle_analysis.watershed.separate import merge_blocks, separate

NEIGHBOURS = [d for d in product((-1, 0, 1), repeat=3) if any(d)]


def squares(mask):
    """Squared distances by scipy, which wants some background."""
    if mask.all():
        return np.full(mask.shape, DEEPEST, np.int32)
    return np.rint(ndimage.distance_transform_edt(mask) ** 2).astype(np.int32)


def separated(source, cuts, persistence=0.5, relative=False, min_voxels=0, seed=None, margin=MARGIN):
    """Separate on any grid, tasks in any order."""
    grid, parts = Grid(cuts), MemoryParts()

    def each(function, over):
        order = list(indices(over))
        if seed is not None:
            random.Random(seed).shuffle(order)
        deque(map(function, order), maxlen=0)

    each(FindBasins(source, grid, parts, margin).run, grid)
    groups, known = merge_blocks(grid, parts, persistence, relative, min_voxels, each)
    out = np.empty(grid.shape, np.uint32)
    each(Relabel(BasinLabels(grid, parts), parts, grid, ArraySink(out), groups.dtype).run, grid)
    return out, known


def whole(shape):
    return tuple((n,) for n in shape)


def agree(one, other):
    """See that two results are the same in every number."""
    (labels, known), (others, known_there) = one, other
    np.testing.assert_array_equal(labels, others)
    for name in ("sizes", "first", "depth", "persistence"):
        np.testing.assert_array_equal(getattr(known, name), getattr(known_there, name))
    for name in ("first", "second", "saddle", "pairs"):
        np.testing.assert_array_equal(getattr(known.contacts, name), getattr(known_there.contacts, name))
    assert known.basins == known_there.basins


def brute_force(d2, persistence, relative=False):
    """Pointers, basins and persistence by sets and dictionaries; ids by first voxels."""
    shape = d2.shape
    inside = [tuple(int(k) for k in v) for v in np.argwhere(d2 > 0)]
    key = {v: (int(d2[v]), int(np.ravel_multi_index(v, shape))) for v in inside}

    def around(v):
        return [w for d in NEIGHBOURS if (w := (v[0] + d[0], v[1] + d[1], v[2] + d[2])) in key]

    top = {}
    for v in sorted(inside, key=key.get, reverse=True):  # what is larger is settled
        best = max([v, *around(v)], key=key.get)
        top[v] = v if best == v else top[best]
    saddles = {}
    for v in inside:
        for w in around(v):
            if key[top[v]] < key[top[w]]:
                pair = (top[v], top[w])
                saddles[pair] = max(saddles.get(pair, 0), min(key[v][0], key[w][0]))
    parts = {p: {p} for p in set(top.values())}  # joined at all saddles so far
    particles = {p: {p} for p in parts}
    for (a, b), s in sorted(saddles.items(), key=lambda e: (-e[1], key[e[0][0]], key[e[0][1]])):
        if parts[a] is parts[b]:
            continue
        low = min(max(parts[a], key=key.get), max(parts[b], key=key.get), key=key.get)
        depth = np.sqrt(key[low][0])
        if (depth - np.sqrt(s)) / (depth if relative else 1) <= persistence:
            for joint in [particles[a] | particles[b]]:
                particles |= dict.fromkeys(joint, joint)
        for joint in [parts[a] | parts[b]]:
            parts |= dict.fromkeys(joint, joint)
    out, ids = np.zeros(shape, np.uint32), {}
    for v in sorted(inside):
        out[v] = ids.setdefault(frozenset(particles[top[v]]), len(ids) + 1)
    return out, len(set(top.values()))


def pack(shape, centres, radii):
    grid = np.indices(shape)
    mask = np.zeros(shape, bool)
    for c, r in zip(centres, radii):
        mask |= ((grid - np.reshape(c, (3, 1, 1, 1))) ** 2).sum(0) <= r * r
    return mask


@st.composite
def volumes(draw):
    """Masks that are hard on ties and seams."""
    shape = draw(st.tuples(*[st.integers(1, 11)] * 3))
    z, y, x = np.indices(shape)
    kind = draw(st.sampled_from(["noise", "blobs", "constant", "checkers", "spiral", "plateaus", "diagonal"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "noise":
        return rng.random(shape) < draw(st.sampled_from([0.1, 0.5, 0.9, 0.98]))
    if kind == "blobs":
        return ndimage.gaussian_filter(rng.random(shape), 1.2) > 0.48
    if kind == "constant":
        return np.full(shape, draw(st.booleans()))
    if kind == "checkers":
        return (z + y + x) % 2 == 0
    if kind == "spiral":  # a corridor that turns back at every row and plane
        return ~(((y % 2 == 1) & (x != (y // 2 % 2) * (shape[2] - 1))) | ((z % 2 == 1) & (y + x > 0)))
    if kind == "plateaus":
        return (z % 4 > 0) & (y % 5 > 0)
    return (z // 2 + y // 2 + x // 2) % 2 == 0  # cubes that touch at edges and corners


@st.composite
def cuts_of(draw, shape):
    """Blocks of any lengths, single planes among them."""
    cuts = []
    for n in shape:
        at = sorted(draw(st.sets(st.integers(1, n - 1), max_size=4))) if n > 1 else []
        cuts.append(tuple(b - a for a, b in zip([0, *at], [*at, n])))
    return tuple(cuts)


@given(st.data())
@settings(max_examples=40)
def test_any_blocks_give_what_brute_force_gives(data):
    mask = data.draw(volumes())
    persistence = data.draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    relative = data.draw(st.booleans())
    source = ArraySource(squares(mask))
    expected, basins = brute_force(source.array, persistence, relative)
    one = separated(source, whole(mask.shape), persistence, relative)
    np.testing.assert_array_equal(one[0], expected)
    assert one[1].basins == basins
    cuts = data.draw(cuts_of(mask.shape))
    margin = data.draw(st.sampled_from([1, 2, MARGIN]))
    seed = data.draw(st.integers(0, 99))
    agree(separated(source, cuts, persistence, relative, seed=seed, margin=margin), one)


@pytest.mark.parametrize("cut", ["slabs", "needles", "primes", "tiny"])
def test_extreme_blocks_agree(cut):
    rng = np.random.default_rng(5)
    mask = ndimage.gaussian_filter(rng.random((23, 26, 29)), 1.7) > 0.5
    cuts = {
        "slabs": ((1,) * 23, (26,), (29,)),
        "needles": ((23,), (1,) * 26, (1, 28)),
        "primes": ((7, 13, 3), (5, 2, 19), (11, 17, 1)),
        "tiny": ((3,) * 7 + (2,), (26,), (1, 2) * 9 + (2,)),
    }[cut]
    source = DistanceSource(PhaseMask(ArraySource(mask)))
    one = separated(source, whole(mask.shape), 0.3, min_voxels=8)
    assert one[1].count > 5
    agree(separated(source, cuts, 0.3, min_voxels=8, seed=3), one)


@given(volumes())
@settings(max_examples=40)
def test_no_persistence_leaves_one_particle_a_regional_maximum(mask):
    d2 = squares(mask)
    _, known = separated(ArraySource(d2), whole(mask.shape), 0.0)
    raised = np.pad(d2, 1)
    maxima = ndimage.label(local_maxima(raised, connectivity=3) & (raised > 0), np.ones((3, 3, 3)))[1]
    assert known.count == maxima == known.count_at(0.0)


def test_contacts_are_those_of_the_finished_labels():
    rng = np.random.default_rng(8)
    mask = ndimage.gaussian_filter(rng.random((25, 30, 28)), 2) > 0.49
    d2 = squares(mask)
    labels, known = separated(ArraySource(d2), ((9, 16), (30,), (5, 23)), 0.2)
    found = {}
    for c, step in enumerate(DIRECTIONS):
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, mask.shape))
        there = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(step, mask.shape))
        a, b, s = labels[here], labels[there], np.minimum(d2[here], d2[there])
        touch = (a != b) & (a > 0) & (b > 0)
        for p, q, height in zip(np.minimum(a, b)[touch], np.maximum(a, b)[touch], s[touch]):
            saddle, pairs = found.setdefault((int(p), int(q)), (0, np.zeros(13, int)))
            pairs[c] += 1
            found[int(p), int(q)] = (max(saddle, int(height)), pairs)
    contacts = known.contacts
    assert len(found) > 10
    assert list(zip(contacts.first.tolist(), contacts.second.tolist())) == sorted(found)
    np.testing.assert_array_equal(contacts.saddle, [found[k][0] for k in sorted(found)])
    np.testing.assert_array_equal(contacts.pairs, [found[k][1] for k in sorted(found)])
    faces = sum(
        int(((a != b) & (a > 0) & (b > 0)).sum())
        for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]), (labels[..., 1:], labels[..., :-1]))
    )
    assert contacts.faces.sum() == faces > 0
    np.testing.assert_array_equal(known.sizes, np.bincount(labels.ravel())[1:])
    np.testing.assert_allclose(
        known.depth, ndimage.maximum(np.sqrt(d2), labels, np.arange(1, known.count + 1)), rtol=1e-12
    )
    np.testing.assert_array_equal(known.first, np.unique(labels, return_index=True)[1][1:])


@pytest.mark.parametrize("radius", [5.0, 8.3])
@pytest.mark.parametrize("spacing", [2.0, 1.75, 1.5])
def test_spheres_that_touch_or_overlap_are_told_apart(radius, spacing):
    """A chain with a bend, and a triangle: from touching to half a radius deep in each other."""
    step = radius * spacing
    r = radius + 2
    places = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 2), (1, 1, 2), (1, 0, 0), (0, 0.5, 2 + np.sqrt(3) / 2)]
    centres = [tuple(r + step * k for k in p) for p in places]
    shape = tuple(int(np.ceil(max(c[a] for c in centres) + r)) + 1 for a in range(3))
    mask = pack(shape, centres, [radius] * len(places))
    labels, known = separate(mask, block=19, threads=1)
    assert known.count == len(places)
    at = [labels[tuple(round(k) for k in c)] for c in centres]
    assert len(set(at)) == len(places)


def test_half_a_voxel_does_not_split_convex_grains():
    """The default: voxels move a surface by half of one, and ellipsoids of any size stay whole."""
    rng = np.random.default_rng(2)
    split = {0.0: 0, 0.5: 0}
    for axes in [(5, 5, 8), (8, 8, 8), (6, 10, 10), (9, 9, 14)] * 3:
        n = 2 * max(axes) + 4
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        place = (np.indices((n,) * 3).reshape(3, -1).T - n / 2 - rng.uniform(-0.5, 0.5, 3)) @ rotation
        known = separate(((place / axes) ** 2).sum(1).reshape((n,) * 3) < 1, threads=1)[1]
        assert known.count == 1
        for h in split:
            split[h] += known.count_at(h) > 1
    assert split[0.5] == 0 < split[0.0]  # without merging, voxels do split some


def test_persistence_is_the_width_of_the_neck():
    """Two spheres: merged when the radius less that of the neck is allowed, absolutely or as a share."""
    mask = pack((25, 25, 41), [(12, 12, 12), (12, 12, 27)], [10, 10])
    d2 = squares(mask)
    rise = np.sqrt(d2[12, 12, 12]) - np.sqrt(d2[12, 12, 19])
    share = rise / np.sqrt(d2[12, 12, 12])
    assert 1 < rise < 4
    for value, relative in ((rise, False), (share, True)):
        assert separate(mask, value * 0.99, relative, threads=1)[1].count == 2
        assert separate(mask, value * 1.01, relative, threads=1)[1].count == 1


def test_counts_at_other_persistences_are_what_separating_gives():
    rng = np.random.default_rng(4)
    mask = ndimage.gaussian_filter(rng.random((40, 40, 40)), 2.5) > 0.5
    for relative in (False, True):
        known = separate(mask, 0.2, relative, threads=1)[1]
        counts = [known.count_at(h) for h in (0.0, 0.1, 0.2, 0.4, 0.8)]
        assert counts == [separate(mask, h, relative, threads=1)[1].count for h in (0.0, 0.1, 0.2, 0.4, 0.8)]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > counts[-1] >= ndimage.label(mask, np.ones((3, 3, 3)))[1]


def test_small_particles_go_after_all_blocks_are_merged():
    """One of 20 voxels lies in eight blocks, with two or three in each: it is kept, and one of 19 is not."""
    mask = np.zeros((12, 12, 12), bool)
    mask[4:8, 5:7, 5:7] = True
    mask[5:7, 4, 5:7] = True
    mask[0, 0, :] = mask[0, 2, :7] = True
    assert mask[3:9].sum() == 20
    for block in (3, 6, 12):
        labels, known = separate(mask, min_voxels=20, block=block, threads=1)
        np.testing.assert_array_equal(labels, mask & (np.arange(12) >= 3)[:, None, None])
        assert known.count == 1
        assert known.sizes.tolist() == [20]
    # a filter in each block by itself would lose it
    assert max(mask[z : z + 6, y : y + 6, x : x + 6].sum() for z, y, x in product((0, 6), repeat=3)) < 20


def naive(mask, block, halo):
    """Blocks with a halo, each separated by itself: what is not done here."""
    grid = Grid.regular(mask.shape, block)
    out, after = np.zeros(mask.shape, np.int64), 0
    for b in grid.blocks(halo):
        part = separate(mask[b.outer.slices], threads=1)[0].astype(np.int64)
        out[b.core.slices] = np.where(part > 0, part + after, 0)[b.trim]
        after += int(part.max())
    return out


def same_partition(a, b):
    pairs = np.unique(np.stack([a[a > 0], b[a > 0]]), axis=1)
    return (np.unique(pairs[0]).size == pairs.shape[1] == np.unique(pairs[1]).size) and ((a > 0) == (b > 0)).all()


def test_blocks_with_a_halo_alone_do_not_do():
    """Negative control: without the pairs across seams the partition depends on the blocks."""
    mask = pack((32, 32, 60), [(15, 15, 15), (15, 17, 29), (16, 14, 44)], [12, 9, 11])
    labels = separate(mask, block=20, threads=1)[0]
    assert same_partition(labels, separate(mask, threads=1)[0])
    assert not same_partition(labels, naive(mask, 20, 6))


@pytest.mark.parametrize("lost", ["meetings.0", "meetings.count", "across.0", "across.count"])
def test_a_lost_table_of_meetings_is_missed(lost):
    """Not taken for the end of the list, which would merge other basins without a word."""
    mask = pack((20, 20, 36), [(9, 9, 9), (9, 9, 25)], [8, 9])
    grid, parts = Grid(((20,), (9, 11), (17, 19))), MemoryParts()
    for index in indices(grid):
        FindBasins(ArraySource(squares(mask)), grid, parts).run(index)
    each = lambda function, over: deque(map(function, indices(over)), maxlen=0)  # noqa: E731
    merge_blocks(grid, parts, 0.5, False, 0, each)
    index = next(i for i, name in parts.arrays if name == lost)
    kept = parts.arrays.pop((index, lost))
    forget = lambda function, over: None  # noqa: E731
    with pytest.raises(KeyError):
        merge_blocks(grid, parts, 0.5, False, 0, forget)
    parts.arrays[index, lost] = kept
    merge_blocks(grid, parts, 0.5, False, 0, forget)


def test_without_seams_the_comparison_fails():
    """Negative control: tables of a run that saw no meetings across seams differ."""
    mask = pack((20, 20, 36), [(9, 9, 9), (9, 9, 25)], [8, 9])
    source = ArraySource(squares(mask))
    cuts = ((20,), (9, 11), (17, 19))

    class Silent(MemoryParts):
        def read(self, index, name):
            return np.array([0]) if name == "across.count" else super().read(index, name)

    grid, parts = Grid(cuts), Silent()
    for index in indices(grid):
        FindBasins(source, grid, parts).run(index)
    each = lambda function, over: deque(map(function, indices(over)), maxlen=0)  # noqa: E731
    _, known = merge_blocks(grid, parts, 0.5, False, 0, each)
    with pytest.raises(AssertionError):
        agree((mask, known), (mask, separated(source, whole(mask.shape))[1]))


def test_nothing_and_everything():
    labels, known = separate(np.zeros((5, 6, 7), bool), block=3, threads=1)
    assert not labels.any()
    assert known.count == known.basins == known.contacts.first.size == known.count_at(0.0) == 0
    for shape, block in (((5, 6, 7), 3), ((2, 3, 300), 40)):  # the second is longer than blocks may reach
        labels, known = separate(np.ones(shape, bool), block=block, threads=1)
        assert (labels == 1).all()
        assert known.count == 1
        assert known.sizes.tolist() == [np.prod(shape)]
        assert known.depth.tolist() == [np.inf]


def test_one_connected_body_without_necks_is_one_particle():
    mask = np.zeros((9, 40, 40), bool)
    mask[2:7, 2:38, 2:38] = True
    for block in (7, 64):
        assert separate(mask, block=block, threads=1)[1].count == 1


def test_far_from_the_background_distances_come_from_the_whole_volume():
    mask = np.ones((3, 4, 320), bool)
    mask[1, 2, 5] = False
    one = separate(mask, block=512, threads=1)
    agree(separate(mask, block=(3, 4, 50), threads=1), one)


def test_distances_beyond_the_deepest_count_as_equal():
    d2 = np.zeros((4, 4, 30), np.int32)
    d2[1:3, 1:3, 1:10] = DEEPEST - 5
    d2[1:3, 1:3, 10:29] = 2**30
    d2[2, 2, 20] = 2**29
    one = separated(ArraySource(np.minimum(d2, DEEPEST)), whole(d2.shape))
    agree(separated(ArraySource(d2), ((4,), (4,), (9, 4, 17))), one)


def test_long_ways_on_plateaus_do_not_depend_on_blocks():
    """A corridor of one voxel: every distance is 1, and ways are longer than any fixed room for them."""
    mask = np.zeros((3, 3, 9001), bool)
    mask[1, 1] = True
    labels, known = separate(mask, 0.0, block=9001, threads=1)
    assert known.count == 1
    agree(separate(mask, 0.0, block=(3, 3, 1000), threads=1), (labels, known))


def test_equal_basins_merge_by_their_place_alone():
    """Three equal peaks with equal saddles: the order of meetings must not show."""
    peaks = np.array([9, 9, 9], np.int32)
    meetings = Meetings(np.array([1, 1, 2]), np.array([2, 3, 3]), np.array([4, 4, 4], np.int32), np.zeros((3, 0), int))
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        mixed = Meetings(meetings.first[order], meetings.second[order], meetings.saddle, meetings.pairs)
        merged = merge_basins(peaks, mixed, 0.9, False)
        assert merged.particle.tolist() == [0, 1, 2]
        assert merged.ends.tolist() == [4, 4, 0]
        assert merge_basins(peaks, mixed, 1.0, False).particle.tolist() == [2, 2, 2]


def test_meetings_add_up_in_any_pieces():
    rng = np.random.default_rng(0)
    first = rng.integers(1, 20, 500)
    second = first + rng.integers(1, 20, 500)
    every = Meetings(first, second, rng.integers(1, 99, 500).astype(np.int32), rng.integers(0, 9, (500, 13)))
    pieces = [Meetings(every.first[k::7], every.second[k::7], every.saddle[k::7], every.pairs[k::7]) for k in range(7)]
    one, other = every.summed(), Meetings.total(iter(pieces))
    for name in ("first", "second", "saddle", "pairs"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.pairs.sum() == every.pairs.sum()
    assert (np.diff(one.first * 100 + one.second) > 0).all()


def test_more_meetings_than_a_table_holds(monkeypatch):
    from mgsflow.particle_analysis.watershed import saddles

    rng = np.random.default_rng(3)
    mask = rng.random((20, 21, 22)) < 0.9
    source = ArraySource(squares(mask))
    one = separated(source, whole(mask.shape), 0.0)
    monkeypatch.setattr(saddles, "_slots", lambda entries: 1 << (4 * entries).bit_length())
    agree(separated(source, ((20,), (11, 10), (22,)), 0.0), one)


def test_zarr_and_dataarray_and_threads(tmp_path):
    import xarray as xr

    rng = np.random.default_rng(6)
    mask = ndimage.gaussian_filter(rng.random((40, 36, 44)), 2) > 0.5
    one = separate(mask, threads=1)
    stored = zarr.create_array(str(tmp_path / "mask.zarr"), data=mask.astype(np.uint8), chunks=(16, 16, 16))
    out = zarr.create_array(str(tmp_path / "out.zarr"), shape=mask.shape, chunks=(10, 10, 10), dtype="uint32")
    labels, known = separate(stored, out=out, block=25, threads=2)
    assert labels is out
    agree((labels[...], known), one)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mask.zarr", "out.zarr"]  # nothing is left beside them
    named = xr.DataArray(mask, dims=("z", "y", "x"), coords={"x": np.arange(44) * 0.5})
    labels, known = separate(named, block=20, threads=2)
    assert isinstance(labels, xr.DataArray)
    assert labels.name == "particle"
    agree((labels.values, known), one)


def test_workers_give_the_same(tmp_path, two_workers):
    rng = np.random.default_rng(6)
    mask = ndimage.gaussian_filter(rng.random((30, 36, 34)), 2) > 0.5
    stored = zarr.create_array(str(tmp_path / "mask.zarr"), data=mask, chunks=(16, 16, 16))
    out = zarr.create_array(str(tmp_path / "out.zarr"), shape=mask.shape, chunks=(16, 16, 16), dtype="uint32")
    labels, known = separate(stored, out=out, block=16, client=two_workers)
    agree((labels[...], known), separate(mask, threads=1))


@pytest.mark.parametrize("fill", ["noise", "grains", "peaks"])
def test_the_memory_of_a_block_is_bounded(fill, tmp_path):
    shape = (40, 44, 64)
    rng = np.random.default_rng(1)
    if fill == "peaks":  # as many as fit
        d2 = np.ones([2 * n for n in shape], np.int32)
        d2[::2, ::2, ::2] = 2
    else:
        noise = rng.random([2 * n for n in shape])
        d2 = squares(noise < 0.97 if fill == "noise" else ndimage.gaussian_filter(noise, 2) > 0.5)
    grid = Grid.regular(d2.shape, shape)
    zarr.create_group(str(tmp_path / "parts.zarr"))
    parts = StoredParts(str(tmp_path / "parts.zarr"), "")
    find = FindBasins(ArraySource(d2), grid, parts)
    for index in indices(grid):
        find.run(index)
    peak = traced_peak(lambda: find.run((1, 1, 1)), times=2)
    assert 0.25 * find.memory() < peak <= find.memory()
    write_offsets(parts, grid)
    across = FindSeams(grid, parts)
    assert traced_peak(lambda: across.run((0, 0, 0)), times=2) <= across.memory()
    out = ArraySink(np.empty(d2.shape, np.uint32))
    write = Relabel(BasinLabels(grid, parts), parts, grid, out, np.dtype(np.uint32))
    parts.write((0, 0, 0), "lut", np.arange(parts.read((0, 0, 0), "table").shape[1] + 1))
    assert traced_peak(lambda: write.run((0, 0, 0)), times=2) <= write.memory()


@pytest.mark.parametrize(
    "arguments",
    [
        {"persistence": -0.1},
        {"persistence": np.nan},
        {"persistence": "deep"},
        {"persistence": True},
        {"persistence": 1.5, "relative": True},
        {"min_voxels": -1},
        {"min_voxels": 2.5},
        {"block": 0},
    ],
)
def test_what_makes_no_sense_is_refused(arguments):
    with pytest.raises(InputError):
        separate(np.ones((4, 4, 4), bool), **arguments)


def test_masks_of_grey_values_and_other_shapes_are_refused():
    with pytest.raises(InputError, match="booleans or integers"):
        separate(np.ones((4, 4, 4)))
    with pytest.raises(InputError, match="three axes"):
        separate(np.ones((4, 4), bool))
    with pytest.raises(InputError, match="shape"):
        separate(np.ones((4, 4, 4), bool), out=np.zeros((4, 4, 5), np.uint32))
    with pytest.raises(InputError, match="at most"):
        peak_bits((2**13, 2**13, 2**12))


@pytest.mark.slow
def test_the_electrode_gives_the_counts_of_a_prototype():
    folder = DATA
    file = folder / "electrode.tiff"
    if not file.is_file():
        pytest.skip(f"no {file.name} in MGSFLOW_TEST_DATA")
    import tifffile

    mask = tifffile.imread(file) == 85
    labels, known = separate(mask, 0.25)
    assert [known.count_at(h) for h in (0.25, 0.5, 1.0)] == [1486, 1199, 1036]
    assert known.basins == 3869
    again = separate(mask, 0.25, block=(97, 256, 131))
    agree(again, (labels, known))


def test_boxes_are_found_in_the_grid():
    grid = Grid(((3, 4), (5,), (1, 1, 6)))
    parts = MemoryParts()
    rng = np.random.default_rng(0)
    source = ArraySource(squares(rng.random(grid.shape) < 0.8))
    for index in indices(grid):
        FindBasins(source, grid, parts).run(index)
    for b in grid.blocks():
        count = parts.read(b.index, "table").shape[1]
        painted = BasinLabels(grid, parts).painted(b.core, np.arange(count + 1, dtype=np.uint32))
        np.testing.assert_array_equal(painted > 0, source.read(b.core) > 0)
        assert painted.max(initial=0) == count
        assert Box.of(grid.shape).contains(b.core)
