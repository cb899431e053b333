"""Electrochemistry beside the scans: files of cyclers and potentiostats, and what they say of each cycle.

`read_cycling` and `read_voltammetry` read Neware, Gamry and CSV files to rows; `cycles`, `voltage_curves` and
`voltammetry` make Datasets of them, which a study joins to its scans by cycle and state.
"""

from mgsflow.electrochemistry.cycling import Cell, cycles, voltage_curves
from mgsflow.electrochemistry.gamry import GamryFile, GamryTable, read_gamry
from mgsflow.electrochemistry.joining import last_half_cycles
from mgsflow.electrochemistry.read import SweepRows, read_cycling, read_voltammetry
from mgsflow.electrochemistry.rows import CyclingRows
from mgsflow.electrochemistry.scan_values import ScanValues, read_scan_values
from mgsflow.electrochemistry.sweeps import Peak, find_peaks
from mgsflow.electrochemistry.voltammetry import Voltammogram, voltammetry

__all__ = [
    "Cell",
    "CyclingRows",
    "GamryFile",
    "GamryTable",
    "Peak",
    "ScanValues",
    "SweepRows",
    "Voltammogram",
    "cycles",
    "find_peaks",
    "last_half_cycles",
    "read_cycling",
    "read_gamry",
    "read_scan_values",
    "read_voltammetry",
    "voltage_curves",
    "voltammetry",
]
