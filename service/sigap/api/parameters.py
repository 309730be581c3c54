"""The query options of POST /segment/{task}."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.datastructures import ImmutableMultiDict

from sigap.core.errors import BadParameter
from sigap.core.study import DecodeOptions
from sigap.pipeline import RunOptions

# Wider than any scanner's, narrow enough that areas and volumes stay finite.
_LEAST_MM, _GREATEST_MM = 0.001, 1000.0


def _check_distances(text: str) -> str:
    _distances(text)
    return text


def _distances(text: str) -> tuple[float, float]:
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(_is_distance(number) for number in numbers):
        raise ValueError(
            f'give one distance or "row,column" between {_LEAST_MM} and {_GREATEST_MM:.0f} mm, such as 0.7 or 0.7,0.8'
        )
    return numbers[0], numbers[-1]


def _is_distance(number: float) -> bool:
    return math.isfinite(number) and _LEAST_MM <= number <= _GREATEST_MM


class SegmentOptions(BaseModel):
    """Anything else in the query is refused: a misspelt option must not look as if it was obeyed."""

    model_config = ConfigDict(extra="forbid")

    format: Annotated[
        str | None,
        Field(description="Format of the answer: json, nifti, png, coco or zip. Beats `Accept`.", examples=["json"]),
    ] = None
    series_uid: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]+(\.[0-9]+)*$",
            max_length=64,
            description="DICOM: Series Instance UID of the series to take, where the upload has several.",
        ),
    ] = None
    acquisition: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            description="DICOM: which of interleaved acquisitions to take, as the refusal listed it.",
        ),
    ] = None
    pixel_spacing_mm: Annotated[
        str | None,
        Field(
            description='PNG and JPEG: distance of the pixels in mm, one number or "row,column".',
            examples=["0.7", "0.7,0.8"],
        ),
        AfterValidator(lambda text: text if text is None else _check_distances(text)),
    ] = None
    slice_thickness_mm: Annotated[
        float | None,
        Field(
            ge=_LEAST_MM,
            le=_GREATEST_MM,
            allow_inf_nan=False,
            description="PNG and JPEG: thickness of the slice in mm.",
        ),
    ] = None
    priority: Annotated[
        Literal["emergency", "routine", "batch"] | None,
        Field(description="Place in the queue; without it the task's own."),
    ] = None

    def run_options(self) -> RunOptions:
        """What the pipeline needs to know."""
        return RunOptions(
            decode=DecodeOptions(
                series_uid=self.series_uid,
                acquisition=self.acquisition,
                pixel_spacing_mm=None if self.pixel_spacing_mm is None else _distances(self.pixel_spacing_mm),
                slice_thickness_mm=self.slice_thickness_mm,
            )
        )


def check_query(query: ImmutableMultiDict[str, str]) -> None:
    """Refuse an option that is given twice.

    Raises:
        BadParameter: one is; which of the two was meant?
    """
    if len(query.multi_items()) != len(query):
        raise BadParameter("A query parameter is given more than once. Give each at most once.")
