"""Tiny data folders in the layouts of the real ones, and a recipe small enough for a test."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from sigap_training.recipe import Recipe, read_recipe

LPS = np.diag([-1.5, -1.5, 2.0, 1.0])


def small_recipe(task: str, *, width: int = 2, **changes: Any) -> Recipe:
    """One of the package's recipes with a network and an epoch of next to nothing."""
    recipe = read_recipe(Path(task))
    network = recipe.network.model_copy(update={"options": recipe.network.options | {"width": width}})
    small = {"size": 32, "cached_size": 32, "epochs": 2, "epoch_slices": 8, "batch_size": 4, "precision": "32-true"}
    return recipe.model_copy(update={"network": network, **small, **changes})


def write_nifti(path: Path, voxels: NDArray[Any], affine: NDArray[np.float64] = LPS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)


def write_lits(root: Path, cases: dict[str, tuple[str, list[str]]], *, depth: int = 4, side: int = 24) -> None:
    """Cases by number, each with its split and labels: a bright square of liver, in it a darker square.

    The liver fills rows 4..15 and columns 2..9; the dark square rows 6..9, columns 4..6 of slice 1: a tumour, where the
    labels tell it apart.
    """
    entries = []
    for case, (split, labels) in cases.items():
        write_case(root / split, case, has_tumour_labels="tumour" in labels, depth=depth, side=side)
        entries.append({"case": case, "split": split, "patient": f"P{case}", "labels": labels})
    (root / "cases.json").write_text(json.dumps({"cases": entries}))


def write_case(
    folder: Path, case: str, *, has_tumour_labels: bool = True, depth: int = 4, side: int = 24, suffix: str = ".nii.gz"
) -> None:
    """One case as `write_lits` writes it, without a list."""
    hounsfield = np.full((depth, side, side), -100, np.int16)
    truth = np.zeros((depth, side, side), np.uint8)
    hounsfield[:, 4:16, 2:10], truth[:, 4:16, 2:10] = 150, 1
    hounsfield[1, 6:10, 4:7] = 60
    truth[1, 6:10, 4:7] = 2 if has_tumour_labels else 1
    for name, voxels in (("volume", hounsfield), ("segmentation", truth)):
        write_nifti(folder / f"{name}-{case}{suffix}", voxels.transpose(2, 1, 0))


def write_coco(folder: Path, *, side: int = 32) -> dict[str, Any]:
    """Four images, one of each source; returns the document so that a test can spoil it.

    The upper left pixel is the folder's name's: no picture is another folder's.

    Blood in the first two: rows 8..15 and columns 4..11, as RLE; in the first also a polygon, rows and columns 20..27.
    """
    folder.mkdir(parents=True, exist_ok=True)
    blood = np.zeros((side, side), np.uint8)
    blood[8:16, 4:12] = 1
    encoded = rle.encode(np.asfortranarray(blood))
    drawn = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    polygon = [[20, 20, 28, 20, 28, 28, 20, 28]]
    sources = [("BHSD", False), ("PHE-SICH-CT-IDS", True), ("PHE-SICH-CT-IDS (without)", True), ("RSNA (no)", False)]
    images, annotations = [], []
    for number, (source, is_weak) in enumerate(sources, 1):
        pixels = np.full((side, side), 90, np.uint8)
        pixels[blood > 0] = 200 if number < 3 else 90
        pixels[0, 0] = zlib.crc32(folder.name.encode()) % 90
        Image.fromarray(pixels).save(folder / f"{number}.png")
        images.append(
            {
                "id": number,
                "file_name": f"{number}.png",
                "height": side,
                "width": side,
                "source": source,
                "weak": is_weak,
            }
        )
    for number, (image, shape) in enumerate([(1, drawn), (1, polygon), (2, drawn)], 1):
        annotations.append({"id": number, "image_id": image, "category_id": number, "segmentation": shape})
    categories = [{"id": number, "name": name} for number, name in enumerate(("hemorrhage", "epidural", "subdural"), 1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    save_coco(folder, document)
    return document


def save_coco(folder: Path, document: dict[str, Any]) -> None:
    (folder / "_annotations.coco.json").write_text(json.dumps(document))


SUBTYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")


def write_slice_labels(folder: Path, labels: dict[str, str], subtypes: Sequence[str] = SUBTYPES) -> None:
    """Slices by id with their `hemorrhage` value; the first of the subtypes has the same, the others are 0."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name in labels:
        Image.fromarray(np.full((16, 16), 100, np.uint8)).save(folder / "images" / f"{name}.png")
    rows = [
        [name, value, *(value if place == 0 else "0" for place in range(len(subtypes)))]
        for name, value in labels.items()
    ]
    (folder / "labels.csv").write_text(
        "\n".join(",".join(row) for row in [["id", "hemorrhage", *subtypes], *rows]) + "\n"
    )


def write_roboflow(root: Path, *, side: int = 32) -> dict[str, Any]:
    """An export as Roboflow writes it, the same document in `train`, `valid` and `test`; returns it.

    JPEGs with its names, polygons, no patients or sources, and a category 0 for the whole that nothing is annotated
    with. Two pictures: epidural blood in rows and columns 4..11 of the first, subdural in 16..23; the second has none.
    """
    squares = [(1, 1, 4), (2, 2, 16)]
    annotations = [
        {
            "id": number,
            "image_id": 0,
            "category_id": category,
            "iscrowd": 0,
            "segmentation": [[start, start, start + 8, start, start + 8, start + 8, start, start + 8]],
        }
        for number, category, start in squares
    ]
    names = [f"{letter}_png.rf.0123456789abcdef.jpg" for letter in "ab"]
    images = [
        {"id": number, "license": 1, "file_name": name, "height": side, "width": side}
        for number, name in enumerate(names)
    ]
    categories = [
        {"id": 0, "name": "hemorrhage", "supercategory": "none"},
        {"id": 1, "name": "epidural", "supercategory": "hemorrhage"},
        {"id": 2, "name": "subdural", "supercategory": "hemorrhage"},
    ]
    document = {"images": images, "annotations": annotations, "categories": categories}
    for grey, split in enumerate(("train", "valid", "test"), 90):
        (root / split).mkdir(parents=True, exist_ok=True)
        for name in names:
            Image.fromarray(np.full((side, side, 3), grey, np.uint8)).save(root / split / name)
        save_coco(root / split, document)
    return document
