"""Which format an answer has: `format=` beats `Accept`, and nothing said is the JSON report."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from sigap.api.problems import NotAcceptable
from sigap.core.contract import Contract
from sigap.core.errors import BadParameter
from sigap.encoders.formats import FORMATS, SURFACE, surface_key

DEFAULT = "json"


@dataclass(frozen=True)
class _Range:
    """One media range of an Accept header (RFC 9110, 12.5.1)."""

    type: str
    subtype: str
    quality: float

    @property
    def precision(self) -> int:
        """A range that says more beats one that says less, whatever their weights."""
        return (self.type != "*") + (self.subtype != "*")

    def takes(self, media_type: str) -> bool:
        kind, _, subtype = media_type.partition("/")
        return self.type in ("*", kind) and self.subtype in ("*", subtype)


def choose(asked: str | None, accept: str | None) -> str:
    """Name the format to answer in.

    Args:
        asked: the query option `format`.
        accept: the Accept header; several joined by commas.

    Raises:
        NotAcceptable: we write none that was asked for.
    """
    if asked is not None:
        return _by_name(asked)
    ranges = _parse(accept) if accept and accept.strip() else [_Range("*", "*", 1.0)]
    best, quality = DEFAULT, 0.0
    for name, encoding in FORMATS.items():
        weight = _weight(encoding.media_type, ranges)
        if weight > quality:
            best, quality = name, weight
    if quality > 0:
        return best
    raise NotAcceptable(f"Accept names no format of ours. {_we_write()}")


def with_label(name: str, label: str | None) -> str:
    """The key of `format_of` for a format and the query option `label`.

    Raises:
        BadParameter: the format has no use for a label.
    """
    if label is None:
        return name
    if name != SURFACE:
        raise BadParameter(f"label is for format stl only; the answer asked for is {name}. Leave label out.")
    return surface_key(label)


def check_label(name: str, label: str | None, contract: Contract) -> None:
    """Refuse a surface of a label that the task does not have, before anything is read.

    Raises:
        BadParameter: there is none of that name, or none was named where there are several.
    """
    names = [one.name for one in contract.labels]
    if name == SURFACE and label not in names and not (label is None and len(names) == 1):
        raise BadParameter(f"Format stl needs a label of this task: one of {', '.join(names)}, with label=.")


def query_of(key: str) -> str:
    """The query that asks for what `with_label` named."""
    name, _, label = key.partition(":")
    return f"format={name}" + (f"&label={quote(label, safe='')}" if label else "")


def _by_name(name: str) -> str:
    if name in FORMATS:
        return name
    raise NotAcceptable(f"There is no such format. {_we_write()}")


def _we_write() -> str:
    return f"This one writes {', '.join(f'{name} ({encoding.media_type})' for name, encoding in FORMATS.items())}."


def _weight(media_type: str, ranges: list[_Range]) -> float:
    fitting = [entry for entry in ranges if entry.takes(media_type)]
    return max(fitting, key=lambda entry: entry.precision).quality if fitting else 0.0


def _parse(accept: str) -> list[_Range]:
    """What cannot be read is left out: it asks for nothing that we know."""
    parsed = (_parse_range(entry) for entry in accept.split(","))
    return [entry for entry in parsed if entry is not None]


def _parse_range(entry: str) -> _Range | None:
    media_range, *parameters = (part.strip().lower() for part in entry.split(";"))
    kind, slash, subtype = media_range.partition("/")
    if not (kind and slash and subtype) or (kind == "*" and subtype != "*"):
        return None
    weights = [value.strip() for name, _, value in (part.partition("=") for part in parameters) if name.strip() == "q"]
    try:
        quality = float(weights[0]) if weights else 1.0
    except ValueError:
        return None
    return _Range(kind, subtype, quality) if 0 <= quality <= 1 else None
