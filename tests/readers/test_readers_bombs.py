"""Sizes of compressed streams, told without inflating them whole."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib

import imagecodecs
import numpy as np
import pytest

from mgsflow.readers.bombs import inflates_beyond

NOISE = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8).tobytes()
FORMATS = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": imagecodecs.zstd_encode,
    "blosc": imagecodecs.blosc_encode,
}


@pytest.mark.parametrize(
    "content", [NOISE, bytes(100_000), NOISE[:300] + bytes(5_000_000)], ids=["noise", "zero", "long"]
)
@pytest.mark.parametrize("name", FORMATS)
def test_longer_than_a_limit_is_known_to_the_byte(name: str, content: bytes) -> None:
    stored = FORMATS[name](content)
    assert not inflates_beyond(stored, len(content))
    assert inflates_beyond(stored, len(content) - 1)


@pytest.mark.parametrize("start", [b"\x78\x9c", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\x02\x01"])
def test_plain_voxels_that_look_like_a_format(start: bytes) -> None:
    voxels = start + NOISE
    assert not inflates_beyond(voxels, len(voxels))


@pytest.mark.parametrize("name", FORMATS)
def test_cut_off(name: str) -> None:
    stored = FORMATS[name](NOISE)
    for length in (0, 1, 5, 17, len(stored) // 2):
        inflates_beyond(stored[:length], 10**6)
