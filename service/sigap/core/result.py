"""One finished answer: everything that the encoders write down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sigap import __version__
from sigap.core.contract import Model
from sigap.core.measurement import Measurements
from sigap.core.segmentation import Notice, Segmentation
from sigap.core.study import Study


@dataclass(frozen=True)
class Result:
    """A study, its segmentation and its numbers.

    Attributes:
        warnings: about the answer, all of them.
        engine: the engine's name, e.g. `torchscript`.
        options: what the client asked for beyond the defaults, in JSON types.
        created: when, with a time zone.
        timings_ms: of the stages so far; `encode` and `total` are added by whoever writes the report.
        sigap_version: whose numbers they are; one that is kept may be written down by a later version.
    """

    study: Study
    model: Model
    segmentation: Segmentation
    measurements: Measurements
    warnings: tuple[Notice, ...]
    engine: str
    options: Mapping[str, Any]
    created: datetime
    timings_ms: Mapping[str, float]
    sigap_version: str = __version__
