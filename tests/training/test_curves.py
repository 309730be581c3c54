"""Learning curves and class distributions are drawn from what they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sigap_training.class_distribution import ClassCount, count_classes, draw_class_distribution
from sigap_training.curves import draw_curves
from training.tiny_data import write_coco


def epoch(number: int, dice: list[float]) -> dict[str, Any]:
    return {
        "epoch": number,
        "train_loss": 1 / number,
        "valid_loss": 1.1 / number,
        "dice": dice,
        "accuracy": [0.9, 0.99],
    }


def test_curves_are_a_picture(tmp_path: Path) -> None:
    draw_curves(
        [epoch(1, [0.5, 0.1]), epoch(2, [0.6, 0.3])], tmp_path / "curves.png", labels=["liver", "tumour"], best_epoch=2
    )
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > picture.height


def test_one_epoch_without_validation_loss_and_accuracy_is_drawn(tmp_path: Path) -> None:
    history = [{"epoch": 1, "train_loss": 0.5, "valid_loss": None, "dice": [0.2]}]
    draw_curves(history, tmp_path / "curves.png", labels=["blood"], best_epoch=history[0]["epoch"])
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_the_best_epoch_moves_the_mark(tmp_path: Path) -> None:
    scores = [[0.5, 0.1], [0.4, 0.3]]
    draw_curves(
        [epoch(n, dice) for n, dice in enumerate(scores, 1)], tmp_path / "second.png", labels=["a", "b"], best_epoch=2
    )
    draw_curves(
        [epoch(n, dice) for n, dice in enumerate(scores[::-1], 1)],
        tmp_path / "first.png",
        labels=["a", "b"],
        best_epoch=1,
    )
    assert (tmp_path / "first.png").read_bytes() != (tmp_path / "second.png").read_bytes()


@pytest.mark.parametrize(
    ("history", "labels"), [([], ["a"]), ([epoch(1, [0.5, 0.1])], ["a"]), ([epoch(1, [0.5])], ["a"])]
)
def test_curves_refuse_what_does_not_fit(tmp_path: Path, history: list[dict[str, Any]], labels: list[str]) -> None:
    with pytest.raises(ValueError, match=r"epoch"):
        draw_curves(history, tmp_path / "curves.png", labels=labels, best_epoch=1)


def test_classes_are_counted_by_annotation_and_by_image(tmp_path: Path) -> None:
    document = write_coco(tmp_path)
    document["annotations"].append({"id": 4, "image_id": 1, "category_id": 1, "segmentation": []})
    assert count_classes(document) == {
        "hemorrhage": ClassCount(2, 1),
        "epidural": ClassCount(1, 1),
        "subdural": ClassCount(1, 1),
        "(none)": ClassCount(0, 2),
    }


def test_the_class_distribution_is_a_picture(tmp_path: Path) -> None:
    document = write_coco(tmp_path)
    draw_class_distribution({"train": document, "valid": document | {"annotations": []}}, tmp_path / "classes.png")
    with Image.open(tmp_path / "classes.png") as picture:
        assert picture.width > 400
