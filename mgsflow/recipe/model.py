"""What a study file says, checked: the model that the pipeline works from.

A field's text below is also the documentation of its key. Models are made by `mgsflow.recipe.load`; a value that cannot
be right is refused there, with the place in the file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mgsflow.recipe.chain import filter_entries
from mgsflow.recipe.electrochemistry import Electrochemistry
from mgsflow.recipe.problems import problem
from mgsflow.recipe.region import region_values
from mgsflow.recipe.specimen import SpecimenRecipe
from mgsflow.recipe.steps import Section
from mgsflow.recipe.values import BlockShape, Note, StudyPath, Text, name, said, within


class Recipe(Section):
    """A study: its specimens, and where results go.

    Parameters
    ----------
    title : str
        Title; the key is ``study``.
    store : Path
        Folder of the results; relative to the study file.
    block : (int, int, int)
        Voxels of a unit of work along (z, y, x), one number for a cube.
    notes : str
        Anything.
    electrochemistry : Electrochemistry, optional
        Cycling of the cells, and other measurements beside the scans.
    specimens : dict of str to SpecimenRecipe
        At least one.
    """

    title: Text = Field(alias="study")
    store: StudyPath = Field(default="study.zarr", validate_default=True)
    block: BlockShape = (256, 256, 256)
    notes: Note = ""
    electrochemistry: Electrochemistry | None = None
    specimens: dict[str, SpecimenRecipe]
    _path: Path = PrivateAttr(default=Path("study.yaml"))

    @field_validator("specimens", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if value == {}:
            raise problem("is empty: describe at least one specimen")
        if not isinstance(value, dict):
            raise problem("must be a mapping, name: {phases: …, scans: …}")
        for key in value:
            try:
                name(key)
            except ValueError as error:
                raise problem("specimen " + str(error), key) from None
        return value

    @model_validator(mode="after")
    def _beside(self) -> Recipe:
        if self.electrochemistry is not None:
            try:
                self.electrochemistry.check_scans({n: [s.name for s in one.scans] for n, one in self.specimens.items()})
            except PydanticCustomError as error:
                raise within(error, "electrochemistry") from None
        return self

    def model_post_init(self, context: Any) -> None:
        """Note which file it is from."""
        if context and "path" in context:
            self._path = Path(context["path"])

    @property
    def path(self) -> Path:
        """The study file."""
        return self._path

    def to_dict(self) -> dict[str, Any]:
        """Return everything in it as JSON values, defaults written out, paths relative to the study file.

        It depends on what the study says alone: not on order and layout of keys, nor on where its folder is.
        """
        folder = self.path.parent
        specimens = {}
        for key, specimen in self.specimens.items():
            plain = specimen.model_dump(mode="json", exclude={"filter", "scans"})
            plain["filter"] = filter_entries(specimen.filter)
            plain["region"] = region_values(specimen.region, folder)
            plain["scans"] = [
                s.model_dump(mode="json") | {"path": said(s.path, folder), "region": region_values(s.region, folder)}
                for s in specimen.scans
            ]
            specimens[key] = plain
        plain = {
            "study": self.title,
            "store": said(self.store, folder),
            "block": list(self.block),
            "notes": self.notes,
            "specimens": specimens,
        }
        if self.electrochemistry is not None:
            plain["electrochemistry"] = self.electrochemistry.to_dict(folder)
        return plain

    def digest(self) -> str:
        """Return the SHA-256 of `to_dict`, in hexadecimal digits."""
        plain = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()
