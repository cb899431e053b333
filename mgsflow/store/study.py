"""A study store: specimens, and what the study notes about itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from mgsflow.blocks import triple
from mgsflow.errors import InputError, StoreError, StudyNotFound
from mgsflow.store.remote import RemoteStore, place_of, remote_url
from mgsflow.store.schema import ATTRS, SCHEMA, attributes, check_name, note
from mgsflow.store.specimen import Specimen


class Study:
    """A store of one study.

    Parameters
    ----------
    path : path
        Folder of the store, or its address as ``s3://bucket/key``.
    root : zarr.Group
    """

    def __init__(self, path: str | Path, root: zarr.Group) -> None:
        self.path = remote_url(path) or str(path)
        self.root = root
        #: The location as zarr opens it, and as tasks carry it.
        self.place = place_of(path)

    @classmethod
    def create(cls, path: str | Path, title: str = "") -> Study:
        """Create an empty store; the place must not exist, or be empty.

        Raises
        ------
        StoreError
            If there is something at the path, or the folder cannot be written.
        """
        place = place_of(path)
        if isinstance(place, RemoteStore):
            if place.names():
                raise StoreError(f"{place} holds something else: choose another place for the store")
            return cls(path, zarr.create_group(place, attributes={ATTRS: {"schema": SCHEMA, "title": title}}))
        folder = Path(path)
        # what a crash in the very first write left behind is no content
        left = list(folder.glob("zarr.*.partial")) if folder.is_dir() else []
        if folder.exists() and (not folder.is_dir() or len(list(folder.iterdir())) > len(left)):
            raise StoreError(f"{path} exists and is not an mgsflow study: choose another path for the store")
        try:
            for file in left:
                file.unlink()
            root = zarr.create_group(str(path), attributes={ATTRS: {"schema": SCHEMA, "title": title}})
        except OSError as error:
            raise StoreError(f"cannot make a store at {path}: {error.strerror or error}") from error
        return cls(path, root)

    @classmethod
    def open(cls, path: str | Path, mode: str = "r", oldest: int = SCHEMA) -> Study:
        """Open a store; ``mode="r+"`` to write to it, `oldest` for those of an older schema too.

        Raises
        ------
        StudyNotFound
            If there is none.
        StoreError
            If it is of another schema, or something else.
        """
        place = place_of(path)
        path = str(place)
        if isinstance(place, RemoteStore):
            there = "zarr.json" in place.names()  # a listing: it tells a bucket that is not there from an empty one
        else:
            there = (Path(path) / "zarr.json").is_file()
        if not there:
            raise StudyNotFound(f"no study at {path}: run `mgsflow run STUDY.yaml` first, or check the path")
        try:
            root = zarr.open_group(place, mode=mode, zarr_format=3)  # type: ignore[arg-type]
            attrs = dict(root.attrs).get(ATTRS)
        except (ValueError, KeyError, OSError, TypeError) as error:
            raise StoreError(f"{path} cannot be read as a zarr v3 group: {error}") from error
        if not isinstance(attrs, dict) or not isinstance(attrs.get("schema"), int):
            raise StoreError(f"{path} is a zarr group but not an mgsflow study: it has no schema version")
        if attrs["schema"] > SCHEMA:
            raise StoreError(
                f"{path} was made by a newer mgsflow (schema {attrs['schema']}, this version knows {SCHEMA}): "
                "upgrade mgsflow"
            )
        if attrs["schema"] < oldest:
            raise StoreError(
                f"{path} was made by an older mgsflow (schema {attrs['schema']}, without checksums): mgsflow.open "
                "still reads it; name another place for the store in the study file and run the study again"
            )
        study = cls(path, root)
        if not isinstance(place, RemoteStore):  # where an object is stored whole or not at all
            _check_metadata(Path(path))
        if mode != "r":
            for specimen in study.specimens:
                study[specimen].mend()
        return study

    @property
    def title(self) -> str:
        """Title of the study."""
        return str(self.attributes.get("title", ""))

    @property
    def attributes(self) -> dict[str, Any]:
        """What the study notes about itself: schema, title, runs, steps."""
        return attributes(self.root)

    def note(self, **values: Any) -> None:
        """Add to the attributes, in one step."""
        note(self.root, values)

    @property
    def specimens(self) -> tuple[str, ...]:
        """Names of the specimens, as they were added."""
        names = [name for name, group in self.root.groups() if "voxel_size" in attributes(group)]
        return tuple(sorted(names, key=lambda n: (attributes(self._group(n)).get("order", 0), n)))

    def __getitem__(self, name: str) -> Specimen:
        if name not in self.specimens:
            known = ", ".join(self.specimens) or "none yet"
            raise StudyNotFound(f"no specimen {name!r} in {self.path}; there are: {known}")
        return Specimen(self.place, self._group(name))

    def add_specimen(
        self,
        name: str,
        voxel_size: Sequence[float],
        phases: Sequence[str] = (),
        block: int | Sequence[int] = 256,
    ) -> Specimen:
        """Add a specimen, or return the one that is there.

        Parameters
        ----------
        voxel_size : sequence of float
            Edges of a voxel along (z, y, x) in µm.
        phases : sequence of str
            Names of the phases, label 0 first.
        block : int or three
            Shape of a block, which is also the shape of a shard, for good.

        Raises
        ------
        InputError
            If the specimen is there with another voxel size or block.
        """
        check_name("specimen", name)
        size = [float(v) for v in voxel_size]
        if len(size) != 3 or not all(np.isfinite(v) and v > 0 for v in size):
            raise InputError(
                f"specimen {name}: voxel size must be three positive lengths in µm, got {list(voxel_size)}"
            )
        wanted = {"voxel_size": size, "block": list(triple(block))}
        if name in self.specimens:
            specimen = self[name]
            for key, value in wanted.items():
                if specimen.attributes[key] != value:
                    raise InputError(
                        f"specimen {name} in {self.path} was made with {key.replace('_', ' ')} "
                        f"{specimen.attributes[key]}, not {value}: use another store, or delete this one"
                    )
            if tuple(phases) != specimen.phases:
                specimen.note(phases=list(phases))
            return specimen
        group = self.root.require_group(name)
        for child in ("scale0", "blocks"):
            group.require_group(child)
        # what makes it a specimen comes last
        note(group, wanted | {"phases": list(phases), "scans": [], "order": len(self.specimens)})
        return Specimen(self.place, group)

    def _group(self, name: str) -> zarr.Group:
        group = self.root[name]
        assert isinstance(group, zarr.Group)
        return group


def _check_metadata(store: Path) -> None:
    """Raise unless the metadata of all groups, and of the arrays in them, are whole.

    Raises
    ------
    StoreError
    """
    for file in sorted([*store.glob("*/zarr.json"), *store.glob("*/*/zarr.json"), *store.glob("*/*/*/zarr.json")]):
        if file.parent.parent.name == "parts":  # thousands; they are looked at where they are read
            continue
        try:
            kind = json.loads(file.read_text(encoding="utf-8"))["node_type"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{file} is damaged ({error}): remove the folder {file.parent.relative_to(store)} from the store and "
                "run the study again, which computes what was in it anew"
            ) from error
        if kind not in ("group", "array"):
            raise StoreError(f"{file} is damaged: it is neither of a group nor of an array")
