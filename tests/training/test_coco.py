"""Slices of COCO exports, with one mask or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigap_training import coco
from sigap_training.coco_export import channel_categories, read_list
from sigap_training.coco_truth import plain_name
from sigap_training.slices import UNKNOWN, BadData, SliceSet, join
from training.tiny_data import save_coco, write_coco, write_roboflow


def read_slices(folder: Path, **options: Any) -> SliceSet:
    return join(list(coco.slice_parts(read_list(folder), **options)))


def test_the_mask_is_the_union_of_an_images_annotations(tmp_path: Path) -> None:
    write_coco(tmp_path)
    slices = read_slices(tmp_path, size=32)
    assert (slices.masks[0, 0] == 255).sum() == 64 + 64
    assert (slices.masks[1, 0] == 255).sum() == 64
    assert slices.masks[2:].max() == 0
    assert slices.images[0, 10, 10] == 200
    assert slices.known.all()
    assert slices.findings[:, 0].tolist() == [1, 1, 0, 0]
    assert [slices.groups[group] for group in slices.group] == ["expert", "weak", "negative-phe", "negative-rsna"]
    assert len(set(slices.study.tolist())) == 4


def test_subtypes_are_findings_where_they_are_told(tmp_path: Path) -> None:
    write_coco(tmp_path)
    slices = read_slices(tmp_path, size=32, subtypes=("epidural", "subdural"))
    # The first picture has an annotation without a subtype beside an epidural one.
    assert slices.findings.tolist() == [[1, 1, UNKNOWN], [1, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_a_whole_holds_its_parts_and_leaves_those_unknown_that_are_not_told(tmp_path: Path) -> None:
    document = write_coco(tmp_path)
    for category in document["categories"][1:]:
        category["supercategory"] = "hemorrhage"
    save_coco(tmp_path, document)
    export = read_list(tmp_path)
    slices = read_slices(tmp_path, size=32, categories=channel_categories([export]))
    assert slices.masks.shape == (4, 3, 32, 32)
    assert (slices.masks == 255).sum(axis=(2, 3)).tolist() == [[128, 64, 0], [64, 0, 64], [0, 0, 0], [0, 0, 0]]
    assert slices.known.tolist() == [[True, True, False]] + [[True] * 3] * 3
    assert slices.findings.tolist() == [[1, 1, UNKNOWN], [1, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_parts_of_parts_belong_to_the_whole_too(tmp_path: Path) -> None:
    """hemorrhage > epidural > subdural, which no anatomist would say."""
    document = write_coco(tmp_path)
    document["categories"][1]["supercategory"] = "hemorrhage"
    document["categories"][2]["supercategory"] = "epidural"
    document["annotations"][1]["category_id"] = 1
    save_coco(tmp_path, document)
    export = read_list(tmp_path)
    slices = read_slices(tmp_path, size=32, categories=channel_categories([export]))
    assert (slices.masks == 255).sum(axis=(2, 3)).tolist() == [[128, 0, 0], [64, 64, 64], [0, 0, 0], [0, 0, 0]]
    assert slices.known.tolist() == [[True, False, False]] + [[True] * 3] * 3


def test_categories_that_are_nobodys_part_are_channels_of_their_own(tmp_path: Path) -> None:
    document = write_coco(tmp_path)
    for category in document["categories"]:
        category["supercategory"] = category["name"]
    save_coco(tmp_path, document)
    slices = read_slices(tmp_path, size=32, categories=channel_categories([read_list(tmp_path)]))
    assert (slices.masks == 255).sum(axis=(2, 3)).tolist() == [[64, 64, 0], [0, 0, 64], [0, 0, 0], [0, 0, 0]]
    assert slices.known.all()


def test_a_real_export_reads_in_both_ways(tmp_path: Path) -> None:
    write_roboflow(tmp_path)
    export = read_list(tmp_path / "train")
    union = read_slices(tmp_path / "train", size=32)
    assert (union.masks == 255).sum(axis=(1, 2, 3)).tolist() == [128, 0]
    assert [union.groups[group] for group in union.group] == ["expert", "negative"]
    assert union.patient.tolist() == ["a_png.rf.0123456789abcdef.jpg", "b_png.rf.0123456789abcdef.jpg"]
    channels = read_slices(tmp_path / "train", size=32, categories=channel_categories([export]))
    assert (channels.masks == 255).sum(axis=(2, 3)).tolist() == [[64, 64], [0, 0]]
    assert channels.known.all()
    np.testing.assert_array_equal(channels.masks.max(axis=1), union.masks[:, 0])


def test_names_are_compared_without_case_and_separators() -> None:
    assert plain_name("Intra-axial  Bleed_1.") == plain_name("intra_axial bleed 1") == "intra_axial_bleed_1"
    assert plain_name("肝臓") != plain_name("腫瘍")


def test_parts_join_to_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco(tmp_path)
    whole = read_slices(tmp_path, size=16)
    monkeypatch.setattr(coco, "_BLOCK", 3)
    assert [len(part) for part in coco.slice_parts(read_list(tmp_path), size=16)] == [3, 1]
    again = read_slices(tmp_path, size=16)
    np.testing.assert_array_equal(again.masks, whole.masks)
    np.testing.assert_array_equal(again.study, whole.study)


def test_unknown_patients_are_one_a_slice(tmp_path: Path) -> None:
    document = write_coco(tmp_path)
    for image, patient in zip(document["images"], ("A", "unknown", None, ""), strict=True):
        image["patient"] = patient
    save_coco(tmp_path, document)
    assert read_slices(tmp_path, size=16).patient.tolist() == ["A", "2.png", "3.png", "4.png"]


def test_a_patients_number_is_the_same_patient_as_its_text() -> None:
    assert coco.stated_patient(5) == coco.stated_patient("5") == "5"
    assert coco.stated_patient(0) == "0"


def test_an_export_without_images_is_refused(tmp_path: Path) -> None:
    document = write_coco(tmp_path)
    save_coco(tmp_path, document | {"images": [], "annotations": []})
    with pytest.raises(BadData, match=r"_annotations\.coco\.json: there is no image"):
        read_slices(tmp_path, size=16)
