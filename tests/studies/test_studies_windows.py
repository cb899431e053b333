"""Where windows lie, and that the counts of any of them are those of the cropped image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traced import traced_peak

from mgsflow.blocks import Box, Grid
from mgsflow.compute import MemoryParts, indices
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import ArraySource
from mgsflow.measures import make_measures, measure
from mgsflow.studies import place_windows, rve
from mgsflow.studies.subvolumes import CountPieces, Cuts, additive, counted, counts_of_windows
from mgsflow.studies.window_counts import CountWindows

NAMES = ("volume", "surface", "interface", "tpb", "curvature")


def phases(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    grey = np.random.default_rng(seed).normal(size=shape)
    for axis in range(3):
        grey = grey + np.roll(grey, 1, axis)
    return np.digitize(grey, [-1.2, 1.0]).astype(np.uint8)


def test_nested_windows_lie_about_the_centre():
    placed = place_windows((100, 81, 90), [10, 40, 81])
    assert placed[10] == (Box((45, 35, 40), (55, 45, 50)),)
    assert placed[81] == (Box((9, 0, 4), (90, 81, 85)),)
    for small, large in ((10, 40), (40, 81)):
        assert placed[large][0].contains(placed[small][0])
    assert place_windows((100, 80, 90), [10, 81])[81] == ()


def test_tiles_do_not_overlap_and_random_windows_differ():
    shape = (50, 64, 70)
    tiled = place_windows(shape, [16, 30], "tiled", 100)
    assert len(tiled[16]) == 3 * 4 * 4
    assert len(tiled[30]) == 1 * 2 * 2
    filled = np.zeros(shape, int)
    for box in tiled[16]:
        filled[box.slices] += 1
    assert filled.max() == 1
    few = place_windows(shape, [16], "tiled", 5)
    assert len(few[16]) == 5
    assert set(few[16]) < set(tiled[16])
    drawn = place_windows(shape, [16, 30, 49], "random", 40, seed=3)
    assert all(Box.of(shape).contains(b) for some in drawn.values() for b in some)
    assert [len(set(some)) for some in drawn.values()] == [40, 40, 40]
    # as many as there are places: 2 x 16 x 22, 1 x 15 x 21
    assert len(place_windows(shape, [49], "random", 10_000)[49]) == 2 * 16 * 22


def test_placement_follows_from_the_seed_alone():
    one = place_windows((50, 64, 70), [16, 30], "random", 9, seed=5)
    assert one == place_windows((50, 64, 70), [16, 30], "random", 9, seed=5)
    assert one[30] == place_windows((50, 64, 70), [20, 30], "random", 9, seed=5)[30]
    assert one != place_windows((50, 64, 70), [16, 30], "random", 9, seed=6)


@pytest.mark.parametrize(
    ("sizes", "placement", "count"),
    [
        ([], "nested", 1),
        ([8, 8], "nested", 1),
        ([8, 6], "tiled", 1),
        ([1, 6], "random", 1),
        ([8], "centred", 1),
        ([8], "tiled", 0),
    ],
)
def test_what_is_no_placement_is_refused(sizes, placement, count):
    with pytest.raises(InputError):
        place_windows((50, 50, 50), sizes, placement, count)


@st.composite
def cut_images(draw: st.DrawFn) -> tuple[np.ndarray, Grid, list[Box]]:
    shape = draw(st.tuples(*[st.integers(3, 14)] * 3))
    grid = Grid.regular(shape, draw(st.tuples(*[st.integers(2, 14)] * 3)))
    boxes = []
    for _ in range(draw(st.integers(1, 4))):
        start = [draw(st.integers(0, n - 1)) for n in shape]
        stop = [draw(st.integers(a + 1, n)) for a, n in zip(start, shape)]
        boxes.append(Box(tuple(start), tuple(stop)))
    return phases(shape, draw(st.integers(0, 99))), grid, boxes


@settings(max_examples=8)
@given(cut_images())
def test_pieces_add_up_to_the_cropped_image_for_any_blocks_and_windows(case):
    image, grid, boxes = case
    parts, cuts = MemoryParts(), Cuts.of(grid, boxes)
    measures = [m for m in make_measures(NAMES, 3, (0.3, 0.2, 0.1)) if additive(m)]
    work = CountPieces(ArraySource(image), cuts, tuple(dict.fromkeys(counted(m) for m in measures)), (), parts)
    for index in indices(grid):
        work.run(index)
    for m in measures:
        for box, counts in zip(boxes, counts_of_windows(m, cuts, parts, boxes)):
            found = m.dataset(counts, (0.3, 0.2, 0.1), ["a", "b", "c"])
            direct = measure(np.ascontiguousarray(image[box.slices]), [m], (0.3, 0.2, 0.1), phases=["a", "b", "c"])
            for name in found.data_vars:
                if name != "volume_fraction_error":  # an error is no sum
                    np.testing.assert_array_equal(found[name], direct[name], err_msg=f"{name} {box}")


def test_a_window_that_cuts_a_piece_has_no_counts():
    image = phases((12, 12, 12))
    cuts = Cuts.of(Grid.regular(image.shape, 8), [Box((2, 2, 2), (9, 9, 9))])
    m = make_measures(["surface"], 3, (1, 1, 1))[0]
    work, parts = None, MemoryParts()
    work = CountPieces(ArraySource(image), cuts, (counted(m),), (), parts)
    for index in indices(work.grid):
        work.run(index)
    with pytest.raises(ValueError, match="not in tuple"):
        counts_of_windows(m, cuts, parts, [Box((3, 2, 2), (9, 9, 9))])
    with pytest.raises(InputError, match="not within"):
        Cuts.of(Grid.regular(image.shape, 8), [Box((2, 2, 2), (9, 9, 13))])


@pytest.mark.parametrize("placement", ["nested", "random", "tiled"])
def test_properties_are_those_of_the_cropped_image_for_any_blocks(placement):
    image = phases((40, 33, 37), 4)
    asked = {"placement": placement, "windows": 3, "voxel_size": 0.1, "measures": NAMES}
    found = rve(image, [8, 20, 30], block=64, **asked)
    assert found.identical(rve(image, [8, 20, 30], block=(13, 33, 20), **asked))
    for i, size in enumerate((8, 20, 30)):
        for w in range(int(found.windows[i])):
            crop = image[tuple(slice(a, a + size) for a in found.origin[i, w].values)]
            direct = measure(crop, NAMES, 0.1)
            for name in ("volume_fraction", "surface_per_total_volume", "interface_per_total_volume", "tpb_density"):
                np.testing.assert_array_equal(found[name][i, w], direct[name])
            volume = size**3 * (0.1 * 0.1 * 0.1)
            np.testing.assert_array_equal(found.euler_number_per_total_volume[i, w], direct.euler_number / volume)
    whole = measure(image, NAMES, 0.1)
    np.testing.assert_array_equal(found.surface_per_phase_volume_whole, whole.surface_per_phase_volume)
    np.testing.assert_array_equal(found.tpb_density_whole, whole.tpb_density)


def test_memory_of_counting_is_bound_by_what_is_said():
    image = phases((96, 96, 96))
    measures = make_measures(NAMES, 3, (1, 1, 1))
    reductions = tuple(dict.fromkeys(counted(m) for m in measures if additive(m)))
    around = tuple(m for m in measures if not additive(m))
    boxes = [b for some in place_windows(image.shape, [20, 40, 60, 80]).values() for b in some]

    class Copied(ArraySource):
        """Voxels that are read are new, as from a store."""

        def read(self, box: Box) -> np.ndarray:
            return np.array(super().read(box))

    class Nothing:
        def write(self, index: tuple[int, int, int], name: str, array: np.ndarray) -> None:
            pass

    pieces = CountPieces(Copied(image), Cuts.of(Grid.regular(image.shape, 64), boxes), reductions, around, Nothing())
    one = CountWindows(Copied(image), tuple(boxes[-1:]), (*reductions, *around), Nothing())
    for work in (pieces, one):
        peak = traced_peak(lambda: work.run((0, 0, 0)), times=2)  # noqa: B023
        assert 0.1 * work.memory() < peak <= work.memory()
