import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO

from phantoms.results import hemorrhage_model, result_of, small_labelmap
from sigap.encoders.coco import write_coco


@pytest.fixture
def speckled():
    return np.random.default_rng(3).integers(0, 3, (3, 7, 11), np.uint8)


def decoded(coco: COCO, shape: tuple[int, ...]):
    """The labelmap back from the annotations."""
    labelmap = np.zeros(shape, np.uint8)
    for annotation in coco.anns.values():
        place = coco.imgs[annotation["image_id"]]["slice"]
        labelmap[place][coco.annToMask(annotation).astype(bool)] = annotation["category_id"]
    return labelmap


# pycocotools 2.0.11 decodes by way of an array protocol that numpy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_gives_the_labelmap_back(
    speckled: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco(result_of(speckled), tmp_path / "coco.json")
    coco = COCO(str(tmp_path / "coco.json"))
    assert np.array_equal(decoded(coco, speckled.shape), speckled)
    assert [coco.cats[value]["name"] for value in (1, 2)] == ["liver", "tumour"]
    assert [coco.cats[value]["supercategory"] for value in (1, 2)] == ["organ", "lesion"]


def test_boxes_and_areas_are_by_hand(tmp_path: Path) -> None:
    write_coco(result_of(small_labelmap()), tmp_path / "coco.json")
    document = json.loads((tmp_path / "coco.json").read_text())
    liver, tumour, upper = document["annotations"]
    assert (liver["image_id"], liver["category_id"], liver["area"], liver["bbox"]) == (2, 1, 7, [1, 1, 3, 3])
    assert (tumour["image_id"], tumour["category_id"], tumour["area"], tumour["bbox"]) == (2, 2, 2, [2, 2, 2, 1])
    assert (upper["image_id"], upper["category_id"], upper["area"]) == (3, 1, 9)
    assert {annotation["iscrowd"] for annotation in document["annotations"]} == {0}
    assert rle.area(tumour["segmentation"]) == 2


def test_every_slice_is_an_image(tmp_path: Path) -> None:
    write_coco(result_of(small_labelmap()), tmp_path / "coco.json")
    images = json.loads((tmp_path / "coco.json").read_text())["images"]
    assert [image["slice"] for image in images] == [0, 1, 2, 3]
    assert images[3] == {"id": 4, "slice": 3, "file_name": "slice-0003", "width": 6, "height": 5}


def test_it_says_what_a_liver_value_covers(tmp_path: Path) -> None:
    write_coco(result_of(small_labelmap()), tmp_path / "coco.json")
    document = json.loads((tmp_path / "coco.json").read_text())
    assert document["categories"][0]["description"] == "liver outside tumour"
    assert "research use only" in document["info"]["description"]


def test_a_negative_is_an_answer_without_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco(result_of(np.zeros((2, 3, 4), np.uint8), model=hemorrhage_model()), tmp_path / "coco.json")
    coco = COCO(str(tmp_path / "coco.json"))
    assert (len(coco.imgs), len(coco.anns), coco.cats[1]["name"]) == (2, 0, "hemorrhage")
