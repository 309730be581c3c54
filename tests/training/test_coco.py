"""The COCO reader on phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from sigap_training import coco
from sigap_training.slices import BadData, join
from training.tiny_data import save_coco, write_coco, write_slice_labels


def test_the_mask_is_the_union_of_an_images_annotations(tmp_path: Path) -> None:
    write_coco(tmp_path)
    slices = coco.read_slices(tmp_path, size=32)
    assert (slices.masks[0, 0] == 255).sum() == 64 + 64
    assert (slices.masks[1, 0] == 255).sum() == 64
    assert slices.masks[2:].max() == 0
    assert slices.images[0, 10, 10] == 200
    assert slices.positive[:, 0].tolist() == [1, 1, 0, 0]
    assert [slices.groups[group] for group in slices.group] == ["expert", "weak", "negative-phe", "negative-rsna"]


def test_a_slice_label_is_no_mask_unless_it_is_a_no(tmp_path: Path) -> None:
    write_coco(tmp_path / "train")
    write_slice_labels(tmp_path / "slice_labels", {"a": "1", "b": "0"})
    told = coco.read_slice_labels(tmp_path / "slice_labels", size=32)
    assert told.known[:, 0].tolist() == [False, True]
    assert told.positive[:, 0].tolist() == [1, 0]
    joined = join([coco.read_slices(tmp_path / "train", size=32), told])
    assert len(joined) == 6
    assert len(set(joined.study.tolist())) == 6
    assert joined.groups[joined.group[4]] == "label-positive"


def _drop_image(document: dict[str, Any], folder: Path) -> None:
    (folder / "2.png").unlink()


def _break_image(document: dict[str, Any], folder: Path) -> None:
    (folder / "2.png").write_bytes(b"no PNG")


def _resize_image(document: dict[str, Any], folder: Path) -> None:
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(folder / "2.png")


def _change_category(document: dict[str, Any], folder: Path) -> None:
    document["annotations"][0]["category_id"] = 9


def _orphan_annotation(document: dict[str, Any], folder: Path) -> None:
    document["annotations"][0]["image_id"] = 77


def _drop_images(document: dict[str, Any], folder: Path) -> None:
    del document["images"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop_image, r"2\.png is missing"),
        (_break_image, r"2\.png cannot be read"),
        (_resize_image, r"2\.png: \(16, 32\).*\(32, 32\)"),
        (_change_category, r"_annotations\.coco\.json: annotation 1 has unknown category 9"),
        (_orphan_annotation, r"annotation 1 belongs to no image"),
        (_drop_images, r"_annotations\.coco\.json cannot be read: 'images'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, spoil: Any, message: str) -> None:
    document = write_coco(tmp_path)
    spoil(document, tmp_path)
    save_coco(tmp_path, document)
    with pytest.raises(BadData, match=message):
        coco.read_slices(tmp_path, size=32)


def test_a_mask_of_another_size_names_its_image(tmp_path: Path) -> None:
    document = write_coco(tmp_path)
    small = rle.encode(np.asfortranarray(np.ones((4, 4), np.uint8)))
    document["annotations"][0]["segmentation"] = {"size": [4, 4], "counts": small["counts"].decode()}
    save_coco(tmp_path, document)
    with pytest.raises(BadData, match=r"1\.png: a mask of \(4, 4\)"):
        coco.read_slices(tmp_path, size=32)


def test_no_annotations_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"_annotations\.coco\.json is missing"):
        coco.read_slices(tmp_path, size=32)


@pytest.mark.parametrize(
    ("labels", "message"), [({"a": "maybe"}, r"labels\.csv.*'maybe'"), ({"../a": "1"}, r"labels\.csv.*'\.\./a'")]
)
def test_slice_labels_that_make_no_sense_are_named(tmp_path: Path, labels: dict[str, str], message: str) -> None:
    write_slice_labels(tmp_path, {"a": "1"})
    rows = [f"{name},{value}" for name, value in labels.items()]
    (tmp_path / "labels.csv").write_text("\n".join(["id,hemorrhage", *rows]))
    with pytest.raises(BadData, match=message):
        coco.read_slice_labels(tmp_path, size=32)


def test_a_missing_labelled_slice_is_named(tmp_path: Path) -> None:
    write_slice_labels(tmp_path, {"a": "1"})
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(BadData, match=r"a\.png is missing"):
        coco.read_slice_labels(tmp_path, size=32)
