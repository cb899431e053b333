"""What a throat lets through: a conduit from the centre of one pore to that of the next, or to the scan's face.

A conduit has two halves, on either side of its throat. *Ducts* are as wide as the throat, but for a taper near the
pore's centre, where they widen to the pore: from where the pore's largest ball is as wide as the throat, √(R² - r²)
from its centre, if the half is as long. *Cones* widen all the way. All cross-sections of a half are of one form, that
of the throat. So conduits are built of the cones and cylinders of OpenPNM's geometries [1]_, whose resistances add up.

What voxels let through lies between both, or at ducts. Results over those of solves on the voxels, of ducts and cones:

===================  ===========  =====  ============  =====
..                   diffusivity         permeability
-------------------  ------------------  -------------------
..                   ducts        cones  ducts         cones
===================  ===========  =====  ============  =====
lattice of ducts     0.98         1.32   0.96          1.69
balls that overlap   1.02         1.19   1.00          1.44
between such balls   0.82         1.11   0.78          1.46
sandstone            0.80         1.22   0.74          1.46
battery electrode    0.95         1.80   0.59          1.49
noise, a fifth open  0.62         1.15   0.46          1.44
===================  ===========  =====  ============  =====

*Diffusion.* A cylinder of cross-section A and length L has the resistance L/A; a taper that widens by s = R/r has
L/(s A).

*Flow.* The conductance of a cylinder is k G A²/(μ L) with the form factor G = A/P², which for perimeters P of circles
and of all polygons with one inscribed circle, of radius r, is r²/(4A), and k = 0.5 for circles, 0.5623 for squares and
0.6 for triangles [2]_, [3]_. r is the throat's hydraulic radius, which makes it hold for slits too: within 2 %. A taper
has (s² + s + 1)/(3 s³) of a cylinder's resistance, as cones of circular sections do.

.. [1] J. T. Gostick et al., OpenPNM: A Pore Network Modeling Package, Comput. Sci. Eng. 18 (2016) 60,
   doi:10.1109/MCSE.2016.49; models ``cones_and_cylinders`` and ``hydraulic_size_factors``.
.. [2] T. W. Patzek, D. B. Silin, Shape factor and hydraulic conductance in noncircular capillaries,
   J. Colloid Interface Sci. 236 (2001) 295, doi:10.1006/jcis.2000.7413.
.. [3] P. H. Valvatne, M. J. Blunt, Predictive pore-scale modeling of two-phase flow in mixed wet media,
   Water Resour. Res. 40 (2004) W07406, doi:10.1029/2003WR002627.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import pi, sqrt
from typing import TypeAlias

import numpy as np

from mgsflow.network.pores import PoreNetwork

DUCTS, CONES = "ducts", "cones"

#: Form factors of an equilateral triangle, a square and a circle, and their constants k.
_FORMS = (sqrt(3) / 36, 1 / 16, 1 / (4 * pi))
_CONSTANTS = (0.6, 0.5623, 0.5)

#: Resistances of the halves of conduits, from columns of throats, rows of pores, and lengths.
_Half: TypeAlias = Callable[[Mapping[str, np.ndarray], np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Conductances:
    """Conductances of a network's throats and openings.

    Parameters
    ----------
    throats, openings : ndarray of float64
        For diffusion in µm: flux over difference of concentration and diffusivity. For flow in µm³: flow rate times
        viscosity over difference of pressure.
    """

    throats: np.ndarray
    openings: np.ndarray


def diffusive(network: PoreNetwork, conduits: str = DUCTS) -> Conductances:
    """Return the conductances of a network for diffusion, in µm, by the form of conduits: ducts or cones."""

    def half(columns: Mapping[str, np.ndarray], pore: np.ndarray, length: np.ndarray) -> np.ndarray:
        taper, widening = _taper(network, columns, pore, length, conduits)
        resistance: np.ndarray = (taper / widening + (length - taper)) / columns["cross_section"]
        return resistance

    return _both(network, half)


def hydraulic(network: PoreNetwork, conduits: str = DUCTS) -> Conductances:
    """Return the conductances of a network for slow flow, in µm³, by the form of conduits: ducts or cones."""

    def half(columns: Mapping[str, np.ndarray], pore: np.ndarray, length: np.ndarray) -> np.ndarray:
        taper, s = _taper(network, columns, pore, length, conduits)
        area = columns["cross_section"]
        form, constant = form_factor(columns["hydraulic_radius"], area)
        tapered = taper * (s * s + s + 1) / (3 * s * s * s)  # numpy's powers differ between processors
        resistance: np.ndarray = (tapered + (length - taper)) / (constant * form * area**2)
        return resistance

    return _both(network, half)


def form_factor(radius: np.ndarray, area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return form factors G = A/P² of cross-sections from their radius and area, and the constants k of their flow.

    A circle has the largest. Between circle, square and triangle k is interpolated; below, it is the triangle's.
    """
    form = np.minimum(radius**2 / (4 * area), _FORMS[-1])
    return form, np.interp(form, _FORMS, _CONSTANTS)


def _both(network: PoreNetwork, half: _Half) -> Conductances:
    throats, openings = network.throats, network.openings
    a = half(throats, network.rows(throats["pore_a"]), throats["length_a"])
    b = half(throats, network.rows(throats["pore_b"]), throats["length_b"])
    return Conductances(1 / (a + b), 1 / half(openings, network.rows(openings["pore"]), openings["length"]))


def _taper(
    network: PoreNetwork, columns: Mapping[str, np.ndarray], pore: np.ndarray, length: np.ndarray, conduits: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the length of each half's taper, and how much wider it is at the pore's centre."""
    ball, throat = network.pores["inscribed_radius"][pore], columns["radius"]
    known = np.isfinite(ball)  # without any solid there are no walls to widen to
    wide, narrow = np.where(known, ball, 1.0), np.where(known, throat, 1.0)
    taper = length if conduits == CONES else np.minimum(length, np.sqrt(wide**2 - narrow**2))
    return taper, wide / narrow
