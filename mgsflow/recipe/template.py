"""The first study file for a folder of scans, with every choice explained."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from mgsflow.filters import FILTERS
from mgsflow.recipe.discover import FoundScan
from mgsflow.recipe.document import number

#: Phases by rising grey value, where a specimen's name tells what it is.
_PHASES = {
    "cathode": ("pore", "CBD", "sulfur"),
    "separator": ("air", "fibre", "deposit"),
}
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+ ()-]*(?<! )")
_FILL = "fill in"


def template(folder: str | Path, found: Sequence[FoundScan]) -> str:
    """Return the text of a study file for the scans of a folder, to be saved in that folder.

    What could not be guessed stands there as a key without a value, so that `load` says where something is to be filled
    in; what was guessed says so.

    Parameters
    ----------
    folder : path
    found : sequence of FoundScan
        What `discover` returned for the folder.

    Returns
    -------
    str
        YAML with comments.
    """
    title = re.sub(r"[_\s]+", " ", Path(folder).absolute().name).strip()
    lines = [_HEAD.format(title=_scalar(title or "Study"))]
    for name, scans in groupby(found, key=lambda scan: scan.specimen):
        lines += _specimen(name, list(scans))
    return "\n".join(lines) + "\n"


def _specimen(name: str, scans: Sequence[FoundScan]) -> list[str]:
    lines = [f"  {_scalar(name)}:", *_voxel_size(scans)]
    phases = next((p for word, p in _PHASES.items() if word in name.lower()), None)
    lines.append(
        "    # Names of the phases by rising grey value: two or more. Their number is that of the classes below."
    )
    if phases:
        lines.append(f"    phases: [{', '.join(phases)}]   # guessed from the specimen's name: check")
    else:
        lines.append(f"    phases:   # {_FILL}, such as [pore, solid]")
    if any(scan.cylinder for scan in scans):
        lines.append(_CYLINDER)
    lines.append("    scans:")
    for scan in scans:
        lines += _scan(scan)
    if len(scans) > 1:
        first = _scalar(scans[0].name)
        lines.append(_NORMALISE.format(first=first))
    lines.append(_REST.format(filters=", ".join(FILTERS), thresholds=_thresholds(phases)))
    return lines


def _voxel_size(scans: Sequence[FoundScan]) -> list[str]:
    sizes = {scan.voxel_size for scan in scans if scan.voxel_size}
    about = "    # Edge of a voxel in µm, one number or [z, y, x]; the same for all scans of a specimen."
    if len(sizes) == 1:
        z, y, x = (float(f"{v:.7g}") for v in sizes.pop())
        value = f"{z!r}" if z == y == x else f"[{z!r}, {y!r}, {x!r}]"
        return [about, f"    voxel_size: {value}   # from the files: check"]
    if not sizes:
        return [about, f"    voxel_size:   # µm: {_FILL}"]
    said = " and ".join(str([float(f"{v:.7g}") for v in size]) for size in sorted(sizes)[:4])
    return [about, f"    voxel_size:   # µm: {_FILL}; the files say {said}: scans that differ are two specimens"]


def _scan(scan: FoundScan) -> list[str]:
    size = f"   # {' × '.join(map(str, scan.shape))} voxels (z, y, x), {scan.dtype}" if scan.shape else ""
    lines = []
    if scan.problem:
        lines.append(f"      # cannot be opened: {_comment(scan.problem)}")
    lines += [f"      - name: {_scalar(scan.name)}", f"        path: {_scalar(scan.path)}{size}"]
    if scan.cycle is None:
        lines.append(f"        cycle:   # {_FILL}: cycles of charge and discharge, 0 for pristine")
    else:
        guess = "the name" if scan.sure else "the number in the name, which may mean something else"
        lines.append(f"        cycle: {scan.cycle}   # guessed from {guess}: check")
    if scan.state or scan.cycle == 0:
        lines.append(f"        state: {scan.state or 'pristine'}")
    else:
        lines.append("        # state: charged   # or discharged, …; `cycled` if it is not given")
    if scan.cylinder:
        lines.append("        region: {cylinder: auto}   # add `box: inscribed` for the largest box within")
    if scan.options:
        lines.append("        options:   # a raw file does not tell:")
        lines += [f"          {option}:   # {_FILL}, such as {_EXAMPLES[option]}" for option in scan.options]
    return lines


_EXAMPLES = {"shape": "[1024, 1024, 1024] (z, y, x)", "dtype": "uint16"}


def _thresholds(phases: Sequence[str] | None) -> str:
    return "[23100, 32500]" if phases is None or len(phases) == 3 else "[23100]"


def _comment(text: str) -> str:
    """Return a text that stays in its comment."""
    return "".join(c if c.isprintable() else " " for c in text)


def _scalar(text: str) -> str:
    """Return a text as YAML reads it back."""
    if _PLAIN.fullmatch(text) and isinstance(number(text), str) and text.lower() not in _WORDS:
        return text
    # JSON is YAML; the few characters that YAML wants escaped and JSON does not are not printable
    return "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in json.dumps(text, ensure_ascii=False))


_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")

_HEAD = """\
# A study for mgsflow. What follows '#' is a comment; to make a choice that is commented out, delete '# ' (with the
# space) from its lines.
# `mgsflow plan` checks this file and says what it will take, `mgsflow run` carries it out.

study: {title}
# Folder of the results, relative to this file.
store: study.zarr
# Edge of a unit of work in voxels, or [z, y, x]. Smaller blocks need less memory, and more time.
block: 256
# notes: anything worth keeping with the results

specimens:
  # Scans that share a voxel size: the states of one electrode or separator.\
"""

_CYLINDER = """\
    # Corners of scans are one constant, as outside the circle of a reconstruction: `region` leaves them out. Within a
    # cylinder there are fractions, profiles, surfaces and transport along it; in a box, every analysis.\
"""

_NORMALISE = """\
    # One grey scale for all scans: the peaks of air and of something inert are brought to where they are in the
    # reference scan. Needed if the scanner's brightness or contrast changed from scan to scan.
    # normalise:
    #   reference: {first}
    #   low: [10000, 22000]    # grey values between which the peak of air lies, in any scan
    #   high: [30000, 45000]   # and that of the inert material\
"""

_REST = """\
    # Slices whose brightness drifts along z:
    # correct:
    #   drift: true
    # Filters of the grey image, in this order: {filters}.
    filter:
      - unsharp_mask: {{sigma: 1.5, amount: 0.8}}
    segment:
      # Phases by grey value: as many classes as phases, fitted once to all scans together …
      multi_otsu: true
      # … or fixed grey values, one fewer than there are phases (then delete the line above):
      # thresholds: {thresholds}
      # Radius in voxels of a majority filter that removes specks:
      # majority: 1
    measures: [volume, profile, surface, interface]
"""
