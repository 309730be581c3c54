"""JPEG of 12 bits with loss (process 4), which pydicom's plugins leave out; GDCM reads it when asked itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGExtended12Bit

from sigap.imaging.dicom.layout import PixelLayout

_PIXEL_DATA = gdcm.Tag(0x7FE0, 0x0010)


def is_jpeg12(layout: PixelLayout) -> bool:
    """Whether pixels are of this kind."""
    return layout.syntax == JPEGExtended12Bit and layout.bits_stored > 8 and layout.bits_allocated == 16


def decode_jpeg12(stream: BinaryIO, layout: PixelLayout) -> Iterator[NDArray[Any]]:
    """Decode all frames.

    Args:
        stream: at the start of the pixel data's value.
        layout: its size and type.

    Yields:
        (rows, columns), stored values.

    Raises:
        RuntimeError: a frame cannot be decoded.
    """
    dtype = np.int16 if layout.is_signed else np.uint16
    for frame in generate_frames(stream, number_of_frames=layout.frames):
        image = _image(frame, layout)
        # SWIG hands the bytes over as text; whatever is no UTF-8 is escaped.
        decoded = image.GetBuffer().encode("utf-8", "surrogateescape")
        plane = np.frombuffer(decoded, dtype)
        if plane.size != layout.rows * layout.columns:
            raise RuntimeError("GDCM could not decode a 12-bit JPEG")
        yield plane.reshape(layout.rows, layout.columns)


def _image(frame: bytes, layout: PixelLayout) -> gdcm.Image:
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(_PIXEL_DATA)
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    monochrome = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str.__str__(layout.syntax))))
    bits = layout.bits_stored
    image.SetPixelFormat(gdcm.PixelFormat(1, layout.bits_allocated, bits, bits - 1, int(layout.is_signed)))
    return image
