"""Streamlines: exact paths and times of known flows, on solved fields, and independent of how the field is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from mgsflow.errors import InputError
from mgsflow.transport.permeability import permeability
from mgsflow.transport.streamlines.face_velocity import face_velocities
from mgsflow.transport.streamlines.trace import streamlines

SHAPE = (14, 12, 11)


def uniform(shape: tuple[int, int, int], axis: int, value: float) -> list[np.ndarray]:
    faces = [np.zeros(tuple(n + (i == e) for i, n in enumerate(shape))) for e in range(3)]
    faces[axis][:] = value
    return faces


def curls(shape: tuple[int, int, int], seed: int) -> list[np.ndarray]:
    """A flow along z without divergence, with zero at the sides: a drift plus the curl of random edge values."""
    rng = np.random.default_rng(seed)
    nz, ny, nx = shape
    faces = uniform(shape, 0, 1.0)
    edge = np.zeros((nz + 1, ny + 1, nx))  # of component x, around the faces of z and y
    edge[:, 1:-1] = 0.8 * rng.standard_normal((nz + 1, ny - 1, nx))
    faces[0] += np.diff(edge, axis=1)
    faces[1] -= np.diff(edge, axis=0)
    return faces


@pytest.fixture(scope="module")
def solved() -> tuple[np.ndarray, np.ndarray]:
    """Pores, and velocities at centres, of a solved flow along z."""
    rng = np.random.default_rng(5)
    pores = rng.random(SHAPE) > 0.25
    found = permeability(pores.astype(np.uint8), 1, "z", 1.0, rtol=1e-4, fields=True, threads=1)
    assert found.velocity is not None
    return pores, found.velocity


def test_straight_flow_is_followed_exactly() -> None:
    found = streamlines(uniform((9, 5, 6), 1, 3.0), "y", (0.5, 2.0, 1.0), lines=7)
    assert found.ends == ["outlet"] * 7
    for i in range(7):
        line = found.line(i)
        np.testing.assert_allclose(line[:, 1], 2.0 * np.arange(6), atol=1e-6)
        assert np.ptp(line[:, 0]) < 1e-6
        assert np.ptp(line[:, 2]) < 1e-6
    np.testing.assert_allclose(found.travel_times(), 10 / 3, rtol=1e-6)
    np.testing.assert_allclose(found.speed, 3.0, rtol=1e-6)
    assert found.hydraulic_tortuosity() == pytest.approx(1, abs=1e-6)
    assert len({tuple(found.line(i)[0]) for i in range(7)}) == 7


def test_stagnation_flow_against_its_closed_form() -> None:
    # v = (1 + z, -(y - 2), ...): exactly linear, so every voxel has the true field, and the paths are hyperbolas
    nz, ny, nx = 6, 4, 2
    faces = uniform((nz, ny, nx), 0, 0.0)
    faces[0] += 1 + np.arange(nz + 1)[:, None, None]
    faces[1] -= np.arange(ny + 1)[None, :, None] - 2
    found = streamlines(faces, "z", 1.0, lines=16)
    assert found.through.all()
    for i in range(16):
        z, y, _ = found.line(i).astype(float).T
        np.testing.assert_allclose((y - 2) * (1 + z), y[0] - 2, atol=1e-5)
        t = found.time[found.start[i] : found.start[i + 1]]
        np.testing.assert_allclose(t, np.log1p(z), atol=1e-6)


def test_path_is_that_of_a_numerical_integration() -> None:
    faces = curls((8, 6, 5), 1)
    found = streamlines(faces, "z", 1.0, lines=20)
    for i in np.flatnonzero(found.through)[:3]:
        line = found.line(i).astype(float)
        times = found.time[found.start[i] : found.start[i + 1]]
        for k in range(len(line) - 1):  # voxel by voxel: the field jumps between them
            cell = np.floor((line[k] + line[k + 1]) / 2).astype(int)
            after = cell + np.eye(3, dtype=int)
            low, high = (np.array([f[tuple(c)] for f, c in zip(faces, ends)]) for ends in ([cell] * 3, after))

            def velocity(_: float, place: np.ndarray, low: Any = low, high: Any = high, cell: Any = cell) -> Any:
                return low + (high - low) * (place - cell)

            path = solve_ivp(velocity, times[k : k + 2], line[k], rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(path.y[:, -1], line[k + 1], atol=1e-4)


def test_faces_make_the_centres_and_keep_the_fluid(solved: tuple[np.ndarray, np.ndarray]) -> None:
    pores, centre = solved
    faces = face_velocities(centre, 0, np.ones(3))
    largest = max(float(abs(f).max()) for f in faces)
    n = SHAPE
    for d, face in enumerate(faces):
        first, last = np.take(face, range(n[d]), d), np.take(face, range(1, n[d] + 1), d)
        np.testing.assert_allclose((first + last) / 2, centre[d], atol=3e-3 * largest)
        assert (first[~pores] == 0).all()  # nothing through a wall
        assert (last[~pores] == 0).all()
        if d:
            assert (np.take(face, (0, n[d]), d) == 0).all()
    assert abs(sum(np.diff(f, axis=d) for d, f in enumerate(faces))).max() < 2e-2 * largest
    # means of the voxels beside a face would lose fluid
    means = (centre[0][1:] + centre[0][:-1]) / 2
    assert abs(means - faces[0][1:-1]).max() > 0.1 * largest


def test_no_line_enters_a_solid(solved: tuple[np.ndarray, np.ndarray]) -> None:
    pores, centre = solved
    found = streamlines(centre, "z", 1.0, lines=200)
    assert found.through.mean() > 0.97
    for i in range(200):
        line = found.line(i).astype(float)
        middles = (line[1:] + line[:-1]) / 2  # between two points a line is in one voxel
        cells = np.minimum(np.floor(middles).astype(int), np.array(SHAPE) - 1)
        assert pores[tuple(cells.T)].all()
    straight = uniform(SHAPE, 0, 1.0)  # a field that knows nothing of the solids goes through them
    cells = np.floor(streamlines(straight, "z", 1.0, lines=50).position - 1e-3).astype(int).clip(0)
    assert not pores[tuple(cells.T)].all()


def test_time_of_flight_is_volume_over_flow(solved: tuple[np.ndarray, np.ndarray]) -> None:
    pores, centre = solved
    faces = face_velocities(centre, 0, np.ones(3))
    # lines share the flow equally, so that their mean time is the volume that flows, over the rate
    found = streamlines(faces, "z", 1.0, lines=4000)
    rate = float(faces[0][0].sum())
    times = found.travel_times()
    assert np.mean(times) == pytest.approx(pores.sum() / rate, rel=0.15)
    assert float(faces[0][-1].sum()) == pytest.approx(rate, rel=1e-2)
    assert found.hydraulic_tortuosity() > 1


@pytest.mark.parametrize("axis", "zyx")
def test_boxes_make_no_difference(axis: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order = {"z": (0, 1, 2), "y": (1, 0, 2), "x": (1, 2, 0)}[axis]
    made = curls((17, 9, 8), 3)
    faces = [made[order[d]].transpose(order) for d in range(3)]
    whole = streamlines(faces, axis, (1.0, 0.5, 2.0), lines=30)

    class Lazy:
        """An array that is read in slices only."""

        def __init__(self, array: np.ndarray) -> None:
            self.array, self.shape = array, array.shape

        def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
            part = self.array[index]
            assert part.size <= 6**3 or min(part.shape) == 1
            return part

    monkeypatch.setattr("mgsflow.transport.streamlines.trace._BOX", 5)
    parts = streamlines([Lazy(f) for f in faces], axis, (1.0, 0.5, 2.0), lines=30)
    for name in ("position", "speed", "time", "start", "end"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_seeds_follow_the_flow() -> None:
    faces = uniform((3, 8, 8), 0, 1.0)
    faces[0][:, :, 4:] = 3.0
    faces[0][:, 0] = 0.0
    found = streamlines(faces, "z", 1.0, lines=400)
    first = found.position[found.start[:-1]]
    assert (first[:, 2] >= 4).mean() == pytest.approx(0.75, abs=0.01)
    assert (first[:, 1] >= 1).all()


def test_lines_that_do_not_run_through_say_so() -> None:
    faces = uniform((6, 4, 4), 0, 1.0)
    faces[0][3:] = 0.0  # the flow ends at a wall, which no flow without divergence does
    found = streamlines(faces, "z", 1.0, lines=5)
    assert found.ends == ["stagnant"] * 5
    assert np.isnan(found.hydraulic_tortuosity())
    assert found.position[:, 0].max() <= 3
    assert found.travel_times().size == 0
    none = streamlines(uniform((6, 4, 4), 0, -1.0), "z", 1.0, lines=5)  # nothing flows in
    assert none.end.size == 0
    assert none.position.shape == (0, 3)


def test_periodic_rows_without_a_wall() -> None:
    rng = np.random.default_rng(0)
    centre = np.zeros((3, 4, 6, 5), np.float32)
    centre[0] = 1 + 0.1 * rng.random((4, 6, 5))
    faces = face_velocities(centre, 0, np.ones(3), "periodic")
    assert all(np.isfinite(f).all() for f in faces)
    np.testing.assert_array_equal(faces[1][:, 0], faces[1][:, -1])


def test_files_hold_every_point(tmp_path: Path) -> None:
    found = streamlines(curls((6, 5, 4), 2), "z", 0.5, lines=9)
    legacy = found.write_vtk(tmp_path / "lines.vtk").read_text()
    numbers = re.search(r"POINTS (\d+) float\n((?:.*\n)+?)LINES (\d+) (\d+)\n((?:.*\n)+?)POINT_DATA", legacy)
    assert numbers is not None
    points = np.array([row.split() for row in numbers[2].split("\n")[:-1]], float)
    np.testing.assert_allclose(points[:, ::-1], found.position, rtol=1e-6)
    rows = [list(map(int, row.split())) for row in numbers[5].split("\n")[:-1]]
    assert [r[0] for r in rows] == np.diff(found.start).tolist()
    assert [i for r in rows for i in r[1:]] == list(range(len(points)))
    root = ElementTree.parse(found.write_vtk(tmp_path / "lines.vtp")).getroot()
    arrays = {a.get("Name"): (a.text or "").split() for a in root.iter("DataArray")}
    np.testing.assert_allclose(np.array(arrays["speed"], float), found.speed, rtol=1e-6)
    assert list(map(int, arrays["offsets"])) == found.start[1:].tolist()
    assert len(arrays["Points"]) == 3 * len(points)
    with pytest.raises(InputError, match=r"vtk or \.vtp"):
        found.write_vtk(tmp_path / "lines.obj")
    with pytest.raises(InputError, match="cannot be written"):
        found.write_vtk(tmp_path / "none" / "lines.vtk")


def test_dataset_holds_every_point() -> None:
    found = streamlines(curls((6, 5, 4), 2), "z", 0.5, lines=9)
    data = found.to_dataset()
    np.testing.assert_array_equal(np.bincount(data["line"].values), np.diff(found.start))
    np.testing.assert_array_equal(data["position"].values, found.position)
    assert data.attrs["flow_axis"] == "z"


def test_wrong_arguments_are_refused() -> None:
    good = uniform((4, 4, 4), 0, 1.0)
    with pytest.raises(InputError, match="axis"):
        streamlines(good, "w")
    with pytest.raises(InputError, match="lines"):
        streamlines(good, "z", lines=0)
    with pytest.raises(InputError, match="voxel_size"):
        streamlines(good, "z", -1.0)
    with pytest.raises(InputError, match="three components"):
        streamlines(good[:2], "z")
    with pytest.raises(InputError, match="one longer"):
        streamlines([good[0], good[1], good[1]], "z")
    with pytest.raises(InputError, match="not finite"):
        streamlines(np.full((3, 4, 4, 4), np.nan), "z")
    with pytest.raises(InputError, match="sides"):
        streamlines(np.ones((3, 4, 4, 4)), "z", sides="open")
