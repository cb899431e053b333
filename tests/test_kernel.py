"""Chains run block by block against the same kernels on the whole array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import BoxSum, Liar, Place, Steps

from mgsflow.blocks import Block, Box, Grid
from mgsflow.kernel import Kernel, Reduction, chain_halo, crop, run_chain, run_stages, stage_margins

reaches = st.tuples(*[st.integers(0, 2)] * 3)
kernels = st.one_of(reaches.map(BoxSum), st.just(Place()))
chains = st.lists(kernels, max_size=4).map(tuple)
cuts = st.tuples(*[st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple)] * 3)


def volume(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.uint16)


def on_all(chain: tuple[Kernel, ...], array: np.ndarray) -> list[np.ndarray]:
    """Return what stands after each kernel, applied to the whole array."""
    stages = [array]
    for kernel in chain:
        stages.append(kernel(stages[-1]))
    return stages


@settings(max_examples=60, deadline=None)
@given(chains, cuts)
def test_a_chain_on_blocks_is_the_chain_on_the_whole(chain: tuple[Kernel, ...], cuts: tuple) -> None:
    grid = Grid(cuts)
    array = volume(grid.shape)
    whole = on_all(chain, array)[-1]
    for block in grid.blocks(chain_halo(chain)):
        part = run_chain(chain, array[block.outer.slices], block)
        assert part.dtype == whole.dtype
        assert np.array_equal(part, whole[block.core.slices])


@settings(max_examples=60, deadline=None)
@given(chains, cuts, st.data())
def test_every_stage_holds_its_margin(chain: tuple[Kernel, ...], cuts: tuple, data: st.DataObject) -> None:
    grid = Grid(cuts)
    array = volume(grid.shape)
    stages = on_all(chain, array)
    margins = [data.draw(reaches) for _ in stages]
    for block in grid.blocks(stage_margins(chain, margins)[0]):
        seen = 0
        given_ = array[block.outer.slices]
        for (part, box), whole, margin in zip(
            run_stages(chain, given_, block.outer, block.core, margins), stages, margins, strict=True
        ):
            assert box.contains(block.core.grow(margin, within=Box.of(grid.shape)))
            assert np.array_equal(part, whole[box.slices])
            seen += 1
        assert seen == len(stages)


def test_a_larger_halo_than_needed_does_no_harm() -> None:
    array, chain = volume((9, 10, 11)), (BoxSum((1, 0, 1)), BoxSum((0, 2, 0)))
    block = Grid.regular(array.shape, 4).block((1, 1, 1), 4)
    part = run_chain(chain, array[block.outer.slices], block)
    assert np.array_equal(part, on_all(chain, array)[-1][block.core.slices])


def test_a_kernel_that_lies_about_its_halo_is_found_out() -> None:
    array, chain = volume((8, 9, 24)), (BoxSum((1, 1, 1)), Liar((1, 1, 2)))
    whole = on_all(chain, array)[-1]
    wrong = [
        b
        for b in Grid.regular(array.shape, 8).blocks(chain_halo(chain))
        if not np.array_equal(run_chain(chain, array[b.outer.slices], b), whole[b.core.slices])
    ]
    assert len(wrong) == 6  # all: each has a border along x that is none of the volume


def test_margins_by_hand() -> None:
    chain = (BoxSum((1, 2, 3)), BoxSum((0, 1, 0)))
    zero = (0, 0, 0)
    assert chain_halo(chain) == (1, 3, 3)
    assert stage_margins(chain, [zero, zero, zero]) == [(1, 3, 3), (0, 1, 0), zero]
    # a reduction in the middle that reads one voxel beyond, and one on the input that reads five
    assert stage_margins(chain, [zero, (1, 1, 1), zero]) == [(2, 3, 4), (1, 1, 1), zero]
    assert stage_margins(chain, [(5, 0, 0), zero, (0, 0, 1)]) == [(5, 3, 4), (0, 1, 1), (0, 0, 1)]
    assert stage_margins((), [(2, 1, 0)]) == [(2, 1, 0)]
    assert chain_halo(()) == zero


def test_the_empty_chain_is_the_core() -> None:
    array = volume((5, 6, 7))
    block = Grid.regular(array.shape, 3).block((1, 1, 1), 2)
    assert np.array_equal(run_chain((), array[block.outer.slices], block), array[3:5, 3:6, 3:6])


def test_cropping() -> None:
    array = volume((5, 6, 7))
    box = Box((10, 20, 30), (15, 26, 37))
    assert crop(array, box, box) is array
    assert np.array_equal(crop(array, box, Box((11, 20, 33), (12, 22, 37))), array[1:2, 0:2, 3:7])


def test_toys_are_what_the_protocols_ask_for() -> None:
    assert isinstance(BoxSum((1, 1, 1)), Kernel)
    assert isinstance(Steps(), Reduction)
    assert not isinstance(Steps(), type(None))
    with pytest.raises(AssertionError):  # a reduction is told when its array is not that of its block
        Steps()(volume((2, 2, 2)), Block((0, 0, 0), Box.of((1, 1, 1)), Box.of((1, 1, 1))))
