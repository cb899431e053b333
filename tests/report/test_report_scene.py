"""Pictures of three dimensions: what is in front, where it is, and that nothing is mirrored."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mgsflow.report.scene.render import Scene, View, largest_along_rays, over, webp

LENGTHS = (6.0, 8.0, 5.0)
VIEW = View(LENGTHS, 48)


def along_rays(shape: tuple[int, int, int], steps: int = 1500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxels (steps, rows, columns, 3) on the rays of VIEW from near to far, which of them are inside, and depths."""
    rows, columns = VIEW.size
    right, up, toward = VIEW.axes
    j, i = np.meshgrid(np.arange(columns) + 0.5 - columns / 2, rows / 2 - np.arange(rows) - 0.5)
    reach = np.linalg.norm(LENGTHS) / 2
    depth = np.linspace(reach, -reach, steps)
    plane = (j[..., None] * right + i[..., None] * up) * VIEW.scale + np.array(LENGTHS) / 2
    places = plane[None] + depth[:, None, None, None] * toward
    cells = np.floor(places / (np.array(LENGTHS) / shape)).astype(int)
    return cells, ((cells >= 0) & (cells < shape)).all(axis=-1), depth


def test_first_voxel_on_each_ray_is_seen() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random((6, 7, 5)) < 0.12) * rng.integers(1, 3, (6, 7, 5))
    cells, inside, depth = along_rays(labels.shape)
    hit = np.zeros(inside.shape, np.uint8)
    hit[inside] = labels[tuple(cells[inside].T)]
    first = np.argmax(hit > 0, axis=0)
    expected = np.take_along_axis(hit, first[None], 0)[0]
    scene = Scene(VIEW)
    scene.add_voxels(labels, ["#ff0000", "#00ff00"])
    found = scene.covered * (1 + (scene.paint[..., 1] > 0))
    assert (found == expected).mean() > 0.995  # rays that graze a corner fall between the steps
    both = (found == expected) & (expected > 0)
    np.testing.assert_allclose(scene.depth[both] * VIEW.scale, depth[first][both], atol=0.05)
    mirrored = Scene(VIEW)
    mirrored.add_voxels(labels[:, :, ::-1], ["#ff0000", "#00ff00"])
    assert (mirrored.covered * (1 + (mirrored.paint[..., 1] > 0)) == expected).mean() < 0.9


def test_picture_is_no_mirror_image() -> None:
    right, up, toward = (a[::-1] for a in VIEW.axes)  # along x, y, z
    np.testing.assert_allclose(np.cross(right, up), toward, atol=1e-12)
    assert right[0] > 0  # x to the right
    assert up[2] < 0  # z downwards
    np.testing.assert_allclose(VIEW.axes @ VIEW.axes.T, np.eye(3), atol=1e-12)


def test_voxels_balls_and_labels_agree_on_places() -> None:
    labels = np.zeros((6, 8, 5), np.uint8)
    labels[1, 6, 3] = 1
    centre = np.array([[1.5, 6.5, 3.5]])
    voxel, ball = Scene(VIEW), Scene(VIEW)
    voxel.add_voxels(labels, ["#ffffff"])
    ball.add_balls(centre, np.array([0.5]), np.array([[255, 255, 255]], np.uint8))
    column, row, _ = VIEW.project(centre)[0]
    for scene in (voxel, ball):
        rows, columns = np.nonzero(scene.covered)
        assert rows.mean() + 0.5 == pytest.approx(row, abs=0.6)
        assert columns.mean() + 0.5 == pytest.approx(column, abs=0.6)
    assert ball.covered.sum() == pytest.approx(np.pi * (0.5 / VIEW.scale) ** 2, rel=0.1)
    for label in VIEW.labels():
        assert 0 < label.left < 1
        assert 0 < label.top < 1
    assert [label.text for label in VIEW.labels()] == ["x 5 µm", "y 8 µm", "z 6 µm"]


def test_what_is_near_hides_what_is_far() -> None:
    middle = np.array(LENGTHS) / 2
    near, far = middle + 1.5 * VIEW.axes[2], middle - 1.5 * VIEW.axes[2]
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    for order in ((0, 1), (1, 0)):
        scene = Scene(VIEW)
        for k in order:
            scene.add_balls((near, far)[k][None], np.array([0.6]), colours[k : k + 1])
        rows, columns = VIEW.size
        assert tuple(scene.paint[rows // 2, columns // 2]) == (255, 0, 0)


def test_sticks_reach_from_end_to_end() -> None:
    a, b = np.array([[1.0, 1, 1]]), np.array([[5.0, 7, 4]])
    scene = Scene(VIEW)
    scene.add_sticks(a, b, np.array([0.15]), np.array([[9, 9, 9]], np.uint8))
    ends = VIEW.project(np.concatenate([a, b]))
    for share in np.linspace(0, 1, 40):
        column, row, _ = ends[0] * (1 - share) + ends[1] * share
        assert scene.covered[int(row), int(column)]
    length = float(np.hypot(*(ends[1] - ends[0])[:2]))
    assert scene.covered.sum() == pytest.approx(length * 2 * 0.15 / VIEW.scale, rel=0.25)


def test_largest_value_on_each_ray() -> None:
    values = np.random.default_rng(1).random((5, 6, 4)).astype(np.float32)
    cells, inside, _ = along_rays(values.shape)
    on = np.zeros(inside.shape, np.float32)
    on[inside] = values[tuple(cells[inside].T)]
    expected = on.max(axis=0)
    found = largest_along_rays(VIEW, values)
    small = expected.reshape(found.shape[0], 2, found.shape[1], 2).mean(axis=(1, 3))
    assert np.abs(found - small).mean() < 0.01
    assert found.max() <= values.max()


def test_shaded_picture_is_clear_where_nothing_is() -> None:
    scene = Scene(VIEW)
    labels = np.zeros((6, 8, 5), np.uint8)
    labels[2:4, 2:6, 1:4] = 1
    scene.add_voxels(labels, ["#4398d4"])
    picture = scene.shade()
    rows, columns = VIEW.size
    assert picture.shape == (rows // 2, columns // 2, 4)
    assert (picture[0] == 0).all()
    full = picture[picture[..., 3] == 255]
    assert full.size
    assert (full[:, 2] > full[:, 0]).all()  # blue, however dark
    assert len(np.unique(full[:, 2])) > 3  # with light and shade
    np.testing.assert_array_equal(picture, scene.shade())
    read = np.asarray(Image.open(BytesIO(webp(picture))))
    assert read.shape == picture.shape
    assert np.abs(read[..., 3].astype(int) - picture[..., 3]).mean() < 4


def test_pictures_over_one_another() -> None:
    front = np.array([[[10, 20, 30, 255], [0, 0, 0, 0]]], np.uint8)
    back = np.array([[[200, 200, 200, 255], [200, 100, 50, 255]]], np.uint8)
    found = over(front, back, 0.5)
    assert found[0, 0].tolist() == [10, 20, 30, 255]
    assert found[0, 1].tolist() == [200, 100, 50, 128]
