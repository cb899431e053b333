"""Particles of one phase of a scan: the steps from phases to ids and a table, and what a study keeps of them.

Blocks are separated each by itself, seams are compared, the whole is merged in one task of small tables, ids are
written, and particles are summed up. What blocks leave for this lies in ``scratch`` until the table stands. Pores are
made of another phase in the same way (`Regions`): see `mgsflow.pipeline.analyses.network`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mgsflow.blocks import Grid, Triple
from mgsflow.compute import Parts, StoredParts, Work, indices
from mgsflow.errors import InputError
from mgsflow.labelling.arrays import PhaseMask
from mgsflow.labelling.components.out_of_core import write_offsets
from mgsflow.labelling.distance.certified import DistanceSource
from mgsflow.labelling.relabel import Relabel
from mgsflow.particle_analysis.distribution import distributions
from mgsflow.particle_analysis.merge import merge
from mgsflow.particle_analysis.sums import ParticleSums
from mgsflow.particle_analysis.table import ParticleTable, make_table
from mgsflow.particle_analysis.watershed.basins import BasinLabels, FindBasins, FindSeams
from mgsflow.particle_analysis.watershed.separate import merge_blocks
from mgsflow.pipeline.step import Step
from mgsflow.recipe import Particles, SpecimenRecipe
from mgsflow.store import Region, Specimen

if TYPE_CHECKING:
    import xarray as xr

#: The ids of particles as they are stored.
_ID = np.dtype(np.uint32)
#: Voxels a group of a block, where nothing is known yet (1,100 in blobs of 6 voxels), and bytes a group (630 there).
_VOXELS_A_GROUP = 512
_BYTES_A_GROUP = 700

#: A step's name and work; its own parameters, what it fills, and bytes. A step's key is an input of the next.
Named: TypeAlias = tuple[str, Work, object, tuple[str, ...], int]


@dataclass(frozen=True)
class CountGroups:
    """Number the groups of all blocks through, as work of a single block."""

    blocks: Grid
    parts: Parts

    @property
    def grid(self) -> Grid:
        """The volume in one block."""
        return Grid.whole(self.blocks.shape)

    def run(self, index: Triple) -> Triple:
        """Leave the offsets in the parts, and return the index."""
        write_offsets(self.parts, self.blocks)
        return index

    def memory(self) -> int:
        """Return the most bytes that are held: one block's table, and a number a block."""
        return 3 * 24 * _most_groups(self.blocks) + 32 * len(self.blocks)


@dataclass(frozen=True)
class MergeGroups:
    """Make particles of the groups of all blocks, as work of a single block."""

    blocks: Grid
    parts: Parts
    persistence: float
    relative: bool
    min_voxels: int

    @property
    def grid(self) -> Grid:
        """The volume in one block."""
        return Grid.whole(self.blocks.shape)

    def run(self, index: Triple) -> Triple:
        """Leave each block its table of ids, and the particles' depths, and return the index."""
        groups, found = merge_blocks(
            self.blocks, self.parts, self.persistence, self.relative, self.min_voxels, lambda function, grid: None
        )
        if groups.dtype != _ID:
            raise InputError(
                f"{groups.count} particles are more than 2³² - 1: raise min_voxels, or separate parts of the scan"
            )
        self.parts.write(index, "depth", found.depth)
        return index

    def memory(self) -> int:
        """Return the most bytes that are held: as groups have been counted, or else as they are expected."""
        try:
            offsets = self.parts.read((0, 0, 0), "offsets")
            last = tuple(n - 1 for n in self.blocks.counts)
            table = self.parts.read(last, "table")  # type: ignore[arg-type]
            groups = int(offsets[last]) + table.shape[1]
        except KeyError:
            groups = int(np.prod(self.blocks.shape, dtype=np.int64)) // _VOXELS_A_GROUP
        return groups * _BYTES_A_GROUP


@dataclass(frozen=True)
class MakeTable:
    """Make the table of particles of what all blocks know, and keep it, as work of a single block."""

    sums: ParticleSums
    separated: Parts
    kept: Parts
    scan: int
    voxel_size: tuple[float, float, float]

    @property
    def grid(self) -> Grid:
        """The volume in one block."""
        return Grid.whole(self.sums.grid.shape)

    def run(self, index: Triple) -> Triple:
        """Store the table, and return the index."""
        work = self.sums
        total = merge((part for i in indices(work.grid) for part in work.read(i)), work.columns)
        table = make_table(total, work.columns, work.grid.shape, self.voxel_size)
        z, y, x = self.voxel_size
        if z == y == x:  # the depth is in voxels, which are cubes
            radius = self.separated.read(index, "depth") * z
            table = replace(table, columns={**table.columns, "inscribed_radius": radius})
        write_table(self.kept, self.scan, table)
        return index

    def memory(self) -> int:
        """Return the most bytes that are held: two kilobytes a particle, as many as have been counted."""
        try:
            count = self.separated.read((0, 0, 0), "depth").size
        except KeyError:
            count = int(np.prod(self.sums.grid.shape, dtype=np.int64)) // (4 * _VOXELS_A_GROUP)
        return 2000 * count + (16 << 20)


@dataclass(frozen=True)
class Regions:
    """A phase of a scan parted into regions, whose ids are an array of the store: particles, or pores.

    Parameters
    ----------
    specimen : Specimen
    scan : str
    name : str
        Name of the array, and what the names of the steps begin with.
    phase : int
        Label of the phase.
    persistence : float
    relative : bool
    min_voxels : int
        See `mgsflow.particle_analysis.watershed.separate`.
    folder : str
        Where in ``scratch`` lies what blocks leave for each other.
    """

    specimen: Specimen
    scan: str
    name: str
    phase: int
    persistence: float
    relative: bool
    min_voxels: int
    folder: str

    @property
    def grid(self) -> Grid:
        """Blocks of the scan."""
        return self.specimen.grid(self.scan)

    @property
    def mask(self) -> PhaseMask:
        """The phase."""
        return PhaseMask(self.specimen.volume("phase", self.scan), (self.phase,))

    @property
    def distance(self) -> DistanceSource:
        """Squared distances to other phases, in voxels."""
        return DistanceSource(self.mask)

    @property
    def ids(self) -> Region:
        """The array of ids, which is made if it is not there."""
        return self.specimen.volume(self.name, self.scan, _ID)

    @property
    def parts(self) -> StoredParts:
        """Where blocks leave what others need."""
        return StoredParts(self.specimen.store, self._path)

    @property
    def _path(self) -> str:
        return f"{self.specimen.group.path}/scratch/{self.folder}"

    def steps(
        self, further: Sequence[Named], inputs: str, lasting: tuple[str, ...], in_driver: tuple[str, ...]
    ) -> Iterator[Step]:
        """Yield the steps that make the regions and what comes of them, unless all that lasts is done.

        Parameters
        ----------
        further : sequence of Named
            What is done with the regions, while what blocks have left is there.
        inputs : str
            Key of the step that made the phases.
        lasting : tuple of str
            Steps of these whose results stay; those of the others are gone when all are done.
        here : tuple of str
            Steps of these that need small tables of the whole scan.
        """
        name, grid, parts, sink = self.name, self.grid, self.parts, self.ids
        voxels = int(np.prod(grid.shape, dtype=np.int64))
        limits = (self.persistence, self.relative, self.min_voxels)
        ids = Relabel(BasinLabels(grid, parts), parts, grid, sink, _ID)
        works: list[Named] = [
            (f"{name}_basins", FindBasins(self.distance, grid, parts), (self.phase,), (self._path,), voxels),
            (f"{name}_offsets", CountGroups(grid, parts), None, (), 0),
            (f"{name}_seams", FindSeams(grid, parts), None, (), 0),
            (f"{name}_merge", MergeGroups(grid, parts, *limits), limits, (), 0),
            (name, ids, None, (sink.path,), voxels * _ID.itemsize),
            *further,
        ]
        in_driver = (*in_driver, f"{name}_offsets", f"{name}_merge")
        chain = []
        for step_name, work, own, output_paths, disk in works:
            step = Step(
                step_name,
                self.specimen,
                self.scan,
                work,
                inputs,
                repr(own),
                output_paths,
                disk,
                in_driver=step_name in in_driver,
            )
            inputs = step.key
            chain.append(step)
        passing = [step.name for step in chain if step.name not in (name, *lasting)]
        if all(step.finished for step in chain if step.name not in passing):
            return
        self.specimen.group.require_group("scratch").require_group(self.folder)
        yield from chain
        self.specimen.forget(self.scan, passing)
        self.specimen.drop(self._path)


def particle_steps(
    specimen: Specimen, recipe: SpecimenRecipe, scan: str, inputs: str, image: str, image_key: str
) -> Iterator[Step]:
    """Yield the steps that part a scan's phase into particles and measure them, unless that is done.

    Parameters
    ----------
    specimen : Specimen
    recipe : SpecimenRecipe
    scan : str
    inputs : str
        Key of the step that made the phases.
    image : str
        Array of the grey values, whose mean each particle gets.
    image_key : str
        Key of the step that made it.
    """
    asked = recipe.particles
    if asked is None:
        return
    label = recipe.phases.index(asked.phase)
    limits = (asked.persistence, asked.relative, asked.min_voxels)
    regions = Regions(specimen, scan, "particle", label, *limits, folder=str(specimen.index(scan)))
    kept = specimen.parts()
    sums = ParticleSums(regions.ids, regions.grid, regions.parts, specimen.volume(image, scan))
    table = MakeTable(sums, regions.parts, kept, specimen.index(scan), specimen.voxel_size)
    further: list[Named] = [
        ("particle_sums", sums, image_key, (), 0),
        ("particle_table", table, None, (f"{kept.path}/particles",), 0),
    ]
    yield from regions.steps(further, inputs, lasting=("particle_table",), in_driver=("particle_table",))


def write_table(parts: Parts, scan: int, table: ParticleTable) -> None:
    """Keep a scan's table of particles, whose names come last: a table is there as a whole or not at all."""
    place = (scan, 0, 0)
    for name, column in {**table.columns, "ids": table.ids}.items():
        parts.write(place, f"particles.{name}", column)
    for name, column in table.contacts.items():
        parts.write(place, f"contacts.{name}", column)
    parameters = {
        "shape": list(table.shape),
        "voxel_size": list(table.voxel_size),
        "columns": list(table.columns),
        "contacts": list(table.contacts),
    }
    parts.write(place, "particles", np.frombuffer(json.dumps(parameters).encode(), np.uint8))


def read_table(specimen: Specimen, scan: str) -> ParticleTable:
    """Return a scan's table of particles."""
    parts, place = specimen.parts(), (specimen.index(scan), 0, 0)
    parameters = json.loads(parts.read(place, "particles").tobytes())
    z, y, x = parameters["shape"]
    dz, dy, dx = parameters["voxel_size"]
    return ParticleTable(
        (z, y, x),
        (dz, dy, dx),
        parts.read(place, "particles.ids"),
        {name: parts.read(place, f"particles.{name}") for name in parameters["columns"]},
        {name: parts.read(place, f"contacts.{name}") for name in parameters["contacts"]},
    )


def particle_metrics(tables: Mapping[str, ParticleTable], asked: Particles) -> xr.Dataset:
    """Return the distributions of the particles of all scans, on bins that they share, along ``scan``."""
    found = distributions(tables, border=asked.border, min_voxels=asked.min_voxels)
    counts = np.array([len(t) for t in tables.values()])
    # a body that joins both faces is one particle, which says little: it is told
    spanning = np.array([int(t["spans"].any(axis=1).sum()) for t in tables.values()])
    found["particle_count"] = ("scan", counts, {"units": "1", "long_name": "particles"})
    found["particles_spanning"] = (
        "scan",
        spanning,
        {"units": "1", "long_name": "particles that reach from one face of the scan to the opposite one"},
    )
    return found


def particle_rows(specimen: Specimen, tables: Mapping[str, ParticleTable]) -> xr.Dataset:
    """Return one row a particle of all scans, with the scan's name, cycle and state."""
    import xarray as xr

    known = {s.name: s for s in specimen.scans}
    rows = []
    for scan, table in tables.items():
        one = table.to_dataset().rename(particle="id").swap_dims(id="particle").reset_coords("id")
        n = len(table)
        one = one.assign_coords(
            scan=("particle", np.array([scan] * n, dtype=object)),
            cycle=("particle", np.full(n, known[scan].cycle)),
            state=("particle", np.array([known[scan].state] * n, dtype=object)),
        )
        one.attrs.pop("shape")
        rows.append(one)
    return xr.concat(rows, dim="particle", data_vars="minimal", coords="minimal", compat="equals", join="exact")


def _most_groups(blocks: Grid) -> int:
    return int(np.prod(blocks.largest, dtype=np.int64)) // 8
