"""Time the filters against scipy and scikit-image on one thread: ``python tests/benchmarks/bench_filters.py [EDGE]``.

Prints Mvoxel/s of each filter on a cube, the ratio to the other program's on the same cube or, where that is slow, on
a part of it; and the quality of denoisers (PSNR against the truth) on a noisy three-phase phantom.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from mgsflow.filters import Gaussian, Median, NonLocalMeans, Rescale, UnsharpMask

RANGE = 16000.0
# In units of the noise: the same trials for both programs.
STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest of several times."""
    best = np.inf
    for _ in range(repeats):
        start = perf_counter()
        call()
        best = min(best, perf_counter() - start)
    return best


def speed(edge: int) -> None:
    """Print the speed of each filter, and its ratio to the other program's."""
    grey = np.random.default_rng(0).integers(0, 65536, (edge,) * 3, dtype=np.uint16)
    part = grey[:32].copy()
    for dtype in (np.uint16, np.float32):
        image, thin = grey.astype(dtype), part.astype(dtype)

        def unsharp_by_scipy(sigma: float, image: np.ndarray = image) -> np.ndarray:
            f = image.astype(np.float32)
            return np.clip(np.rint(f + 0.6 * (f - gaussian_filter(f, sigma))), 0, 65535).astype(image.dtype)

        rows: list[tuple[object, Callable[[], object] | None, int]] = [
            (Gaussian(1), lambda i=image: gaussian_filter(i, 1), image.size),
            (Gaussian(2), lambda i=image: gaussian_filter(i, 2), image.size),
            (UnsharpMask(1, 0.6), lambda f=unsharp_by_scipy: f(1), image.size),
            (UnsharpMask(2, 0.6), lambda f=unsharp_by_scipy: f(2), image.size),
            (Median(1), lambda i=thin: median_filter(i, size=3), thin.size),
            (Median(2), lambda i=thin[:8]: median_filter(i, size=5), thin[:8].size),
            (NonLocalMeans(3000, 2, 2000), None, 0),
            (Rescale(1.1, -50), None, 0),
        ]
        for kernel, other, size in rows:
            mine = thin if isinstance(kernel, NonLocalMeans) or kernel == Median(2) else image
            kernel(mine[:3])  # type: ignore[operator]
            rate = mine.size / 1e6 / seconds(lambda k=kernel, m=mine: k(m))
            ratio = f"{rate / (size / 1e6 / seconds(other)):7.1f} × scipy" if other else ""
            print(f"{np.dtype(dtype).name:8} {kernel!s:58} {rate:8.1f} Mvoxel/s {ratio}")


def quality(edge: int = 96) -> None:
    """Print PSNR and speed of denoisers on a noisy three-phase phantom; the best setting of each."""
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.standard_normal((edge,) * 3), 3)
    true = np.digitize(field, np.quantile(field, [0.3, 0.85])) * 8000.0 + 20000
    true = gaussian_filter(true, 0.5)
    inner = (slice(8, -8),) * 3
    for noise in (2000, 4000):
        seen = np.clip(true + rng.normal(0, noise, true.shape), 0, 65535).astype(np.uint16)
        f = (seen / RANGE).astype(np.float32)
        trials: dict[str, list[Callable[[], np.ndarray]]] = {
            "as seen": [lambda s=seen: s],
            "Gaussian": [lambda s=seen, k=k: Gaussian(k)(s) for k in (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2)],
            "Median(1)": [lambda s=seen: Median(1)(s)],
            "NonLocalMeans": [lambda s=seen, h=h, n=noise: NonLocalMeans(h * n, 2, n)(s) for h in STRENGTHS],
            "skimage non-local means": [
                lambda f=f, h=h, n=noise: (
                    RANGE * denoise_nl_means(f, patch_size=3, patch_distance=2, h=h * n / RANGE, sigma=n / RANGE)
                )
                for h in STRENGTHS
            ],
            "skimage total variation": [
                lambda f=f, w=w: RANGE * denoise_tv_chambolle(f, weight=w)
                for w in (0.05, 0.07, 0.08, 0.1, 0.12, 0.14, 0.17, 0.2)
            ],
        }
        for name, calls in trials.items():
            best = (-np.inf, 0.0)
            for call in calls:
                start = perf_counter()
                error = np.mean((call()[inner] - true[inner]) ** 2)
                took = perf_counter() - start
                best = max(best, (10 * np.log10(RANGE**2 / error), seen.size / 1e6 / took))
            print(f"noise {noise}: {name:26} {best[0]:6.2f} dB {best[1]:8.2f} Mvoxel/s")


if __name__ == "__main__":
    speed(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
    quality()
