"""Whether all images show one patient. Names are compared, never shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from sigap.core.verdict import Reason, Severity
from sigap.imaging.dicom.frames import Patient


def check_patients(patients: Iterable[Patient]) -> list[Reason]:
    """Refuse a mixture of patients; an element that is missing or differs in spelling alone says nothing."""
    distinct = list(dict.fromkeys(patients))
    groups: list[list[Patient]] = []
    for patient in distinct:
        home = next((group for group in groups if all(_is_same(patient, member) for member in group)), None)
        if home is None:
            groups.append([patient])
        else:
            home.append(patient)
    if len(groups) < 2:
        return []
    message = f"The upload mixes images of {len(groups)} patients; send each patient's study on its own."
    return [Reason("several_patients", Severity.REFUSED, message, {"patients": len(groups)})]


def _is_same(one: Patient, other: Patient) -> bool:
    names_agree = _agree(_words(one.name), _words(other.name))
    births_agree = _agree(one.birth_date, other.birth_date)
    if _agree(_folded(one.id), _folded(other.id)):
        return names_agree and births_agree
    # Two hospitals number one patient differently: then name and birth date must both be there and be equal.
    are_issuers_unlike = not _agree(_folded(one.issuer), _folded(other.issuer))
    is_known = None not in (one.name, other.name, one.birth_date, other.birth_date)
    return are_issuers_unlike and is_known and names_agree and births_agree


def _agree(one: object | None, other: object | None) -> bool:
    return not one or not other or one == other


def _folded(text: str | None) -> str | None:
    return None if text is None else " ".join(text.casefold().split())


def _words(name: str | None) -> frozenset[str]:
    """A name's words, of its alphabetic group (PS3.5 6.2.1): DOE^JOHN, Doe John and "Doe, John" are one name."""
    if name is None:
        return frozenset()
    plain = unicodedata.normalize("NFKD", name.split("=")[0].casefold())
    letters = "".join(letter if letter.isalnum() else " " for letter in plain if not unicodedata.combining(letter))
    return frozenset(letters.split())
