"""What a study file says about one scan, checked.

A field's text is also the documentation of its key.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mgsflow.readers import FORMATS
from mgsflow.recipe.problems import nearest, problem, shown
from mgsflow.recipe.region import RegionOfScan
from mgsflow.recipe.steps import Section
from mgsflow.recipe.values import Cycle, Name, Note, StudyPath, each, real, whole, within

_OPTIONS = ("format", *dict.fromkeys(option for kind in FORMATS for option in kind.options))


class ScanRecipe(Section):
    """One tomogram of a specimen.

    Parameters
    ----------
    name : str
        Unique in the specimen; letters, digits, ``_``, ``-`` and ``.``.
    path : Path
        A file, a folder of slices, or a glob of them; relative to the study file.
    cycle : int
        Cycles of charge and discharge that the specimen has seen, 0 or more.
    state : str
        State of charge, any text, as ``charged``. If it is left out: ``pristine`` at cycle 0, else ``cycled``, as
        nothing in the file says whether the cell was charged.
    options : dict
        What `mgsflow.readers.open_scan` takes beside the path: ``shape``, ``dtype``, ``order`` and ``offset`` of a raw
        file, ``dataset`` of an HDF5 file, ``format`` of a file whose name does not tell; ``axes`` (as ``xyz``) and
        ``flip`` of any file whose axes are stored in another order or direction than z, y, x.
    region : RegionOfScan, optional
        Of this scan, in place of the specimen's.
    """

    name: Name
    path: StudyPath
    cycle: Cycle
    state: Note = ""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    region: RegionOfScan | None = None

    @field_validator("options", mode="before")
    @classmethod
    def _options(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise problem(f"must be a mapping, as {{dtype: uint16}}, got {shown(value)}")
        for key, option in value.items():
            if key == "path":
                raise problem("is given beside options, not in it: delete it here", key)
            if option is None:
                raise problem("is empty: fill it in, or delete it", key)
            if isinstance(option, float):
                real(option)
        for key in value:
            if key not in _OPTIONS:
                raise problem(f"unknown option: {nearest(str(key), _OPTIONS)}", key)
        if "shape" in value:
            shape = value["shape"]
            if not isinstance(shape, (list, tuple)) or len(shape) != 3:
                raise problem(f"must be three whole numbers, [z, y, x], got {shown(shape)}", "shape")
            try:
                each(shape, lambda n: whole(n, 1), "voxels")
            except PydanticCustomError as error:
                raise within(error, "shape") from None
        return value

    @model_validator(mode="before")
    @classmethod
    def _state(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("state", "") in ("", None):
            return data | {"state": "pristine" if data.get("cycle") == 0 else "cycled"}
        return data
