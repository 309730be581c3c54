"""The LiTS layout: `<split>/volume-<case>.nii.gz` and `<split>/segmentation-<case>.nii.gz` with a `cases.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sigap.imaging.window import window
from sigap_training.slices import UNKNOWN, BadData, SliceSet, fit_bytes, join

BACKGROUND, LIVER, TUMOUR = 0, 1, 2


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


def case_entries(root: Path, split: str) -> list[dict[str, Any]]:
    """The entries of `cases.json` for one split; no patient may stand in two."""
    path = root / "cases.json"
    try:
        entries = json.loads(path.read_text())["cases"]
        homes: dict[str, str] = {}
        for entry in entries:
            if homes.setdefault(entry["patient"], entry["split"]) != entry["split"]:
                raise BadData(f"{path}: patient {entry['patient']} stands in two splits")
        return [entry for entry in entries if entry["split"] == split]
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise BadData(f"{path} cannot be read: {error}") from error


def read_case(root: Path, entry: dict[str, Any]) -> Case:
    """Read one volume and its segmentation.

    Raises:
        BadData: a file is missing or unreadable, the two differ in shape or place, or a label is not 0, 1 or 2.
    """
    folder = root / entry["split"]
    volume = _open(folder / f"volume-{entry['case']}.nii.gz")
    path = folder / f"segmentation-{entry['case']}.nii.gz"
    segmentation = _open(path)
    if volume.shape != segmentation.shape:
        raise BadData(f"{path}: shape {segmentation.shape}, but its volume has {volume.shape}")
    if not np.allclose(volume.affine, segmentation.affine, atol=1e-3):
        raise BadData(f"{path}: its affine is not its volume's")
    labels = canonical(segmentation)
    has_tumour_labels = "tumour" in entry["labels"]
    allowed = (BACKGROUND, LIVER, TUMOUR) if has_tumour_labels else (BACKGROUND, LIVER)
    strange = sorted(set(np.unique(labels).tolist()) - set(allowed))
    if strange:
        raise BadData(f"{path}: labels {strange} are not among {list(allowed)}")
    return Case(
        name=str(entry["case"]),
        patient=entry["patient"],
        hounsfield=canonical(volume).astype(np.float32),
        labels=labels.astype(np.uint8),
        has_tumour_labels=has_tumour_labels,
    )


def slices_of(case: Case, *, size: int, level_hu: float, width_hu: float) -> SliceSet:
    """Windowed slices with channels liver (tumour included) and tumour.

    Groups: `tumour` slices, `liver` slices of labelled cases without one, `unlabelled` for cases whose tumours are not
    told apart.
    """
    liver, tumour = case.labels >= LIVER, case.labels == TUMOUR
    depth = len(case.labels)
    masks = np.stack([fit_bytes(mask.astype(np.uint8) * 255, size) for mask in (liver, tumour)], axis=1)
    positive = np.stack([mask.any(axis=(1, 2)) for mask in (liver, tumour)], axis=1).astype(np.int8)
    if not case.has_tumour_labels:
        positive[:, 1] = UNKNOWN
    group = np.where(positive[:, 1] == 1, 0, 1) if case.has_tumour_labels else np.full(depth, 2)
    return SliceSet(
        images=fit_bytes(window(case.hounsfield, level_hu=level_hu, width_hu=width_hu), size),
        masks=masks,
        known=np.tile([True, case.has_tumour_labels], (depth, 1)),
        positive=positive,
        patient=np.full(depth, case.patient),
        study=np.zeros(depth, np.int64),
        group=group.astype(np.int64),
        groups=("tumour", "liver", "unlabelled"),
    )


def read_slices(root: Path, split: str, *, size: int, level_hu: float, width_hu: float) -> SliceSet:
    """All slices of a split."""
    entries = case_entries(root, split)
    if not entries:
        raise BadData(f"{root / 'cases.json'} has no case of split {split!r}")
    return join(
        [slices_of(read_case(root, entry), size=size, level_hu=level_hu, width_hu=width_hu) for entry in entries]
    )


def _open(path: Path) -> Any:
    try:
        image: Any = nib.load(path)
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except (nib.filebasedimages.ImageFileError, OSError) as error:
        raise BadData(f"{path} cannot be read: {error}") from error
    if image.ndim != 3:
        raise BadData(f"{path}: {image.ndim} dimensions instead of 3")
    return image
