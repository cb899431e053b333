"""What study files say about particles and transport."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mgsflow.errors import RecipeError
from mgsflow.recipe import parse

STUDY = """\
study: Mg/S cathode
specimens:
  cathode:
    voxel_size: 0.126
    phases: [pore, CBD, sulfur]
    scans:
      - {name: pristine, path: scans/a, cycle: 0}
    segment: {thresholds: [1, 2]}
    particles: {phase: sulfur, persistence: 1, min_voxels: 8, border: drop}
    tortuosity: {phases: [pore, sulfur], axes: [x, z], rtol: 0.01, sides: periodic}
    permeability: {phase: pore, axes: z, pressure: [130e3, 100e3], viscosity: 1e-3}
"""
FILE = Path("/studies/one/study.yaml")


def test_what_is_written_is_read():
    cathode = parse(STUDY, FILE).specimens["cathode"]
    particles, tortuosity, permeability = cathode.particles, cathode.tortuosity, cathode.permeability
    assert particles is not None
    assert (particles.phase, particles.persistence, particles.min_voxels) == ("sulfur", 1.0, 8)
    assert tortuosity is not None
    # axes have one order, whatever the file's: results are stored along them
    assert (tortuosity.phases, tortuosity.axes, tortuosity.sides) == (("pore", "sulfur"), ("z", "x"), "periodic")
    assert permeability is not None
    assert (permeability.phase, permeability.axes) == (("pore",), ("z",))
    assert permeability.pressure == (130e3, 100e3)


def test_nothing_is_done_that_is_not_asked_for():
    text = "\n".join(line for line in STUDY.splitlines() if not re.match(r" +(particles|tortuosity|perm)", line))
    cathode = parse(text, FILE).specimens["cathode"]
    assert (cathode.particles, cathode.tortuosity, cathode.permeability) == (None, None, None)


@pytest.mark.parametrize("section", ["tortuosity", "permeability", "particles", "normalise", "segment"])
def test_false_turns_off_what_defaults_ask_for(section):
    asked = {
        "tortuosity": "{phases: [pore]}",
        "permeability": "{phase: pore}",
        "particles": "{phase: pore}",
        "normalise": "{target: [1, 2]}",
        "segment": "{multi_otsu: true}",
    }[section]
    text = "\n".join(line for line in STUDY.splitlines() if line.strip().startswith(("study", "spec", "cath", "vox")))
    text += "\n    phases: [pore, CBD, sulfur]\n    scans:\n      - {name: pristine, path: scans/a, cycle: 0}\n"
    text = text.replace("specimens:", f"defaults: {{segment: {{thresholds: [1, 2]}}, {section}: {asked}}}\nspecimens:")
    text = text.replace("segment: {thresholds: [1, 2]}, segment", "segment")
    assert getattr(parse(text, FILE).specimens["cathode"], section) is not None
    assert getattr(parse(text + f"    {section}: false\n", FILE).specimens["cathode"], section) is None


def test_the_canonical_form_keeps_every_value():
    plain = parse(STUDY, FILE).to_dict()["specimens"]["cathode"]
    assert plain["particles"]["min_voxels"] == 8
    assert plain["tortuosity"]["axes"] == ["z", "x"]
    assert plain["permeability"]["pressure"] == [130e3, 100e3]
    other = parse(STUDY.replace("persistence: 1", "persistence: 2"), FILE)
    assert other.digest() != parse(STUDY, FILE).digest()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("phase: sulfur", "phase: sulphur", "no phase is named 'sulphur': did you mean 'sulfur'?"),
        ("phases: [pore, sulfur]", "phases: [pores]", "no phase is named 'pores': did you mean 'pore'?"),
        ("phases: [pore, sulfur]", "phases: []", "is an empty list: name at least one phase"),
        ("phases: [pore, sulfur]", "phases: [pore, pore]", "'pore' is named twice: delete one"),
        ("phase: pore", "phase: [air]", "no phase is named 'air'"),
        ("persistence: 1", "persistence: -1", "must be 0 or more, got -1"),
        ("persistence: 1", "persistence: one", "must be a number, got the text 'one'"),
        ("border: drop", "border: dorp", "must be keep or drop or weight, got 'dorp': did you mean 'drop'?"),
        ("min_voxels: 8", "min_voxels: 0.5", "must be a whole number, 0 or more"),
        ("min_voxels: 8", "relative: 3", "must be true or false, got 3"),
        ("axes: [x, z]", "axes: [x, q]", "must be z or y or x, got 'q'"),
        ("axes: [x, z]", "axes: []", "name at least one axis"),
        ("rtol: 0.01", "rtol: 1", "must be a relative error from 1e-6 to 0.1, got 1"),
        ("sides: periodic", "sides: no-slip", "must be no-flux or periodic, got 'no-slip'"),
        ("[130e3, 100e3]", "[100e3, 130e3]", "the inlet's higher"),
        ("[130e3, 100e3]", "30e3", "must be two pressures in Pa"),
        ("viscosity: 1e-3", "viscosity: 0", "must be positive, in Pa s, got 0"),
        ("viscosity: 1e-3", "viscosty: 1", "unknown key: did you mean 'viscosity'?"),
        ("    segment: {thresholds: [1, 2]}\n", "", "needs phases: add `segment`"),
    ],
)
def test_each_mistake_is_named(old, new, message):
    assert old in STUDY
    with pytest.raises(RecipeError, match=re.escape(message)):
        parse(STUDY.replace(old, new), FILE)
