"""The C-STORE and C-ECHO provider: who may send, what is taken, and what the sender is told."""

from __future__ import annotations

import io
import socket
import ssl
import sys
import threading
import zlib
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import structlog
from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made when imported
from pynetdicom.transport import ThreadedAssociationServer

from sigap.core.errors import StorageFull
from sigap.dicomnet.arrivals import Arrivals
from sigap.dicomnet.configuration import Listener, ListenerTls
from sigap.dicomnet.spool import Spool
from sigap.imaging.dicom.frames import CT_CLASSES
from sigap.imaging.dicom.quiet import quiet

SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    RLELossless,
    JPEGLSNearLossless,
    JPEG2000,
    HTJ2K,
    JPEGExtended12Bit,
    JPEGBaseline8Bit,
)
"""What is accepted: all that can be decoded, lossless ones first."""

SUCCESS, PROCESSING_FAILURE, OUT_OF_RESOURCES, MISMATCH, NOT_UNDERSTOOD = 0x0000, 0x0110, 0xA700, 0xA900, 0xC000
_HANDSHAKE_S = 10.0
_logger = structlog.stdlib.get_logger("sigap.dicomnet")
_DEFLATED_HEAD = 1 << 20
_LAST_TAG = 0x0020000E
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


class Receiver:
    """Listens from `start` to `stop`.

    Args:
        listener: address, titles and TLS.
        spool: where instances are kept.
        arrivals: told of what comes.
        passed: told of every named point of an instance's way; tests end the process there.
    """

    def __init__(
        self, listener: Listener, spool: Spool, arrivals: Arrivals, passed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._listener = listener
        self._spool = spool
        self._arrivals = arrivals
        self._passed = passed
        self._server: _Server | None = None
        self._thread = threading.Thread(target=self._serve, name="sigap-receiver", daemon=True)

    @property
    def port(self) -> int:
        """The one that it listens on."""
        assert self._server is not None  # noqa: S101 - asked for after `start` only
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        listener = self._listener
        entity = AE(ae_title=listener.ae_title)
        entity.require_called_aet = True
        entity.require_calling_aet = list(listener.calling_ae_titles)
        entity.maximum_associations = listener.associations
        for abstract in CT_CLASSES:
            entity.add_supported_context(UID(abstract), list(SYNTAXES))
        entity.add_supported_context(Verification, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_RELEASED, self._on_end, [True]),
            # Of a connection that is lost too.
            (evt.EVT_ABORTED, self._on_end, [False]),
            (evt.EVT_REJECTED, self._on_rejected),
        ]
        server = entity.make_server(
            (listener.host, listener.port),
            ssl_context=None if listener.tls is None else _tls(listener.tls),
            evt_handlers=handlers,  # type: ignore[arg-type]  # its own type of events is private
            server_class=_Server,
        )
        assert isinstance(server, _Server)  # noqa: S101 - narrows the type
        server.networks = [ip_network(network) for network in listener.addresses]
        self._server = server
        self._thread.start()

    def stop(self) -> None:
        """Take no new association and end those that are open; what was accepted is safe."""
        if self._server is not None:
            self._server.shutdown()
            self._server.ae.shutdown()
            self._thread.join()

    def _serve(self) -> None:
        assert self._server is not None  # noqa: S101 - made before the thread is started
        self._server.serve_forever(poll_interval=0.1)

    def _store(self, event: evt.Event) -> int:
        try:
            status = self._keep(event)
        except StorageFull:
            status = OUT_OF_RESOURCES
        except Exception:
            _logger.exception("an instance could not be kept")
            status = PROCESSING_FAILURE
        if status != SUCCESS:
            _logger.warning("instance refused", status=f"{status:04X}")
        return status

    def _keep(self, event: evt.Event) -> int:
        request: Any = event.request
        head = _head(request.DataSet, event.context.transfer_syntax)
        if head is None:
            return NOT_UNDERSTOOD
        values = {keyword: str(head.get(keyword) or "") for keyword in _UIDS}
        announced = (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        if not all(values.values()) or (values["SOPClassUID"], values["SOPInstanceUID"]) != announced:
            return MISMATCH
        study_uid = values["StudyInstanceUID"]
        # Noted first: a study whose instances change while nothing of it is awaited is taken for complete.
        self._arrivals.note(id(event.assoc), self._spool.study(study_uid).id)
        self._spool.keep(study_uid, event.file_meta, request.DataSet.getbuffer())
        self._passed("kept")
        return SUCCESS

    def _on_end(self, event: evt.Event, is_orderly: bool) -> None:  # noqa: FBT001 - pynetdicom gives it by position
        self._arrivals.end(id(event.assoc), is_orderly=is_orderly)

    def _on_rejected(self, _: evt.Event) -> None:
        _logger.warning("association rejected")


class _Server(ThreadedAssociationServer):
    """Turns strangers away before a byte of theirs is read.

    Attributes:
        networks: from where connections are taken.
    """

    networks: Sequence[Any] = ()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """A connection; an `OSError` makes the server go on to the next one."""
        assert self.socket is not None  # noqa: S101 - of a server that listens
        connection, address = self.socket.accept()
        try:
            if not self._is_allowed(address[0]):
                _logger.warning("connection from an address that is not allowed")
                raise PermissionError
            if self.ssl_context is not None:
                connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except OSError:
            connection.close()
            raise
        return connection, address

    def _is_allowed(self, host: str) -> bool:
        address = ip_address(host.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: a client that is silent in the handshake keeps no other waiting."""
        if isinstance(request, ssl.SSLSocket):
            request.settimeout(_HANDSHAKE_S)
            request.do_handshake()
            request.settimeout(None)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """Socketserver would print a traceback and the address."""
        _logger.error("association", error=type(sys.exception()).__name__)

    def shutdown(self) -> None:
        """Its parent's asks the entity to forget a server that only `start_server` has made known to it."""
        self.ae._servers.append(self)  # noqa: SLF001 - see above
        super().shutdown()


def _head(content: io.BytesIO, syntax: UID) -> Dataset | None:
    """The instance's header as far as it is needed; None where it cannot be read."""
    try:
        content.seek(0)
        if syntax.is_deflated:
            # A little of it: what is packed may be endless.
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            content = io.BytesIO(inflater.decompress(content.getbuffer(), _DEFLATED_HEAD))
        with quiet():
            return read_dataset(
                content,
                syntax.is_implicit_VR,
                syntax.is_little_endian,
                stop_when=lambda tag, _vr, _length: tag > _LAST_TAG,
                specific_tags=[Tag(keyword) for keyword in _UIDS],
            )
    except Exception:  # noqa: BLE001 - pydicom raises whatever it meets in broken bytes
        return None


def _tls(tls: ListenerTls) -> ssl.SSLContext:
    """TLS 1.2 or later (BCP 195, as PS3.15 B.12 asks); senders show a certificate where an authority is named."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.client_ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    if tls.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
