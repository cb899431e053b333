"""Scans in files: TIFF slices and pages, raw, NumPy, HDF5 and zarr, opened by `open_scan`.

A `Reader` knows the shape, type and voxel size of a volume and reads boxes of it, never the whole. Opening checks
everything that can be checked without reading voxels, so that a run does not fail in its middle on a file that was
damaged from the start.
"""

from mgsflow.readers.checksum import Share, checksum, fingerprint, joined
from mgsflow.readers.reader import FORMATS, Format, Reader, open_scan

__all__ = ["FORMATS", "Format", "Reader", "Share", "checksum", "fingerprint", "joined", "open_scan"]
