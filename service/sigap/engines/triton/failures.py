"""What Triton and gRPC say when a call fails, turned into our own errors: here and nowhere else.

    CallFailed                it may be answered by another server, or later
    ├── ServerAway            the server is not there, or went in mid-call
    ├── ServerBusy            its queue is full
    ├── VersionGone           it does not serve this version of the model now
    ├── ModelSick             the model's process is broken there
    └── RegionLost            it does not know our shared memory, as after a restart

Anything else is final: the same call would fail again.
"""

from __future__ import annotations

from tritonclient.utils import InferenceServerException

from sigap.core.contract import Model
from sigap.core.errors import DeadlineExceeded, ModelError, TooLarge

# What torch's allocators say, on the CPU and on CUDA.
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")
# Both PyTorch backends, libtorch's and the CPU's, begin so when the model itself fails on its input.
_MODEL_FAILED = "PyTorch execute failure"


class CallFailed(Exception):
    """One server could not answer one call."""


class ServerAway(CallFailed):
    """It cannot be reached, or was lost in mid-call."""


class ServerBusy(CallFailed):
    """Its queue for this model is full."""


class VersionGone(CallFailed):
    """It does not serve this version now."""


class ModelSick(CallFailed):
    """It serves the version, and every call of it fails."""


class RegionLost(CallFailed):
    """It does not know the shared memory that the call names."""


def call_failed(error: InferenceServerException) -> CallFailed | None:
    """What kind of passing failure it is; None: it is final."""
    kind = _kind(status(error), error.message())
    return None if kind is None else kind(error.message())


def _kind(code: str, words: str) -> type[CallFailed] | None:
    says = {
        "shared memory region": RegionLost,
        "maximum queue size": ServerBusy,
        "unknown model": VersionGone,
        "not ready": VersionGone,
    }
    said = next((kind for part, kind in says.items() if part in words), None)
    if said is RegionLost or (said and code == "UNAVAILABLE"):
        return said
    if code == "INTERNAL":
        return None if _MODEL_FAILED in words else ModelSick
    codes = {"NOT_FOUND": VersionGone} | dict.fromkeys(("UNAVAILABLE", "CANCELLED", "UNKNOWN", "ABORTED"), ServerAway)
    return codes.get(code)


def final(error: InferenceServerException, model: Model, shape: tuple[int, ...]) -> Exception:
    """What a call of a model that would fail again comes to."""
    code, words = status(error), error.message()
    rows, columns = shape[2:]
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded("The inference server took longer than a request may.")
    if code == "RESOURCE_EXHAUSTED" or any(said in words for said in _NO_MEMORY):
        return TooLarge(
            f"Slices of {rows:,} x {columns:,} pixels need more memory than the model can have. Send smaller ones."
        )
    if code == "INTERNAL":
        return ModelError(f"model {model.name!r} cannot be run on slices of {rows} x {columns}")
    return ValueError(f"Triton refuses a call of model {model.name!r} with {shape}: {code}, {words}")


def was_answered(error: InferenceServerException) -> bool:
    """Whether the server itself has said so, and is done with the call."""
    answers = {"INTERNAL", "INVALID_ARGUMENT", "NOT_FOUND"}
    return status(error) in answers or isinstance(call_failed(error), (ServerBusy, VersionGone))


def status(error: InferenceServerException) -> str:
    """The gRPC status, e.g. `UNAVAILABLE`; of an error that the client itself makes it is empty."""
    return str(error.status() or "").removeprefix("StatusCode.")
