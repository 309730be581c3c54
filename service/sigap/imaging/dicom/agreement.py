"""Checks of a series' headers: does every slice say what is needed, and do all say the same?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from pydicom.uid import UID

from sigap.core.verdict import Reason, Severity
from sigap.imaging.dicom.frames import Frame
from sigap.imaging.dicom.planes import plane_axes
from sigap.imaging.dicom.series import MAX_ANGLE_DEGREES

# No scanner is outside of these; within them no CT number overflows and no measure becomes infinite.
_SPACINGS_MM = (1e-3, 100.0)
_SLOPES = (1e-6, 1000.0)
_LARGEST_INTERCEPT = 100_000.0
# Makers round: spacing to five or six digits, cosines to four or more. A real difference is far larger.
_SPACING_FRACTION = 1e-3
_ORIENTATION_DEGREES = 0.2
_LOSSY_SYNTAXES = {
    UID("1.2.840.10008.1.2.4.50"): "JPEG baseline",
    UID("1.2.840.10008.1.2.4.51"): "JPEG extended",
    UID("1.2.840.10008.1.2.4.81"): "JPEG-LS near-lossless",
}
# These two may hold either; the codestream knows which wavelet it used.
_EITHER_SYNTAXES = {UID("1.2.840.10008.1.2.4.91"): "JPEG 2000", UID("1.2.840.10008.1.2.4.203"): "HT JPEG 2000"}


def check_agreement(frames: Sequence[Frame]) -> list[Reason]:
    """All findings that need no order of slices, worst first within each check."""
    checks: tuple[Callable[[Sequence[Frame]], list[Reason]], ...] = (
        _check_spacing,
        _check_plane,
        _check_size,
        _check_frame_of_reference,
        _check_hounsfield,
        _check_lossy,
    )
    return [reason for check in checks for reason in check(frames)]


def _refused(code: str, message: str, **numbers: Any) -> Reason:
    return Reason(code, Severity.REFUSED, message, numbers)


def _check_spacing(frames: Sequence[Frame]) -> list[Reason]:
    lacking = {
        "Pixel Spacing": sum(not has_spacing(frame) for frame in frames),
        "Image Position (Patient)": sum(frame.position_mm is None for frame in frames),
        "Image Orientation (Patient)": sum(frame.orientation is None for frame in frames),
    }
    crooked = sum(frame.orientation is not None and plane_axes(frame.orientation) is None for frame in frames)
    parts = [f"{count} of {len(frames)} slices have no usable {name}" for name, count in lacking.items() if count]
    if crooked:
        parts.append(
            f"in {crooked} of {len(frames)} slices the Image Orientation (Patient) is not two perpendicular directions"
        )
    if not parts:
        return []
    numbers = {"slices": len(frames), "without_pixel_spacing": lacking["Pixel Spacing"]}
    numbers |= {"without_position": lacking["Image Position (Patient)"]}
    numbers |= {"without_orientation": lacking["Image Orientation (Patient)"] + crooked}
    return [_refused("no_spacing", f"Nothing can be measured: {'; '.join(parts)}.", **numbers)]


def has_spacing(frame: Frame) -> bool:
    """Whether rows and columns have a distance that a scanner can have."""
    least, most = _SPACINGS_MM
    return frame.pixel_spacing_mm is not None and all(least <= distance <= most for distance in frame.pixel_spacing_mm)


def _check_plane(frames: Sequence[Frame]) -> list[Reason]:
    axes = [plane for frame in frames if (plane := plane_axes(frame.orientation)) is not None]
    steep = [plane.angle_degrees for plane in axes if plane.angle_degrees > MAX_ANGLE_DEGREES]
    if 2 * len(steep) <= len(axes) or not steep:
        return []
    angle = median(steep)
    message = f"The slices are not axial: they stand {angle:.0f}° off the patient's axis; send the axial series."
    return [_refused("not_axial", message, angle_degrees=angle, limit_degrees=MAX_ANGLE_DEGREES)]


def _check_size(frames: Sequence[Frame]) -> list[Reason]:
    sizes = {(frame.image.layout.rows, frame.image.layout.columns) for frame in frames}
    spacings = [frame.pixel_spacing_mm for frame in frames if frame.pixel_spacing_mm is not None and has_spacing(frame)]
    parts: list[str] = []
    numbers: dict[str, Any] = {}
    if len(sizes) > 1:
        parts.append(f"{len(sizes)} image sizes")
        numbers["sizes"] = sorted([rows, columns] for rows, columns in sizes)
    for axis, name in enumerate(("row", "column")):
        values = [spacing[axis] for spacing in spacings]
        if values and max(values) - min(values) > _SPACING_FRACTION * median(values):
            parts.append(f"{name} spacings from {min(values):g} to {max(values):g} mm")
            numbers[f"{name}_spacing_mm"] = [min(values), max(values)]
    angle = _largest_angle(frames)
    if angle > _ORIENTATION_DEGREES:
        parts.append(f"orientations that differ by up to {angle:.1f}°")
        numbers["angle_degrees"] = angle
    if not parts:
        return []
    return [_refused("mixed_size", f"The slices do not fit together: the series has {', '.join(parts)}.", **numbers)]


def _largest_angle(frames: Sequence[Frame]) -> float:
    axes = [plane_axes(cosines) for cosines in dict.fromkeys(frame.orientation for frame in frames)]
    placed = [plane for plane in axes if plane is not None]
    return max((placed[0].differs_degrees(plane) for plane in placed[1:]), default=0.0)


def _check_frame_of_reference(frames: Sequence[Frame]) -> list[Reason]:
    """An absent Frame of Reference says nothing; two different ones have no known relation to each other."""
    found = {frame.image.frame_of_reference for frame in frames} - {None}
    if len(found) < 2:
        return []
    message = f"The slices lie in {len(found)} frames of reference, whose positions cannot be compared."
    return [_refused("mixed_frame_of_reference", message, frames_of_reference=len(found))]


def _check_hounsfield(frames: Sequence[Frame]) -> list[Reason]:
    without = sum(frame.slope is None or frame.intercept is None for frame in frames)
    # A negative slope would turn bone into air.
    senseless = sum(frame.slope is not None and frame.slope <= 0 for frame in frames)
    absurd = sum(_is_absurd(frame) for frame in frames)
    types = sorted(
        {frame.rescale_type for frame in frames if frame.rescale_type and frame.rescale_type.upper() != "HU"}
    )
    is_float = any(frame.image.layout.is_float for frame in frames)
    parts = []
    if without:
        parts.append(f"{without} of {len(frames)} slices lack Rescale Slope or Intercept")
    if senseless:
        parts.append(f"in {senseless} of {len(frames)} slices the Rescale Slope is not positive")
    if absurd:
        parts.append(f"in {absurd} of {len(frames)} slices Rescale Slope or Intercept is beyond what a scanner writes")
    if types:
        parts.append(f"the Rescale Type is {', '.join(types)} where HU is needed")
    if is_float:
        parts.append("the pixels are no CT numbers but floating point values")
    if not parts:
        return []
    numbers = {"slices": len(frames), "without_rescale": without, "senseless_slope": senseless, "rescale_types": types}
    numbers |= {"absurd_rescale": absurd} if absurd else {}
    return [_refused("not_hounsfield", f"The pixels cannot be turned into HU: {'; '.join(parts)}.", **numbers)]


def _is_absurd(frame: Frame) -> bool:
    least, most = _SLOPES
    is_slope = frame.slope is not None and frame.slope > 0 and not least <= frame.slope <= most
    return is_slope or abs(frame.intercept or 0.0) > _LARGEST_INTERCEPT


def _check_lossy(frames: Sequence[Frame]) -> list[Reason]:
    lossy = [frame for frame in frames if _is_lossy(frame)]
    if not lossy:
        return []
    message = f"{len(lossy)} of {len(frames)} slices were compressed with loss; fine detail and CT numbers may be off."
    syntaxes = sorted({frame.image.layout.syntax.name for frame in lossy})
    return [Reason("lossy", Severity.WARNING, message, {"slices": len(lossy), "transfer_syntaxes": syntaxes})]


def _is_lossy(frame: Frame) -> bool:
    layout = frame.image.layout
    was_rounded = layout.codestream is not None and layout.codestream.is_irreversible
    return frame.image.is_declared_lossy or layout.syntax in _LOSSY_SYNTAXES or was_rounded
