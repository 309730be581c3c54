"""Warnings about the answer that the numbers and the input's tags give reason for."""

from __future__ import annotations

from sigap.core.contract import Contract
from sigap.core.measurement import Measurements
from sigap.core.segmentation import Notice, Segmentation
from sigap.core.study import Origin
from sigap.imaging.postprocess.region import bounding_box

# What scanners write into Contrast/Bolus Agent when none was given.
_NO_AGENT = {
    "NO",
    "NONE",
    "N",
    "NO CONTRAST",
    "WITHOUT",
    "WITHOUT CONTRAST",
    "W/O",
    "W/O CONTRAST",
    "UNENHANCED",
    "NATIVE",
}
_LOW_CONFIDENCE_RATIO = 0.5


def measurement_notices(
    segmentation: Segmentation, measurements: Measurements, contract: Contract
) -> tuple[Notice, ...]:
    """`organ_cut` and `low_confidence`, in this order, each at most once."""
    cut = [
        label.name for label in contract.labels if label.role == "organ" and _is_cut(label.name, segmentation, contract)
    ]
    unsure = [label.name for label in measurements.labels if label.voxels and _is_unsure(label.name, segmentation)]
    notices = []
    if cut:
        notices.append(
            Notice(
                "organ_cut",
                f"The {_list(cut)} reaches the first or last slice or the edge of the image: part of it may lie "
                "outside the scan, and its volume is a lower bound.",
            )
        )
    if unsure:
        notices.append(
            Notice(
                "low_confidence",
                f"The size of the {_list(unsure)} depends strongly on the threshold: at the highest of the model's "
                "three it is less than half of what it is at the lowest. Check the mask by eye.",
            )
        )
    return tuple(notices)


def expectation_notices(origin: Origin, contract: Contract) -> tuple[Notice, ...]:
    """`unexpected_body_part` and `unexpected_contrast`, from tags that are there; a missing tag says nothing."""
    notices = []
    expected = {_plain(part) for part in contract.body_parts}
    if origin.body_part and expected and _plain(origin.body_part) not in expected:
        notices.append(
            Notice(
                "unexpected_body_part",
                "The images are tagged as another part of the body than this model was made for "
                f"({', '.join(contract.body_parts)}). Its answer may mean nothing.",
            )
        )
    if origin.contrast_agent and contract.contrast is not None:
        was_given = _plain(origin.contrast_agent) not in _NO_AGENT
        if was_given != contract.contrast:
            seen, wanted = ("with", "without") if was_given else ("without", "with")
            notices.append(
                Notice(
                    "unexpected_contrast",
                    f"The images are tagged as taken {seen} contrast medium; this model was made for images "
                    f"{wanted} it.",
                )
            )
    return tuple(notices)


def _is_cut(name: str, segmentation: Segmentation, contract: Contract) -> bool:
    """Whether a label reaches a face of the volume. The single slice of a 2-D input is both first and last."""
    values = contract.family(name)
    labelmap = segmentation.labelmap
    box = bounding_box(labelmap)
    if box is None or not any(
        axis.start == 0 or axis.stop == length for axis, length in zip(box, labelmap.shape, strict=True)
    ):
        return False
    faces = (labelmap[0], labelmap[-1], labelmap[:, 0], labelmap[:, -1], labelmap[:, :, 0], labelmap[:, :, -1])
    return any((face == value).any() for face in faces for value in values)


def _is_unsure(name: str, segmentation: Segmentation) -> bool:
    """Whether the high threshold finds less than half of what the low one finds."""
    counts = segmentation.slice_voxels.get(name)
    if counts is None:
        return False
    low, _, high = counts.sum(axis=1).tolist()
    return bool(high < _LOW_CONFIDENCE_RATIO * low)


def _plain(text: str) -> str:
    return " ".join(text.replace("_", " ").upper().split())


def _list(names: list[str]) -> str:
    return " and ".join(names)
