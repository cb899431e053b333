"""Which half cycles a scan has behind it: what joins a scan, by its cycle and state, to the capacity of a cell.

A scan of ``cycle: n`` was taken in or after cycle n of the cell. A ``pristine`` one, or one of cycle 0, has none behind
it. The last discharge and the last charge before the others depend on what a cycle begins with:

=====================  ==============  ===========  ==============  ===========
cycles begin with      discharge                    charge
state of the scan      last discharge  last charge  last discharge  last charge
=====================  ==============  ===========  ==============  ===========
discharged             n               n − 1        n               n
charged                n               n            n − 1           n
any other (cycled)     n               n            n               n
=====================  ==============  ===========  ==============  ===========
"""

from __future__ import annotations

import re

from mgsflow.electrochemistry.rows import CHARGE, DISCHARGE

PRISTINE = "pristine"


def last_half_cycles(cycle: int, state: str, first_half: str) -> tuple[int, int]:
    """Return the cycles of the last discharge and of the last charge before a scan; 0 for none.

    Parameters
    ----------
    cycle : int
    state : str
        As ``charged``, ``discharged to 0.5 V``, ``pristine``.
    first_half : {"charge", "discharge"}
        What a cycle of the cell begins with.
    """
    words = set(re.findall(r"[a-z]+", state.lower()))
    if cycle == 0 or PRISTINE in words:
        return 0, 0
    if first_half == DISCHARGE and "discharged" in words:
        return cycle, cycle - 1
    if first_half == CHARGE and "charged" in words:
        return cycle - 1, cycle
    return cycle, cycle
