"""Everything that can go wrong for a reason a user can act on.

    SigapError
    ├── InputError                what was sent cannot be answered
    │   ├── UnsupportedFormat     not a format we read
    │   ├── TooLarge              over a cap on bytes, members, pixels or memory
    │   ├── UnreadableInput       empty, truncated, unsafe, or of two kinds
    │   ├── BadParameter          an option that is unknown or makes no sense
    │   ├── KeyReused             an Idempotency-Key that names another request
    │   ├── FormatNotForInput     a form of the answer that this input does not allow
    │   └── GeometryRefused       readable, but a number from it could not be trusted
    ├── UnknownTask               no model of that name
    ├── ModelError                a model folder that breaks the contract
    ├── EngineMissing             the engine's packages are not installed
    ├── EngineUnavailable         the engine cannot answer now
    │   └── ModelReplaced         the version that a run began with is no longer served
    ├── QueueFull                 too much work is waiting
    ├── StorageFull               no room on disk for what was sent
    │   └── NeverRoom             nor would there be, were the disk empty
    ├── PacsUnavailable           the PACS is away, answers half, or not as a PACS
    ├── PacsRefused               the PACS did not take what was sent to it
    ├── DatabaseUnavailable       the job store cannot be reached
    │   └── DatabaseTooNew        it was written by a newer version
    ├── UnknownJob                no job of that id, or erased
    ├── KeptUnreadable            a kept result is damaged
    ├── JobStateForbids           a job's state does not allow what was asked
    ├── DeadlineExceeded          the request's time is over
    └── Cancelled                 nobody waits for the answer any more

Each carries a `slug`, the last part of its problem type, and a message for the person who sent the input: what is wrong
and what to do. A message never names a path, a patient or a file's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigap.core.study import Origin
    from sigap.core.verdict import GeometryVerdict


class SigapError(Exception):
    """Base of all errors that are meant for a user."""

    slug = "internal"

    def __init__(self, message: str, *, slug: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if slug is not None:
            self.slug = slug


class InputError(SigapError):
    """What was sent cannot be answered."""

    slug = "bad-input"


class UnsupportedFormat(InputError):
    """Not NIfTI, DICOM, PNG or JPEG, whatever its name says."""

    slug = "unsupported-format"


class TooLarge(InputError):
    """Over a cap on bytes, unpacked bytes, members, pixels or memory."""

    slug = "too-large"


class UnreadableInput(InputError):
    """The right format, but empty, truncated, unsafe or of two kinds at once."""

    slug = "unreadable"


class BadParameter(InputError):
    """An option that is unknown or makes no sense."""

    slug = "bad-parameter"


class FormatNotForInput(InputError):
    """A form of the answer that this input does not allow, such as DICOM SEG for a PNG."""

    slug = "not-acceptable"


class GeometryRefused(InputError):
    """Readable, but its geometry would make the answer wrong."""

    slug = "geometry-refused"

    def __init__(self, verdict: GeometryVerdict, origin: Origin | None = None) -> None:
        super().__init__(" ".join(reason.message for reason in verdict.refusals))
        self.verdict = verdict
        self.origin = origin


class UnknownTask(SigapError):
    """No model of that name is loaded."""

    slug = "unknown-task"


class ModelError(SigapError):
    """A model folder that breaks the model contract."""

    slug = "bad-model"


class EngineMissing(SigapError):
    """The packages of the engine that was asked for are not installed."""

    slug = "engine-missing"


class EngineUnavailable(SigapError):
    """The engine cannot answer now; the same request may succeed later."""

    slug = "engine-unavailable"


class ModelReplaced(EngineUnavailable):
    """The model's version is no longer served, and another one is: whoever began with it starts over."""


class PacsUnavailable(SigapError):
    """The PACS is away, slow, answers half, or not as a PACS does; the same request may succeed later."""

    slug = "pacs-unavailable"


class PacsRefused(SigapError):
    """The PACS has answered, and did not take what was sent to it."""

    slug = "pacs-refused"


class QueueFull(SigapError):
    """As much work is waiting as may wait."""

    slug = "queue-full"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageFull(SigapError):
    """The disk, or the part of it that uploads may take, is full."""

    slug = "storage-full"


class NeverRoom(StorageFull):
    """A study that is larger than all the room there is, its result included: no later time would change that."""

    def __init__(self) -> None:
        super().__init__("The study and its result take more than all of the server's space. Send fewer slices.")


class DatabaseUnavailable(SigapError):
    """The job store cannot be reached now."""

    slug = "database-unavailable"


class DatabaseTooNew(DatabaseUnavailable):
    """A newer version of Sigap has written the job store."""

    slug = "database-too-new"


class UnknownJob(SigapError):
    """There is no job of that id, or it was erased."""

    slug = "unknown-job"

    def __init__(self) -> None:
        super().__init__("There is no such job. It may have been erased, or its time was over.")


class KeptUnreadable(SigapError):
    """A kept result that is damaged, of another version of Sigap, or not about this study."""

    slug = "kept-unreadable"


class JobStateForbids(SigapError):
    """What was asked does not go with the job's state."""

    slug = "job-state"

    def __init__(self, message: str, *, state: str) -> None:
        super().__init__(message)
        self.state = state


class KeyReused(InputError):
    """An Idempotency-Key names one request, and this is another."""

    slug = "idempotency-key-reused"


class DeadlineExceeded(SigapError):
    """The time that a request may take is over."""

    slug = "deadline-exceeded"


class Cancelled(SigapError):
    """Nobody waits for the answer any more."""

    slug = "cancelled"
