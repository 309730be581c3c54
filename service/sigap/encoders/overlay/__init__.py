"""The picture of an answer: contours on the slices that matter, the patient's right on the viewer's left."""

from sigap.encoders.overlay.sheet import write_overlay

__all__ = ["write_overlay"]
