"""Surfaces: closed, in LPS mm, of the right size and place, whatever the slices' distances and directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms.results import dicom_grid, hemorrhage_model, picture_grid, result_of, small_labelmap
from sigap.core.errors import BadParameter, FormatNotForInput
from sigap.core.grid import Grid
from sigap.encoders.formats import FORMATS
from sigap.encoders.stl import filename, write_stl

TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


def ball(shape: tuple[int, int, int] = (24, 40, 44), radius: float = 9.0) -> NDArray[np.uint8]:
    middle = np.array(shape)[:, None, None, None] / 2 - 0.5
    return (((np.indices(shape) - middle) ** 2).sum(axis=0) < radius**2).astype(np.uint8)


def read(path: Path) -> NDArray[np.void]:
    content = path.read_bytes()
    assert content.startswith(b"Sigap")
    assert len(content) == 84 + 50 * int.from_bytes(content[80:84], "little")
    return np.frombuffer(content, TRIANGLE, offset=84)


def volume_mm3(triangles: NDArray[np.void]) -> float:
    one, two, three = triangles["corners"].astype(float).swapaxes(0, 1)
    return float(np.einsum("ij,ij->i", one, np.cross(two, three)).sum() / 6)


def surface(tmp_path: Path, labelmap: NDArray[np.uint8], grid: Grid | None = None) -> NDArray[np.void]:
    write_stl(result_of(labelmap, grid=grid), tmp_path / "a.stl", label="liver")
    return read(tmp_path / "a.stl")


GRIDS = {
    "even": dicom_grid((24, 40, 44)),
    "tilted": dicom_grid((24, 40, 44), slice_step_lps_mm=(0.0, 0.9, 2.5)),
    "from head to feet": dicom_grid((24, 40, 44), slice_step_lps_mm=(0.0, 0.0, -2.5)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_it_is_closed_points_outwards_and_holds_the_volume(tmp_path: Path, name: str) -> None:
    labelmap, grid = ball(), GRIDS[name]
    triangles = surface(tmp_path, labelmap, grid)
    voxel_mm3 = 2.5 * 0.8 * 0.7
    assert volume_mm3(triangles) == pytest.approx(np.count_nonzero(labelmap) * voxel_mm3, rel=0.03)
    sides = triangles["corners"].round(3)
    directed: dict[tuple[tuple[float, ...], ...], int] = {}
    for corners in sides.tolist():
        for a, b in ((0, 1), (1, 2), (2, 0)):
            key = (tuple(corners[a]), tuple(corners[b]))
            directed[key] = directed.get(key, 0) + 1
    assert directed
    assert all(directed.get((b, a)) == count for (a, b), count in directed.items())
    centre = grid.world_lps_mm((11.5, 19.5, 21.5))
    middles = triangles["corners"].mean(axis=1) - centre
    assert np.allclose(triangles["corners"].reshape(-1, 3).mean(axis=0), centre, atol=0.3)
    assert ((middles * triangles["normal"]).sum(axis=1) > 0).mean() > 0.99


def test_uneven_slices_lie_where_they_are(tmp_path: Path) -> None:
    heights = (0.0, 2.0, 4.0, 9.0, 14.0)
    labelmap = np.zeros((5, 8, 8), np.uint8)
    labelmap[2:4, 2:6, 2:6] = 1
    triangles = surface(tmp_path, labelmap, dicom_grid((5, 8, 8), slice_positions_mm=heights))
    z = triangles["corners"][..., 2]
    assert (z.min(), z.max()) == (3.0, 11.5)


def test_a_mask_that_reaches_the_edge_is_closed_there(tmp_path: Path) -> None:
    labelmap = np.ones((3, 6, 7), np.uint8)
    triangles = surface(tmp_path, labelmap, dicom_grid((3, 6, 7)))
    low, high = (getattr(triangles["corners"].reshape(-1, 3), end)(axis=0) for end in ("min", "max"))
    assert np.allclose(high - low, [7 * 0.7, 6 * 0.8, 3 * 2.5], atol=1e-3)


def test_a_label_holds_what_it_contains(tmp_path: Path) -> None:
    labelmap = ball()
    labelmap[10:14, 16:24, 18:26] *= 2
    whole = volume_mm3(surface(tmp_path, labelmap, GRIDS["even"]))
    write_stl(result_of(labelmap, grid=GRIDS["even"]), tmp_path / "b.stl", label="tumour")
    assert whole == pytest.approx(volume_mm3(surface(tmp_path, (labelmap > 0).astype(np.uint8), GRIDS["even"])))
    assert 0 < volume_mm3(read(tmp_path / "b.stl")) < whole


def test_a_label_that_was_not_detected_is_a_mesh_without_triangles(tmp_path: Path) -> None:
    assert len(surface(tmp_path, np.zeros((4, 5, 6), np.uint8))) == 0


def test_a_picture_of_known_size_has_a_surface(tmp_path: Path) -> None:
    grid = picture_grid(8, 9, spacing_mm=(0.5, 0.5), thickness_mm=3)
    labelmap = np.zeros((1, 8, 9), np.uint8)
    labelmap[0, 2:6, 2:6] = 1
    result = result_of(labelmap, grid=grid, kind="png")
    write_stl(result, tmp_path / "a.stl", label="liver")
    assert 0 < volume_mm3(read(tmp_path / "a.stl")) < 4 * 4 * 0.25 * 3


@pytest.mark.parametrize("grid", [picture_grid(5, 6), picture_grid(5, 6, spacing_mm=(1, 1))])
def test_without_a_size_there_is_no_surface(tmp_path: Path, grid: Grid) -> None:
    result = result_of(np.ones((1, 5, 6), np.uint8), grid=grid, kind="png")
    with pytest.raises(FormatNotForInput, match="distances"):
        write_stl(result, tmp_path / "a.stl", label="liver")
    with pytest.raises(FormatNotForInput, match="slice_thickness_mm"):
        FORMATS["stl"].files(result)


def test_a_label_must_be_named_unless_there_is_but_one(tmp_path: Path) -> None:
    for label in (None, "spleen"):
        with pytest.raises(BadParameter, match="liver, tumour"):
            write_stl(result_of(small_labelmap()), tmp_path / "a.stl", label=label)
    blood = result_of((small_labelmap() > 0).astype(np.uint8), model=hemorrhage_model())
    write_stl(blood, tmp_path / "a.stl")
    assert list(FORMATS["stl"].files(blood)) == ["hemorrhage.stl"]


def test_a_name_is_no_way_out_of_a_folder() -> None:
    assert filename("../läsion 1") == "___l_sion_1.stl"
