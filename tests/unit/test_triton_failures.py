"""What Triton's words come to; the integration tests hear most of them from a real one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tritonclient.utils import InferenceServerException

from phantoms.results import liver_model
from sigap.core.errors import DeadlineExceeded, ModelError, TooLarge
from sigap.engines.triton.failures import (
    CallFailed,
    ModelSick,
    RegionLost,
    ServerAway,
    ServerBusy,
    VersionGone,
    call_failed,
    final,
    was_answered,
)

MODEL = replace(liver_model(), name="toy")


def said(code: str, words: str = "") -> InferenceServerException:
    return InferenceServerException(words, status=f"StatusCode.{code}" if code else None)


@pytest.mark.parametrize(
    ("code", "words", "kind", "is_answer"),
    [
        ("UNAVAILABLE", "Stream removed (Socket closed)", ServerAway, False),
        ("UNAVAILABLE", "failed to connect to all addresses", ServerAway, False),
        ("CANCELLED", "", ServerAway, False),
        ("UNAVAILABLE", "[request id: <id_unknown>] Exceeds maximum queue size", ServerBusy, True),
        ("UNAVAILABLE", "Request for unknown model: 'toy' version 1 is not at ready state", VersionGone, True),
        ("NOT_FOUND", "Request for unknown model: 'toy' version 7 is not found", VersionGone, True),
        ("INTERNAL", "Stub process 'toy_0' is not healthy.", ModelSick, True),
        ("INVALID_ARGUMENT", "Unable to find shared memory region: 'sigap-triton-0'", RegionLost, True),
        ("NOT_FOUND", "Unable to find shared memory region: 'sigap-triton-0'", RegionLost, True),
    ],
)
def test_what_may_pass(code: str, words: str, kind: type[CallFailed], is_answer: bool) -> None:
    error = said(code, words)
    assert type(call_failed(error)) is kind
    assert was_answered(error) is is_answer


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineExceeded),
        ("RESOURCE_EXHAUSTED", "Sent message larger than max", TooLarge),
        ("INTERNAL", "PyTorch execute failure: CUDA out of memory. Tried to allocate 2 GiB", TooLarge),
        ("INTERNAL", "PyTorch execute failure: /models/toy/1/model.pt: size mismatch", ModelError),
        ("INVALID_ARGUMENT", "inference request batch-size must be <= 4 for 'toy'", ValueError),
        ("", "got unexpected numpy array shape", ValueError),
    ],
)
def test_what_would_fail_again(code: str, words: str, kind: type[Exception]) -> None:
    error = said(code, words)
    assert call_failed(error) is None
    failure = final(error, MODEL, (4, 1, 512, 512))
    assert type(failure) is kind
    assert "/models" not in str(failure)


def test_a_deadline_says_nothing_of_what_the_server_does_now() -> None:
    assert not was_answered(said("DEADLINE_EXCEEDED"))
