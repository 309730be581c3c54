"""A Roboflow export: its list, its pictures, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from sigap_training.coco_export import channel_categories, read_list, read_picture
from sigap_training.slices import BadData
from training.tiny_data import save_coco, write_coco, write_roboflow

UNION = [{1, 2, 3}]


def test_pictures_come_with_what_is_stated_and_drawn(tmp_path: Path) -> None:
    write_coco(tmp_path)
    export = read_list(tmp_path)
    first, _, without, _ = export.pictures
    assert first.entry["source"] == "BHSD"
    assert first.entry["categories"] == {"hemorrhage", "epidural"}
    assert first.read()[10, 10] == 200
    drawn = first.draw([{1}, {2}, {3}])
    assert drawn.sum(axis=(1, 2)).tolist() == [64, 64, 0]
    assert drawn[1, 20:28, 20:28].all()
    assert first.draw(UNION).sum() == 128
    assert without.draw(UNION).max() == 0


def test_a_crowd_is_drawn_as_what_it_covers(tmp_path: Path) -> None:
    document = write_coco(tmp_path)
    crowd = {"size": [32, 32], "counts": [32 * 30, 4, 32 * 2 - 4]}
    document["annotations"].append(
        {"id": 4, "image_id": 3, "category_id": 1, "segmentation": crowd, "iscrowd": 1, "area": 4.0}
    )
    save_coco(tmp_path, document)
    drawn = read_list(tmp_path).pictures[2].draw(UNION)
    assert np.argwhere(drawn[0]).tolist() == [[0, 30], [1, 30], [2, 30], [3, 30]]


def test_a_real_export_has_jpegs_with_odd_names_and_a_category_for_the_whole(tmp_path: Path) -> None:
    write_roboflow(tmp_path)
    exports = [read_list(tmp_path / split) for split in ("train", "valid", "test")]
    assert [category.name for category in channel_categories(exports)] == ["epidural", "subdural"]
    picture = exports[0].pictures[0]
    assert picture.path.name.endswith("_png.rf.0123456789abcdef.jpg")
    assert picture.read().shape == (32, 32)
    picture.check()


def test_a_category_0_with_annotations_is_a_channel(tmp_path: Path) -> None:
    write_roboflow(tmp_path)
    document = write_roboflow(tmp_path)
    document["annotations"][0]["category_id"] = 0
    save_coco(tmp_path / "valid", document)
    exports = [read_list(tmp_path / split) for split in ("train", "valid")]
    assert [category.id for category in channel_categories(exports)] == [0, 1, 2]


def test_a_category_0_that_is_no_whole_is_a_channel(tmp_path: Path) -> None:
    document = write_roboflow(tmp_path)
    document["categories"] = [{"id": 1, "name": "subdural"}, {"id": 0, "name": "epidural"}, {"id": 2, "name": "other"}]
    save_coco(tmp_path / "train", document)
    assert [category.id for category in channel_categories([read_list(tmp_path / "train")])] == [0, 1, 2]


def test_splits_of_other_categories_are_refused(tmp_path: Path) -> None:
    document = write_roboflow(tmp_path)
    document["categories"][1]["name"] = "subarachnoid"
    save_coco(tmp_path / "test", document)
    with pytest.raises(BadData, match=r"test/_annotations\.coco\.json: its categories are not those of .*train"):
        channel_categories([read_list(tmp_path / split) for split in ("train", "test")])


def _unknown_category(document: dict[str, Any]) -> None:
    document["annotations"][0]["category_id"] = 9


def _orphan(document: dict[str, Any]) -> None:
    document["annotations"][0]["image_id"] = 77


def _no_images(document: dict[str, Any]) -> None:
    del document["images"]


def _same_id(document: dict[str, Any]) -> None:
    document["images"][1]["id"] = 1


def _same_name(document: dict[str, Any]) -> None:
    document["images"][1]["file_name"] = "1.png"


def _same_category(document: dict[str, Any]) -> None:
    document["categories"][1]["id"] = 1


def _elsewhere(document: dict[str, Any]) -> None:
    document["images"][0]["file_name"] = "../1.png"


def _no_height(document: dict[str, Any]) -> None:
    document["images"][0]["height"] = 0


def _flat_polygon(document: dict[str, Any]) -> None:
    document["annotations"][1]["segmentation"] = [1, 1, 5, 1, 5, 5]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_unknown_category, "annotation 1 has unknown category 9"),
        (_orphan, "annotation 1 belongs to no image"),
        (_no_images, r"cannot be read: [\s\S]*images"),
        (_same_id, "image 1 is listed twice"),
        (_same_name, r"file name 1\.png is listed twice"),
        (_same_category, "category 1 is listed twice"),
        (_elsewhere, r"'\.\./1\.png' is no file name"),
        (_no_height, r"cannot be read: [\s\S]*height"),
        (_flat_polygon, r"cannot be read: [\s\S]*annotations\.1\.segmentation"),
    ],
)
def test_a_list_that_contradicts_itself_is_named(tmp_path: Path, spoil: Any, message: str) -> None:
    document = write_coco(tmp_path)
    spoil(document)
    save_coco(tmp_path, document)
    with pytest.raises(BadData, match=rf"/_annotations\.coco\.json:? {message}"):
        read_list(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xff", b"[]"])
def test_a_broken_list_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "_annotations.coco.json").write_bytes(text)
    with pytest.raises(BadData, match=r"_annotations\.coco\.json cannot be read"):
        read_list(tmp_path)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"_annotations\.coco\.json is missing"):
        read_list(tmp_path)


def _remove(path: Path) -> None:
    path.unlink()


def _break(path: Path) -> None:
    path.write_bytes(b"no PNG")


def _resize(path: Path) -> None:
    Image.fromarray(np.zeros((16, 32), np.uint8)).save(path)


def _deepen(path: Path) -> None:
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_remove, r"2\.png is missing"),
        (_break, r"2\.png cannot be read"),
        (_resize, r"2\.png: \(16, 32\).*\(32, 32\)"),
        (_deepen, r"2\.png: .*8-bit"),
    ],
)
def test_a_picture_that_does_not_fit_is_named_before_and_while_reading(
    tmp_path: Path, spoil: Any, message: str
) -> None:
    write_coco(tmp_path)
    spoil(tmp_path / "2.png")
    picture = read_list(tmp_path).pictures[1]
    for look in (picture.check, picture.read):
        with pytest.raises(BadData, match=message):
            look()


@pytest.mark.parametrize("keep", [60, -30])
def test_half_a_picture_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadData, match=r"x\.png cannot be read"):
        read_picture(path)


def test_a_mask_of_another_size_names_its_picture_and_annotation(tmp_path: Path) -> None:
    document = write_coco(tmp_path)
    small = rle.encode(np.asfortranarray(np.ones((4, 4), np.uint8)))
    document["annotations"][0]["segmentation"] = {"size": [4, 4], "counts": small["counts"].decode()}
    save_coco(tmp_path, document)
    with pytest.raises(BadData, match=r"1\.png: annotation 1: a mask of \(4, 4\)"):
        read_list(tmp_path).pictures[0].check()
