"""Study files: what is read from good ones, and what is said of bad ones."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from mgsflow.errors import InputNotFound, RecipeError
from mgsflow.filters import Median, UnsharpMask
from mgsflow.recipe import load, parse

STUDY = """\
study: Mg/S cathode
store: study.zarr
block: [64, 128, 256]
notes: free text
specimens:
  cathode:
    voxel_size: 0.126
    phases: [pore, CBD, sulfur]
    scans:
      - name: pristine
        path: scans/cathode_00
        cycle: 0
      - {name: after_1, path: 'scans/cathode_01/*.tif', cycle: 1, state: charged}
    correct:
      drift: true
    normalise:
      reference: pristine
      low: [10000, 22000]
      high: [30000, 45000]
    filter:
      - unsharp_mask: {sigma: 1.5, amount: 0.8}
      - median
    segment:
      thresholds: [23100, 32500]
      majority: 1
    measures: [volume, profile]
  separator:
    voxel_size: [0.4, 0.39, 0.39]
    phases: [air, fibre]
    scans:
      - name: raw
        path: scans/separator.raw
        cycle: 3
        options: {shape: [10, 20, 30], dtype: uint16, order: C, offset: 0}
    segment:
      multi_otsu: true
"""
FILE = Path("/studies/one/study.yaml")


def error_of(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(text, FILE)
    return str(caught.value)


def changed(old: str, new: str, text: str = STUDY) -> str:
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


def line(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_a_study_is_read_as_it_was_written(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    recipe = load(tmp_path / "study.yaml")
    assert (recipe.title, recipe.store) == ("Mg/S cathode", tmp_path / "study.zarr")
    assert (recipe.block, recipe.path) == ((64, 128, 256), tmp_path / "study.yaml")
    assert list(recipe.specimens) == ["cathode", "separator"]
    cathode, separator = recipe.specimens.values()
    assert cathode.voxel_size == (0.126,) * 3
    assert separator.voxel_size == (0.4, 0.39, 0.39)
    assert cathode.phases == ("pore", "CBD", "sulfur")
    assert [(s.name, s.cycle, s.state) for s in cathode.scans] == [
        ("pristine", 0, "pristine"),
        ("after_1", 1, "charged"),
    ]
    assert cathode.scans[1].path == tmp_path / "scans/cathode_01/*.tif"
    assert separator.scans[0].options == {"shape": [10, 20, 30], "dtype": "uint16", "order": "C", "offset": 0}
    assert separator.scans[0].state == "cycled"
    assert cathode.correct.drift is not None
    assert cathode.correct.drift.smooth == 25
    assert separator.correct.drift is None
    assert cathode.normalise is not None
    assert cathode.normalise.low == (10000, 22000)
    assert cathode.filter == (UnsharpMask(1.5, 0.8), Median(1))
    assert separator.filter == ()
    assert cathode.segment is not None
    assert (cathode.segment.thresholds, cathode.segment.multi_otsu, cathode.segment.majority) == (
        (23100, 32500),
        False,
        1,
    )
    assert separator.measures == ("volume", "profile", "surface", "interface")


def test_relative_names_of_the_file_give_absolute_paths(tmp_path, monkeypatch):
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    recipe = load("study.yaml")
    assert recipe.store == tmp_path / "study.zarr"
    assert recipe.specimens["cathode"].scans[0].path == tmp_path / "scans/cathode_00"


def test_recipes_do_not_change():
    recipe = parse(STUDY, FILE)
    with pytest.raises(ValueError, match="frozen"):
        recipe.block = (1, 1, 1)
    with pytest.raises(ValueError, match="frozen"):
        recipe.specimens["cathode"].scans[0].cycle = 2


def test_defaults_are_replaced_key_by_key():
    defaults = "defaults:\n  voxel_size: 2\n  filter: [median]\n  correct: {drift: {smooth: 3}}\n"
    text = changed("specimens:", defaults + "specimens:", changed("    voxel_size: [0.4, 0.39, 0.39]\n", ""))
    text = changed("    segment:\n      multi_otsu: true", "    correct: false", text)
    cathode, separator = parse(text, FILE).specimens.values()
    assert separator.voxel_size == (2, 2, 2)
    assert cathode.voxel_size == (0.126,) * 3
    assert separator.filter == (Median(1),)
    assert len(cathode.filter) == 2
    assert separator.correct.drift is None


def test_an_error_in_the_defaults_is_told_once_at_its_place():
    text = changed("specimens:", "defaults:\n  measures: [volum]\n  fliter: [median]\nspecimens:")
    text = text.replace("    measures: [volume, profile]\n", "")
    said = error_of(text)
    assert f"{FILE} has 2 problems" in said
    assert f"{FILE}:6: defaults.measures[0]: unknown measure 'volum': did you mean 'volume'?" in said
    assert f"{FILE}:7: defaults.fliter: unknown key: did you mean 'filter'?" in said


def test_canonical_values_are_json_and_say_everything():
    recipe = parse(STUDY, FILE)
    plain = recipe.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    cathode = plain["specimens"]["cathode"]
    assert cathode["filter"] == [
        {"unsharp_mask": {"sigma": 1.5, "amount": 0.8, "threshold": 0.0}},
        {"median": {"radius": 1}},
    ]
    assert cathode["scans"][0]["path"] == "scans/cathode_00"
    assert plain["store"] == "study.zarr"


def test_canonical_values_are_a_study_file_again():
    recipe = parse(STUDY, FILE)
    plain = recipe.to_dict()

    def pruned(value):
        if isinstance(value, dict):
            return {k: pruned(v) for k, v in value.items() if v is not None}
        return [pruned(v) for v in value] if isinstance(value, list) else value

    again = parse(json.dumps(pruned(plain)), FILE)
    assert again.to_dict() == plain
    assert again == recipe


def test_digest_depends_on_what_is_said_alone():
    digest = parse(STUDY, FILE).digest()
    assert parse(STUDY, Path("/elsewhere/s.yaml")).digest() == digest
    spaced = STUDY.replace("voxel_size: 0.126", "voxel_size:   [0.126, 0.126, 1.26e-1]  # as measured")
    assert parse(spaced, FILE).digest() == digest
    head, tail = STUDY.split("specimens:\n")
    assert parse("specimens:\n" + tail + head, FILE).digest() == digest
    assert parse(STUDY.replace("0.126", "0.127"), FILE).digest() != digest
    assert parse(STUDY.replace("amount: 0.8", "amount: 0.81"), FILE).digest() != digest


BAD = [
    ("study: Mg/S cathode\n", "", "`study` is missing: give the study a title", 1),
    ("study: Mg/S cathode", "study: 12", "study: must be a text, got 12: put it in quotes", 1),
    ("block: [64, 128, 256]", "block: 0", "block: must be a whole number from 1 to 4096, got 0", 3),
    ("block: [64, 128, 256]", "block: [64, 128]", "block: must be one whole number or three, [z, y, x]", 3),
    ("block: [64, 128, 256]", "block: [64, 128, 2.0]", "block[2]: must be a whole number from 1 to 4096, got 2.0", 3),
    ("notes:", "note:", "note: unknown key: did you mean 'notes'?", 4),
    ("notes: free text", "path: here", "path: does not belong here but in a scan: move it", 4),
    ("  cathode:", "  blocks:", "specimens.blocks: specimen name 'blocks' is taken by the store", 6),
    ("  cathode:", "  my cathode:", "specimens.my cathode: specimen name 'my cathode': use letters", 6),
    ("voxel_size: 0.126", "voxel_size: -0.126", "specimens.cathode.voxel_size: must be positive, in µm, got -0.126", 7),
    ("voxel_size: 0.126", "voxel_size: 0", "voxel_size: must be positive, in µm, got 0", 7),
    ("voxel_size: 0.126", "voxel_size: .nan", "voxel_size: must be a finite number in µm, got nan", 7),
    ("voxel_size: 0.126", "voxel_size: .inf", "voxel_size: must be a finite number in µm, got inf", 7),
    ("voxel_size: 0.126", "voxel_size: 0.126 µm", "got the text '0.126 µm': write 0.126, without quotes or unit", 7),
    ("voxel_size: 0.126", "voxel_size: 126nm", "got the text '126nm': write 0.126, without quotes or unit", 7),
    ("voxel_size: 0.126", "voxel_size: 0,126", "got the text '0,126': write 0.126, without quotes", 7),
    ("voxel_size: 0.126", "voxel_size: 1.26e-7", "got 1.26e-07: 1.26e-07 m is 0.126 µm", 7),
    ("voxel_size: 0.126", "voxel_size: [1, 1]", "voxel_size: must be one number or three, [z, y, x], in µm, got 2", 7),
    ("voxel_size: 0.126", "voxel_size: [1, -1, 1]", "voxel_size[1]: must be positive", 7),
    ("voxel_size: 0.126", "voxel_size: true", "voxel_size: must be a number in µm, got true", 7),
    ("voxel_size: 0.126", "voxel_size:", "voxel_size: is empty: fill in the edge of a voxel in µm", 7),
    ("[pore, CBD, sulfur]", "[pore, CBD, pore]", "phases[2]: 'pore' is a phase already", 8),
    ("[pore, CBD, sulfur]", "[pore]", "phases: must be 2 to 255 names, label 0 first, got 1", 8),
    ("[pore, CBD, sulfur]", "[pore, CBD, 3]", "phases[2]: must be a text, got 3", 8),
    ("[pore, CBD, sulfur]", "pore", "phases: must be a list of names, as [a, b], got the text 'pore'", 8),
    ("cycle: 0", "cycle: yes", "scans[0].cycle: must be a whole number from 0 to 1000000, got the text 'yes'", 12),
    ("cycle: 0", "cycle: true", "cycle: must be a whole number from 0 to 1000000, got true", 12),
    ("cycle: 0", "cycle: -1", "cycle: must be a whole number from 0 to 1000000, got -1", 12),
    ("cycle: 0", "cycle: 1.0", "got 1.0: write 1", 12),
    ("cycle: 0", "cycle: '1'", "got the text '1': write 1 without quotes", 12),
    ("cycle: 0", "cycle:", "cycle: is empty: fill in the number of cycles", 12),
    ("        cycle: 0\n", "", "specimens.cathode.scans[0]: `cycle` is missing: give the number of cycles", 10),
    ("cycle: 0", "cycle: 0\n        voxel_size: 1", "scans[0].voxel_size: does not belong here but in a specimen", 13),
    ("cycle: 0", "cycle: 0\n        cylce: 1", "scans[0].cylce: unknown key: did you mean 'cycle'?", 13),
    ("name: after_1,", "name: pristine,", "scans[1].name: 'pristine' is a scan already: names must be unique", 13),
    ("name: after_1,", "name: a/b,", "scans[1].name: name 'a/b': use letters, digits", 13),
    ("scans/cathode_01/*.tif", "scans/cathode_00", "scans[1].path: is the path of scan pristine too", 13),
    ("scans/cathode_01/*.tif", "~nobody_at_all/x", "scans[1].path: no home folder", 13),
    ("drift: true", "drift: maybe", "correct.drift: must be true, false or {smooth: N}, got 'maybe'", 15),
    ("drift: true", "drift: {smooth: -1}", "correct.drift.smooth: must be above 0", 15),
    (
        "reference: pristine",
        "reference: pristin",
        "reference: no scan is named 'pristin': did you mean 'pristine'?",
        17,
    ),
    ("reference: pristine", "target: [3, 1]", "normalise.target: must rise, got [3, 1]", 17),
    ("      reference: pristine\n", "", "normalise: needs either `reference: SCAN` or `target", 16),
    ("low: [10000, 22000]", "low: [50000, 60000]", "normalise.low: the range `low` must lie below", 18),
    ("low: [10000, 22000]", "low: [1, 2, 3]", "normalise.low: must be two grey values, [lower, upper], got 3", 18),
    ("unsharp_mask:", "unsharp:", "filter[0]: unknown filter 'unsharp': did you mean 'unsharp_mask'?", 21),
    ("sigma: 1.5", "sigma: -1", "filter[0].unsharp_mask.sigma: must be at least 0, got -1", 21),
    ("sigma: 1.5", "sigma: [1, 2]", "filter[0].unsharp_mask.sigma: must be one number or three", 21),
    ("sigma: 1.5", "sigma: x", "filter[0].unsharp_mask.sigma: must be a number, got 'x'", 21),
    ("sigma: 1.5", "sgima: 1", "filter[0].unsharp_mask.sgima: unknown parameter of unsharp_mask: did you mean", 21),
    ("sigma: 1.5, ", "", "filter[0].unsharp_mask: sigma is missing", 21),
    ("{sigma: 1.5, amount: 0.8}", "3", "filter[0].unsharp_mask: must be a mapping of parameters", 21),
    (
        "{sigma: 1.5, amount: 0.8}",
        "\n        sigma: 1",
        "filter[0]: must be one filter, got 'unsharp_mask, sigma': indent",
        21,
    ),
    ("      - median\n", "      - {median: , gaussian: 1}\n", "filter[1]: must be one filter", 22),
    ("[23100, 32500]", "[32500, 23100]", "thresholds[1]: must rise, but 23100 comes after 32500: write [23100", 24),
    ("[23100, 32500]", "[23100]", "thresholds: 3 phases ('pore, CBD, sulfur') need 2 thresholds, got 1", 24),
    ("[23100, 32500]", "[23100, high]", "thresholds[1]: must be a number, got the text 'high'", 24),
    ("[23100, 32500]", "23100", "segment.thresholds: must be a list of grey values", 24),
    (
        "majority: 1",
        "multi_otsu: true",
        "specimens.cathode.segment: has both `thresholds` and `multi_otsu`: delete one",
        23,
    ),
    (
        "multi_otsu: true",
        "majority: 1",
        "specimens.separator.segment: needs `thresholds: [...]` or `multi_otsu: true`",
        35,
    ),
    ("multi_otsu: true", "multi_otsu: yes", "segment.multi_otsu: must be true or false, got 'yes'", 36),
    ("majority: 1", "majority: 99", "got 99; 0 for none", 25),
    (
        "[volume, profile]",
        "[volume, porosity]",
        "measures[1]: unknown measure 'porosity': known are volume, profile",
        26,
    ),
    ("    phases: [air, fibre]\n", "", "specimens.separator: names of the phases are needed for `segment`", 27),
    ("shape: [10, 20, 30]", "shape: [10, 20]", "options.shape: must be three whole numbers, [z, y, x]", 34),
    ("shape: [10, 20, 30]", "shape: [10, 20, 0]", "options.shape[2]: must be a whole number, 1 or more, got 0", 34),
    ("dtype: uint16", "dtpye: uint16", "options.dtpye: unknown option: did you mean 'dtype'?", 34),
    ("dtype: uint16", "dtype: ~", "options.dtype: is empty", 34),
]


@pytest.mark.parametrize(("old", "new", "message", "at"), BAD, ids=[b[1].strip() or "no " + b[0].strip() for b in BAD])
def test_each_mistake_is_named_with_its_line_and_what_to_do(old, new, message, at):
    said = error_of(changed(old, new))
    assert message in said
    assert f"{FILE}:{at}: " in said
    assert "\n" not in said


def test_all_problems_are_told_at_once():
    text = changed("block: [64", "block: [-64", changed("majority: 1", "majorty: 1", changed("amount", "amuont")))
    said = error_of(text).split("\n  ")
    assert said[0] == f"{FILE} has 3 problems:"
    assert [s.split(": ")[0] for s in said[1:]] == [f"{FILE}:{line(STUDY, k)}" for k in ("block", "amount", "majority")]


def test_many_problems_are_cut_short():
    said = error_of("study: x\n" + "".join(f"key{i}: 1\n" for i in range(50)))
    assert "has 51 problems" in said
    assert said.endswith("and 31 more")


@pytest.mark.parametrize(
    "specimens", ["", "{}", "[]", "{a: }", "{a: 1}", "{a: {scans: }}", "{a: {scans: [1]}}", "{a: {}}"]
)
def test_structures_of_the_wrong_kind(specimens):
    said = error_of(f"study: x\nspecimens: {specimens}\n")
    assert re.match(rf"{FILE}:2: specimens[^:]*: ", said)


@pytest.mark.parametrize("text", ["- a\n- b\n", "3\n", "word\n", "null\n"])
def test_a_file_that_is_no_mapping(text):
    assert f"{FILE}:1: must be a mapping" in error_of(text)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputNotFound, match=r"no study file .*nothing.yaml.*mgsflow init"):
        load(tmp_path / "nothing.yaml")
    with pytest.raises(RecipeError, match=r"is a folder: name the study file in it, as .*study.yaml"):
        load(tmp_path)
    with pytest.raises(InputNotFound):
        load(tmp_path / "nothing.yaml" / "study.yaml")
    with pytest.raises(RecipeError, match="cannot read"):
        load("a\0b")
    (tmp_path / "latin.yaml").write_bytes("study: x\nnotes: µm\n".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"latin.yaml:2: is not UTF-8 text"):
        load(tmp_path / "latin.yaml")
    (tmp_path / "empty.yaml").write_text("", encoding="utf-8")
    with pytest.raises(RecipeError, match="is empty: write a study"):
        load(tmp_path / "empty.yaml")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "study.yaml").chmod(0)
    with pytest.raises(RecipeError, match="cannot read"):
        load(tmp_path / "study.yaml")


def test_the_same_study_in_another_folder_has_the_same_digest(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/study.yaml").write_bytes(b"\xef\xbb\xbf" + STUDY.replace("\n", "\r\n").encode())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert load(tmp_path / "a/study.yaml").digest() == load(tmp_path / "b/study.yaml").digest()
