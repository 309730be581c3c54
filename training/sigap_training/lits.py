"""Reading the LiTS layout: CT volumes with their liver and tumour masks, as windowed slices."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sigap.imaging.window import window
from sigap_training.bars import bar
from sigap_training.lits_cases import CASES_FILE, CaseEntry, find_cases
from sigap_training.slices import UNKNOWN, BadData, SliceSet, fit_bytes
from sigap_training.splits import AS_STATED, SplitOptions, divide

BACKGROUND, LIVER, TUMOUR = 0, 1, 2
_BLOCK = 64  # slices resized at once: bounds the memory of a case of a thousand


@dataclass(frozen=True)
class Case:
    """One CT with its labels, in canonical orientation.

    Attributes:
        name: the case's number.
        patient: cases of one patient never stand in two splits.
        hounsfield: float32 [D, H, W], HU.
        labels: uint8 [D, H, W]: 0 background, 1 liver, 2 tumour.
        has_tumour_labels: False where tumours are hidden in label 1.
    """

    name: str
    patient: str
    hounsfield: NDArray[np.float32]
    labels: NDArray[np.uint8]
    has_tumour_labels: bool


def canonical(image: Any) -> NDArray[Any]:
    """Voxels of a nibabel image as [slice, row, column]: inferior→superior, anterior→posterior, right→left."""
    orientation = nib.orientations.io_orientation(image.affine)
    to_lps = nib.orientations.ornt_transform(orientation, nib.orientations.axcodes2ornt(("L", "P", "S")))
    voxels = nib.orientations.apply_orientation(np.asanyarray(image.dataobj), to_lps)
    return np.ascontiguousarray(voxels.transpose(2, 1, 0))


def divide_cases(root: Path, options: SplitOptions = AS_STATED) -> dict[str, list[CaseEntry]]:
    """The cases of each split of a folder; see `find_cases` and `divide`."""
    path = root / CASES_FILE
    return divide(find_cases(root), options, where=path if path.exists() else root)


def case_entries(root: Path, split: str, options: SplitOptions = AS_STATED) -> list[CaseEntry]:
    """The cases of one split.

    Raises:
        BadData: it has none, or see `find_cases` and `divide`.
    """
    entries = divide_cases(root, options).get(split)
    if not entries:
        raise BadData(f"{options.file or root}: split {split!r} has no case")
    return entries


def read_case(root: Path, entry: CaseEntry) -> Case:
    """Read one volume and its segmentation.

    Raises:
        BadData: a file is missing or unreadable, the two differ in shape or place, a label is not 0, 1 or 2 (0 or 1
            where tumours are not told apart), or a voxel is no number.
    """
    volume, segmentation = _open_pair(root, entry)
    return Case(
        name=entry.name,
        patient=entry.patient,
        hounsfield=_read_hounsfield(root / entry.volume, volume),
        labels=_read_labels(root / entry.segmentation, segmentation, TUMOUR if entry.has_tumour_labels else LIVER),
        has_tumour_labels=entry.has_tumour_labels,
    )


def check_cases(root: Path, entries: Sequence[CaseEntry]) -> None:
    """Refuse what `read_case` would refuse, cheaply: all headers first, then voxels.

    Volumes that are integers on disk hold no voxel that is no number, so they are not decompressed here.

    Raises:
        BadData: as `read_case`.
    """
    for entry in bar(entries, "checking headers"):
        _open_pair(root, entry)
    for entry in bar(entries, "checking voxels"):
        volume, segmentation = _open_pair(root, entry)
        _read_labels(root / entry.segmentation, segmentation, TUMOUR if entry.has_tumour_labels else LIVER)
        if volume.get_data_dtype().kind == "f":
            _read_hounsfield(root / entry.volume, volume)


def slices_of(case: Case, *, size: int, level_hu: float, width_hu: float) -> SliceSet:
    """Windowed slices with channels liver (tumour included) and tumour.

    Groups: `tumour` slices, `liver` slices of labelled cases without one, `unlabelled` for cases whose tumours are not
    told apart.
    """
    liver, tumour = case.labels >= LIVER, case.labels == TUMOUR
    depth = len(case.labels)
    blocks = [slice(start, start + _BLOCK) for start in range(0, depth, _BLOCK)]
    shown = [fit_bytes(window(case.hounsfield[part], level_hu=level_hu, width_hu=width_hu), size) for part in blocks]
    masks = [
        np.concatenate([fit_bytes(mask[part].astype(np.uint8) * 255, size) for part in blocks])
        for mask in (liver, tumour)
    ]
    findings = np.stack([mask.any(axis=(1, 2)) for mask in (liver, tumour)], axis=1).astype(np.int8)
    if not case.has_tumour_labels:
        findings[:, 1] = UNKNOWN
    group = np.where(findings[:, 1] == 1, 0, 1) if case.has_tumour_labels else np.full(depth, 2)
    return SliceSet(
        images=np.concatenate(shown),
        masks=np.stack(masks, axis=1),
        known=np.tile([True, case.has_tumour_labels], (depth, 1)),
        findings=findings,
        patient=np.full(depth, case.patient),
        study=np.zeros(depth, np.int64),
        group=group.astype(np.int64),
        groups=("tumour", "liver", "unlabelled"),
    )


def slice_parts(
    root: Path, entries: Sequence[CaseEntry], *, size: int, level_hu: float, width_hu: float
) -> Iterator[SliceSet]:
    """The slices of cases, one case at a time: all of LiTS does not fit into memory."""
    for entry in bar(entries, f"reading {root.name}"):
        yield slices_of(read_case(root, entry), size=size, level_hu=level_hu, width_hu=width_hu)


def _open_pair(root: Path, entry: CaseEntry) -> tuple[Any, Any]:
    path = root / entry.segmentation
    volume, segmentation = _open(root / entry.volume), _open(path)
    if volume.shape != segmentation.shape:
        raise BadData(f"{path}: shape {segmentation.shape}, but its volume has {volume.shape}")
    if not np.allclose(volume.affine, segmentation.affine, atol=1e-3):
        raise BadData(f"{path}: its affine is not its volume's")
    return volume, segmentation


def _open(path: Path) -> Any:
    try:
        image: Any = nib.load(path)
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, OSError, EOFError) as error:
        raise BadData(f"{path} cannot be read: {error}") from error
    if image.ndim != 3 or 0 in image.shape:
        raise BadData(f"{path}: {image.ndim} dimensions instead of 3, or nothing in one: shape {image.shape}")
    if image.get_data_dtype().kind not in "iuf":
        raise BadData(f"{path}: voxels of type {image.get_data_dtype()}")
    if not np.isfinite(image.affine).all() or np.linalg.matrix_rank(image.affine[:3, :3]) < 3:
        raise BadData(f"{path}: its affine places voxels nowhere")
    return image


def _read_voxels(path: Path, image: Any) -> NDArray[Any]:
    try:
        return canonical(image)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BadData(f"{path} cannot be read: {error}") from error


def _read_hounsfield(path: Path, volume: Any) -> NDArray[np.float32]:
    hounsfield = _read_voxels(path, volume).astype(np.float32)
    _refuse_no_numbers(path, hounsfield)
    return hounsfield


def _read_labels(path: Path, segmentation: Any, highest: int) -> NDArray[np.uint8]:
    voxels = _read_voxels(path, segmentation)
    _refuse_no_numbers(path, voxels)
    labels = voxels.astype(np.uint8) if voxels.min() >= 0 and voxels.max() <= highest else None
    if labels is None or (voxels.dtype.kind == "f" and not np.array_equal(labels, voxels)):
        strange = sorted(set(np.unique(voxels).tolist()) - set(range(highest + 1)))
        raise BadData(f"{path}: labels {strange[:10]} are not among {list(range(highest + 1))}")
    return labels


def _refuse_no_numbers(path: Path, voxels: NDArray[Any]) -> None:
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        places = np.argwhere(~np.isfinite(voxels))
        raise BadData(f"{path}: {len(places)} voxels are no numbers, the first in slice {places[0, 0]}")
