"""Random numbers that are a function of a seed and of integer coordinates, and of nothing else.

A counter-based generator has no state: the number at a voxel or cell is a hash of its coordinates, so that a volume
made block by block is the same whatever the blocks. The mixer is the finaliser of splitmix64 (Steele, Lea and Flood,
OOPSLA 2014, doi:10.1145/2660193.2660195). Normal variates are sums of 16-bit uniforms: integers up to the last
step, so that they do not depend on how a compiler vectorises a logarithm.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numba import njit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_S11, _S16, _S32, _S48 = np.uint64(11), np.uint64(16), np.uint64(32), np.uint64(48)
_LANE = np.uint64(0xFFFF)
_UNIT = 2.0**-53
# a sum of n lanes uniform on 0 .. 65535 has mean 65535 n / 2 and variance n (2^32 - 1) / 12
_STD_LANE = math.sqrt((2.0**32 - 1.0) / 12.0)
_SCALE4 = np.float32(1.0 / (2.0 * _STD_LANE))
_SCALE8 = np.float32(1.0 / (math.sqrt(8.0) * _STD_LANE))
_MEAN4, _MEAN8 = np.int64(131070), np.int64(262140)


def stream_key(seed: int, stream: str) -> np.uint64:
    """Return the 64-bit key of one named stream of random numbers of a seed (any integer)."""
    digest = hashlib.blake2b(f"{int(seed)}/{stream}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


@njit(cache=True, nogil=True, inline="always")
def mix(h: np.uint64) -> np.uint64:
    """Return the splitmix64 finaliser of a uint64: each bit of the result depends on each bit of `h`."""
    h = (h ^ (h >> _S30)) * _M1
    h = (h ^ (h >> _S27)) * _M2
    return h ^ (h >> _S31)


@njit(cache=True, nogil=True, inline="always")
def row_hash(key: np.uint64, z: int, y: int) -> np.uint64:
    """Return the hash of a row (z, y); that of a point in it is ``point_hash(row, x)``."""
    return mix(mix(key + np.uint64(z) * GOLDEN) + np.uint64(y) * GOLDEN)


@njit(cache=True, nogil=True, inline="always")
def point_hash(row: np.uint64, x: int) -> np.uint64:
    """Return the hash of a point in a row; also the x-th number derived from any hash."""
    return mix(row + np.uint64(x) * GOLDEN)


@njit(cache=True, nogil=True, inline="always")
def unit(h: np.uint64) -> float:
    """Return the float64 in [0, 1) that a hash stands for."""
    return np.float64(h >> _S11) * _UNIT


@njit(cache=True, nogil=True, inline="always")
def normal4(h: np.uint64) -> np.float32:
    """Return a float32 of mean 0 and variance 1 from one hash: four uniforms added (within 3.5 of zero)."""
    total = (h & _LANE) + ((h >> _S16) & _LANE) + ((h >> _S32) & _LANE) + (h >> _S48)
    return np.float32(np.int64(total) - _MEAN4) * _SCALE4


@njit(cache=True, nogil=True, inline="always")
def normal8(h: np.uint64) -> np.float32:
    """Return a float32 of mean 0 and variance 1, from two hashes: eight uniforms added (within 4.9 of zero)."""
    g = mix(h + GOLDEN)
    total = (h & _LANE) + ((h >> _S16) & _LANE) + ((h >> _S32) & _LANE) + (h >> _S48)
    total += (g & _LANE) + ((g >> _S16) & _LANE) + ((g >> _S32) & _LANE) + (g >> _S48)
    return np.float32(np.int64(total) - _MEAN8) * _SCALE8
