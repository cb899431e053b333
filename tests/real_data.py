"""Real data beside the repository, or where MGSFLOW_TEST_DATA says; tests that need it skip where it is missing."""

from __future__ import annotations

import os
from pathlib import Path

DATA = Path(os.environ.get("MGSFLOW_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
