"""The mask as COCO: one annotation for each label on each slice, in stored pixels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from sigap.core.result import Result
from sigap.encoders.labels import labelmap_of, legend, meaning


def write_coco(result: Result, path: Path) -> None:
    """Write every slice as an image and every label on it as one annotation (compressed RLE), slice by slice.

    Category ids are the labelmap's values. Ids of images and annotations count from 1, as pycocotools expects; `slice`
    and the file name count from 0, as the report does.
    """
    labelmap = labelmap_of(result)
    with path.open("w", encoding="ascii") as file:
        file.write(f'{{"info": {_json(_info(result))},\n"licenses": [],\n"categories": {_json(_categories(result))},\n')
        _write_array(file, "images", _images(labelmap.shape))
        file.write(",\n")
        _write_array(file, "annotations", _annotations(labelmap, len(result.model.contract.labels)))
        file.write("}\n")


def _info(result: Result) -> dict[str, Any]:
    return {
        "description": f"Sigap {result.model.name}, research use only. Category ids are labelmap values: "
        f"{legend(result.model.contract)}. Pixels and slices as stored, slices counted from 0.",
        "version": f"{result.model.name} {result.model.version}",
        "contributor": f"sigap {result.sigap_version}",
        "year": result.created.year,
        "date_created": result.created.isoformat(),
    }


def _categories(result: Result) -> list[dict[str, Any]]:
    contract = result.model.contract
    return [
        {"id": value, "name": label.name, "supercategory": label.role, "description": meaning(contract, label)}
        for value, label in enumerate(contract.labels, 1)
    ]


def _images(shape: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    slices, rows, columns = shape
    for index in range(slices):
        yield {"id": index + 1, "slice": index, "file_name": f"slice-{index:04}", "width": columns, "height": rows}


def _annotations(labelmap: NDArray[np.uint8], labels: int) -> Iterator[dict[str, Any]]:
    count = 0
    for index, plane in enumerate(labelmap):
        if not plane.any():
            continue
        for value in range(1, labels + 1):
            mask = plane == value
            if mask.any():
                count += 1
                yield {"id": count, "image_id": index + 1, "category_id": value, **_run_lengths(mask)}


def _run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    encoded = rle.encode(np.asfortranarray(mask, np.uint8))
    size = [int(length) for length in encoded["size"]]
    return {
        "segmentation": {"size": size, "counts": encoded["counts"].decode("ascii")},
        "bbox": [float(edge) for edge in rle.toBbox(encoded)],
        "area": int(rle.area(encoded)),
        "iscrowd": 0,
    }


def _write_array(file: TextIO, name: str, entries: Iterable[dict[str, Any]]) -> None:
    file.write(f'"{name}": [')
    file.writelines((",\n" if position else "\n") + _json(entry) for position, entry in enumerate(entries))
    file.write("]")


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)
