"""Files of cyclers and potentiostats: what they hold, by a second method, and what is wrong with broken ones."""

from __future__ import annotations

import re
import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import real_data

from mgsflow.electrochemistry import (
    Cell,
    CyclingRows,
    cycles,
    find_peaks,
    read_cycling,
    read_gamry,
    read_voltammetry,
)
from mgsflow.electrochemistry.columns import split_title
from mgsflow.electrochemistry.rows import count_cycles, counted, integrated
from mgsflow.electrochemistry.sweeps import sweep_number
from mgsflow.errors import InputError, InputNotFound
from mgsflow.phantoms.cell import PEAKS, capacities, cycling, voltammogram, write_table

DATA = real_data.DATA / "cycling"
CV = """EXPLAIN
TAG	CV
TITLE	LABEL	Cyclic Voltammetry	Test &Identifier
NOTES	NOTES	2	&Notes...
	first line
	CURVE	TABLE
SCANRATE	QUANT	3.00000E-002	&Scan Rate (mV/s)
CURVE1	TABLE	3
	Pt	T	Vf	Im	Over
	#	s	V vs. Ref.	A	bits
	0	0	2.5	1.0E-003	...........
	1	1	1.5	2.0E-003	...........
CURVE2	TABLE	3
	Pt	T	Vf	Im	Over
	#	s	V vs. Ref.	A	bits
	2	2	1.0	-3.0E-003	..........a
"""


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {path}")
    if name.endswith((".nda", ".ndax")):
        pytest.importorskip("NewareNDA", reason="NewareNDA is not installed")
    return path


@cache
def cell(name: str) -> tuple[CyclingRows, dict[str, np.ndarray]]:
    """Return the rows of a Neware file, and the columns that the library gives, read once."""
    path = real(name)
    import NewareNDA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = NewareNDA.read(str(path), log_level="CRITICAL")
    return read_cycling(path), {c: frame[c].to_numpy(np.float64) for c in frame if "(mA" in c or c == "Step"}


def written(folder: Path, text: str, name: str = "cell.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "rows", "count"), [("TestFile.nda", 6670, 3), ("test_2.ndax", 108_563, 54)])
def test_neware_rows_and_cycles(name, rows, count):
    found = cell(name)[0]
    assert found.voltage.size == rows
    assert np.unique(found.cycle).tolist() == list(range(1, count + 1))


@pytest.mark.parametrize("name", ["TestFile.nda", "test_2.ndax"])
def test_capacity_by_the_counter_is_that_by_the_current(name):
    """The instrument's own counter against the integral of I dt, half cycle by half cycle."""
    found, frame = cell(name)
    steps, current = frame["Step"], np.abs(frame["Current(mA)"])
    total = found.charge + found.discharge
    for step in np.unique(steps)[:40]:
        rows = steps == step
        counter = max(frame[f"{h}_Capacity(mAh)"][rows].max() for h in ("Charge", "Discharge"))
        assert total[rows].sum() == pytest.approx(counter, rel=1e-6, abs=1e-12)
        # the first rows of a step are stamped up to half a second late
        here = np.abs(found.integrated[rows]).sum()
        assert here == pytest.approx(counter, rel=1e-4, abs=0.5 * current[rows].max() / 3600)
    data = cycles([Cell("a", found)])
    both = data.discharge_capacity_integrated / data.discharge_capacity
    assert float(abs(both.median() - 1)) < 2e-3


def test_cycles_are_counted_anew_where_asked():
    path = real("TestFile.nda")
    assert read_cycling(path, "discharge").cycle.max() == 2
    for name in ("TestFile.nda", "test_2.ndax"):
        found = cell(name)[0]
        moving = found.direction != 0
        # our own count is the library's
        np.testing.assert_array_equal(count_cycles(found.direction, "charge")[moving], found.cycle[moving])


@pytest.mark.parametrize(
    ("name", "tag", "table", "rows", "columns"),
    [
        ("cv_data.dta", "CV", "CURVE1", 10, ("Vf", "Im")),
        ("chronoa_data.dta", "CHRONOA", "CURVE", 10, ("T", "Vf", "Im")),
        ("ocp_data.dta", "CORPOT", "CURVE", 21, ("T", "Vf")),
        ("eispot_data.dta", "EISPOT", "ZCURVE", 10, ("Freq", "Zreal", "Zimag")),
    ],
)
def test_gamry_experiments(name, tag, table, rows, columns):
    found = read_gamry(real(name))
    assert found.tag == tag
    first = found.curves(*columns)[0]
    assert first.name == table
    assert {v.size for v in first.columns.values()} == {rows}
    data = first.dataset()
    assert data[columns[0]].attrs["units"]
    lines = (DATA / name).read_bytes().decode(errors="replace").splitlines()
    at = next(i for i, line in enumerate(lines) if re.match(rf"{table}\tTABLE", line))
    names, last = lines[at + 1].split(), lines[at + 2 + rows].split()
    for column in columns:
        assert first.columns[column][-1] == float(last[names.index(column)])


def test_gamry_voltammogram_has_the_rate_and_cycles_of_its_file():
    found = read_voltammetry(real("cv_data.dta"))
    assert found.rate == 1.23456
    assert np.bincount(found.cycle).tolist() == [0, 10, 10, 10, 10, 10]


def test_a_broken_gamry_file_gives_one_clear_message():
    with pytest.raises(InputError, match=r"cv_data_incompleteheader\.dta: ends in its header, after DELAY \(line 19\)"):
        read_gamry(real("cv_data_incompleteheader.dta"))


def test_notes_and_commas_of_a_gamry_file(tmp_path):
    plain = read_gamry(written(tmp_path, CV, "a.DTA"))
    comma = re.sub(r"(\d)\.(\d)", r"\1,\2", CV)
    other = read_gamry(written(tmp_path, comma, "b.dta"))
    for found in (plain, other):
        assert [t.name for t in found.tables] == ["CURVE1", "CURVE2"]
        assert found.header["SCANRATE"] == 0.03
        assert found.tables[0].columns["Vf"].tolist() == [2.5, 1.5]
        assert "Over" not in found.tables[0].columns
    rows = read_voltammetry(tmp_path / "b.dta")
    assert rows.current.tolist() == [1.0, 2.0, -3.0]
    assert rows.cycle.tolist() == [1, 1, 2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t[: t.index("CURVE1")], "ends in its header, after SCANRATE"),
        (lambda t: t[: t.index("2.0E-003")], r"a\.dta:12: a row of CURVE1 has 3 of 5 values"),
        (lambda t: t.replace("EXPLAIN", "SOMETHING"), "is not a Gamry file"),
        (lambda t: t.replace("1	1	1.5", "1	1	abc"), r"a\.dta:12: Vf in CURVE1: 'abc' is no number"),
        (lambda t: t.replace("Vf", "Vx"), "CURVE1 .CV. has no column Vf; it has Pt, T, Vx, Im"),
        (lambda t: t.replace("CURVE1", "OCVCURVE").replace("CURVE2", "OTHER"), "has no table CURVE"),
        (lambda t: "\0" * 100, "is no text"),
        (lambda t: "", "is empty"),
    ],
)
def test_each_way_in_which_a_gamry_file_is_broken(tmp_path, change, says):
    with pytest.raises(InputError, match=says):
        read_voltammetry(written(tmp_path, change(CV), "a.dta"))


@pytest.mark.parametrize("cut", [0.6, 0.1, 0.001])
@pytest.mark.parametrize("name", ["TestFile.nda", "test_2.ndax"])
def test_a_truncated_neware_file_is_read_short_or_refused_by_name(tmp_path, name, cut):
    content = real(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(cut * len(content))])
    try:
        assert read_cycling(path).voltage.size < 108_563
    except InputError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


def test_what_is_no_neware_file_is_refused(tmp_path):
    pytest.importorskip("NewareNDA", reason="NewareNDA is not installed")
    for name in ("a.nda", "a.ndax", "A.NDA"):
        with pytest.raises(InputError, match="the Neware file is damaged"):
            read_cycling(written(tmp_path, "no such thing" * 200, name))
    with pytest.raises(InputNotFound):
        read_cycling(tmp_path / "b.nda")


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "NewareNDA.NewareNDA", None)
    with pytest.raises(InputError, match=re.escape("pip install 'mgsflow[echem]'")):
        read_cycling(written(tmp_path, "x", "a.nda"))


def test_capacities_of_the_phantom_cell(tmp_path):
    found = read_cycling(write_table(cycling(cycles=6), tmp_path / "cell.csv"))
    np.testing.assert_allclose(np.bincount(found.cycle, found.discharge)[1:], capacities(6) / 1000, rtol=1e-6)


TABLE = {
    "time (s)": [0, 1800, 3600, 3601, 5401, 7201],
    "voltage (V)": [2.3, 2.0, 0.5, 0.6, 1.5, 2.3],
    "current (mA)": [-2, -2, -2, 1, 1, 1],
    "capacity (mAh)": [0, 1, 2, 0, 0.5, 1],
    "charge capacity (mAh)": [0, 0, 0, 0, 0.5, 1],
    "discharge capacity (mAh)": [0, 1, 2, 2, 2, 2],
    "q (mAh)": [0, -1, -2, -2, -1.5, -1],
    "cycle": [0, 0, 0, 0, 0, 0],
}


@pytest.mark.parametrize(
    "columns",
    [
        ("time (s)", "current (mA)"),
        ("capacity (mAh)", "current (mA)"),
        ("charge capacity (mAh)", "discharge capacity (mAh)", "cycle"),
        ("q (mAh)",),
        ("time (s)", "current (mA)", "capacity (mAh)", "cycle"),
    ],
)
def test_every_set_of_columns_tells_the_same(tmp_path, columns):
    names = ("voltage (V)", *columns)
    lines = [",".join(names), *(",".join(str(v) for v in row) for row in zip(*(TABLE[n] for n in names)))]
    found = read_cycling(written(tmp_path, "\n".join(lines)))
    assert found.discharge.sum() == pytest.approx(2)
    assert found.charge.sum() == pytest.approx(1)
    assert np.unique(found.cycle).tolist() == [1]


def test_units_and_locales(tmp_path):
    text = "# a remark\n\nZeit;Time/h;Ewe [mV];I (µA)\n1;0,0;2300;-2000\n2;0,5;2000;-2000\n3;1,0;500;-2000\n"
    found = read_cycling(written(tmp_path, text))
    assert found.voltage.tolist() == pytest.approx([2.3, 2.0, 0.5])
    assert found.discharge.sum() == pytest.approx(2)
    (tmp_path / "old.csv").write_bytes(text.encode("cp1252"))
    assert read_cycling(tmp_path / "old.csv").discharge.sum() == pytest.approx(2)
    assert split_title("time/s") == ("time", "s")
    assert split_title("sulfur [at%]") == ("sulfur", "at%")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time (s),current (mA)\n0,1\n", "has no column `voltage`"),
        ("voltage (V),time (s)\n0,1\n", "do not tell what charge passed"),
        ("voltage (V),current\n0,1\n", "column 'current' has no unit: write `current .mA.`"),
        ("voltage (V),current (kA)\n0,1\n", "unit 'kA' of column"),
        ("voltage (V),potential (V)\n0,1\n", "are the voltage: delete or rename one"),
        ("voltage (V),time (s),current (mA)\n1,0,1\n1,x,1\n", r"cell\.csv:3: time .s.: 'x' is no number"),
        ("voltage (V),time (s),current (mA)\n1,0,1\n1,,1\n", r"cell\.csv:3: time .s.: is empty"),
        (
            "voltage (V),time (s),current (mA)\n1,0,1\n1,5,2,1\n",
            r"cell\.csv:3: has 4 columns, and the header 3: are dec",
        ),
        ("voltage (V),time (s),current (mA)\n1,0,1\n1,9,1\n1,8,1\n", "time goes back from 9 s to 8 s in row 3"),
        ("voltage (V),time (s),current (mA)\n1,0,nan\n", "current is nan in row 1"),
        ("voltage (V),capacity (mAh)\n1,0\n2,1\n1,0\n2,1\n", "does not tell charge from discharge"),
        ("voltage (V),time (s),current (mA),cycle\n1,0,1,2\n1,1,1,1\n", "cycle numbers go back"),
        ("voltage (V),time (s),current (mA),cycle\n1,0,1,1.5\n", "must be whole"),
        ("voltage (V),time (s),current (mA)\n", "has a header and no rows"),
        ("a,b\n1,2\n", "no column is named as one of time, voltage, current"),
        ("\n# x\n", "holds no table"),
        ("", "is empty"),
        ("x" * 70_000, "is no text of lines"),
    ],
)
def test_each_way_in_which_a_table_is_wrong(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        read_cycling(written(tmp_path, text))


def test_a_counter_begins_again_in_any_way():
    steps = np.array([1, 1, 2, 2, 2, 3, 3])
    each = np.array([0, 2, 0.5, 1, 3, 0, 1.0])
    assert counted(each, steps).sum() == pytest.approx(2 + 3 + 1)
    assert counted(np.cumsum(np.ones(7))).sum() == pytest.approx(7)
    # a longer first row than the whole step before it is only told by the number of the step
    assert counted(np.array([1.0, 2, 1.5]), np.array([1, 1, 2])).sum() == pytest.approx(3.5)
    # the last digit wavers
    assert counted(np.array([1.0, 2, 1.9999999, 2.1])).sum() == pytest.approx(2.1)


def test_integration_does_not_reach_over_a_pause():
    time, current = np.array([0, 3600, 9000, 12600.0]), np.array([-1, -1, 1, 1.0])
    assert integrated(time, current).tolist() == [0, -1, 0, 1]
    again = np.array([0, 3600, 0, 3600.0])
    assert integrated(again, current).tolist() == [0, -1, 0, 1]


def test_cycles_of_a_test_without_numbers():
    direction = np.array([0, -1, -1, 0, 1, 0, -1, 1, 1, -1])
    assert count_cycles(direction).tolist() == [1, 1, 1, 1, 1, 1, 2, 2, 2, 3]
    assert count_cycles(direction, "charge").tolist() == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert count_cycles(np.zeros(3)).tolist() == [1, 1, 1]


def test_peaks_of_the_phantom_are_found_in_noise(tmp_path):
    columns = voltammogram()
    rng = np.random.default_rng(0)
    columns["voltage [V]"] = columns["voltage [V]"] + rng.normal(0, 2e-4, columns["voltage [V]"].size)
    rows = read_voltammetry(write_table(columns, tmp_path / "cv.csv"))
    found = find_peaks(rows.voltage, rows.current)
    assert [p.sweep for p in found] == ["reduction", "oxidation"]
    assert [p.voltage for p in found] == pytest.approx(PEAKS, abs=4e-3)
    assert [p.current for p in found] == pytest.approx([-0.054, 0.064], rel=1e-3)
    # without the waves there is no peak, though there are ends of sweeps
    assert find_peaks(rows.voltage, rows.voltage) == []


def test_sweeps_turn_where_the_voltage_does():
    ramp = np.concatenate([np.linspace(0.5, 0.1, 50), np.linspace(0.1, 0.9, 100), np.linspace(0.9, 0.5, 50)])
    voltage = np.tile(ramp, 3) + np.random.default_rng(0).normal(0, 0.005, 600)
    turns = np.flatnonzero(np.diff(sweep_number(voltage)))
    np.testing.assert_allclose(turns, [49, 149, 249, 349, 449, 549], atol=3)
    assert sweep_number(np.linspace(0, 1, 9)).tolist() == [0] * 9
    assert sweep_number(np.ones(4)).tolist() == [0] * 4
