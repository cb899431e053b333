"""A pore network for other programs: OpenPNM's tables, CSV and GraphML.

OpenPNM holds a network as a dict of arrays by ``pore.…`` and ``throat.…``, coordinates as (x, y, z), lengths in metres
and pores numbered from 0; labels are booleans. What is written here opens with its ``openpnm.io.network_from_csv``,
and the dict is given to ``openpnm.network.Network`` by ``update``. GraphML opens with networkx, Gephi and Cytoscape.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from mgsflow.network.conductance import DUCTS, diffusive, hydraulic
from mgsflow.network.pores import AXES, PoreNetwork

_MICROMETRE = 1e-6


def to_openpnm(network: PoreNetwork, boundary: bool = False, conduits: str = DUCTS) -> dict[str, np.ndarray]:
    """Return a network as OpenPNM's tables, in SI units.

    Parameters
    ----------
    network : PoreNetwork
    boundary : bool
        Add a pore for each opening in a face of the scan, with the label ``pore.boundary``; only these then have the
        labels ``pore.xmin``, ``pore.xmax`` …, and fixing values there gives what `mgsflow.network.solve` does. Without
        them, pores that touch a face have its label.
    conduits : {"ducts", "cones"}
        Of the size factors, with which OpenPNM's models of conductance need no further geometry.

    Returns
    -------
    dict of str to ndarray
        ``pore.coords`` is the centre of the largest ball, ``pore.diameter`` its diameter; ``throat.diameter`` is that
        of the largest ball that passes, ``throat.length`` the way from centre to centre;
        ``throat.diffusive_size_factors`` (m) and ``throat.hydraulic_size_factors`` (m³) are conductances of whole
        conduits at unit diffusivity and viscosity. ``pore.region_label`` is the id.
    """
    t, o, p = network.throats, network.openings, network.pores
    m = _MICROMETRE
    conns = np.stack([network.rows(t["pore_a"]), network.rows(t["pore_b"])], axis=1)
    found = {
        "pore.coords": p["centre"][:, ::-1] * m,
        "throat.conns": conns,
        "pore.all": np.ones(network.count, bool),
        "throat.all": np.ones(network.throat_count, bool),
        "pore.region_label": p["id"],
        "pore.diameter": 2 * p["inscribed_radius"] * m,
        "pore.inscribed_diameter": 2 * p["inscribed_radius"] * m,
        "pore.equivalent_diameter": 2 * p["equivalent_radius"] * m,
        "pore.geometric_centroid": p["centroid"][:, ::-1] * m,
        "pore.surface_area": p["surface_area"] * m**2,
        "pore.volume": p["volume"] * m**3,
        "throat.diameter": 2 * t["radius"] * m,
        "throat.inscribed_diameter": 2 * t["radius"] * m,
        "throat.equivalent_diameter": np.sqrt(4 / np.pi * t["cross_section"]) * m,
        "throat.cross_sectional_area": t["cross_section"] * m**2,
        "throat.coords": t["position"][:, ::-1] * m,
        "throat.length": t["length"] * m,
        "throat.total_length": t["length"] * m,
    }
    diffusion, flow = diffusive(network, conduits), hydraulic(network, conduits)
    factors = {"diffusive": (diffusion, m), "hydraulic": (flow, m**3)}
    for name, (conductances, unit) in factors.items():
        found[f"throat.{name}_size_factors"] = conductances.throats * unit
    touches = {f"{a}{end}": p[f"touches_{side}"][:, i] for i, a in enumerate(AXES) for end, side in _ENDS}
    if not boundary:
        return found | {f"pore.{label}": column for label, column in touches.items()}
    more = o["pore"].size
    rows = network.rows(o["pore"])
    cut = {
        "pore.coords": o["position"][:, ::-1] * m,
        "throat.conns": np.stack([rows, network.count + np.arange(more)], axis=1),
        "pore.all": np.ones(more, bool),
        "throat.all": np.ones(more, bool),
        "pore.region_label": np.zeros(more, np.int64),
        "pore.geometric_centroid": o["position"][:, ::-1] * m,
        "pore.surface_area": np.zeros(more),
        "pore.volume": np.zeros(more),
        "throat.coords": o["position"][:, ::-1] * m,
        "throat.length": o["length"] * m,
        "throat.total_length": o["length"] * m,
        "throat.cross_sectional_area": o["cross_section"] * m**2,
    }
    width = {"diameter": 2 * o["radius"] * m, "inscribed_diameter": 2 * o["radius"] * m}
    width["equivalent_diameter"] = np.sqrt(4 / np.pi * o["cross_section"]) * m
    cut |= {f"{kind}.{name}": value for name, value in width.items() for kind in ("pore", "throat")}
    for name, (conductances, unit) in factors.items():
        cut[f"throat.{name}_size_factors"] = conductances.openings * unit
    found = {name: np.concatenate([value, cut[name]]) for name, value in found.items()}
    inner = np.arange(network.count + more) < network.count
    found |= {
        "pore.internal": inner,
        "pore.boundary": ~inner,
        "throat.boundary": np.arange(len(conns) + more) >= len(conns),
    }
    faces = np.concatenate([np.full(network.count, -1), o["face"]])
    return found | {f"pore.{label}": faces == face for face, label in enumerate(touches)}


def write_csv(network: PoreNetwork, path: str | Path, boundary: bool = False) -> None:
    """Write a network as OpenPNM's CSV: a column a property, ``pore.coords[0]`` … of vectors, the shorter ones padded.

    Parameters
    ----------
    network : PoreNetwork
    path : path
    boundary : bool
        See `to_openpnm`.
    """
    columns: dict[str, list[str]] = {}
    for name, values in to_openpnm(network, boundary).items():
        parts = (
            [(f"{name}[{i}]", values[:, i]) for i in range(values.shape[1])] if values.ndim > 1 else [(name, values)]
        )
        columns |= {key: [str(v) for v in part.tolist()] for key, part in parts}
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(columns) + "\n")
        file.writelines(",".join(row) + "\n" for row in zip_longest(*columns.values(), fillvalue=""))


def write_npz(network: PoreNetwork, path: str | Path, boundary: bool = False) -> None:
    """Write OpenPNM's tables as a NumPy archive: ``Network().update(numpy.load(path))`` takes them.

    Parameters
    ----------
    network : PoreNetwork
    path : path
        NumPy adds ``.npz`` to a name without it.
    boundary : bool
        See `to_openpnm`.
    """
    np.savez_compressed(Path(path), allow_pickle=False, **to_openpnm(network, boundary))


def write_graphml(network: PoreNetwork, path: str | Path) -> None:
    """Write a network as GraphML: a node a pore, an edge a throat, with their columns as attributes.

    Parameters
    ----------
    network : PoreNetwork
    path : path

    Notes
    -----
    Lengths are in µm, as in `PoreNetwork`; vectors are ``centre_z``, ``centre_y`` … A node's name is ``n`` and its id.
    """
    ends = ("pore_a", "pore_b")
    nodes = _scalars({k: v for k, v in network.pores.items() if k != "id"})
    edges = _scalars({k: v for k, v in network.throats.items() if k not in ends})
    ids = network.pores["id"].tolist()
    pairs = list(zip(*(network.throats[end].tolist() for end in ends)))
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
        for kind, columns in (("node", nodes), ("edge", edges)):
            for name, column in columns.items():
                key, text = quoteattr(f"{kind}.{name}"), quoteattr(name)
                type_ = {"b": "boolean", "f": "double"}.get(column.dtype.kind, "long")
                file.write(f'<key id={key} for="{kind}" attr.name={text} attr.type="{type_}"/>\n')
        file.write('<graph edgedefault="undirected">\n')
        file.writelines(f'<node id="n{i}">{row}</node>\n' for i, row in zip(ids, _rows("node", nodes, len(ids))))
        file.writelines(
            f'<edge source="n{a}" target="n{b}">{row}</edge>\n'
            for (a, b), row in zip(pairs, _rows("edge", edges, len(pairs)))
        )
        file.write("</graph>\n</graphml>\n")


_ENDS = (("min", "low"), ("max", "high"))


def _scalars(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return columns of numbers, vectors as one for each axis."""
    found = {}
    for name, values in columns.items():
        if values.ndim == 1:
            found[name] = values
        else:
            found |= {f"{name}_{axis}": values[:, i] for i, axis in enumerate(AXES)}
    return found


def _rows(kind: str, columns: dict[str, np.ndarray], count: int) -> list[str]:
    """Return the data elements of each row."""
    said = []
    for name, column in columns.items():
        start = f"<data key={quoteattr(f'{kind}.{name}')}>"
        said.append([f"{start}{str(v).lower() if isinstance(v, bool) else v}</data>" for v in column.tolist()])
    return ["".join(row) for row in zip(*said)] if said else [""] * count
