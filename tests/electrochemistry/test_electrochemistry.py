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
from layers import write

import mgsflow
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
from mgsflow.pipeline import run

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


def counted_by_the_library(name: str) -> np.ndarray:
    import NewareNDA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return NewareNDA.read(str(real(name)), software_cycle_number=True, log_level="CRITICAL").Cycle.to_numpy()


def written(folder: Path, text: str, name: str = "cell.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "rows", "count"), [("TestFile.nda", 6670, 3), ("test_2.ndax", 108_563, 44)])
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
        # our own count is that of the library, which BTSDA does not show
        np.testing.assert_array_equal(
            read_cycling(real(name), "charge").cycle[moving], counted_by_the_library(name)[moving]
        )
        assert np.array_equal(count_cycles(found.direction, "charge"), read_cycling(real(name), "charge").cycle)


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


# ------------------------------------------------------------------------------------- what cyclers' programs export


@pytest.mark.parametrize(
    ("name", "cycles_shown"), [("m50t_7_cycles.ndax", 7), ("one_cycle.nda", 1), ("150_cycles.ndax", 150)]
)
def test_neware_cycles_are_those_that_btsda_shows(name, cycles_shown):
    data = cycles([Cell("a", read_cycling(real(name)))])
    assert data.sizes["cycle"] == cycles_shown
    if name.startswith("m50t"):  # as BTSDA shows them, mAh
        assert float(data.discharge_capacity[0, 0]) == pytest.approx(6014.8, abs=0.05)
        assert float(data.charge_capacity[0, 0]) == pytest.approx(4760.7, abs=0.05)


def test_an_export_of_btsda_is_the_file_it_was_made_of():
    table, binary = (read_cycling(real(f"btsda_export.{suffix}")) for suffix in ("csv", "ndax"))
    np.testing.assert_allclose(table.voltage, binary.voltage, atol=6e-5)  # the export has a digit less
    np.testing.assert_array_equal(table.cycle, binary.cycle)
    np.testing.assert_array_equal(table.charge, binary.charge)


def test_an_empty_neware_file_is_told_to_be_empty():
    with pytest.raises(InputError, match="has no rows: nothing was recorded"):
        read_cycling(real("empty.ndax"))


def half_cycles(amount=(1.0, 0.9)):
    """Rows (cycle, step, seconds, mAh in the step, V, state) of three cycles at 1 mA: charge first."""
    rows, time = [], 0.0
    for cycle in (1, 2, 3):
        for half, (mah, state) in enumerate(zip(amount, "CD")):
            for share in np.linspace(0, 1, 21):
                volt = 3 + share if state == "C" else 4 - share
                rows.append((cycle, 2 * cycle - 1 + half, time + share * mah * 3600, share * mah, volt, state))
            time += mah * 3600
    return rows


def clock(seconds):
    return f"{int(seconds // 3600):02d}:{int(seconds // 60) % 60:02d}:{seconds % 60:06.3f}"


HEADS = {
    "csv": (
        "time (s),voltage (V),current (mA),cycle,state\n",
        lambda c, s, t, q, v, d: f"{t},{v},1,{c},{'charge' if d == 'C' else 'discharge'}\n",
    ),
    "Maccor": (
        "Today's Date\t12/01/2026\nFilename:\tC:\\cell.001\n"
        "Rec#\tCyc#\tStep\tTestTime\tStepTime\tAmp-hr\tWatt-hr\tAmps\tVolts\tState\n",
        lambda c, s, t, q, v, d: f"1\t{c - 1}\t{s}\t{clock(t)}\t{clock(q * 3600)}\t{q / 1000}\t0\t0.001\t{v}\t{d}\n",
    ),
    "BTSDA": (
        "DataPoint,Cycle Index,Step Index,Step Type,Time,Total Time,Current(mA),Voltage(V),Capacity(mAh),\n",
        lambda c, s, t, q, v, d: (
            f"1,{c},{s},CC {'Chg' if d == 'C' else 'DChg'},{clock(q * 3600)},{clock(t)},"
            f"{1 if d == 'C' else -1},{v},{q},\n"
        ),
    ),
    "EC-Lab": (
        "EC-Lab ASCII FILE\nNb header lines : 4\n\nmode\tNs\ttime/s\tEwe/V\t<I>/mA\thalf cycle\tcycle number\n",
        lambda c, s, t, q, v, d: f"1\t{s}\t{t}\t{str(v).replace('.', ',')}\t{1 if d == 'C' else -1}\t{s}\t{c - 1}\n",
    ),
    "Battery Data Format": (
        "test_time_second,voltage_volt,current_ampere,cycle_count,step_index\n",
        lambda c, s, t, q, v, d: f"{t},{v},{0.001 if d == 'C' else -0.001},{c},{s}\n",
    ),
}


@pytest.mark.parametrize("program", HEADS)
def test_capacities_of_what_programs_export(program, tmp_path):
    head, row = HEADS[program]
    text = head + "".join(row(*one) for one in half_cycles())
    data = cycles([Cell("a", read_cycling(written(tmp_path, text, "cell.txt")), 1.0)])
    np.testing.assert_allclose(data.charge_capacity[0], 1.0, rtol=1e-3)
    np.testing.assert_allclose(data.discharge_capacity[0], 0.9, rtol=1e-3)
    np.testing.assert_allclose(data.specific_discharge_capacity[0], 900, rtol=1e-3)
    assert data.cycle_status.values.tolist() == [["complete"] * 3]


def test_a_balance_of_charge_rises_and_falls(tmp_path):
    text = "time/s\tEwe/V\t<I>/mA\t(Q-Qo)/mA.h\tcycle number\n"
    text += "0\t3\t1\t0\t0\n3600\t4\t1\t1\t0\n3600\t4\t-1\t1\t0\n7200\t3\t-1\t0.1\t0\n"
    rows = read_cycling(written(tmp_path, text, "cell.mpt"))
    assert rows.charge.sum() == pytest.approx(1)
    assert rows.discharge.sum() == pytest.approx(0.9)


def test_a_balance_that_does_not_begin_at_zero(tmp_path):
    text = "time/s\tEwe/V\t<I>/mA\t(Q-Qo)/mA.h\tcycle number\n0\t3\t1\t5\t0\n3600\t4\t1\t6\t0\n"
    assert read_cycling(written(tmp_path, text, "cell.mpt")).charge.sum() == pytest.approx(1)


def test_a_discharge_alone_without_sign_takes_it_from_its_state(tmp_path):
    text = "Rec#\tCyc#\tStep\tTest (Sec)\tAmp-hr\tAmps\tVolts\tState\n"
    text += "".join(f"{s}\t1\t1\t{s}\t{s / 3.6e6}\t0.001\t{3 - s / 7200}\tD\n" for s in range(0, 3601, 600))
    rows = read_cycling(written(tmp_path, text, "cell.txt"))
    assert (rows.charge.sum(), rows.discharge.sum()) == (0, pytest.approx(1))


def test_a_current_without_sign_and_without_state_is_refused(tmp_path):
    text = "time (s),voltage (V),current (mA)\n"
    text += "".join(f"{t},{v},1\n" for _, _, t, _, v, _ in half_cycles())
    with pytest.raises(InputError, match="sign of the current is missing"):
        read_cycling(written(tmp_path, text))


def test_the_sign_of_a_current_can_be_given(tmp_path):
    text = "time (s),voltage (V),current (mA)\n0,4,1\n3600,3,1\n"
    with pytest.raises(InputError, match="sign of the current"):
        read_cycling(written(tmp_path, text))
    rows = read_cycling(written(tmp_path, text), current="discharge-positive")
    assert (rows.charge.sum(), rows.discharge.sum()) == (0, pytest.approx(1))


def test_counters_that_begin_anew_in_each_cycle(tmp_path):
    pairs = [(1.0, 0.95), (0.96, 0.93), (0.94, 0.91), (0.92, 0.90)]
    text = "cycle,voltage (V),charge capacity (mAh),discharge capacity (mAh)\n"
    text += "".join(f"{c},4.2,{a},0\n{c},3.0,{a},{b}\n" for c, (a, b) in enumerate(pairs, 1))
    data = cycles([Cell("a", read_cycling(written(tmp_path, text)))])
    np.testing.assert_allclose(data.charge_capacity[0], [a for a, _ in pairs])
    np.testing.assert_allclose(data.discharge_capacity[0], [b for _, b in pairs])


@pytest.mark.parametrize("only", ["charge", "discharge"])
def test_half_a_cycle_with_a_mass(only, tmp_path):
    sign = 1 if only == "charge" else -1
    text = "time (s),voltage (V),current (mA),cycle\n"
    text += "".join(f"{s},{3.5 + sign * s / 7200:.4f},{sign},1\n" for s in range(0, 3601, 60))
    data = cycles([Cell("a", read_cycling(written(tmp_path, text)), 1.0)])
    other = "discharge" if only == "charge" else "charge"
    assert float(data[f"specific_{only}_capacity"][0, 0]) == pytest.approx(1000)
    assert np.isnan(float(data[f"specific_{other}_capacity"][0, 0]))
    assert data.cycle_status.values.tolist() == [["one half only"]]


@pytest.mark.parametrize(("suffix", "advice"), [(".mpr", "export it as text"), (".xlsx", "as CSV"), (".res", "as CSV")])
def test_files_that_are_not_read_name_what_is(suffix, advice, tmp_path):
    (tmp_path / f"cell{suffix}").write_bytes(b"\0\1")
    with pytest.raises(InputError, match=advice):
        read_cycling(tmp_path / f"cell{suffix}")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_study_after_the_first_half_cycle(sign, tmp_path):
    """A Li/S or Mg/S cell is scanned after its first discharge: there is no charge, and a mass."""
    study = write(tmp_path, "")
    text = "time (s),voltage (V),current (mA),cycle\n"
    text += "".join(f"{s},{2 + sign * s / 7200:.4f},{sign},1\n" for s in range(0, 3601, 60))
    (tmp_path / "cell.csv").write_text(text)
    with study.open("a") as file:
        file.write("electrochemistry:\n  cycling:\n    - {name: cell, path: cell.csv, mass: 1.0}\n")
    run(study, threads=1)
    metrics = mgsflow.open(tmp_path / "study.zarr")["cathode/metrics"].ds.sel(scan="c1")
    found = (float(metrics.charge_capacity), float(metrics.capacity))
    assert np.isnan(found[sign > 0])
    assert found[sign < 0] == pytest.approx(1000)
    page = mgsflow.write_report(tmp_path / "study.zarr").read_text(encoding="utf-8")
    assert "positive in charge" in page
