"""Pore networks: pores and throats of a phase, what diffuses and flows through them, and files for other programs.

`pore_network` finds the network of a phase that is at hand, `solve` its tortuosity factor and permeability along an
axis; `to_openpnm`, `write_csv`, `write_npz` and `write_graphml` hand it on, and `local_porosity` maps the phase itself.
"""

from mgsflow.network.export import to_openpnm, write_csv, write_graphml, write_npz
from mgsflow.network.flow import NetworkTransport, solve
from mgsflow.network.from_array import pore_network
from mgsflow.network.pores import PoreNetwork
from mgsflow.network.porosity import local_porosity
from mgsflow.network.throats import Throats, ThroatSums

__all__ = [
    "NetworkTransport",
    "PoreNetwork",
    "ThroatSums",
    "Throats",
    "local_porosity",
    "pore_network",
    "solve",
    "to_openpnm",
    "write_csv",
    "write_graphml",
    "write_npz",
]
