"""DICOM CT: true geometry, CT numbers, and a verdict on both."""

from sigap.imaging.dicom.sniff import is_dicom
from sigap.imaging.dicom.study import read

__all__ = ["is_dicom", "read"]
