"""Hand-made results of known content, without a decoder, an engine or a measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage

from sigap.core.contract import Code, Contract, Label, Model, Step
from sigap.core.grid import Grid, Orientation
from sigap.core.measurement import Hounsfield, LabelMeasure, Lesion, Measurements
from sigap.core.result import Result
from sigap.core.segmentation import Segmentation
from sigap.core.study import DicomSlice, DicomSource, NiftiFrame, Origin, Study, Volume
from sigap.core.verdict import GeometryVerdict

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LIVER_LABEL = Label("liver", "organ", None, Code("123037004", "10200004"), (230, 170, 60), (0.3, 0.5, 0.7))
TUMOUR_LABEL = Label(
    "tumour", "lesion", "liver", Code("49755003", "108369006", "10200004"), (255, 70, 90), (0.3, 0.5, 0.7)
)
BLOOD_LABEL = Label(
    "hemorrhage", "lesion", None, Code("49755003", "50960005", "1101003"), (255, 70, 90), (0.3, 0.5, 0.7)
)


def liver_model() -> Model:
    """Two labels, one inside the other."""
    contract = Contract(
        labels=(LIVER_LABEL, TUMOUR_LABEL),
        level_hu=100,
        width_hu=300,
        context_slices=1,
        postprocess=(
            Step("largest_component", "liver"),
            Step("fill_holes", "liver"),
            Step("inside", "tumour", {"of": "liver"}),
            Step("min_volume", "tumour", {"volume_ml": 0.1}),
        ),
        measures=("burden",),
        priority="routine",
        body_parts=("ABDOMEN", "LIVER"),
        contrast=True,
        model_card="README.md",
        sensitivity="On 26 held-out studies the model found 61 of 83 tumours.",
    )
    return Model("liver", "1", "a" * 64, 8, contract)


def hemorrhage_model() -> Model:
    """One label, a lesion without an organ around it."""
    contract = replace(
        liver_model().contract,
        labels=(BLOOD_LABEL,),
        level_hu=40,
        width_hu=80,
        postprocess=(Step("inside_skull", "hemorrhage"),),
        measures=("abc2",),
        priority="emergency",
        sensitivity="On 75 held-out studies the model found blood in 31 of 36.",
    )
    return Model("hemorrhage", "1", "b" * 64, 8, contract)


def dicom_grid(
    shape: tuple[int, int, int] = (4, 5, 6),
    *,
    spacing_mm: tuple[float, float, float] = (2.5, 0.8, 0.7),
    slice_step_lps_mm: tuple[float, float, float] | None = None,
    slice_positions_mm: tuple[float, ...] | None = None,
) -> Grid:
    """Axial slices as a CT stores them: columns run to the patient's left, rows to the back.

    Args:
        slice_step_lps_mm: from one slice to the next; one that is not along z is a gantry tilt.
        slice_positions_mm: places along z instead of even steps; then no single affine describes the grid.
    """
    step = np.array(slice_step_lps_mm or (0.0, 0.0, spacing_mm[0]))
    first = np.array([-100.0, -90.0, 300.0]) + np.arange(shape[0])[:, None] * step
    if slice_positions_mm is not None:
        first = np.array([(-100.0, -90.0, position) for position in slice_positions_mm])
    return Grid(
        shape=shape,
        spacing_mm=spacing_mm,
        shares_mm=(spacing_mm[0],) * shape[0],
        first_voxels_lps_mm=first,
        row_step_lps_mm=np.array([0.0, spacing_mm[1], 0.0]),
        column_step_lps_mm=np.array([spacing_mm[2], 0.0, 0.0]),
        is_uniform=slice_positions_mm is None,
    )


@dataclass(frozen=True)
class StoredNifti:
    """An image as a NIfTI file stores it, and what decoding it must give.

    Attributes:
        header: with affine and codes.
        grid: of the decoded volume.
        axes: stored axis for slice, row, column.
    """

    header: Nifti1Header
    grid: Grid
    axes: tuple[int, int, int]

    def decoded(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Stored `[i, j, k]` as `[slice, row, column]`."""
        return stored.transpose(self.axes)


def stored_nifti(
    shape: tuple[int, ...], affine_ras: NDArray[np.float64], header: Nifti1Header | None = None
) -> StoredNifti:
    """The geometry of a NIfTI file, worked out from its affine by nibabel's axis codes.

    Args:
        shape: stored, three axes first.
        affine_ras: (4, 4).
        header: to fill in; a fresh NIfTI-1 header otherwise.
    """
    header = Nifti1Header() if header is None else header
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_xyzt_units("mm", "sec")
    header.set_sform(affine_ras, 2)
    header.set_zooms((*np.linalg.norm(affine_ras[:3, :3], axis=0), *(1.0 for _ in shape[3:])))
    codes = aff2axcodes(affine_ras)
    axes = tuple(next(axis for axis, code in enumerate(codes) if code in pair) for pair in ("SI", "AP", "RL"))
    affine_lps = LPS_FROM_RAS @ affine_ras
    steps = [affine_lps[:3, axis] for axis in axes]
    lengths = [shape[axis] for axis in axes]
    spacing = [float(np.linalg.norm(step)) for step in steps]
    grid = Grid(
        shape=(lengths[0], lengths[1], lengths[2]),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        shares_mm=(spacing[0],) * lengths[0],
        first_voxels_lps_mm=affine_lps[:3, 3] + np.arange(lengths[0])[:, None] * steps[0],
        row_step_lps_mm=steps[1],
        column_step_lps_mm=steps[2],
        orientation=Orientation(
            flip_slices=codes[axes[0]] == "I", flip_rows=codes[axes[1]] == "A", flip_columns=codes[axes[2]] == "R"
        ),
    )
    return StoredNifti(header, grid, (axes[0], axes[1], axes[2]))


def picture_grid(
    rows: int, columns: int, *, spacing_mm: tuple[float, float] | None = None, thickness_mm: float | None = None
) -> Grid:
    """A PNG or JPEG: one slice that nothing says left or right of."""
    row, column = spacing_mm or (None, None)
    return Grid(
        shape=(1, rows, columns),
        spacing_mm=(thickness_mm, row, column),
        shares_mm=None if thickness_mm is None else (thickness_mm,),
        first_voxels_lps_mm=None,
        row_step_lps_mm=None,
        column_step_lps_mm=None,
        is_oriented=False,
    )


def origin(kind: str, slices: int, nifti: StoredNifti | None = None) -> Origin:
    if kind == "dicom":
        uids = tuple(f"1.2.826.0.1.{index}" for index in range(slices))
        return Origin(
            "dicom",
            "c" * 64,
            study_uid="1.2.826.0.2",
            series_uid="1.2.826.0.3",
            sop_instance_uids=uids,
            dicom=DicomSource(
                header(), "1.2.826.0.4", 2.5, tuple(DicomSlice(CTImageStorage, uid, None) for uid in uids)
            ),
        )
    frame = None if nifti is None else NiftiFrame(nifti.header.binaryblock, nifti.axes)
    return Origin(kind, "c" * 64, nifti=frame)  # type: ignore[arg-type]  # the caller names one of the four kinds


def header(**attributes: Any) -> bytes:
    """A source's patient and study as decoding keeps them."""
    dataset = Dataset()
    known = {"PatientName": "Phantom^Sigap", "PatientID": "PHANTOM-1", "StudyInstanceUID": "1.2.826.0.2"}
    for keyword, value in (known | attributes).items():
        setattr(dataset, keyword, value)
    encoded = DicomBytesIO()
    encoded.is_implicit_VR, encoded.is_little_endian = False, True
    write_dataset(encoded, dataset)
    return encoded.getvalue()


def measured(labelmap: NDArray[np.uint8], model: Model, grid: Grid) -> Measurements:
    """Counts and volumes of whole labels; each lesion label with voxels is taken as one lesion with round numbers."""
    area, share = grid.pixel_area_mm2, grid.shares_mm[0] if grid.shares_mm else None
    voxel_ml = None if area is None or share is None else area * share / 1000
    is_flat = grid.shape[0] == 1
    labels, lesions = [], []
    for label in model.contract.labels:
        mask = np.isin(labelmap, model.contract.family(label.name))
        voxels = int(np.count_nonzero(mask))
        volume_ml = None if voxel_ml is None else voxels * voxel_ml
        area_mm2 = voxels * area if is_flat and area is not None else None
        area_px = voxels if is_flat else None
        interval = None if volume_ml is None else (0.9 * volume_ml, 1.1 * volume_ml)
        hu = Hounsfield(60.5, 12.25, -3.0, 99.0) if voxels else None
        dropped_ml = None if voxel_ml is None else 0.4
        labels.append(LabelMeasure(label.name, voxels, volume_ml, area_mm2, area_px, interval, hu, 2, dropped_ml))
        if label.role == "lesion" and voxels:
            lesions.append(
                _one_lesion(label.name, mask, volume_ml=volume_ml, area_mm2=area_mm2, area_px=area_px, hu=hu)
            )
    burden = {"tumour_burden_percent": 1.35} if "burden" in model.contract.measures else {}
    return Measurements(tuple(labels), tuple(lesions), burden)


def _one_lesion(
    name: str,
    mask: NDArray[np.bool_],
    *,
    volume_ml: float | None,
    area_mm2: float | None,
    area_px: int | None,
    hu: Hounsfield | None,
) -> Lesion:
    seen = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple((int(places[0]), int(places[-1]) + 1) for places in seen)
    return Lesion(
        id=1,
        label=name,
        voxels=int(np.count_nonzero(mask)),
        volume_ml=volume_ml,
        area_mm2=area_mm2,
        area_px=area_px,
        centroid_lps_mm=(1.0, 2.0, 3.0),
        bounding_box=(box[0], box[1], box[2]),
        longest_diameter_mm=36.2,
        perpendicular_diameter_mm=30.8,
        key_slice=int(np.argmax(np.count_nonzero(mask, axis=(1, 2)))),
        hu=hu,
    )


def result_of(
    labelmap: NDArray[np.uint8],
    *,
    grid: Grid | None = None,
    model: Model | None = None,
    kind: str = "dicom",
    nifti: StoredNifti | None = None,
    voxels: NDArray[Any] | None = None,
    geometry: GeometryVerdict | None = None,
) -> Result:
    """A result around a labelmap `[slice, row, column]`; whatever is not given is plain and known."""
    model = model or liver_model()
    grid = grid or (nifti.grid if nifti else dicom_grid(labelmap.shape))
    voxels = np.zeros(labelmap.shape, np.int16) if voxels is None else voxels
    is_picture = kind in ("png", "jpeg")
    return Result(
        study=Study(
            Volume(voxels, not is_picture, grid), origin(kind, grid.shape[0], nifti), geometry or GeometryVerdict()
        ),
        model=model,
        segmentation=Segmentation(labelmap),
        measurements=measured(labelmap, model, grid),
        warnings=(),
        engine="torchscript",
        options={},
        created=datetime(2026, 11, 22, 12, 30, tzinfo=UTC),
        timings_ms={"decode": 10.0, "infer": 20.0, "postprocess": 3.0, "measure": 4.0},
    )


def small_labelmap(shape: tuple[int, int, int] = (4, 5, 6)) -> NDArray[np.uint8]:
    """A liver block with a tumour voxel pair inside, off every centre so that no flip leaves it where it was."""
    labelmap = np.zeros(shape, np.uint8)
    labelmap[1:3, 1:4, 1:4] = 1
    labelmap[1, 2, 2:4] = 2
    return labelmap
