from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms.heads import (
    BLOOD,
    BONE,
    BRAIN,
    BRAIN_MM,
    FAT,
    KINDS,
    PIXEL_MM,
    SCALP_MM,
    SIDE,
    as_volume,
    ellipse,
    gap_of,
    head,
    sector,
)
from phantoms.scenes import BLEED, contract, grid, levels
from sigap.core.contract import Step
from sigap.core.grid import Orientation
from sigap.core.study import Volume
from sigap.imaging.postprocess import segment
from sigap.imaging.postprocess.skull import Skull

CONTRACT = contract((BLEED,), Step("inside_skull", "bleed"))


def cavity(hounsfield: NDArray[np.float64], kind: str = "hu"):
    return Skull(as_volume(hounsfield, kind), CONTRACT).cavity(0)


def part(of: NDArray[np.bool_], inside: NDArray[np.bool_]):
    return (of & inside).sum() / of.sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("noise_hu", [0, 6])
def test_all_of_the_brain_is_inside_and_the_scalp_is_not(kind: str, noise_hu: float):
    found = cavity(head(noise_hu=noise_hu), kind)
    assert part(ellipse(BRAIN_MM), found) == 1
    assert part(ellipse(SCALP_MM) & ~ellipse((88.0, 73.0)), found) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_scalp_haematoma_goes_and_a_subdural_one_at_the_bone_stays(kind: str):
    scene = head(noise_hu=4)
    scalp = ellipse((20.0, 14.0), (0.0, -78.0)) & ~ellipse((86.0, 71.0))
    subdural = ellipse(BRAIN_MM) & ~ellipse((80.0, 57.0)) & sector(300, 360)
    scene[scalp | subdural] = BLOOD
    found = cavity(scene, kind)
    assert part(subdural, found) == 1
    assert part(scalp, found) == 0


@pytest.mark.parametrize("kind", ["hu80", "hu0to80", "air80", "picture", "grey"])
@pytest.mark.parametrize("thickness_mm", [6, 12, 25])
def test_dense_blood_that_looks_like_bone_stays(kind: str, thickness_mm: float):
    scene = head(noise_hu=3)
    lens = ellipse(BRAIN_MM) & ellipse((35.0, thickness_mm), (0.0, 65.0))
    scene[lens] = 88
    assert part(lens, cavity(scene, kind)) > 0.99


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width_mm", [2, 5, 10])
def test_a_suture_is_no_gap(kind: str, width_mm: float):
    scene = head()
    scene[gap_of(width_mm)] = BRAIN
    found = cavity(scene, kind)
    assert part(ellipse(BRAIN_MM), found) == 1
    assert part(ellipse(SCALP_MM) & ~ellipse((90.0, 75.0)), found) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width_mm", [15, 18, 60])
def test_a_craniectomy_is_no_closed_skull(kind: str, width_mm: float):
    scene = head()
    scene[gap_of(width_mm)] = BRAIN
    assert cavity(scene, kind) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_head_holder_is_no_skull(kind: str):
    holder = ellipse((112.0, 110.0)) & ~ellipse((108.0, 106.0))
    scene = head()
    scene[holder] = BONE
    found = cavity(scene, kind)
    assert part(ellipse(BRAIN_MM), found) == 1
    assert part(~ellipse((88.0, 73.0)), found) == 0
    scene[gap_of(40)] = BRAIN
    assert cavity(scene, kind) is None, "the holder does not close a skull that is open"


def test_sinuses_and_orbits_are_outside():
    scene = head()
    scene[ellipse((14.0, 18.0), (-72.0, 0.0))] = BONE
    sinus = ellipse((9.0, 13.0), (-74.0, 0.0))
    scene[sinus] = -1000
    scene[ellipse((14.0, 14.0), (-62.0, 40.0))] = BONE
    orbit = ellipse((10.0, 10.0), (-62.0, 40.0))
    scene[orbit] = FAT
    for kind in KINDS:
        found = cavity(scene, kind)
        assert part(ellipse((50.0, 50.0)), found) == 1
        assert part(ellipse((4.0, 8.0), (-74.0, 0.0)), found) < 0.2, kind
        assert part(ellipse((5.0, 5.0), (-62.0, 40.0)), found) < 0.2, kind


@pytest.mark.parametrize("kind", KINDS)
def test_no_bone_no_cavity(kind: str):
    # With noise, or the scalp would be one flat top of the range, as bone is.
    scene = head(noise_hu=4)
    scene[scene > 300] = BRAIN
    assert cavity(scene, kind) is None


def test_a_cap_of_bone_alone_has_no_cavity():
    scene = head()
    scene[ellipse((86.0, 71.0))] = BONE
    assert cavity(scene) is None


def test_a_vertebra_around_its_canal_is_no_skull():
    scene = head()
    scene[scene == BONE] = BRAIN
    scene[ellipse((24.0, 24.0))] = BONE
    scene[ellipse((13.0, 13.0))] = BRAIN
    assert cavity(scene) is None


def test_a_skull_at_the_images_edge():
    shift = (SIDE - int(2 * 86 / PIXEL_MM)) // 2 + 1
    touching = np.roll(head(), -shift, axis=0)
    assert cavity(touching) is not None, "the bone touches the edge and is closed"
    cut = np.roll(head(), -shift - 30, axis=0)
    cut[-60:] = -1000
    assert cavity(cut) is None, "the edge cuts the skull open"


@pytest.mark.parametrize("pixel_mm", [(0.45, 0.45), (0.9, 1.8), (2.0, 2.0)])
def test_gaps_are_measured_in_millimetres(pixel_mm: tuple[float, float]):
    factors = [round(mm / 0.45) for mm in pixel_mm]
    fine = np.kron(head(), np.ones((2, 2)))[:: factors[0], :: factors[1]]
    shape = (1, *fine.shape)
    seen = Volume(fine[None].astype(np.int16), is_hounsfield=True, grid=grid(shape, (5.0, *pixel_mm)))
    found = Skull(seen, CONTRACT).cavity(0)
    inside = np.kron(ellipse(BRAIN_MM), np.ones((2, 2), bool))[:: factors[0], :: factors[1]]
    assert part(inside, found) > 0.995
    outside = np.kron(ellipse((93.0, 78.0)), np.ones((2, 2), bool))[:: factors[0], :: factors[1]]
    assert part(~outside, found) == 0


def test_mirroring_and_turning_the_stored_axes_changes_nothing():
    odd = head(noise_hu=5)[:251, :249]
    straight = Skull(as_slice(odd, Orientation()), CONTRACT).cavity(0)
    for transpose in (False, True):
        for rows in (False, True):
            for columns in (False, True):
                way = Orientation(transpose=transpose, flip_rows=rows, flip_columns=columns)
                stored = way.to_stored(odd[None])[0]
                found = Skull(as_slice(stored, way), CONTRACT).cavity(0)
                assert np.array_equal(way.to_canonical(found[None])[0], straight)


def as_slice(hounsfield: NDArray[np.float64], way: Orientation):
    on = grid((1, *hounsfield.shape), (5.0, PIXEL_MM, PIXEL_MM), orientation=way)
    return Volume(np.rint(hounsfield)[None].astype(np.int16), is_hounsfield=True, grid=on)


def test_open_slices_keep_their_blood_and_are_named_once():
    closed, opened = head(), head()
    opened[gap_of(50)] = BRAIN
    slices = np.stack([closed, opened, opened, closed, opened, opened])
    on = grid(slices.shape, (5.0, PIXEL_MM, PIXEL_MM))
    seen = Volume(slices.astype(np.int16), is_hounsfield=True, grid=on)
    scalp = ellipse((6.0, 4.0), (0.0, -84.0))
    inner = ellipse((9.0, 9.0))
    passed = np.zeros(slices.shape, int)
    passed[:5, scalp | inner] = 2
    passed[5, inner] = 1
    found = segment(levels((BLEED,), {"bleed": passed}), seen, CONTRACT)
    kept = [int(found.labelmap[place][scalp].sum()) for place in range(6)]
    assert kept == [0, scalp.sum(), scalp.sum(), 0, scalp.sum(), 0]
    assert found.labelmap[:5, inner].all()
    (notice,) = found.warnings
    assert notice.code == "skull_not_found"
    assert "1-2, 4 " in notice.message, "slice 5 has blood at the low threshold only"
    assert found.dropped["bleed"].components == 2


def test_slices_without_blood_are_not_asked():
    scene = as_volume(head(), "hu")
    nothing = {"bleed": np.zeros((1, SIDE, SIDE), int)}
    broken = replace(scene, voxels=np.zeros((1, SIDE, SIDE), np.int16))
    assert segment(levels((BLEED,), nothing), broken, CONTRACT).warnings == ()
