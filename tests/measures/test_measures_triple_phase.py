"""Triple-phase lines: exact edges, straight lines in random directions, scipy's Gaussian, and other blocks."""

from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mgsflow.blocks import Box, Grid
from mgsflow.errors import InputError
from mgsflow.measures import Measure, measure
from mgsflow.measures.triple_phase.corrected import TripleLine, smoothing_weights
from mgsflow.measures.triple_phase.edges import TriplePhase

CUBIC = (1.0, 1.0, 1.0)
COARSE = np.kron(np.random.default_rng(6).integers(0, 4, (4, 5, 5)), np.ones((6, 6, 6), int)).astype(np.uint8)


def length(image, phases=3, voxel_size=CUBIC, block=256, **options):
    m = TripleLine(phases, aspect=voxel_size, **options)
    return float(measure(image, [m], voxel_size, "abcdef"[:phases], block=block).tpb_length)


def test_edges_of_a_straight_line():
    image = np.zeros((7, 6, 8), np.uint8)
    image[:, 3:, :4] = 1
    image[:, 3:, 4:] = 2
    d = measure(image, [TriplePhase(3)], (0.5, 1.0, 2.0), "abc")
    assert float(d.tpb_edge_length) == 3.5
    assert float(d.tpb_edge_density) == pytest.approx(3.5 / image.size)
    # nothing where only two phases meet
    assert float(measure(np.minimum(image, 1), [TriplePhase(3)], CUBIC, "abc").tpb_edge_length) == 0


def test_four_phases_at_an_edge_count_once_and_inactive_ones_do_not():
    image = np.zeros((3, 2, 2), np.uint8)
    image[:, 0, 1], image[:, 1, 0], image[:, 1, 1] = 1, 2, 3
    for inactive, expected in ((None, 3.0), (3, 3.0)):
        assert float(measure(image, [TriplePhase(4, inactive=inactive)], CUBIC, "abcd").tpb_edge_length) == expected
    image[image == 3] = 0
    assert float(measure(image, [TriplePhase(4)], CUBIC, "abcd").tpb_edge_length) == 3.0
    assert float(measure(image, [TriplePhase(4, inactive=0)], CUBIC, "abcd").tpb_edge_length) == 0.0


def lines(voxel_size, sigma, rng):
    """Return (found, edges, true) lengths in the middle of volumes with one straight line of random direction."""
    n, tile, h = 48, 16, np.array(voxel_size)
    middle = Box((tile,) * 3, (2 * tile,) * 3)
    g = (np.stack(np.indices((n,) * 3), -1) - (n - 1) / 2) * h
    sums = np.zeros(3)
    for _ in range(20):
        u, e = rng.normal(size=(2, 3))
        u /= np.linalg.norm(u)
        e = np.cross(u, e)
        e /= np.linalg.norm(e)
        offset = rng.uniform(-2, 2, 3) * h
        q = g - offset
        angle = (np.arctan2(q @ np.cross(u, e), q @ e) + rng.uniform(0, 2 * np.pi)) % (2 * np.pi)
        image = np.digitize(angle, [2 * np.pi / 3, 4 * np.pi / 3]).astype(np.uint8)
        # where the line enters and leaves the middle tile
        ends = np.sort((np.array([[-1], [1]]) * tile / 2 * h - offset) / u, axis=0)
        sums[2] += ends[1].min() - ends[0].max()
        for k, m in enumerate((TripleLine(3, tile=tile, sigma=sigma, aspect=voxel_size), TriplePhase(3, tile=tile))):
            grid = Grid.regular(image.shape, n)
            records = m(image, grid.block((0, 0, 0)))[None, None, None]
            d = m.finalize(records, grid, voxel_size, "abc", middle)
            sums[k] += float(d.tpb_length if k == 0 else d.tpb_edge_length)
    return sums


@pytest.mark.parametrize(("voxel_size", "within"), [(CUBIC, 0.015), ((2.0, 1.0, 1.0), 0.03)])
def test_straight_lines_in_random_directions(voxel_size, within):
    found, edges, true = lines(voxel_size, 1.0, np.random.default_rng(11))
    assert found / true == pytest.approx(1.0, abs=within)
    assert edges / true > 1.3  # negative control: the staircase


@pytest.mark.parametrize("phases", [3, 4])
def test_length_is_that_of_scipys_gaussian(phases):
    image = np.minimum(COARSE, phases - 1)
    g = [
        np.gradient(gaussian_filter((image == k).astype(float), 1.0, mode="reflect", truncate=4.0))
        for k in range(phases)
    ]
    pairs = [np.linalg.norm(np.cross(g[i], g[j], axis=0), axis=0) for i, j in combinations(range(phases), 2)]
    inner = (slice(6, -6),) * 3
    expected = 2 / 3 * sum(p[inner].sum() for p in pairs)
    m = TripleLine(phases, tile=6)
    grid = Grid.regular(image.shape, 100)
    records = m(image, grid.block((0, 0, 0)))[None, None, None]
    found = m.length(records, grid, Box((6,) * 3, tuple(n - 6 for n in image.shape)))
    # the weights are rounded to 1/256
    assert found == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("phases", [3, 4])
@pytest.mark.parametrize("block", [7, (1, 50, 50), (50, 13, 1)])
def test_bits_do_not_depend_on_blocks(phases, block):
    image = np.minimum(COARSE, phases - 1)[:13, :17, :15]
    assert length(image, phases, block=block, tile=8) == length(image, phases, tile=5)


def test_two_phases_add_nothing_at_all():
    noise = np.random.default_rng(1).integers(0, 2, (20, 20, 20)).astype(np.uint8)
    assert length(noise) == 0.0
    noise[0, 0, 0] = 2  # a third phase in one corner: the far ones still add exactly nothing
    m = TripleLine(3, tile=10)
    grid = Grid.regular(noise.shape, 20)
    record = m(noise, grid.block((0, 0, 0)))
    assert record[0, 0, 0] > 0
    assert not record[1].any()


def test_thin_volumes_and_one_voxel():
    assert length(np.zeros((1, 1, 1), np.uint8)) == 0.0
    flat = COARSE[:1]
    # reflected, a plane of voxels is a stack of itself: lines run straight through it
    stack = np.repeat(flat, 20, axis=0)
    assert length(flat, 4) == pytest.approx(length(stack, 4) / 20, rel=1e-12)


def test_smoothing_weights():
    for sigma in (0.5, 1.0, 2.2, 3.0):
        w = smoothing_weights(sigma)
        r = w.size // 2
        assert w.sum() == 256
        assert np.array_equal(w, w[::-1])
        assert np.sqrt((w * np.arange(-r, r + 1) ** 2).sum() / 256) == pytest.approx(sigma, rel=0.1)


def test_refusals():
    assert isinstance(TripleLine(3), Measure)
    with pytest.raises(InputError, match="sigma"):
        TripleLine(3, sigma=0.1)
    with pytest.raises(InputError, match="set the measure's aspect"):
        measure(COARSE, [TripleLine(4)], (2.0, 1.0, 1.0), "abcd")
    assert length(COARSE, 4, (2.0, 2.0, 2.0)) == pytest.approx(2 * length(COARSE, 4), rel=1e-12)
