"""Small data sets: items of sequences and coded concepts."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from sigap.core.contract import Label

SCHEME = "SCT"
"""SNOMED CT, as PS3.16 8 names it."""
_LONGEST_MEANING = 64
# PS3.16 CID 7150, CID 7151 and CID 4 word them so; a dictionary of the whole standard takes half a second to load.
_MEANINGS = {
    "123037004": "Anatomical Structure",
    "49755003": "Morphologically Abnormal Structure",
    "10200004": "Liver",
    "108369006": "Neoplasm",
    "50960005": "Hemorrhage",
    "1101003": "Intracranial",
}


def item(**attributes: Any) -> Dataset:
    """A data set of these attributes, named by keyword."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def concept(value: str, fallback: str) -> CodedConcept:
    """A SNOMED code, meaning what the standard's context groups say; of one that is in none, what the contract says."""
    meaning = _MEANINGS.get(value) or _dictionary().get(value) or plain(fallback)
    return CodedConcept(value, SCHEME, meaning[:_LONGEST_MEANING])


def category(label: Label) -> CodedConcept:
    """Segmented Property Category (PS3.3 C.8.20.4)."""
    return concept(label.code.category, label.role)


def kind(label: Label) -> CodedConcept:
    """Segmented Property Type (PS3.3 C.8.20.4)."""
    return concept(label.code.type, label.name)


def region(label: Label) -> CodedConcept | None:
    """Anatomic Region (PS3.3 10.5); None where the label's type says it all."""
    return None if label.code.region is None else concept(label.code.region, "anatomic region")


_SPELT = {
    "°": " degrees",
    "²": "2",
    "³": "3",
    "µ": "u",
    "×": "x",
    "±": "+/-",
    "–": "-",
    "—": "-",
    "…": "...",
    "“": '"',
    "”": '"',
    "’": "'",
}


def plain(text: str) -> str:
    """A text of ours in the characters that every DICOM character set begins with (PS3.5 6.1.2).

    An object keeps the character set of its source, so that the patient's name stays byte for byte what it is there;
    our own words must do without it. A backslash would part values.
    """
    spelt = "".join(_SPELT.get(letter, letter) for letter in text)
    bare = unicodedata.normalize("NFKD", spelt).replace("\\", "/")
    return "".join(letter for letter in bare if not unicodedata.combining(letter)).encode("ascii", "replace").decode()


@cache
def _dictionary() -> dict[str, str]:
    """The meanings of all SNOMED codes of the standard, the shortest of several."""
    found = [code for keyword in dir(codes.SCT) if isinstance(code := getattr(codes.SCT, keyword), Code)]
    return {code.value: code.meaning for code in sorted(found, key=lambda code: (-len(code.meaning), code.meaning))}
