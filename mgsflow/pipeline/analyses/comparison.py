"""What a study keeps of the comparison of its scans."""

from __future__ import annotations

import xarray as xr

from mgsflow.studies.compare import compare

#: The group of the results.
GROUP = "comparison"


def comparison_groups(metrics: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return the comparison of a specimen's scans with the pristine one, by the group that it belongs in.

    Parameters
    ----------
    metrics : Dataset
        Of all scans, along ``scan``, with everything that is to be compared.

    Returns
    -------
    dict of str to Dataset
        Nothing, where there is but one scan.
    """
    return {GROUP: compare(metrics)} if metrics.sizes["scan"] > 1 else {}
