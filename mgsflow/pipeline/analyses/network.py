"""The pore network of one phase of a scan: steps from phases to pores and throats, and what a study keeps of them.

Pores are made as particles are; a further pass finds the throats, and one task of small tables makes the network and
solves it along each axis. The porosity of small cubes is counted in a pass of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Output, Parts, Pass, indices
from mgsflow.labelling.arrays import PhaseMask
from mgsflow.measures.volume.fractions import VolumeFraction
from mgsflow.network.conductance import CONES, DUCTS
from mgsflow.network.flow import VARIABLES, solve
from mgsflow.network.peaks import find_peaks
from mgsflow.network.pores import AXES, PORES, THROATS, PoreNetwork, cubic_edge, make_network, variables
from mgsflow.network.porosity import porosity_map
from mgsflow.network.throats import Throats, ThroatSums
from mgsflow.particle_analysis.merge import merge
from mgsflow.particle_analysis.sums import ParticleSums
from mgsflow.particle_analysis.table import make_table
from mgsflow.pipeline.analyses.particles import Named, Regions
from mgsflow.pipeline.step import Step
from mgsflow.recipe import SpecimenRecipe
from mgsflow.store import Records, Scan, Specimen

if TYPE_CHECKING:
    import xarray as xr

#: Bytes a pore: its rows in tables and parts, those of its throats, and the equations.
_BYTES_A_PORE = 6000
#: Voxels a pore, where nothing is known yet.
_VOXELS_A_PORE = 2048

#: Units and long name of numbers of a network as a whole.
_COUNTS: dict[str, tuple[str, str]] = {
    "pore_count": ("1", "pores of the network"),
    "throat_count": ("1", "throats of the network"),
    "pore_specks": ("1", "small pores without a throat, which are left out of the network"),
    "mean_coordination": ("1", "mean number of throats of a pore"),
    "mean_pore_radius": ("µm", "mean radius of the largest ball in a pore"),
    "mean_throat_radius": ("µm", "mean radius of the largest ball that passes a throat"),
}


@dataclass(frozen=True)
class MakeNetwork:
    """Make the network of what all blocks know, solve it along each axis, and keep both, as work of a single block."""

    sums: ParticleSums
    throats: ThroatSums
    separated: Parts
    kept: Parts
    scan: int
    voxel_size: tuple[float, float, float]
    min_voxels: int

    @property
    def grid(self) -> Grid:
        """The volume in one block."""
        return Grid.whole(self.sums.grid.shape)

    def run(self, index: Triple) -> Triple:
        """Store network and numbers, and return the index."""
        blocks = self.sums.grid
        total = merge((part for i in indices(blocks) for part in self.sums.read(i)), self.sums.columns)
        table = make_table(total, self.sums.columns, blocks.shape, self.voxel_size)
        found = Throats.total(piece for i in indices(blocks) for piece in self.throats.read(i))
        depth = self.separated.read(index, "depth")
        peaks = find_peaks(blocks, self.separated, depth.size)
        network = make_network(table, peaks, depth, found, self.min_voxels)
        numbers: dict[str, dict[str, float | str]] = {}
        for axis in AXES:
            numbers[axis] = {}
            for conduits in (DUCTS, CONES):
                numbers[axis] |= solve(network, axis, conduits).numbers()
        write_network(self.kept, self.scan, network, numbers)
        return index

    def memory(self) -> int:
        """Return the most bytes that are held, for as many pores as have been counted."""
        try:
            count = self.separated.read((0, 0, 0), "depth").size
        except KeyError:
            count = int(np.prod(self.sums.grid.shape, dtype=np.int64)) // _VOXELS_A_PORE
        return _BYTES_A_PORE * count + (16 << 20)


def network_steps(specimen: Specimen, recipe: SpecimenRecipe, scan: str, inputs: str) -> Iterator[Step]:
    """Yield the steps that make a scan's pore network and its map of porosity, unless that is done.

    Parameters
    ----------
    specimen : Specimen
    recipe : SpecimenRecipe
    scan : str
    inputs : str
        Key of the step that made the phases.

    Raises
    ------
    InputError
        If voxels are not cubes.
    """
    asked = recipe.network
    if asked is None:
        return
    cubic_edge(specimen.voxel_size)
    at, label = specimen.index(scan), recipe.phases.index(asked.phase)
    counts, records = _porosity(specimen, recipe, scan)
    porosity = Pass(
        PhaseMask(specimen.volume("phase", scan), (label,)),
        specimen.grid(scan),
        (),
        (Output(0, None, ((counts, records),)),),
    )
    # a pass does not say which phase its source takes
    yield Step("local_porosity", specimen, scan, porosity, f"{inputs} {label}")
    limits = (asked.persistence, asked.relative, 0)
    regions = Regions(specimen, scan, "region", label, *limits, folder=f"region_{at}")
    parts, kept = regions.parts, specimen.parts("network")
    sums = ParticleSums(regions.ids, regions.grid, parts)
    throats = ThroatSums(regions.ids, regions.distance, regions.grid, parts)
    network = MakeNetwork(sums, throats, parts, kept, at, specimen.voxel_size, asked.min_voxels)
    further: list[Named] = [
        ("region_sums", sums, None, (), 0),
        ("region_throats", throats, None, (), 0),
        ("network", network, asked.min_voxels, (f"{kept.path}/{at}",), 0),
    ]
    yield from regions.steps(further, inputs, lasting=("network",), in_driver=("network",))


def write_network(parts: Parts, scan: int, network: PoreNetwork, numbers: dict[str, dict[str, float | str]]) -> None:
    """Keep a scan's network and numbers, names last: it is there as a whole or not at all."""
    place = (scan, 0, 0)
    tables = {"pores": network.pores, "throats": network.throats, "openings": network.openings}
    for table, columns in tables.items():
        for name, column in columns.items():
            parts.write(place, f"{table}.{name}", column)
    parameters = {
        "shape": list(network.shape),
        "voxel_size": network.voxel_size,
        "porosity": network.porosity,
        "specks": network.specks,
        "columns": {table: list(columns) for table, columns in tables.items()},
        "numbers": numbers,
    }
    parts.write(place, "network", np.frombuffer(json.dumps(parameters).encode(), np.uint8))


def read_network(specimen: Specimen, scan: str) -> PoreNetwork:
    """Return a scan's network."""
    parameters, parts, place = _says(specimen, scan), specimen.parts("network"), (specimen.index(scan), 0, 0)
    tables = {
        table: {name: parts.read(place, f"{table}.{name}") for name in names}
        for table, names in parameters["columns"].items()
    }
    z, y, x = parameters["shape"]
    return PoreNetwork(
        (z, y, x), parameters["voxel_size"], **tables, porosity=parameters["porosity"], specks=parameters["specks"]
    )


def network_groups(specimen: Specimen, recipe: SpecimenRecipe) -> dict[str, xr.Dataset]:
    """Return what the networks of all scans are made of, by the group that it belongs in.

    ``pores`` and ``throats`` have one row each, with its scan; ids are those of the array ``region``, each scan's its
    own. ``local_porosity`` has a map of each scan, NaN where a scan is smaller than others.
    """
    import xarray as xr

    if recipe.network is None:
        return {}
    scans = _scans(specimen, recipe)
    networks = [read_network(specimen, scan.name) for scan in scans]
    groups = {}
    for group, dim, described in (("pores", "pore", PORES), ("throats", "throat", THROATS)):
        rows = []
        for scan, network in zip(scans, networks):
            columns = getattr(network, group)
            n = len(next(iter(columns.values())))
            coords = {
                "axis": np.array(AXES, dtype=object),
                "scan": (dim, np.array([scan.name] * n, dtype=object)),
                "cycle": (dim, np.full(n, scan.cycle)),
                "state": (dim, np.array([scan.state] * n, dtype=object)),
            }
            rows.append(xr.Dataset(variables(dim, columns, described), coords=coords))
        groups[group] = xr.concat(
            rows, dim=dim, data_vars="minimal", coords="minimal", compat="equals", join="exact"
        ).assign_attrs(voxel_size=list(specimen.voxel_size))
    maps = []
    for scan in scans:
        counts, records = _porosity(specimen, recipe, scan.name)
        found = porosity_map(counts, records, specimen.grid(scan.name), specimen.voxel_size)
        maps.append(found.expand_dims(scan=np.array([scan.name], dtype=object)))
    groups["local_porosity"] = xr.concat(maps, dim="scan", join="outer").to_dataset()
    return groups


def network_metrics(specimen: Specimen, recipe: SpecimenRecipe) -> xr.Dataset:
    """Return counts and means of the networks of all scans along ``scan``, and what they let through along ``axis``."""
    import xarray as xr

    if recipe.network is None:
        return xr.Dataset()
    scans = _scans(specimen, recipe)
    rows, numbers = [], []
    for scan in scans:
        network = read_network(specimen, scan.name)
        numbers.append(_says(specimen, scan.name)["numbers"])
        rows.append(
            {
                "pore_count": network.count,
                "throat_count": network.throat_count,
                "pore_specks": network.specks,
                "mean_coordination": network.mean_coordination,
                "mean_pore_radius": _mean(network.pores["inscribed_radius"]),
                "mean_throat_radius": _mean(network.throats["radius"]),
            }
        )
    data: dict[str, Any] = {}
    for name, (units, long_name) in _COUNTS.items():
        data[name] = ("scan", np.array([row[name] for row in rows]), {"units": units, "long_name": long_name})
    for name in numbers[0][AXES[0]] if numbers else ():
        values = [[of_scan[axis][name] for axis in AXES] for of_scan in numbers]
        if isinstance(values[0][0], str):
            column, attrs = np.array(values, dtype=object), {"long_name": "how the solve of the pore network ended"}
        else:
            units, long_name = VARIABLES[name]
            column, attrs = np.array(values, float), {"units": units, "long_name": long_name}
        data[name] = (("scan", "axis"), column, attrs)
    names = np.array([scan.name for scan in scans], dtype=object)
    return xr.Dataset(data, coords={"scan": names, "axis": np.array(AXES, dtype=object)})


def _scans(specimen: Specimen, recipe: SpecimenRecipe) -> list[Scan]:
    named = {s.name for s in recipe.scans}
    return [scan for scan in specimen.scans if scan.name in named]


def _says(specimen: Specimen, scan: str) -> dict[str, Any]:
    found = json.loads(specimen.parts("network").read((specimen.index(scan), 0, 0), "network").tobytes())
    assert isinstance(found, dict)
    return found


def _porosity(specimen: Specimen, recipe: SpecimenRecipe, scan: str) -> tuple[VolumeFraction, Records]:
    assert recipe.network is not None
    counts = VolumeFraction(2, recipe.network.cube)
    return counts, specimen.records("local_porosity", counts, scan)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else nan
