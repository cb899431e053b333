"""Lower envelopes of parabolas along the lines of a volume: what a distance transform is made of.

A pass along an axis replaces each value f(u) of a line by the least f(u) + q(|x − u|) over its places u, where q(d) is
the square of d steps along that axis. Two ways give the same numbers:

- a search outward over `NEAR` places to each side, 16 neighbouring lines at once, which ends where q alone is larger
  than what was found. Fastest where distances are short;
- the envelope itself (Felzenszwalb & Huttenlocher 2012, doi:10.4086/toc.2012.v008a019), for lines on which the search
  does not end: its time does not depend on distances.

Both are exact, in floating point too: each takes the least of the *rounded* sums. Rounding is monotone, so that the
least over all three axes is the least of the rounded expression ((wx·dx)² + (wy·dy)²) + (wz·dz)². And parabolas cross
once in rounded values too: if u > p is lower at a whole number x, it leads by at least 2·w²·(u − p) more at x + 1,
which is far above rounding as long as distances are below 10⁷ steps.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_LANES = 16
_BUNCHES = 4
NEAR = 48

#: Planes, rows or columns that a line may have: whole squared distances then fit in 30 bits.
LONGEST = 1 << 14


def lines_bytes(length: int, itemsize: int) -> int:
    """Return the bytes that a pass along lines of this length holds for itself."""
    return itemsize * ((2 * length + 2 * NEAR + 3) * _LANES * _BUNCHES + 2 * length) + 8 * length + 4096


@njit(cache=True, nogil=True)
def _crossing(u: int, p: int, fu: float, fp: float, a: int, b: int, q: np.ndarray, weight: float | None) -> int:
    """Return the first of the places a … b where the parabola of u is strictly lower than that of p < u, or b."""
    if weight is None:
        ahead = np.int32(u * u - p * p + fu - fp)
        if ahead < 0:
            return a
        return max(a, int(np.uint32(ahead) // np.uint32(2 * (u - p))) + 1)
    x = min(max(a, int(0.5 * ((fu - fp) / (weight * (u - p)) + u + p))), b)
    # the estimate is off by rounding: the sums themselves decide
    while x > a and fu + q[abs(x - 1 - u)] < fp + q[abs(x - 1 - p)]:
        x -= 1
    while x < b and fu + q[abs(x - u)] >= fp + q[abs(x - p)]:
        x += 1
    return x


@njit(cache=True, nogil=True)
def _run(
    f: np.ndarray,
    first: int,
    last: int,
    lo: int,
    hi: int,
    q: np.ndarray,
    weight: float | None,
    far: float,
    places: np.ndarray,
    starts: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill the places first … last of a line from the sources lo … hi."""
    k = -1
    for u in range(lo, hi):
        fu = f[u]
        if fu >= far:
            continue
        start = first
        while k >= 0:
            p = places[k]
            start = _crossing(u, p, fu, f[p], first, last, q, weight)
            if start > starts[k]:
                break
            k -= 1
            start = first
        if start < last:
            k += 1
            places[k] = u
            starts[k] = start
    if k < 0:
        for x in range(first, last):
            out[x] = far
        return
    for x in range(last - 1, first - 1, -1):
        while starts[k] > x:
            k -= 1
        out[x] = f[places[k]] + q[abs(x - places[k])]


@njit(cache=True, nogil=True)
def _line(
    f: np.ndarray,
    a: int,
    b: int,
    q: np.ndarray,
    weight: float | None,
    far: float,
    places: np.ndarray,
    starts: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill the places a … b of a line."""
    n = f.size
    i = a
    while i < b:
        if f[i] == 0:
            out[i] = 0
            i += 1
            continue
        # what lies beyond a zero is never nearer than the zero
        first = i
        while i < b and f[i] != 0:
            i += 1
        lo, hi = first, i
        while lo > 0 and f[lo] != 0:
            lo -= 1
        while hi < n and f[hi] != 0:
            hi += 1
        _run(f, first, i, lo, min(n, hi + 1), q, weight, far, places, starts, out)


@njit(cache=True, nogil=True)
def _search(padded: np.ndarray, a: int, b: int, q: np.ndarray, out: np.ndarray, alive: np.ndarray) -> None:
    """Fill the places a … b of 16 lines by looking outward; say of which lines that was enough."""
    zero = q[0]
    limit = q[NEAR + 1]
    best = np.empty(_LANES, q.dtype)
    alive[:] = 1  # lines on which the search did not fail yet
    for i in range(a, b):
        row = padded[i + NEAR]
        most = zero
        for j in range(_LANES):
            best[j] = row[j]
            most = max(most, row[j] if alive[j] else zero)
        for k in range(1, NEAR, 2):
            if q[k] >= most:
                break
            # two steps at a time: the largest is taken half as often
            one, two = q[k], q[k + 1]
            low, high = padded[i + NEAR - k], padded[i + NEAR + k]
            lower, higher = padded[i + NEAR - k - 1], padded[i + NEAR + k + 1]
            most = zero
            for j in range(_LANES):
                # no min(): of floats, it minds NaN and does not become SIMD
                a1, b1, a2, b2, v = low[j], high[j], lower[j], higher[j], best[j]
                v1 = q.dtype.type((a1 if a1 < b1 else b1) + one)
                v2 = q.dtype.type((a2 if a2 < b2 else b2) + two)
                v1 = v1 if v1 < v2 else v2
                v = v1 if v1 < v else v
                best[j] = v
                most = max(most, v if alive[j] else zero)
        if most > limit:
            for j in range(_LANES):
                if best[j] > limit:
                    alive[j] = 0
        found = out[i - a]
        for j in range(_LANES):
            found[j] = best[j]


@njit(cache=True, nogil=True)
def _lines(
    padded: np.ndarray,
    a: int,
    b: int,
    q: np.ndarray,
    weight: float | None,
    far: float,
    out: np.ndarray,
    alive: np.ndarray,
    line: np.ndarray,
    result: np.ndarray,
    places: np.ndarray,
    starts: np.ndarray,
) -> None:
    """Fill the places a … b of 16 lines, which `padded` holds between `NEAR` places of nothing at each end."""
    _search(padded, a, b, q, out, alive)
    for j in range(_LANES):
        if not alive[j]:
            for i in range(line.size):
                line[i] = padded[i + NEAR, j]
            _line(line, a, b, q, weight, far, places, starts, result)
            for i in range(a, b):
                out[i - a, j] = result[i]


@njit(cache=True, nogil=True)
def _steps(row: np.ndarray, x0: int, x1: int, none: int, out: np.ndarray) -> None:
    """Count the steps along a row to the nearest zero, for the places x0 … x1; at least `none`, if there is none."""
    d = none
    for x in range(x0):
        d = 0 if row[x] == 0 else d + 1
    for x in range(x0, x1):
        d = 0 if row[x] == 0 else d + 1
        out[x - x0] = d
    d = none
    for x in range(row.size - 1, x1 - 1, -1):
        d = 0 if row[x] == 0 else d + 1
    for x in range(x1 - 1, x0 - 1, -1):
        d = 0 if row[x] == 0 else d + 1
        out[x - x0] = min(out[x - x0], d)


@njit(cache=True, nogil=True)
def along_x(
    row: np.ndarray,
    x0: int,
    x1: int,
    q: np.ndarray,
    weight: float | None,
    far: float,
    steps: np.ndarray,
    out: np.ndarray,
) -> None:
    """Squared distances to the zeros of a row, for the places x0 … x1."""
    _steps(row, x0, x1, LONGEST, steps)
    for x in range(x1 - x0):
        d = steps[x]
        if weight is None:
            out[x] = far if d >= LONGEST else d * d
        else:
            out[x] = far if d >= LONGEST else q[d]


@njit(cache=True, nogil=True)
def along_y(
    planes: np.ndarray, a: int, b: int, q: np.ndarray, weight: float | None, far: float, out: np.ndarray
) -> None:
    """Pass along y: for the rows a … b, the least over all rows; `out` may be `planes` if those are all."""
    nz, n, nx = planes.shape
    padded = np.full((n + 2 * NEAR, _LANES), far, q.dtype)
    found = np.empty((b - a, _LANES), q.dtype)
    alive = np.empty(_LANES, np.uint8)
    line, result = np.empty(n, q.dtype), np.empty(n, q.dtype)
    places, starts = np.empty(n, np.int32), np.empty(n, np.int32)
    for z in range(nz):
        for x in range(0, nx, _LANES):
            w = min(_LANES, nx - x)
            for y in range(n):
                for j in range(w):
                    padded[y + NEAR, j] = planes[z, y, x + j]
                for j in range(w, _LANES):
                    padded[y + NEAR, j] = 0
            _lines(padded, a, b, q, weight, far, found, alive, line, result, places, starts)
            for y in range(b - a):
                for j in range(w):
                    out[z, y, x + j] = found[y, j]


@njit(cache=True, nogil=True)
def along_z(
    planes: np.ndarray, a: int, b: int, q: np.ndarray, weight: float | None, far: float, out: np.ndarray
) -> None:
    """Pass along z: for the planes a … b, the least over all planes; `out` may be `planes` if those are all."""
    n, ny, nx = planes.shape
    # planes are far apart in memory: of each page that is touched, several cache lines are taken
    padded = np.full((_BUNCHES, n + 2 * NEAR, _LANES), far, q.dtype)
    found = np.zeros((_BUNCHES, b - a, _LANES), q.dtype)
    alive = np.empty(_LANES, np.uint8)
    line, result = np.empty(n, q.dtype), np.empty(n, q.dtype)
    places, starts = np.empty(n, np.int32), np.empty(n, np.int32)
    for y in range(ny):
        for first in range(0, nx, _BUNCHES * _LANES):
            bunches = min(_BUNCHES, (nx - first + _LANES - 1) // _LANES)
            for z in range(n):
                row = planes[z, y]
                for k in range(bunches):
                    x = first + k * _LANES
                    w = min(_LANES, nx - x)
                    for j in range(w):
                        padded[k, z + NEAR, j] = row[x + j]
                    for j in range(w, _LANES):
                        padded[k, z + NEAR, j] = 0
            for k in range(bunches):
                _lines(padded[k], a, b, q, weight, far, found[k], alive, line, result, places, starts)
            for z in range(b - a):
                row = out[z, y]
                for k in range(bunches):
                    x = first + k * _LANES
                    for j in range(min(_LANES, nx - x)):
                        row[x + j] = found[k, z, j]


@njit(cache=True, nogil=True)
def within_planes(
    slab: np.ndarray,
    y0: int,
    y1: int,
    x0: int,
    x1: int,
    qx: np.ndarray,
    qy: np.ndarray,
    wx: float | None,
    wy: float | None,
    far: float,
    out: np.ndarray,
) -> None:
    """Squared distances within each plane, for the rows y0 … y1 and the columns x0 … x1."""
    nz, ny, _ = slab.shape
    rows = np.empty((1, ny, x1 - x0), out.dtype)
    steps = np.empty(x1 - x0, np.int32)
    for z in range(nz):
        for y in range(ny):
            along_x(slab[z, y], x0, x1, qx, wx, far, steps, rows[0, y])
        along_y(rows, y0, y1, qy, wy, far, out[z : z + 1])


@njit(cache=True, nogil=True)
def maxima(found: np.ndarray, across_z: np.ndarray, across_y: np.ndarray, across_x: np.ndarray) -> None:
    """Find the largest value of each plane across each of the axes."""
    for z in range(found.shape[0]):
        for y in range(found.shape[1]):
            row = found[z, y]
            most = row[0]
            for x in range(row.size):
                v = row[x]
                most = max(most, v)
                across_x[x] = max(across_x[x], v)
            across_z[z] = max(across_z[z], most)
            across_y[y] = max(across_y[y], most)


@njit(cache=True, nogil=True)
def along_x_all(mask: np.ndarray, q: np.ndarray, weight: float | None, far: float, out: np.ndarray) -> None:
    """Squared distances to the zeros of each row."""
    steps = np.empty(mask.shape[2], np.int32)
    for z in range(mask.shape[0]):
        for y in range(mask.shape[1]):
            along_x(mask[z, y], 0, mask.shape[2], q, weight, far, steps, out[z, y])
