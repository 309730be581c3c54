"""UIDs that are a function of what they name: equal results give equal objects, unequal ones never share a UID."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict

from pydicom.uid import UID

from sigap import __version__
from sigap.core.contract import Model
from sigap.core.result import Result
from sigap.core.study import Origin
from sigap.encoders.labels import labelmap_of

IMPLEMENTATION_CLASS_UID = UID("2.25.170308353733984872505110761709471714540")
"""Names this software in every file that it writes."""
_ENCODERS = "1"
"""Counted up whenever an encoder writes something else for the same result."""


class Uids:
    """The UIDs of the objects made from one result.

    They depend on all that the objects' content depends on: the source's SOP Instance UIDs and bytes, what is
    carried over from them, the mask, the model's weights and contract, the options, when the run was, the local time
    that dates are written in, and the versions of the encoders and of Sigap.
    """

    def __init__(self, result: Result) -> None:
        origin, segmentation = result.study.origin, result.segmentation
        labels = hashlib.sha256()
        for plane in labelmap_of(result):
            labels.update(plane.tobytes())
        parts = {
            "encoders": _ENCODERS,
            "versions": [__version__, result.sigap_version],
            "model": asdict(result.model),
            "engine": result.engine,
            "options": dict(result.options),
            "created": result.created.isoformat(),
            "local": result.created.astimezone().isoformat(),
            "source": [origin.sha256, origin.study_uid, origin.series_uid],
            "header": "" if origin.dicom is None else hashlib.sha256(origin.dicom.header).hexdigest(),
            "slices": [] if origin.dicom is None else [asdict(one) for one in origin.dicom.slices],
            "labels": labels.hexdigest(),
            "thresholds": {name: counts.tolist() for name, counts in segmentation.slice_voxels.items()},
        }
        self._digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).digest()

    def of(self, *names: object) -> UID:
        """The UID of one thing among those of the result, e.g. `of("seg", "series")`."""
        return _derived(self._digest, *names)


def frame_of_reference(origin: Origin) -> UID:
    """A name for the frame of reference of a series that names none: the same for all that is made from the series."""
    return _derived(b"frame of reference", origin.study_uid, origin.series_uid)


def device(model: Model) -> UID:
    """A name for this software with one model's weights, whatever it is used on."""
    return _derived(b"device", model.sha256)


def _derived(seed: bytes, *names: object) -> UID:
    """A UUID as a UID (PS3.5 B.2), its bits a hash."""
    digest = hashlib.sha256(seed + json.dumps([str(name) for name in names]).encode()).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}")
