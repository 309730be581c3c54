"""A model that draws the masks of slices of which only a yes is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from sigap_training.datasets import load_split
from sigap_training.model_folder import ModelFolder
from sigap_training.recipe import Recipe
from sigap_training.run_record import Start, read_starts, write_record
from sigap_training.slices import UNKNOWN, SliceSet
from sigap_training.teacher import TAUGHT, BadTeacher, find_teacher, teach
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


def test_what_validates_is_never_taught(blood: Path, bright: Path) -> None:
    plain, taught = (load_split(_recipe(taught_by=path), "valid", data=blood) for path in (None, bright))
    assert taught.groups == plain.groups
    np.testing.assert_array_equal(taught.masks, plain.masks)


def test_each_channel_is_taught_for_itself(bright: Path) -> None:
    """Of a channel whose answer is no or not known, nothing is drawn."""
    images = np.full((3, SIDE, SIDE), 90, np.uint8)
    images[:, BRIGHT[0], BRIGHT[1]] = 255
    slices = SliceSet(
        images=images,
        masks=np.zeros((3, 2, SIDE, SIDE), np.uint8),
        known=np.array([[False, False], [False, True], [False, False]]),
        findings=np.array([[1, UNKNOWN], [1, 1], [UNKNOWN, UNKNOWN]], np.int8),
        patient=np.array(["a", "b", "c"]),
        study=np.arange(3),
        group=np.zeros(3, np.int64),
        groups=("label-positive",),
    )
    single = ModelFolder.load(bright)

    class Both:
        """The same answer for two channels."""

        contract = single.contract

        def infer(self, shown: np.ndarray) -> np.ndarray:
            return np.repeat(single.infer(shown), 2, axis=1)

    taught = teach(slices, Both())  # type: ignore[arg-type]  # all that `teach` asks of a model
    assert taught.known.tolist() == [[True, False], [True, True], [False, False]]
    assert taught.masks.any(axis=(2, 3)).tolist() == [[True, False], [True, False], [False, False]]
    assert [_group(taught, place) for place in range(3)] == [TAUGHT, TAUGHT, "label-positive"]


def test_taught_and_untaught_slices_are_kept_apart(blood: Path, bright: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = load_split(_recipe(taught_by=bright), "train", data=blood, cache=cache)
    again = load_split(_recipe(taught_by=bright), "train", data=blood, cache=cache)
    np.testing.assert_array_equal(first.masks, again.masks)
    assert first.known[4, 0]
    untaught = load_split(_recipe(), "train", data=blood, cache=cache)
    assert not untaught.known[4, 0]
    assert len(list(cache.glob("*/images.npy"))) == 2


def test_a_recipe_without_one_has_none() -> None:
    assert find_teacher(_recipe()) is None


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTeacher, match=r"taught_by: .*config\.pbtxt is missing"):
        find_teacher(_recipe(taught_by=tmp_path))


def test_a_model_of_another_window_is_refused(bright: Path) -> None:
    recipe = _recipe(taught_by=bright)
    other = recipe.model_copy(update={"contract": recipe.contract | {"window": {"level_hu": 40, "width_hu": 90}}})
    with pytest.raises(BadTeacher, match=r"taught_by: of .* the window is \(40.*, 80.*\), here it is \(40.*, 90"):
        find_teacher(other)


def test_training_keeps_its_own_threads(bright: Path) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            find_teacher(_recipe(taught_by=bright))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_whole_studies_have_nothing_to_be_taught() -> None:
    document = small_recipe("liver").model_dump()
    with pytest.raises(ValidationError, match="taught_by: only a COCO export"):
        Recipe.model_validate(document | {"taught_by": "runs/teacher/liver"})


def test_the_record_says_who_taught(bright: Path, tmp_path: Path) -> None:
    for name, path in (("plain", None), ("taught", bright)):
        write_record(tmp_path / name, Start(_recipe(taught_by=path), {"train": "0"}, "CPU"))
    assert read_starts(tmp_path / "plain")[0]["taught_by_sha256"] is None
    taught = json.loads((tmp_path / "taught" / "run.json").read_text())["starts"][0]
    assert taught["taught_by_sha256"] == ModelFolder.load(bright).sha256
