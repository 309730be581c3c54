"""From a recipe to slices: checks, splits, cache, fingerprints."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigap_training.datasets import check_data, data_fingerprint, load_split
from sigap_training.losses import Loss
from sigap_training.recipe import Recipe
from sigap_training.slices import UNKNOWN, BadData
from sigap_training.splits import SplitOptions
from training.tiny_data import (
    LPS,
    save_coco,
    small_recipe,
    write_case,
    write_coco,
    write_lits,
    write_nifti,
    write_roboflow,
    write_slice_labels,
)

BOTH = ["liver", "tumour"]


@pytest.fixture
def liver(tmp_path: Path) -> Path:
    root = tmp_path / "liver"
    write_lits(root, {"0": ("train", BOTH), "101": ("train", ["liver"]), "5": ("valid", BOTH), "2": ("test", BOTH)})
    return root


@pytest.fixture
def blood(tmp_path: Path) -> Path:
    root = tmp_path / "blood"
    for split in ("train", "valid", "test"):
        write_coco(root / split)
    write_slice_labels(root / "slice_labels", {"a": "1", "b": "0"})
    return root


def _blood_recipe(**changes: Any) -> Recipe:
    return small_recipe("hemorrhage", **{"subtypes": (), **changes})


def test_good_data_pass(liver: Path, blood: Path) -> None:
    check_data(small_recipe("liver"), data=liver)
    check_data(_blood_recipe(), data=blood)


def test_the_downloads_layout_is_divided_by_the_recipe(tmp_path: Path) -> None:
    for number in range(5):
        write_case(tmp_path, str(number), depth=2)
    recipe = small_recipe("liver")
    check_data(recipe, data=tmp_path)
    train, valid = (load_split(recipe, split, data=tmp_path) for split in ("train", "valid"))
    assert (len(train), len(valid)) == (8, 2)
    assert not set(train.patient) & set(valid.patient)
    with pytest.raises(BadData, match="split 'test' has no case"):
        load_split(recipe, "test", data=tmp_path)
    left_out = small_recipe("liver", split=SplitOptions(leave_out="3"))
    assert set(load_split(left_out, "test", data=tmp_path).patient) == {"3"}


def test_a_split_file_divides(liver: Path, tmp_path: Path) -> None:
    path = tmp_path / "splits.yaml"
    path.write_text("train: [5]\nvalid: [0]\n")
    recipe = small_recipe("liver", split=SplitOptions(file=path))
    assert set(load_split(recipe, "train", data=liver).patient) == {"P5"}
    path.write_text("train: [5]\n")
    with pytest.raises(BadData, match=r"splits\.yaml: split 'valid' has no case"):
        check_data(recipe, data=liver)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_every_split_is_checked_before_training(liver: Path, split: str) -> None:
    path = next((liver / split).glob("segmentation-*"))
    write_nifti(path, np.full((24, 24, 4), 9, np.uint8), LPS)
    with pytest.raises(BadData, match=rf"{path.name}.*\[9\]"):
        check_data(small_recipe("liver"), data=liver)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_every_picture_is_checked_before_training(blood: Path, split: str) -> None:
    (blood / split / "4.png").unlink()
    with pytest.raises(BadData, match=rf"{split}/4\.png is missing"):
        check_data(_blood_recipe(), data=blood)


def test_labelled_pictures_are_checked_before_training(blood: Path) -> None:
    (blood / "slice_labels" / "images" / "b.png").unlink()
    with pytest.raises(BadData, match=r"b\.png is missing"):
        check_data(_blood_recipe(), data=blood)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_an_empty_or_missing_part_is_refused(blood: Path, split: str) -> None:
    document = write_coco(blood / split)
    save_coco(blood / split, document | {"images": [], "annotations": []})
    with pytest.raises(BadData, match=rf"{split}/_annotations\.coco\.json: there is no image"):
        check_data(_blood_recipe(), data=blood)
    (blood / split).rename(blood / "elsewhere")
    with pytest.raises(BadData, match=rf"{split}/_annotations\.coco\.json is missing"):
        check_data(_blood_recipe(), data=blood)


def test_no_test_part_is_needed_to_train(blood: Path) -> None:
    (blood / "test").rename(blood / "elsewhere")
    check_data(_blood_recipe(), data=blood)


def test_a_folder_that_is_no_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"no train/_annotations\.coco\.json"):
        check_data(_blood_recipe(), data=tmp_path)


def test_a_patient_on_both_sides_is_refused_where_it_is_stated(blood: Path) -> None:
    for split in ("train", "valid"):
        document = write_coco(blood / split)
        for image in document["images"]:
            image["patient"] = "unknown"
        document["images"][0]["patient"] = f"P-{split}"
        save_coco(blood / split, document)
    check_data(_blood_recipe(), data=blood)
    (blood / "slice_labels" / "labels.csv").write_text("id,hemorrhage,patient\na,1,P-valid\nb,0,\n")
    with pytest.raises(BadData, match=r"patient P-valid stands in two splits: a\.png in train, 1\.png in valid"):
        check_data(_blood_recipe(), data=blood)


def test_slices_with_a_yes_or_no_train_only(blood: Path) -> None:
    recipe = _blood_recipe()
    assert len(load_split(recipe, "train", data=blood)) == 6
    assert len(load_split(recipe, "valid", data=blood)) == 4


@pytest.mark.parametrize("stated", [5, "5"])
def test_a_patients_number_and_its_text_are_one_patient(blood: Path, stated: object) -> None:
    document = write_coco(blood / "valid")
    document["images"][1]["patient"] = stated
    save_coco(blood / "valid", document)
    (blood / "slice_labels" / "labels.csv").write_text("id,hemorrhage,patient\na,1,5\nb,0,\n")
    with pytest.raises(BadData, match=r"patient 5 stands in two splits: a\.png in train, 2\.png in valid"):
        check_data(_blood_recipe(), data=blood)


@pytest.mark.parametrize("copy", ["test/3.png", "slice_labels/images/b.png"])
def test_a_copy_of_a_picture_in_another_split_is_refused(blood: Path, copy: str) -> None:
    shutil.copy(blood / "valid/3.png", blood / copy)
    with pytest.raises(BadData, match=r"is a copy of .*: one picture in two splits") as caught:
        check_data(_blood_recipe(), data=blood)
    assert str(blood / copy) in str(caught.value)


def test_a_copy_within_a_split_is_no_leak(blood: Path) -> None:
    shutil.copy(blood / "train/3.png", blood / "train/4.png")
    shutil.copy(blood / "train/3.png", blood / "slice_labels/images/b.png")
    check_data(_blood_recipe(), data=blood)


@pytest.mark.parametrize(("weights", "slices"), [({}, 4), ({"finding_weight": 0.1}, 6), ({"pseudo_weight": 0.1}, 6)])
def test_slices_with_a_yes_or_no_are_read_only_where_the_loss_weighs_them(
    blood: Path, tmp_path: Path, weights: dict[str, float], slices: int
) -> None:
    recipe = _blood_recipe(loss=Loss(kinds=("bce_dice",), **weights))
    cache = tmp_path / "cache"
    assert len(load_split(_blood_recipe(), "train", data=blood, cache=cache)) == 6
    assert len(load_split(recipe, "train", data=blood, cache=cache)) == slices
    (blood / "slice_labels" / "labels.csv").write_text("spoilt\n")
    if weights:
        with pytest.raises(BadData, match=r"labels\.csv"):
            check_data(recipe, data=blood)
    else:
        check_data(recipe, data=blood)


def _labels(recipe: Recipe, *names: str) -> Recipe:
    label = recipe.contract["labels"][0]
    contract = recipe.contract | {"labels": [label | {"name": name} for name in names], "postprocess": []}
    return recipe.model_copy(update={"contract": contract})


def test_several_classes_are_as_many_channels(tmp_path: Path) -> None:
    write_roboflow(tmp_path)
    recipe = _labels(_blood_recipe(multiclass=True), "epidural", "subdural")
    check_data(recipe, data=tmp_path)
    assert load_split(recipe, "train", data=tmp_path).masks.shape == (2, 2, 32, 32)
    write_slice_labels(tmp_path / "slice_labels", {"a": "1", "b": "0"}, subtypes=("epidural",))
    train = load_split(recipe, "train", data=tmp_path)
    assert train.known.tolist() == [[True, True], [True, True], [False, False], [True, True]]
    assert train.findings.tolist() == [[1, 1], [0, 0], [1, UNKNOWN], [0, 0]]


@pytest.mark.parametrize(
    ("multiclass", "labels", "message"),
    [
        (True, ["subdural", "epidural"], "are epidural, subdural; the model's labels are subdural, epidural"),
        (True, ["hemorrhage"], "are epidural, subdural; the model's labels are hemorrhage.*contract.labels needs one"),
        (False, ["epidural", "subdural"], "the union of all categories is one label, the model has epidural"),
    ],
)
def test_labels_and_categories_agree(tmp_path: Path, multiclass: bool, labels: list[str], message: str) -> None:
    write_roboflow(tmp_path)
    with pytest.raises(BadData, match=message):
        check_data(_labels(_blood_recipe(multiclass=multiclass), *labels), data=tmp_path)


def test_an_exports_folders_are_its_split(blood: Path) -> None:
    with pytest.raises(BadData, match="the folders of a COCO export are its split"):
        load_split(_blood_recipe(split=SplitOptions(leave_out="P")), "train", data=blood)


def test_the_cache_gives_back_what_was_read(liver: Path, blood: Path, tmp_path: Path) -> None:
    for recipe, data in ((small_recipe("liver"), liver), (_blood_recipe(), blood)):
        read = load_split(recipe, "train", data=data)
        for _ in range(2):
            kept = load_split(recipe, "train", data=data, cache=tmp_path / "cache")
            assert kept.groups == read.groups
            for name in ("images", "masks", "known", "findings", "patient", "study", "group"):
                np.testing.assert_array_equal(getattr(kept, name), getattr(read, name))
    assert len(list((tmp_path / "cache").glob("*/images.npy"))) == 2


def test_changed_data_and_options_never_meet_a_stale_cache(liver: Path, tmp_path: Path) -> None:
    recipe, cache = small_recipe("liver"), tmp_path / "cache"
    before = load_split(recipe, "valid", data=liver, cache=cache)
    path = liver / "valid" / "segmentation-5.nii.gz"
    write_nifti(path, np.zeros((24, 24, 4), np.uint8), LPS)
    assert load_split(recipe, "valid", data=liver, cache=cache).masks.max() == 0
    assert before.masks.max() == 255
    assert load_split(small_recipe("liver", cached_size=16), "valid", data=liver, cache=cache).images.shape[1] == 16
    left_out = small_recipe("liver", split=SplitOptions(leave_out="P5"))
    assert set(load_split(left_out, "train", data=liver, cache=cache).patient) == {"P0", "P101", "P2"}


def test_a_fingerprint_is_of_one_splits_contents(liver: Path, blood: Path, tmp_path: Path) -> None:
    recipe = small_recipe("liver")
    before = {split: data_fingerprint(recipe, split, data=liver) for split in ("train", "valid")}
    os.utime(liver / "valid" / "volume-5.nii.gz", ns=(1, 1))
    assert {split: data_fingerprint(recipe, split, data=liver) for split in ("train", "valid")} == before
    write_nifti(liver / "valid" / "volume-5.nii.gz", np.zeros((24, 24, 4), np.int16), LPS)
    after = {split: data_fingerprint(recipe, split, data=liver) for split in ("train", "valid")}
    assert after["train"] == before["train"]
    assert after["valid"] != before["valid"]

    labelled = data_fingerprint(_blood_recipe(), "train", data=blood)
    (blood / "slice_labels" / "labels.csv").write_text("id,hemorrhage\na,0\nb,0\n")
    assert data_fingerprint(_blood_recipe(), "train", data=blood) != labelled
