"""The query options of POST /segment/{task}."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.datastructures import ImmutableMultiDict

from sigap.core.errors import BadParameter
from sigap.core.study import LARGEST_MM, DecodeOptions
from sigap.encoders.formats import FORMATS
from sigap.pipeline import RunOptions

_LEAST_MM = 0.001
_DISTANCE = r"(0\.0{0,2}[1-9][0-9]*|[1-9][0-9]{0,2}(\.[0-9]+)?)"
_DISTANCES = f"^{_DISTANCE}(,{_DISTANCE})?$"


def _check_distances(text: str) -> str:
    if not re.fullmatch(_DISTANCES, text):
        raise ValueError(
            f'give one distance or "row,column" from {_LEAST_MM} to {LARGEST_MM:.0f} mm, such as 0.7 or 0.7,0.8'
        )
    return text


def _distances(text: str) -> tuple[float, float]:
    numbers = [float(part) for part in text.split(",")]
    return numbers[0], numbers[-1]


_Format = Annotated[
    str | None,
    Field(
        description="Format of the answer. Beats `Accept`; without both it is json.",
        examples=["json"],
        json_schema_extra={"enum": [*FORMATS, None]},
    ),
]
_Acquisition = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=128,
        description="DICOM: which of interleaved acquisitions to take, as the refusal listed it.",
    ),
]
_Priority = Annotated[
    Literal["emergency", "routine", "batch"] | None,
    Field(description="Place in the queue; without it the task's own."),
]


Label = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=255,
        description="Of format stl: the label whose surface is wanted, one of /models. A task of one label needs none.",
        examples=["liver"],
    ),
]


class PullOptions(BaseModel):
    """Of a study that is pulled from the PACS; anything else in the query is refused."""

    model_config = ConfigDict(extra="forbid")

    format: _Format = None
    acquisition: _Acquisition = None
    priority: _Priority = None
    label: Label = None

    def run_options(self) -> RunOptions:
        """What the pipeline needs to know."""
        return RunOptions(decode=DecodeOptions(acquisition=self.acquisition))


class SegmentOptions(BaseModel):
    """Anything else in the query is refused: a misspelt option must not look as if it was obeyed."""

    model_config = ConfigDict(extra="forbid")

    format: _Format = None
    series_uid: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]+(\.[0-9]+)*$",
            max_length=64,
            description="DICOM: Series Instance UID of the series to take, where the upload has several.",
        ),
    ] = None
    acquisition: _Acquisition = None
    pixel_spacing_mm: Annotated[
        str | None,
        Field(
            description='PNG and JPEG: distance of the pixels in mm, one number or "row,column".',
            examples=["0.7", "0.7,0.8"],
            json_schema_extra={"pattern": _DISTANCES},
        ),
        AfterValidator(lambda text: text if text is None else _check_distances(text)),
    ] = None
    slice_thickness_mm: Annotated[
        float | None,
        Field(
            ge=_LEAST_MM,
            le=LARGEST_MM,
            allow_inf_nan=False,
            description="PNG and JPEG: thickness of the slice in mm.",
        ),
    ] = None
    priority: _Priority = None
    store_to: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9][a-z0-9_-]{0,62}(,[a-z0-9][a-z0-9_-]{0,62}){0,9}$",
            description="Names of the destinations that the result is sent to, separated by commas.",
        ),
    ] = None
    label: Label = None

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
