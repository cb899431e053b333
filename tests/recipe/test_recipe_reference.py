"""The reference of the study file: true to the models, complete, and its example loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from mgsflow.errors import InputError
from mgsflow.recipe import load, reference
from mgsflow.recipe.steps import Section

PAGE = Path(__file__).parents[2] / "examples" / "study-file.md"


def test_the_page_is_that_of_the_models() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.page(), "run python -m mgsflow.recipe.reference"


def test_every_key_is_explained() -> None:
    for place, about, keys in reference.sections():
        assert about, place
        for key in keys:
            assert key.text, key.path
            assert key.kind, key.path


def test_every_model_of_a_section_has_a_place() -> None:
    def below(model: type[Section]) -> set[type[Section]]:
        return {model}.union(*(below(child) for child in model.__subclasses__()))

    used = {m for m in below(Section) if m.__module__.startswith("mgsflow.recipe") and m.model_fields}
    assert {m.__name__ for m in used} - {m.__name__ for m in reference.SECTIONS.values()} == {"Processing"}


def test_the_example_asks_for_everything(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(reference.EXAMPLE, encoding="utf-8")
    recipe = load(tmp_path / "study.yaml")
    specimen = recipe.specimens["cathode"]
    for name in type(specimen).model_fields:
        assert getattr(specimen, name), name
    assert recipe.electrochemistry is not None
    for name in type(recipe.electrochemistry).model_fields:
        assert getattr(recipe.electrochemistry, name), name


@pytest.mark.parametrize("word", ["majority", "segment.majority", "specimens.NAME.segment.majority"])
def test_a_key_is_found_by_its_name_and_its_path(word: str) -> None:
    assert "default 0. Radius in voxels of a majority filter" in reference.explain(word)


def test_an_unknown_key_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'majority'"):
        reference.explain("majorty")
