"""A model that draws the masks of slices of which only a yes is known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from sigap.core.contract import Contract
from sigap_training.datasets import load_split
from sigap_training.export import write_model
from sigap_training.losses import Loss
from sigap_training.recipe import Recipe
from sigap_training.slice_labels import TAUGHT
from sigap_training.slices import UNKNOWN, BadData, SliceSet
from sigap_training.teacher import BadTeacher, load_teacher, teach
from training.bright_model import write_bright_model
from training.tiny_data import small_recipe, write_coco, write_slice_labels

SIDE = 32
BRIGHT = (slice(8, 16), slice(4, 12))


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that calls what is bright."""
    return write_bright_model(tmp_path_factory.mktemp("teacher"), "hemorrhage", size=SIDE)


@pytest.fixture
def blood(tmp_path: Path) -> Path:
    """An export, and four slices with a yes or no; `seen` and `no` are bright somewhere."""
    root = tmp_path / "blood"
    for split in ("train", "valid"):
        write_coco(root / split)
    folder = root / "slice_labels"
    write_slice_labels(folder, {"seen": "1", "unseen": "1", "no": "0", "dark": "0"})
    for place, name in enumerate(("seen", "no", "unseen")):
        pixels = np.full((SIDE, SIDE), 90 + place, np.uint8)
        if name != "unseen":
            pixels[BRIGHT] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
    return root


def _recipe(**changes: Any) -> Recipe:
    return small_recipe("hemorrhage", subtypes=(), **changes)


def _group(slices: SliceSet, place: int) -> str:
    return slices.groups[slices.group[place]]


def test_what_it_finds_where_blood_is_said_to_be_becomes_the_mask(blood: Path, bright: Path) -> None:
    plain = load_split(_recipe(), "train", data=blood)
    taught = load_split(_recipe(taught_by=bright), "train", data=blood)
    seen, unseen, no, dark = range(4, 8)
    assert (_group(taught, seen), _group(plain, seen)) == (TAUGHT, "label-positive")
    assert taught.known[seen, 0]
    inside = np.zeros((SIDE, SIDE), bool)
    inside[BRIGHT] = True
    assert taught.masks[seen, 0][inside].min() > 200
    assert taught.masks[seen, 0][~inside].max() < 50
    assert _group(taught, unseen) == "label-positive"
    assert not taught.known[unseen, 0]
    assert not taught.masks[unseen].any()
    for place in (no, dark):
        assert _group(taught, place) == "label-negative"
        assert taught.known[place, 0]
        assert not taught.masks[place].any()


def test_masks_that_were_drawn_stay(blood: Path, bright: Path) -> None:
    plain = load_split(_recipe(), "train", data=blood)
    taught = load_split(_recipe(taught_by=bright), "train", data=blood)
    np.testing.assert_array_equal(taught.masks[:4], plain.masks[:4])
    np.testing.assert_array_equal(taught.images, plain.images)
    np.testing.assert_array_equal(taught.findings, plain.findings)
    assert [_group(taught, place) for place in range(4)] == [_group(plain, place) for place in range(4)]


def test_what_validates_needs_no_teacher(blood: Path, tmp_path: Path) -> None:
    """Exporting reads it where the teacher may be gone."""
    slices = load_split(_recipe(taught_by=tmp_path / "gone"), "valid", data=blood)
    np.testing.assert_array_equal(slices.masks, load_split(_recipe(), "valid", data=blood).masks)


class _Soft:
    """Answers slice by slice with the given peaks, one a channel, in one pixel of many fainter ones."""

    def __init__(self, contract: Contract, peaks: list[list[int]]) -> None:
        self.contract, self.peaks = contract, peaks

    def infer(self, shown: NDArray[np.uint8]) -> NDArray[np.uint8]:
        answers = np.full((len(shown), 2, SIDE, SIDE), 60, np.uint8)
        answers[:, :, 3, 5] = self.peaks
        return answers


def test_soft_masks_are_taught_channel_by_channel_from_a_half_on() -> None:
    """Of a channel whose answer is no or not known, or whose mask is known, nothing is drawn."""
    slices = SliceSet(
        images=np.full((4, SIDE, SIDE), 90, np.uint8),
        masks=np.zeros((4, 2, SIDE, SIDE), np.uint8),
        known=np.array([[False, False], [False, True], [False, False], [False, False]]),
        findings=np.array([[1, UNKNOWN], [1, 1], [UNKNOWN, UNKNOWN], [1, 1]], np.int8),
        patient=np.array(["a", "b", "c", "d"]),
        study=np.arange(4),
        group=np.zeros(4, np.int64),
        groups=("label-positive", TAUGHT),
    )
    teacher: Any = _Soft(_recipe().read_contract(), [[200, 200], [128, 200], [127, 128]])
    taught = teach(slices, teacher)
    assert taught.known.tolist() == [[True, False], [True, True], [False, False], [False, True]]
    assert taught.masks[:, :, 3, 5].tolist() == [[200, 0], [128, 0], [0, 0], [0, 128]]
    assert taught.masks[:, :, 0, 0].tolist() == [[60, 0], [60, 0], [0, 0], [0, 60]]
    assert [_group(taught, place) for place in range(4)] == [TAUGHT, TAUGHT, "label-positive", TAUGHT]
    assert not slices.masks.any()


class _Blind(torch.nn.Module):
    """Calls nothing anywhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.0 - 9.0


def test_another_teacher_in_the_same_folder_meets_no_stale_cache(blood: Path, bright: Path, tmp_path: Path) -> None:
    folder, cache = tmp_path / "teacher", tmp_path / "cache"
    shutil.copytree(bright, folder)
    first = load_split(_recipe(taught_by=folder), "train", data=blood, cache=cache)
    again = load_split(_recipe(taught_by=folder), "train", data=blood, cache=cache)
    np.testing.assert_array_equal(first.masks, again.masks)
    blind_recipe = _recipe(size=SIDE, cached_size=SIDE, framed=False)
    written = write_model(blind_recipe, _Blind(), tmp_path / "blind")
    shutil.copytree(written, folder, dirs_exist_ok=True)
    blind = load_split(_recipe(taught_by=folder), "train", data=blood, cache=cache)
    assert (first.known[4, 0], blind.known[4, 0]) == (True, False)


def test_masks_alone_may_be_learnt(blood: Path, bright: Path) -> None:
    """A loss that weighs neither findings nor pseudo-labels takes the slices all the same."""
    loss = Loss(kinds=("bce_dice",))
    assert len(load_split(_recipe(loss=loss), "train", data=blood)) == 4
    assert load_split(_recipe(loss=loss, taught_by=bright), "train", data=blood).known[4, 0]


def test_without_slices_to_teach_it_is_refused(blood: Path, bright: Path) -> None:
    shutil.rmtree(blood / "slice_labels")
    with pytest.raises(BadData, match="slice_labels is missing: taught_by has nothing to teach"):
        load_split(_recipe(taught_by=bright), "train", data=blood)


def test_shares_must_say_how_often_what_it_drew_is_shown(bright: Path) -> None:
    document = _recipe().model_dump() | {"taught_by": str(bright)}
    with pytest.raises(ValidationError, match="taught_by: shares needs an entry label-taught"):
        Recipe.model_validate(document)
    Recipe.model_validate(document | {"shares": document["shares"] | {TAUGHT: 0.2}})
    Recipe.model_validate(document | {"shares": {}})


def test_a_recipe_without_one_has_none() -> None:
    assert load_teacher(_recipe()) is None


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTeacher, match=r"taught_by: .*config\.pbtxt is missing"):
        load_teacher(_recipe(taught_by=tmp_path))


def test_a_model_of_another_window_is_refused(bright: Path) -> None:
    recipe = _recipe(taught_by=bright)
    other = recipe.model_copy(update={"contract": recipe.contract | {"window": {"level_hu": 40, "width_hu": 90}}})
    with pytest.raises(BadTeacher, match=r"taught_by: of .* the window is \(40.*, 80.*\), not \(40.*, 90"):
        load_teacher(other)


def test_training_keeps_its_own_threads(bright: Path) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            load_teacher(_recipe(taught_by=bright))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_whole_studies_have_nothing_to_be_taught() -> None:
    document = small_recipe("liver").model_dump()
    with pytest.raises(ValidationError, match="taught_by: only a COCO export"):
        Recipe.model_validate(document | {"taught_by": "runs/teacher/liver"})
