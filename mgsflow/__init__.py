"""Battery-electrode tomograms larger than memory, from scans to numbers compared across cycle states."""
