"""Pore networks: size, speed, and what goes through, beside PoreSpy with OpenPNM and solves on the voxels, in one run.

    python tests/benchmarks/bench_network.py [PHASES.tiff [LABEL [CROP]]]

Without a file, a field of smooth noise of 128³ voxels, 35 % open. PoreSpy's network is that of `snow2` as it comes,
with boundary pores; OpenPNM's conductances are those of its geometry for networks from images, pyramids and cuboids.
"""

import os
import sys
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numba
import numpy as np
import scipy
from scipy import ndimage

import mgsflow
from mgsflow.network import PoreNetwork, pore_network, solve
from mgsflow.transport.permeability import permeability
from mgsflow.transport.tortuosity import tortuosity_factor


def phase() -> np.ndarray:
    if len(sys.argv) > 1:
        import tifffile

        label = int(sys.argv[2]) if len(sys.argv) > 2 else 0
        crop = int(sys.argv[3]) if len(sys.argv) > 3 else 1 << 30
        return np.ascontiguousarray(tifffile.imread(sys.argv[1])[:crop, :crop, :crop] == label)
    field = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((128,) * 3), 3)
    return field > np.quantile(field, 0.65)


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    start = perf_counter()
    found = run()
    return found, perf_counter() - start


def main() -> None:
    mask = phase()
    print(
        f"mgsflow {mgsflow.__version__}, numpy {np.__version__}, scipy {scipy.__version__}, numba {numba.__version__}"
    )
    print(f"{mask.shape}, {mask.mean():.3f} open, {os.cpu_count()} cores")
    pore_network(mask[:32, :32, :32], voxel_size=1)  # compiles
    ours = 0.0
    for persistence in (0.25, 0.5, 0.75, 1.0):
        network, seconds = timed(lambda h=persistence: pore_network(mask, voxel_size=1, persistence=h, threads=1))  # type: ignore[misc]
        say(f"persistence {persistence}", network.count, network.throat_count, seconds)
        print(f"{'':24s} and {network.specks} specks")
        through(network)
        ours = seconds if persistence == 0.5 else ours
    _, two = timed(lambda: pore_network(mask, voxel_size=1, block=128, threads=2))
    print(f"two threads, blocks of 128: {two:.1f} s")
    diffusion, seconds = timed(lambda: tortuosity_factor(mask.astype(np.uint8), {1: 1.0}, "z", 1.0, threads=1))
    flow, more = timed(lambda: permeability(mask.astype(np.uint8), (1,), "z", 1.0, threads=1))
    print(
        f"voxels: τ {diffusion.tortuosity_factor:.3f} in {seconds:.1f} s, K {flow.permeability_um2:.4f} in {more:.1f} s"
    )
    peers(mask, ours)


def say(what: str, pores: int, throats: int, seconds: float) -> None:
    print(f"{what:24s} {pores:6d} pores, {throats:6d} throats, {2 * throats / max(pores, 1):.2f} each, {seconds:.1f} s")


def through(network: PoreNetwork) -> None:
    for conduits in ("ducts", "cones"):
        found, seconds = timed(lambda c=conduits: solve(network, "z", c))  # type: ignore[misc]
        print(
            f"{'':24s} {conduits}: τ {found.tortuosity_factor:.3f}, K {found.permeability:.4f}, {found.status},"
            f" {seconds:.2f} s"
        )


def peers(mask: np.ndarray, ours: float) -> None:
    warnings.simplefilter("ignore")
    try:
        import porespy
    except ImportError:
        print("(no porespy here: pip install porespy openpnm to compare)")
        return
    porespy.settings.tqdm["disable"] = True
    snow, first = timed(lambda: porespy.filters.snow_partitioning(mask))
    net, second = timed(lambda: porespy.networks.regions_to_network(snow.regions))
    say(f"porespy {porespy.__version__}", len(net["pore.coords"]), len(net["throat.conns"]), first + second)
    print(f"ours takes {ours / (first + second):.3f} of the time, on one thread")
    try:
        import openpnm
    except ImportError:
        return
    found = porespy.networks.snow2(mask, boundary_width=3).network
    network = openpnm.io.network_from_porespy(found)
    network["pore.diameter"] = network["pore.equivalent_diameter"]
    network["throat.diameter"] = network["throat.inscribed_diameter"]
    network["throat.spacing"] = network["throat.total_length"]
    models = openpnm.models.geometry
    for kind, module in (
        ("hydraulic", models.hydraulic_size_factors),
        ("diffusive", models.diffusive_size_factors),
    ):
        network.add_model(propname=f"throat.{kind}_size_factors", model=module.pyramids_and_cuboids)
    network.regenerate_models()
    health = openpnm.utils.check_network_health(network)
    openpnm.topotools.trim(network=network, pores=health["disconnected_pores"])
    fluid = openpnm.phase.Phase(network=network)
    for name in ("viscosity", "diffusivity"):
        fluid[f"pore.{name}"] = fluid[f"throat.{name}"] = 1.0
    physics = openpnm.models.physics
    for kind, model in (
        ("hydraulic", physics.hydraulic_conductance.generic_hydraulic),
        ("diffusive", physics.diffusive_conductance.generic_diffusive),
    ):
        fluid.add_model(propname=f"throat.{kind}_conductance", model=model)
    rates = []
    for algorithm in (openpnm.algorithms.FickianDiffusion, openpnm.algorithms.StokesFlow):
        solver = algorithm(network=network, phase=fluid)
        solver.set_value_BC(pores=network.pores("xmin"), values=1)  # its x is the first axis
        solver.set_value_BC(pores=network.pores("xmax"), values=0)
        solver.run()
        rates.append(float(solver.rate(pores=network.pores("xmin"))[0]) * mask.shape[0] / mask[0].size)
    print(f"openpnm {openpnm.__version__} on it: τ {mask.mean() / rates[0]:.3f}, K {rates[1]:.4f}")


if __name__ == "__main__":
    main()
