"""Sending to whoever the configuration names, by whichever protocol it speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sigap.core.errors import BadParameter, PacsRefused
from sigap.dicomnet import dimse
from sigap.dicomnet.commitment import commit
from sigap.dicomnet.configuration import Pacs, Peer, Source
from sigap.dicomnet.dicomweb import DicomWeb, Stored

# PS3.4 B.2.3 and PS3.7 annex C: out of resources and processing failure may pass.
_PASSING = range(0xA700, 0xA800)
_PROCESSING_FAILURE = 0x0110


def source(pacs: Pacs, name: str) -> Source:
    """A DICOMweb server by its name.

    Raises:
        BadParameter: there is none of that name; those that there are, are listed.
    """
    found = pacs.sources.get(name)
    if found is None:
        known = ", ".join(sorted(pacs.sources)) or "none"
        raise BadParameter(f"There is no such source. This server has: {known}.", slug="unknown-source")
    return found


def destination(pacs: Pacs, name: str) -> Source | Peer:
    """A source or peer by its name.

    Raises:
        BadParameter: there is none of that name; those that there are, are listed.
    """
    found = pacs.destination(name)
    if found is None:
        known = ", ".join(sorted([*pacs.sources, *pacs.peers])) or "none"
        raise BadParameter(f"There is no such destination. This server has: {known}.", slug="unknown-destination")
    return found


def echo(target: Source | Peer) -> None:
    """Whether it answers: C-ECHO, or a query for one study.

    Raises:
        PacsUnavailable: it does not.
    """
    if isinstance(target, Peer):
        dimse.echo(target)
        return
    with DicomWeb(target) as client:
        client.search("studies", {"limit": "1"})


def send(target: Source | Peer, paths: Sequence[Path], check: Callable[[], None] = lambda: None) -> Stored:
    """Store DICOM files there; a peer that offers storage commitment has to answer for them.

    Raises:
        PacsUnavailable: it is away, or does not say what became of them.
        PacsRefused: it takes none of them.
    """
    if isinstance(target, Peer):
        stored = dimse.store(target, paths, check)
        taken = [path for path in paths if dimse.instance_uid(path) in stored.accepted]
        if target.commitment is not None and taken:
            commit(target, target.commitment, taken, check)
        return stored
    with DicomWeb(target, check) as client:
        return client.store(paths)


def check_stored(stored: Stored, uids: Sequence[str]) -> None:
    """Make sure that every one of these instances was taken.

    Raises:
        PacsRefused: one was not; its slug is `pacs-busy` where trying again makes sense.
    """
    left = [uid for uid in uids if uid not in stored.accepted]
    if not left:
        return
    reasons = sorted({stored.failures.get(uid) for uid in left}, key=str)
    codes = ", ".join("unknown" if reason is None else f"{reason:04X}" for reason in reasons)
    raise PacsRefused(
        f"The PACS did not take {len(left)} of {len(uids)} objects (reason {codes}, PS3.4 B.2.3). "
        "Tell its administrator.",
        slug="pacs-busy" if all(may_pass(reason) for reason in reasons) else None,
    )


def may_pass(reason: int | None) -> bool:
    """Whether the same instance may be taken later."""
    return reason is not None and (reason in _PASSING or reason == _PROCESSING_FAILURE)
