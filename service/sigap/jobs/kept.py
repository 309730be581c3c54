"""A finished result on disk, `sigap.kept/1`: all that its upload does not say."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from sigap.core.contract import Model
from sigap.core.errors import KeptUnreadable
from sigap.core.measurement import Measurements
from sigap.core.result import Result
from sigap.core.segmentation import Dropped, Notice, Segmentation
from sigap.core.study import Study
from sigap.encoders.gzipped import FASTEST, write_gzip
from sigap.encoders.labels import labelmap_of
from sigap.encoders.report import report_text, timed
from sigap.jobs.folder import sync

SCHEMA = "sigap.kept/1"
REPORT = "report.json.gz"

# All gzip, whose checksum tells damage.
_NUMBERS = "numbers.json.gz"
_LABELMAP = "labelmap.gz"

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class _Numbers:
    """A result without its study and its labelmap, in types that JSON knows.

    Attributes:
        input_sha256, shape: of the study that it is about.
        box: for slice, row, column (first, one past the last) of what `labelmap.gz` holds; all else is 0.
        dropped_components, dropped_slice_voxels, slice_voxels, segmentation_warnings: the segmentation's.
    """

    input_sha256: str
    shape: tuple[int, int, int]
    box: Box
    model: Model
    dropped_components: Mapping[str, int]
    dropped_slice_voxels: Mapping[str, list[int]]
    slice_voxels: Mapping[str, list[list[int]]]
    segmentation_warnings: tuple[Notice, ...]
    measurements: Measurements
    warnings: tuple[Notice, ...]
    engine: str
    options: Mapping[str, Any]
    created: datetime
    timings_ms: Mapping[str, float]
    sigap_version: str


_JSON = TypeAdapter(_Numbers)


def keep(result: Result, folder: Path) -> Result:
    """Write a result into a new folder; once this returns, all of it is on the disk but the folder's own name.

    The folder gets the labelmap, the numbers and the report. What lies there after an error is the caller's to delete.

    Args:
        result: of `pipeline.run`.
        folder: where it will lie; its parent must exist.

    Returns:
        The result that every answer is to be made of, equal to what `restore` gives: its numbers have been to JSON and
        back, and `encode` (writing the labelmap) and `total` stand in its timings, so that all reports on it are equal
        to the last byte.

    Raises:
        ValueError: the labelmap does not fit the volume, or a number is not finite.
        OSError: it cannot be written; `FileExistsError`: the folder is there.
    """
    started = time.perf_counter()
    labelmap = labelmap_of(result)
    folder.mkdir(mode=0o700)
    box = _bounding_box(labelmap)
    write_gzip(folder / _LABELMAP, (plane.tobytes() for plane in labelmap[_slices(box)]), level=FASTEST)
    document = _document(timed(result, encode_ms=(time.perf_counter() - started) * 1000), box)
    write_gzip(folder / _NUMBERS, [document.encode()], level=FASTEST)
    kept = _result(_numbers(document), labelmap, result.study)
    write_gzip(folder / REPORT, [report_text(kept).encode()], level=FASTEST)
    for path in (folder / _LABELMAP, folder / _NUMBERS, folder / REPORT, folder):
        sync(path)
    return kept


def restore(folder: Path, study: Study) -> Result:
    """The result that `keep` returned.

    Args:
        folder: which `keep` has written.
        study: the same upload, decoded again with the same options.

    Raises:
        KeptUnreadable: a file is missing, cut or damaged, another version has written it, or it is about another study.
    """
    try:
        with gzip.open(folder / _NUMBERS) as file:
            numbers = _numbers(file.read().decode())
        if (numbers.input_sha256, numbers.shape) != (study.origin.sha256, study.volume.grid.shape):
            raise KeptUnreadable("The kept result is not about this study. Send the study again.")
        result = _result(numbers, _labelmap(folder / _LABELMAP, numbers.shape, numbers.box), study)
        labelmap_of(result)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise KeptUnreadable("The kept result is damaged. Send the study again.") from error
    return result


def kept_report(folder: Path) -> bytes | None:
    """The report that `keep` has written; None where there is none, as in results of before it was compressed.

    Raises:
        KeptUnreadable: it is damaged.
    """
    try:
        with gzip.open(folder / REPORT) as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, EOFError, zlib.error) as error:
        raise KeptUnreadable("The kept result is damaged. Send the study again.") from error


def _document(result: Result, box: Box) -> str:
    segmentation = result.segmentation
    numbers = _Numbers(
        input_sha256=result.study.origin.sha256,
        shape=result.study.volume.grid.shape,
        box=box,
        model=result.model,
        dropped_components={name: dropped.components for name, dropped in segmentation.dropped.items()},
        dropped_slice_voxels={name: dropped.slice_voxels.tolist() for name, dropped in segmentation.dropped.items()},
        slice_voxels={name: counts.tolist() for name, counts in segmentation.slice_voxels.items()},
        segmentation_warnings=segmentation.warnings,
        measurements=result.measurements,
        warnings=result.warnings,
        engine=result.engine,
        options=result.options,
        created=result.created,
        timings_ms=result.timings_ms,
        sigap_version=result.sigap_version,
    )
    # Its warnings are about numpy's scalars, which `_plain` turns into Python's.
    result_entry = _JSON.dump_python(numbers, mode="json", fallback=_plain, warnings=False)
    return json.dumps({"schema": SCHEMA, "result": result_entry}, allow_nan=False)


def _numbers(document: str) -> _Numbers:
    """The inverse of `_document`; `ValueError` where it is none."""
    entry = json.loads(document)
    if not isinstance(entry, dict) or "schema" not in entry:
        raise ValueError("it has no schema")
    if entry["schema"] != SCHEMA:
        raise KeptUnreadable(
            f"The result was kept by another version of Sigap, as {entry['schema']}; this one reads {SCHEMA}. "
            "Send the study again."
        )
    return _JSON.validate_python(entry.get("result"))


def _result(numbers: _Numbers, labelmap: NDArray[np.uint8], study: Study) -> Result:
    removed = numbers.dropped_slice_voxels
    return Result(
        study=study,
        model=numbers.model,
        segmentation=Segmentation(
            labelmap=labelmap,
            dropped={
                name: Dropped(components, np.array(removed[name], np.int64))
                for name, components in numbers.dropped_components.items()
            },
            slice_voxels={name: np.array(counts, np.int64) for name, counts in numbers.slice_voxels.items()},
            warnings=numbers.segmentation_warnings,
        ),
        measurements=numbers.measurements,
        warnings=numbers.warnings,
        engine=numbers.engine,
        options=numbers.options,
        created=numbers.created,
        timings_ms=numbers.timings_ms,
        sigap_version=numbers.sigap_version,
    )


def _labelmap(path: Path, shape: tuple[int, int, int], box: Box) -> NDArray[np.uint8]:
    labelmap = np.zeros(shape, np.uint8)
    with gzip.open(path) as file:
        for plane in labelmap[_slices(box)]:
            plane[:] = np.frombuffer(file.read(plane.size), np.uint8).reshape(plane.shape)
        # Reading on to the end is what compares the checksum.
        if file.read(1):
            raise ValueError("it holds more than its box")
    return labelmap


def _bounding_box(labelmap: NDArray[np.uint8]) -> Box:
    """Of all that is not 0; empty where there is nothing."""
    # max, unlike any, compares many bytes in one step.
    plane = labelmap.max(axis=0)
    slices = np.flatnonzero([bool(labels.max()) for labels in labelmap])
    rows, columns = np.flatnonzero(plane.max(axis=1)), np.flatnonzero(plane.max(axis=0))
    return _ends(slices), _ends(rows), _ends(columns)


def _ends(places: NDArray[np.intp]) -> tuple[int, int]:
    return (int(places[0]), int(places[-1]) + 1) if places.size else (0, 0)


def _slices(box: Box) -> tuple[slice, slice, slice]:
    slices, rows, columns = box
    return slice(*slices), slice(*rows), slice(*columns)


def _plain(value: Any) -> Any:
    """A numpy scalar as Python's; of anything else `TypeError`."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not of JSON")
