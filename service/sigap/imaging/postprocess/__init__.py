"""From thresholded probabilities to the labelmap, by the steps that the model's contract names."""

from __future__ import annotations

from sigap.imaging.postprocess.segment import segment
from sigap.imaging.postprocess.steps import check_steps

__all__ = ["check_steps", "segment"]
