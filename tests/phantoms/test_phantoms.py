"""Phantoms of the cell: same voxels for any blocks, and what the paper says of fractions, sizes and trends."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.phantoms import Phantom, Source, cathode, separator
from mgsflow.phantoms.cathode import CBD, PORE, STATES, SULFUR
from mgsflow.phantoms.separator import AIR, DEPOSIT, FIBRE

SMALL = (40, 136, 52)  # longer than a tile along z and y
SCANS = [(cathode, 0), (cathode, 3), (separator, 1)]
_WHOLE: dict[tuple, np.ndarray] = {}


def whole(source: Source, key: tuple) -> np.ndarray:
    if key not in _WHOLE:
        _WHOLE[key] = source.read(Box.of(source.shape))
    return _WHOLE[key]


def scan(make, cycle, n=144, seed=3) -> tuple[Phantom, np.ndarray]:
    phantom = make(n, cycle, seed=seed)
    return phantom, whole(phantom.truth, (make.__name__, cycle, n, seed))


def assembled(source: Source, block) -> np.ndarray:
    out = np.empty(source.shape, source.dtype)
    blocks = list(Grid.regular(source.shape, block).blocks())
    for b in reversed(blocks):
        out[b.core.slices] = source.read(b.core)
    return out


@st.composite
def boxes(draw) -> Box:
    corners = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2))) for n in SMALL]
    return Box(tuple(a for a, _ in corners), tuple(b for _, b in corners))


@pytest.mark.parametrize(("make", "cycle"), SCANS)
@given(box=boxes())
@settings(max_examples=12, deadline=None)
def test_a_box_is_cut_from_the_whole_to_the_bit(make, cycle, box):
    phantom = make(SMALL, cycle, seed=5)
    for source in (phantom.truth, phantom.image):
        full = whole(source, (make.__name__, cycle, type(source)))
        part = source.read(box)
        assert part.dtype == source.dtype
        assert part.shape == box.shape
        assert np.array_equal(part, full[box.slices])


@pytest.mark.parametrize("block", [(7, 19, 11), (1, 136, 52), (40, 5, 52)])
def test_blocks_of_any_shape_in_any_order_give_one_volume(block):
    phantom = cathode(SMALL, 0, seed=5)
    for source in (phantom.truth, phantom.image):
        assert np.array_equal(assembled(source, block), source.read(Box.of(SMALL)))


def test_tiles_leave_no_trace(monkeypatch):
    sources = [s for make, cycle in SCANS for p in [make(SMALL, cycle, seed=5)] for s in (p.truth, p.image)]
    before = [s.read(Box.of(SMALL)) for s in sources]
    monkeypatch.setattr("mgsflow.phantoms.sampling.TILE", (5, 17, 13))
    for source, expected in zip(sources, before):
        assert np.array_equal(source.read(Box.of(SMALL)), expected)


def test_threads_and_pickled_copies_read_the_same():
    image = separator(SMALL, 1, seed=2).image
    blocks = [b.core for b in Grid.regular(SMALL, 30).blocks()]
    copy = pickle.loads(pickle.dumps(image))
    with ThreadPoolExecutor(2) as pool:
        for here, there in zip(pool.map(image.read, blocks), pool.map(copy.read, blocks)):
            assert np.array_equal(here, there)


def test_noise_drawn_per_block_is_caught():
    """Negative control: a source whose noise comes from a generator fails the comparison above."""

    class PerBlock:
        shape, dtype = SMALL, np.dtype(np.uint16)

        def read(self, box: Box) -> np.ndarray:
            rng = np.random.default_rng(5)
            return rng.integers(0, 100, box.shape).astype(np.uint16)

    source = PerBlock()
    assert isinstance(source, Source)
    assert not np.array_equal(assembled(source, (7, 19, 11)), source.read(Box.of(SMALL)))


def test_seeds_differ_and_repeat():
    box = Box.of((16, 64, 64))
    one, again, other = (cathode(64, 1, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.image.read(box), again.image.read(box))
    assert (one.truth.read(box) != other.truth.read(box)).mean() > 0.2
    noise = [cathode(64, c, seed=1).image.read(box).astype(float) for c in (3, 10)]
    third, tenth = (cathode(64, c, seed=1).truth.read(box) for c in (3, 10))
    assert (third == tenth).mean() > 0.7  # one specimen …
    left = [v - ndimage.gaussian_filter(v, 2) for v in noise]
    inside = ndimage.binary_erosion((third == CBD) & (tenth == CBD), iterations=4)
    assert inside.sum() > 500
    assert abs(np.corrcoef(left[0][inside], left[1][inside])[0, 1]) < 0.1  # … and noise of its own


def test_a_corner_of_a_volume_far_larger_than_memory():
    image = cathode(4096, 0, seed=1).image
    low, high = Box((4000, 4090, 4080), (4020, 4096, 4096)), Box((4010, 4088, 4082), (4096, 4096, 4096))
    shared = low.intersect(high)
    a = image.read(low)[shared.relative_to(low).slices]
    b = image.read(high)[shared.relative_to(high).slices]
    assert np.array_equal(a, b)
    assert a.std() > 1000


@pytest.mark.parametrize("cycle", [0, 1, 3, 10])
def test_cathode_fractions_are_the_papers(cycle):
    expected = {0: (31, 55, 13.5), 1: (28, 62, 10), 3: (30, 66, 3), 10: (30.5, 68.8, 0.7)}[cycle]
    _, truth = scan(cathode, cycle)
    percent = 100 * np.bincount(truth.ravel(), minlength=3) / truth.size
    assert percent == pytest.approx(expected, abs=1.5)
    assert percent[SULFUR] == pytest.approx(expected[2], abs=0.3)


@pytest.mark.parametrize(("cycle", "expected"), [(0, (85.01, 14.99, 0)), (1, (72.82, 14.08, 13.10))])
def test_separator_fractions_are_the_papers(cycle, expected):
    _, truth = scan(separator, cycle)
    percent = 100 * np.bincount(truth.ravel(), minlength=3) / truth.size
    assert percent == pytest.approx(expected, abs=1.5)


def test_calibration_only_trims():
    """The random medium has nearly the right density by itself: radii move by a few per cent in a wide field."""
    from mgsflow.phantoms.cathode import _calibrated

    for cycle in STATES:
        scales = [_calibrated(cathode(384, cycle, seed=s).geometry)[0] for s in range(4)]
        assert 0.9 < np.mean(scales) < 1.1


@pytest.mark.parametrize("cycle", [0, 1, 3, 10])
def test_grey_values_tell_the_phases_after_mild_denoising(cycle):
    phantom, truth = scan(cathode, cycle, n=112)
    assert phantom.thresholds == pytest.approx((23_100, 32_500))
    grey = ndimage.gaussian_filter(phantom.image.read(Box.of(phantom.shape)).astype(np.float32), 0.5)
    sharp = grey + 0.5 * (grey - ndimage.gaussian_filter(grey, 1.5))
    for image in (grey, sharp):
        found = (image >= 23_100).astype(np.uint8) + (image >= 32_500)
        assert (found == truth).mean() > 0.95
    wrong = (grey >= 27_000).astype(np.uint8) + (grey >= 36_000)  # negative control: other thresholds do not
    assert (wrong == truth).mean() < 0.9


def test_separator_grey_values_tell_the_phases():
    phantom, truth = scan(separator, 1, n=112)
    grey = ndimage.gaussian_filter(phantom.image.read(Box.of(phantom.shape)).astype(np.float32), 0.5)
    sharp = grey + 0.5 * (grey - ndimage.gaussian_filter(grey, 1.5))
    low, high = phantom.thresholds
    assert ((sharp >= low).astype(np.uint8) + (sharp >= high) == truth).mean() > 0.95


def test_noise_is_there_before_denoising():
    phantom, truth = scan(cathode, 3, n=112)
    grey = phantom.image.read(Box.of(phantom.shape)).astype(float)
    inside = ndimage.binary_erosion(truth == CBD, iterations=8)
    assert inside.sum() > 1000
    assert grey[inside].mean() == pytest.approx(28_000, abs=150)
    assert 800 < grey[inside].std() < 2000


def test_edges_have_fringes():
    """Phase contrast: CBD is darker beside sulfur than far from it, with noise averaged out."""
    phantom, truth = scan(cathode, 0, n=112)
    grey = phantom.image.read(Box.of(phantom.shape)).astype(float)
    away = ndimage.distance_transform_edt(truth != SULFUR)
    open_ = ndimage.distance_transform_edt(truth != PORE) > 4
    rim = (truth == CBD) & open_ & (away > 1.8) & (away < 3)
    flat = (truth == CBD) & open_ & (away > 6)
    assert grey[rim].mean() < grey[flat].mean() - 100


def test_sulfur_shrinks_and_agglomerates():
    diameters = {c: np.sort(2 * cathode(400, c, seed=1).particles()["radius"]) for c in STATES}
    first, third = diameters[0], diameters[3]
    assert first[0] > 0.45
    assert first[-1] < 4.8
    assert (first < 1).mean() == pytest.approx(0.90, abs=0.03)
    assert third[0] > 0.98
    assert third[-1] < 11.6
    assert (third > 2).mean() == pytest.approx(0.15, abs=0.05)
    counts = [len(diameters[c]) for c in (0, 1, 3, 10)]
    assert counts == sorted(counts, reverse=True)
    assert np.mean(diameters[0]) < np.mean(diameters[1]) < np.mean(diameters[3])


def test_the_widest_particles_need_a_wide_field():
    widest = max(2 * cathode(700, 3, seed=s).particles()["radius"].max() for s in range(2))
    assert 6 < widest < 11.6


def test_surviving_sulfur_stays_where_it_was():
    before, after, other = (cathode(200, c, seed=s).particles() for c, s in ((0, 4), (1, 4), (1, 5)))
    moved, _ = cKDTree(before["centre"]).query(after["centre"])
    assert (moved < 1e-9).mean() > 0.7  # the rest had been crowded out before
    moved, _ = cKDTree(before["centre"]).query(other["centre"])
    assert not (moved < 1e-9).any()


def test_sulfur_gets_rounder():
    """Ratio of the largest to the smallest principal axis of labelled particles."""

    def ratio(cycle: int) -> float:
        _, truth = scan(cathode, cycle)
        labels, _ = ndimage.label(truth == SULFUR)
        ratios = []
        for i, where in enumerate(ndimage.find_objects(labels)):
            points = np.argwhere(labels[where] == i + 1)
            edge = any(s.start == 0 or s.stop == m for s, m in zip(where, truth.shape))
            if not edge and len(points) > 150:
                spread = np.linalg.eigvalsh(np.cov(points.T))
                ratios.append(np.sqrt(spread[2] / spread[0]))
        assert len(ratios) > 10
        return float(np.median(ratios))

    assert ratio(0) > ratio(3) + 0.1


def test_listed_particles_are_the_sulfur():
    phantom, truth = scan(cathode, 0)
    listed = phantom.particles()
    centre = np.floor(listed["centre"] / phantom.voxel_size).astype(int)
    assert (truth[tuple(centre.T)] == SULFUR).all()
    volume = (4 / 3 * np.pi * listed["radius"] ** 3).sum()
    assert volume == pytest.approx((truth == SULFUR).sum() * 0.126**3, rel=0.15)  # some reach over the border
    labels, n = ndimage.label(truth == SULFUR)
    inner = ndimage.binary_erosion(np.ones_like(truth, bool))
    cut = np.unique(labels[~inner])  # a particle cut by the border may have its centre outside
    large = np.flatnonzero(np.bincount(labels.ravel()) > 20)
    assert set(large) - set(cut) <= set(np.unique(labels[tuple(centre.T)]))
    assert 0.75 < n / len(listed) < 1.25


def test_particles_of_boxes_add_up():
    phantom = cathode((64, 80, 96), 0, seed=1)
    parts = [phantom.particles(b.core) for b in Grid.regular(phantom.shape, (30, 80, 41)).blocks()]
    together, single = np.sort(np.concatenate(parts), order="radius"), np.sort(phantom.particles(), order="radius")
    assert np.array_equal(together, single)


def test_cbd_densifies_toward_the_collector_and_more_with_cycling():
    slopes = []
    for cycle in (0, 1, 3, 10):
        profile = np.mean([(scan(cathode, cycle, seed=s)[1] == PORE).mean(axis=(1, 2)) for s in (3, 4, 5)], axis=0)
        slopes.append(np.polyfit(np.linspace(0, 1, len(profile)), profile, 1)[0])
    assert max(slopes) < -0.02
    assert slopes[0] > slopes[3] + 0.05
    assert slopes[0] > slopes[2]


def test_pores_merge():
    """Pore surface per pore volume falls from pristine to cycle 3 (5.4 to 2.1 a µm in the paper)."""

    def area(cycle: int) -> float:
        pore = scan(cathode, cycle)[1] == PORE
        faces = sum(np.count_nonzero(np.diff(pore, axis=a)) for a in range(3))
        return faces / 1.5 / 0.126 / pore.sum()

    assert 3.5 < area(0) < 6
    assert area(1) < area(0)
    assert 1.5 < area(3) < 3


def test_fibres_lie_in_the_plane_and_both_states_share_them():
    _, pristine = scan(separator, 0)
    _, cycled = scan(separator, 1)
    fibre = pristine == FIBRE
    chord = [fibre.sum() / max(1, np.count_nonzero(np.diff(fibre.astype(np.int8), axis=a) == 1)) for a in range(3)]
    assert chord[1] > 1.5 * chord[0]
    assert chord[2] > 1.5 * chord[0]
    assert ((cycled == FIBRE) & ~fibre).mean() < 0.001
    assert not (pristine == DEPOSIT).any()


def test_fibre_distances_against_every_fibre():
    """Second method: distances from sampled voxels to all fibres near, in plain numpy."""
    phantom, truth = scan(separator, 1)
    from mgsflow.phantoms.separator import _calibrated

    fibres = phantom.geometry._fibres
    offset, _ = _calibrated(phantom.geometry)
    rng = np.random.default_rng(1)
    voxels = rng.integers(0, truth.shape[0], (3000, 3))
    points = (voxels + 0.5) * 0.39
    near = fibres.near(np.zeros(3), np.full(3, 144 * 0.39), 8.0)
    d = points[:, None] - near[None, :, :3]
    t = np.clip((d * near[None, :, 4:]).sum(-1), -fibres.length / 2, fibres.length / 2)
    surface = np.sort(np.linalg.norm(d - t[..., None] * near[None, :, 4:], axis=-1) - near[:, 3], axis=1) - offset
    phase = truth[tuple(voxels.T)]
    sure = np.abs(surface[:, 0]) > 1e-4
    assert np.array_equal((surface[:, 0] < 0)[sure], (phase == FIBRE)[sure])
    # deposits bridge two fibres: both are close, and closer than around air at the same distance from the first
    bridged = phase == DEPOSIT
    assert surface[bridged, 1].max() < 5.0
    band = (surface[:, 0] > 0) & (surface[:, 0] < 1)
    assert np.median(surface[band & bridged, 1]) < 0.6 * np.median(surface[band & (phase == AIR), 1])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cathode(32, cycle=2), "cycle must be one of"),
        (lambda: separator(32, cycle=3), "cycle must be one of"),
        (lambda: cathode((32, 0, 32)), "shape"),
        (lambda: cathode((32, 32)), "three"),
        (lambda: cathode(32, voxel_size=-1), "voxel_size"),
        (lambda: cathode(32, voxel_size=(0.1, 0.1)), "voxel_size"),
        (lambda: separator(32, voxel_size=float("nan")), "voxel_size"),
        (lambda: cathode(32).truth.read(Box((0, 0, 0), (33, 1, 1))), "not within"),
        (lambda: cathode(32).image.read(Box((-1, 0, 0), (3, 1, 1))), "not within"),
        (lambda: cathode(32).particles(Box((0, 0, 0), (64, 1, 1))), "not within"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize(("make", "cycle"), SCANS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 50, 3), (9, 2, 30)])
def test_tiny_scans_work(make, cycle, shape):
    phantom = make(shape, cycle)
    assert phantom.truth.read(Box.of(shape)).max() < len(phantom.phase_names)
    assert phantom.image.read(Box.of(shape)).shape == shape
    assert phantom.image.read(Box((0, 0, 0), (0, 1, 1))).shape == (0, 1, 1)
