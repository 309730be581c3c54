"""The numbers of a report, read off a segmentation: docs/measurements.md defines each of them."""

from __future__ import annotations

from sigap.imaging.measure.measurements import measure
from sigap.imaging.measure.notices import expectation_notices, measurement_notices

__all__ = ["expectation_notices", "measure", "measurement_notices"]
