"""Finding scans in folders, and the study file that is written for them."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from mgsflow.errors import InputError, InputNotFound, RecipeError
from mgsflow.readers import open_scan
from mgsflow.recipe import FoundScan, discover, load, parse, template
from mgsflow.store import Study

SIZED = {"resolution": (1 / 0.126, 1 / 0.126), "imagej": True, "metadata": {"unit": "um", "spacing": 0.126}}
SLICE = np.zeros((8, 9), np.uint16)


def stack(folder, names="slice_{:03d}.tif", count=3, **metadata):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        tifffile.imwrite(folder / names.format(i), SLICE, **metadata)


def loaded(folder):
    """Return the study that the template for a folder describes."""
    (folder / "study.yaml").write_text(template(folder, discover(folder)), encoding="utf-8")
    return load(folder / "study.yaml")


def test_a_file_of_which_everything_was_guessed_loads(tmp_path):
    for name in (
        "cathode_pristine",
        "cathode_after_1_cycle",
        "cathode_c03",
        "cathode_cycle10_discharged",
        "separator_00",
    ):
        stack(tmp_path / "scans" / name, **SIZED)
    recipe = loaded(tmp_path)
    assert list(recipe.specimens) == ["cathode", "separator"]
    cathode, separator = recipe.specimens.values()
    assert [(s.path.name, s.name, s.cycle, s.state) for s in cathode.scans] == [
        ("cathode_pristine", "pristine", 0, "pristine"),
        ("cathode_after_1_cycle", "cycle_1", 1, "cycled"),
        ("cathode_c03", "cycle_3", 3, "cycled"),
        ("cathode_cycle10_discharged", "cycle_10_discharged", 10, "discharged"),
    ]
    assert cathode.voxel_size == pytest.approx((0.126,) * 3)
    assert cathode.phases == ("pore", "CBD", "sulfur")
    assert separator.phases == ("air", "fibre", "deposit")
    assert cathode.segment is not None
    assert cathode.segment.multi_otsu
    for specimen in recipe.specimens.values():
        for scan in specimen.scans:
            assert open_scan(scan.path, **scan.options).shape == (3, 8, 9)


def test_what_was_not_guessed_is_asked_for_at_its_line(tmp_path):
    stack(tmp_path / "thing")
    with pytest.raises(RecipeError) as caught:
        loaded(tmp_path)
    text = (tmp_path / "study.yaml").read_text(encoding="utf-8").splitlines()
    said = str(caught.value).split("\n  ")[1:]
    wanted = {
        "voxel_size": "in the edge of a voxel in µm, one number or [z, y, x], or delete the line",
        "phases": "in the names by rising grey value, as [pore, solid], or delete the line",
        "scans[0].cycle": "in the number of cycles, 0 for pristine",
    }
    assert [re.sub(r".*?yaml:\d+: ", "", s) for s in said] == [
        f"specimens.thing.{key}: is empty: fill {what}" for key, what in wanted.items()
    ]
    for sentence in said:
        at = int(re.search(r"yaml:(\d+): ", sentence)[1])
        assert "fill in" in text[at - 1]


def test_filling_in_is_enough(tmp_path):
    stack(tmp_path / "thing")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/x_c2.raw").write_bytes(bytes(24))
    text = template(tmp_path, discover(tmp_path))
    for key, value in {
        "voxel_size": "1",
        "phases": "[a, b]",
        "cycle": "7",
        "shape": "[2, 3, 4]",
        "dtype": "uint8",
    }.items():
        text = re.sub(rf"({key}:) +(#.*fill in)", rf"\1 {value}   \2", text)
    recipe = parse(text, tmp_path / "study.yaml")
    assert [(n, s.scans[0].cycle) for n, s in recipe.specimens.items()] == [("thing", 7), ("x", 2)]
    scan = recipe.specimens["x"].scans[0]
    assert open_scan(scan.path, **scan.options).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("choice", "check"),
    [
        (r"    # normalise:\n(?:    #   .*\n)+", lambda s: s.normalise.reference == "pristine"),
        (r"    # correct:\n    #   drift: true\n", lambda s: s.correct.drift is not None),
        (r"      # thresholds: .*\n", lambda s: s.segment.thresholds == (23100, 32500)),
        (r"      # majority: 1\n", lambda s: s.segment.majority == 1),
        (r"        # state: charged.*\n", lambda s: s.scans[1].state == "charged"),
    ],
)
def test_choices_are_right_once_their_comment_signs_are_deleted(tmp_path, choice, check):
    stack(tmp_path / "cathode_00", **SIZED)
    stack(tmp_path / "cathode_01", **SIZED)
    text = template(tmp_path, discover(tmp_path))
    uncommented, n = re.subn(choice, lambda found: re.sub(r"(?m)^( *)# ", r"\1", found[0]), text, count=1)
    assert n == 1
    if "thresholds" in choice:
        uncommented = uncommented.replace("      multi_otsu: true\n", "")
    assert check(parse(uncommented, tmp_path / "study.yaml").specimens["cathode"])


def test_formats(tmp_path):
    stack(tmp_path / "a/tiffs")
    tifffile.imwrite(tmp_path / "a/pages_c1.tif", np.zeros((4, 8, 9), np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "a/pages_c2.tif", np.zeros((5, 8, 9), np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "a/overview.tif", SLICE)
    np.save(tmp_path / "a/array.npy", np.zeros((2, 3, 4), np.float32))
    with h5py.File(tmp_path / "a/data.h5", "w") as file:
        file["volume"] = np.zeros((2, 3, 5), np.uint16)
    zarr.save_array(str(tmp_path / "a/volume.zarr"), np.ones((2, 3, 6), np.uint16))
    Study.create(tmp_path / "study.zarr")
    (tmp_path / "a/notes.dat").write_text("text", encoding="utf-8")
    (tmp_path / "a/.hidden").mkdir()
    np.save(tmp_path / "a/.hidden/x.npy", np.zeros((2, 3, 4), np.float32))
    found = {s.path: s.shape for s in discover(tmp_path)}
    assert found == {
        "a/tiffs": (3, 8, 9),
        "a/pages_c1.tif": (4, 8, 9),
        "a/pages_c2.tif": (5, 8, 9),
        "a/array.npy": (2, 3, 4),
        "a/data.h5": (2, 3, 5),
        "a/volume.zarr": (2, 3, 6),
    }


def test_two_stacks_in_a_folder_are_told_apart_by_a_glob(tmp_path):
    folder = tmp_path / "scans [old]"
    stack(folder, "cathode_c00_{:04d}.tif", 3, **SIZED)
    stack(folder, "cathode_c10_{:04d}.tif", 4, **SIZED)
    stack(folder, "separator c1 {:d}.tif", 5, **SIZED)
    recipe = loaded(tmp_path)
    read = [open_scan(s.path).shape[0] for r in recipe.specimens.values() for s in r.scans]
    assert sorted(read) == [3, 4, 5]
    assert [(s.cycle, s.name) for s in recipe.specimens["cathode"].scans] == [(0, "pristine"), (10, "cycle_10")]
    assert recipe.specimens["separator"].scans[0].cycle == 1


def test_slices_whose_last_number_is_the_same_are_a_stack(tmp_path):
    stack(tmp_path / "cathode_c1", "im{:03d}_16bit.tif", **SIZED)
    assert [(s.path, s.shape) for s in discover(tmp_path)] == [("cathode_c1", (3, 8, 9))]


def test_the_folder_itself_may_be_the_scan(tmp_path):
    folder = tmp_path / "cathode_cycle3"
    stack(folder, **SIZED)
    recipe = loaded(folder)
    scan = recipe.specimens["cathode"].scans[0]
    assert (scan.cycle, scan.path) == (3, folder)


@pytest.mark.parametrize(
    ("path", "specimen", "cycle", "state"),
    [
        ("cathode_c03", "cathode", 3, None),
        ("cathode/c03", "cathode", 3, None),
        ("cathode/c03/slices", "cathode", 3, None),
        ("cathode-cycle10", "cathode", 10, None),
        ("Cathode Cycle 10 charged", "Cathode", 10, "charged"),
        ("cathode_after_1_cycle", "cathode", 1, None),
        ("separator.10cycles", "separator", 10, None),
        ("separator_3rd_cycle_discharge", "separator", 3, "discharged"),
        ("separator_fresh", "separator", 0, None),
        ("pristine_separator", "separator", 0, "pristine"),
        ("sample7_c2", "sample7", 2, None),
        ("cell_ct", "cell_ct", None, None),
        ("sample7", "sample7", None, None),
        ("uncharged_c2", "uncharged", 2, None),
        ("blocks_c1", "blocks_1", 1, None),
        ("Elektrode_ü_c1", "Elektrode", 1, None),
    ],
)
def test_names(tmp_path, path, specimen, cycle, state):
    (tmp_path / path).mkdir(parents=True)
    stack(tmp_path / path)
    (found,) = discover(tmp_path)
    assert (found.specimen, found.cycle, found.state) == (specimen, cycle, state)
    assert found.sure


def test_a_number_alone_is_an_unsure_guess(tmp_path):
    stack(tmp_path / "cathode_01", **SIZED)
    (found,) = discover(tmp_path)
    assert (found.cycle, found.sure) == (1, False)
    assert "cycle: 1   # guessed from the number in the name, which may mean something else" in template(
        tmp_path, [found]
    )


def test_scans_of_one_state_have_different_names(tmp_path):
    for folder in ("one", "two"):
        stack(tmp_path / folder / "cathode_c1", **SIZED)
    assert [s.name for s in loaded(tmp_path).specimens["cathode"].scans] == ["cycle_1", "cycle_1_2"]


def test_voxel_sizes_that_differ_are_asked_for(tmp_path):
    stack(tmp_path / "cathode_c1", **SIZED)
    stack(tmp_path / "cathode_c2", resolution=(1, 1), imagej=True, metadata={"unit": "um", "spacing": 1})
    with pytest.raises(RecipeError, match=r"voxel_size: is empty"):
        loaded(tmp_path)
    assert "scans that differ are two specimens" in template(tmp_path, discover(tmp_path))


def test_what_cannot_be_opened_is_listed_with_the_reason(tmp_path):
    stack(tmp_path / "cathode_c1", **SIZED)
    (tmp_path / "cathode_c1/slice_001.tif").unlink()
    tifffile.imwrite(tmp_path / "cathode_c1/slice_003.tif", SLICE)
    (found,) = discover(tmp_path)
    assert "missing: 1" in found.problem
    assert f"# cannot be opened: {found.problem}" in template(tmp_path, [found])


@pytest.mark.parametrize(
    "name", ["true", "12", "a: b", "#x", "'q'", "- x", "ü\u0085", "a\\b", "null", "1e3", "{x}", " a"]
)
def test_odd_names_are_read_back(tmp_path, name):
    found = FoundScan(path=f"{name}.tif", specimen="true", name="1", cycle=0, voxel_size=(1.0, 2.0, 3.0))
    text = template(tmp_path / name, [found])
    text = re.sub(r"phases: .*", "phases: [a, b]", text)
    recipe = parse(text, tmp_path / "study.yaml")
    assert recipe.title.split() == (tmp_path / name).name.split()
    assert recipe.specimens["true"].scans[0].path == tmp_path / f"{name}.tif".strip()


def test_folders_without_scans(tmp_path):
    with pytest.raises(InputNotFound, match="no folder"):
        discover(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no scans: looked for"):
        discover(tmp_path)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="is a file: name the folder"):
        discover(tmp_path / "file")
