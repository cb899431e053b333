"""One pass over the 2×2×2 cubes of a tile that counts the 256 patterns of each phase: the numba side of `patterns`."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def count_patterns(m, box, tile_end, phases, present, column, scratch, out):  # type: ignore[no-untyped-def]
    """Add the patterns of the cubes whose lowest voxel is in `box` of `m` to `out` (8, phases, 256).

    Bit ``4 x + 2 z + y`` of a pattern is the voxel at that corner. The first index of `out` tells the axes along
    which the cube reaches beyond the tile (4: z, 2: y, 1: x); beyond the volume, the last voxel stands for what is
    missing. `scratch` (4, 256) holds zeros and is left so.
    """
    nz, ny, nx = m.shape
    z0, z1, y0, y1, x0, x1 = box
    n = x1 - x0
    used = n if x1 == nx else n + 1
    cross = x1 == nx or x1 == tile_end[2]
    inner = n - 1 if cross else n
    # which phases occur at all: the others have the empty pattern only
    present[:] = 0
    for z in range(z0, min(z1 + 1, nz)):
        for y in range(y0, min(y1 + 1, ny)):
            for x in range(x0, x0 + used):
                present[m[z, y, x]] = 1
    z_cross = z1 == nz or z1 == tile_end[0]
    y_cross = y1 == ny or y1 == tile_end[1]
    for p in range(phases):
        for zg in range(2):
            za, zb = z0, z1
            if z_cross:
                za, zb = (z0, z1 - 1) if zg == 0 else (z1 - 1, z1)
            elif zg:
                continue
            for yg in range(2):
                ya, yb = y0, y1
                if y_cross:
                    ya, yb = (y0, y1 - 1) if yg == 0 else (y1 - 1, y1)
                elif yg:
                    continue
                at = 4 * zg + 2 * yg
                if not present[p]:
                    out[at, p, 0] += (zb - za) * (yb - ya) * inner
                    out[at + 1, p, 0] += (zb - za) * (yb - ya) * (n - inner)
                    continue
                for z in range(za, zb):
                    zn = z + 1 if z + 1 < nz else z
                    for y in range(ya, yb):
                        yn = y + 1 if y + 1 < ny else y
                        r0 = m[z, y, x0 : x0 + used]
                        r1 = m[z, yn, x0 : x0 + used]
                        r2 = m[zn, y, x0 : x0 + used]
                        r3 = m[zn, yn, x0 : x0 + used]
                        for x in range(used):
                            column[x] = (r0[x] == p) | ((r1[x] == p) << 1) | ((r2[x] == p) << 2) | ((r3[x] == p) << 3)
                        if used == n:
                            column[n] = column[n - 1]
                        x = 0
                        while x + 4 <= inner:
                            scratch[0, column[x] | (column[x + 1] << 4)] += 1
                            scratch[1, column[x + 1] | (column[x + 2] << 4)] += 1
                            scratch[2, column[x + 2] | (column[x + 3] << 4)] += 1
                            scratch[3, column[x + 3] | (column[x + 4] << 4)] += 1
                            x += 4
                        while x < inner:
                            scratch[0, column[x] | (column[x + 1] << 4)] += 1
                            x += 1
                        if cross:
                            out[at + 1, p, column[n - 1] | (column[n] << 4)] += 1
                for k in range(256):
                    out[at, p, k] += scratch[0, k] + scratch[1, k] + scratch[2, k] + scratch[3, k]
                    for i in range(4):
                        scratch[i, k] = 0
