"""C-ECHO and C-STORE to a peer, and its commitment to what it has stored."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import FileDataset, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made when imported

from sigap.core.errors import InputError, PacsRefused, PacsUnavailable
from sigap.dicomnet.configuration import Peer
from sigap.dicomnet.dicomweb import Stored
from sigap.dicomnet.transport import tls_context

_SUCCESS, _WARNINGS = 0x0000, (0xB000, 0xB006, 0xB007)
_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_MOST_CONTEXTS = 128


def echo(peer: Peer) -> None:
    """Verify that the peer answers (C-ECHO).

    Raises:
        PacsUnavailable: it does not.
    """
    with association(peer, [(Verification, list(_NATIVE))]) as opened:
        status = opened.send_c_echo()
        if "Status" not in status or status.Status != _SUCCESS:
            raise PacsUnavailable("The PACS accepted the association and did not answer C-ECHO.")


def store(peer: Peer, paths: Sequence[Path], check: Callable[[], None] = lambda: None) -> Stored:
    """Send DICOM files (C-STORE), all on one association.

    Args:
        peer: to whom.
        paths: the files.
        check: called between files; what it raises ends the exchange.

    Raises:
        InputError: a file is no DICOM.
        PacsUnavailable: the peer is away, or goes away in the middle.
        PacsRefused: it accepts none of the files' kinds.
    """
    accepted: set[str] = set()
    failures: dict[str, int | None] = {}
    with association(peer, _contexts(paths)) as opened:
        for path in paths:
            check()
            uid, status = _send(opened, path)
            if status is not None and (status == _SUCCESS or status in _WARNINGS):
                accepted.add(uid)
            else:
                failures[uid] = status
    return Stored(frozenset(accepted), failures)


@contextmanager
def association(
    peer: Peer,
    contexts: Sequence[tuple[UID, list[UID]]],
    handlers: Sequence[tuple[object, Callable[..., object]]] = (),
    *,
    silence_s: float | None = None,
) -> Iterator[Association]:
    """An association with these presentation contexts, released at the end of the block.

    Args:
        peer: with whom.
        contexts: abstract syntaxes, each with its transfer syntaxes.
        handlers: of what the peer asks on it.
        silence_s: after so long without a word it is aborted; None: the peer's `timeout_s`.

    Raises:
        PacsUnavailable: there is none to be had.
        PacsRefused: the peer accepts none of the contexts.
    """
    entity = AE(ae_title=peer.calling_ae_title)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = peer.timeout_s
    entity.network_timeout = peer.timeout_s if silence_s is None else silence_s
    for abstract, syntaxes in contexts:
        entity.add_requested_context(abstract, syntaxes)
    opened = entity.associate(
        peer.host,
        peer.port,
        ae_title=peer.ae_title,
        tls_args=_tls(peer),
        evt_handlers=list(handlers),  # type: ignore[arg-type]  # its own type of events is private
    )
    if not opened.is_established:
        if opened.rejected_contexts:
            raise PacsRefused("The PACS does not take objects of these kinds.")
        raise _unavailable(opened)
    try:
        yield opened
    except BaseException:
        opened.abort()
        raise
    opened.release()


def _unavailable(opened: Association) -> PacsUnavailable:
    if opened.is_rejected:
        return PacsUnavailable(
            "The PACS rejects the association. Tell the administrator: it may not know Sigap's AE title, or the one "
            "that it is called by.",
            slug="pacs-forbidden",
        )
    return PacsUnavailable("The PACS cannot be reached by DICOM. Try again later or tell the administrator.")


def _send(opened: Association, path: Path) -> tuple[str, int | None]:
    """The file's SOP Instance UID and the peer's status; None: the peer accepts nothing of its kind."""
    dataset = _read(path)
    uid = str(dataset.SOPInstanceUID)
    try:
        status = opened.send_c_store(dataset)
    except ValueError:
        # No accepted presentation context fits, or the data set cannot be written in one that does.
        return uid, None
    except RuntimeError as error:
        raise PacsUnavailable("The PACS ended the association in the middle.", slug="pacs-incomplete") from error
    if "Status" not in status:
        raise PacsUnavailable("The PACS ended the association in the middle.", slug="pacs-incomplete")
    return uid, int(status.Status)


def _contexts(paths: Sequence[Path]) -> list[tuple[UID, list[UID]]]:
    """What is proposed for these files: each class as it is stored, and uncompressed ones in either encoding."""
    wanted: dict[tuple[UID, UID], list[UID]] = {}
    for path in paths:
        head = _read(path, only_head=True)
        syntax = UID(head.file_meta.TransferSyntaxUID)
        syntaxes = list(_NATIVE) if not syntax.is_compressed else [syntax]
        wanted[UID(head.SOPClassUID), syntaxes[0]] = syntaxes
    if len(wanted) > _MOST_CONTEXTS:
        raise PacsRefused("The files are of more kinds than one association can have.")
    return [(abstract, syntaxes) for (abstract, _), syntaxes in wanted.items()]


def _read(path: Path, *, only_head: bool = False) -> FileDataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path, stop_before_pixels=only_head)
        _ = dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.file_meta.TransferSyntaxUID
    except Exception as error:  # pydicom raises whatever it meets in broken bytes
        raise InputError("A file is no DICOM file that can be sent.", slug="unreadable") from error
    return dataset


def _tls(peer: Peer) -> tuple[ssl.SSLContext, str] | None:
    if peer.tls is None:
        return None
    context = tls_context(peer.tls.ca_file, peer.tls.certificate_file, peer.tls.key_file)
    context.check_hostname = peer.tls.checks_host
    return context, peer.host


def instance_identity(path: Path) -> tuple[str, str]:
    """SOP Class and SOP Instance UID of a DICOM file; raises `InputError` where it is none."""
    head = _read(path, only_head=True)
    return str(head.SOPClassUID), str(head.SOPInstanceUID)


def instance_uid(path: Path) -> str:
    """The SOP Instance UID of a DICOM file; raises `InputError` where it is none."""
    return instance_identity(path)[1]
