"""A Roboflow COCO-segmentation export, and slices that carry a yes or no instead of a mask."""

from __future__ import annotations

import csv
import json
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as rle

from sigap_training.slices import BadData, SliceSet, fit_bytes

ANNOTATIONS = "_annotations.coco.json"
GROUPS = ("expert", "weak", "negative-phe", "negative-rsna", "label-positive", "label-negative")


def read_picture(path: Path) -> NDArray[np.uint8]:
    """An 8-bit grey picture, [H, W]."""
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("L"))  # a copy: torch wants it writable
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except (UnidentifiedImageError, OSError) as error:
        raise BadData(f"{path} cannot be read: {error}") from error


def union_mask(annotations: list[dict[str, Any]], height: int, width: int) -> NDArray[np.uint8]:
    """0 or 1 [H, W]: inside any of an image's annotations, polygons or RLE of either kind."""
    union = np.zeros((height, width), np.uint8)
    for annotation in annotations:
        shape = annotation["segmentation"]
        if isinstance(shape, list):
            encoded = rle.merge(rle.frPyObjects(shape, height, width))
        elif isinstance(shape["counts"], list):
            encoded = rle.frPyObjects(shape, height, width)
        else:
            encoded = {"size": shape["size"], "counts": shape["counts"].encode()}
        with warnings.catch_warnings():
            # pycocotools 2.0.11 does not know the copy keyword of numpy 2; it copies, which is right.
            warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
            drawn = rle.decode(encoded)
        if drawn.shape != union.shape:
            raise ValueError(f"a mask of {drawn.shape} on an image of {union.shape}")
        union |= drawn
    return union


def read_export(folder: Path) -> list[tuple[dict[str, Any], NDArray[np.uint8], NDArray[np.uint8]]]:
    """Each image of a split: its entry, pixels [H, W] and binary mask [H, W].

    Raises:
        BadData: the annotations or an image are missing or unreadable, an image has not its stated size, an annotation
            has no image or an unknown category.
    """
    path = folder / ANNOTATIONS
    try:
        document = json.loads(path.read_text())
        categories = {category["id"] for category in document["categories"]}
        entries = {entry["id"]: entry for entry in document["images"]}
        drawn = defaultdict(list)
        for annotation in document["annotations"]:
            if annotation["category_id"] not in categories:
                raise BadData(f"{path}: annotation {annotation['id']} has unknown category {annotation['category_id']}")
            if annotation["image_id"] not in entries:
                raise BadData(f"{path}: annotation {annotation['id']} belongs to no image")
            drawn[annotation["image_id"]].append(annotation)
        return [(entry, *_read_pair(folder, entry, drawn[number])) for number, entry in entries.items()]
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise BadData(f"{path} cannot be read: {error}") from error


def read_slices(folder: Path, *, size: int) -> SliceSet:
    """The slices of one split's export, one channel.

    Groups, by what an entry's `source` and `weak` say: `expert` and `weak` masks with blood; slices without, of RSNA or
    of the others.
    """
    pairs = read_export(folder)
    is_positive = np.array([mask.any() for _, _, mask in pairs])
    names = [_group(entry, has_blood=found) for (entry, _, _), found in zip(pairs, is_positive, strict=True)]
    return SliceSet(
        images=np.concatenate([fit_bytes(pixels[None], size) for _, pixels, _ in pairs]),
        masks=np.stack([fit_bytes(mask[None] * 255, size) for _, _, mask in pairs]),
        known=np.ones((len(pairs), 1), np.bool_),
        positive=is_positive.astype(np.int8)[:, None],
        patient=np.array([_patient(entry.get("patient"), entry["file_name"]) for entry, _, _ in pairs]),
        study=np.arange(len(pairs)),
        group=np.array([GROUPS.index(name) for name in names]),
        groups=GROUPS,
    )


def read_slice_labels(folder: Path, *, size: int) -> SliceSet:
    """Slices with a yes or no: `labels.csv` (columns id and hemorrhage) and `images/<id>.png`.

    A no is a known, empty mask.
    """
    path = folder / "labels.csv"
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        names = [(row["id"], row.get("patient")) for row in rows]
        positive = np.array([{"0": 0, "1": 1}[row["hemorrhage"]] for row in rows], np.int8)[:, None]
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except KeyError as error:
        raise BadData(f"{path}: no column or no 0/1 value {error}") from error
    for name, _ in names:
        if Path(name).name != name:
            raise BadData(f"{path}: id {name!r} is no file name")
    pictures = [fit_bytes(read_picture(folder / "images" / f"{name}.png")[None], size) for name, _ in names]
    return SliceSet(
        images=np.concatenate(pictures),
        masks=np.zeros((len(rows), 1, size, size), np.uint8),
        known=positive == 0,
        positive=positive,
        patient=np.array([_patient(patient, name) for name, patient in names]),
        study=np.arange(len(rows)),
        group=np.where(positive[:, 0] == 1, GROUPS.index("label-positive"), GROUPS.index("label-negative")),
        groups=GROUPS,
    )


def _read_pair(
    folder: Path, entry: dict[str, Any], annotations: list[dict[str, Any]]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if Path(entry["file_name"]).name != entry["file_name"]:
        raise BadData(f"{folder / ANNOTATIONS}: {entry['file_name']!r} is no file name")
    path = folder / entry["file_name"]
    pixels = read_picture(path)
    stated = (entry["height"], entry["width"])
    if pixels.shape != stated:
        raise BadData(f"{path}: {pixels.shape} pixels (rows, columns), but {ANNOTATIONS} states {stated}")
    try:
        return pixels, union_mask(annotations, *stated)
    except ValueError as error:
        raise BadData(f"{path}: {error}") from error


def _patient(stated: str | None, picture: str) -> str:
    """Who a slice is of; of unknown patients each slice counts as its own."""
    return picture if stated in (None, "", "unknown") else stated


def _group(entry: dict[str, Any], *, has_blood: bool) -> str:
    if has_blood:
        return "weak" if entry.get("weak") else "expert"
    return "negative-rsna" if "RSNA" in entry.get("source", "") else "negative-phe"
