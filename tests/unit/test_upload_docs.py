"""docs/uploads.md names every refusal, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from sigap.core.errors import BadParameter, UnsupportedFormat

ROOT = Path(__file__).parents[2]
READERS = ("decode.py", "archive.py", "gzipped.py", "parts.py", "picture.py", "nifti/*.py")


def test_every_refusal_is_documented() -> None:
    sources = [path.read_text() for name in READERS for path in (ROOT / "service/sigap/imaging").glob(name)]
    raised = {slug for source in sources for slug in re.findall(r'slug="([a-z-]+)"', source)}
    documented = re.findall(r"^\| 4\d\d \| `([a-z-]+)`", (ROOT / "docs/uploads.md").read_text(), re.MULTILINE)

    assert set(documented) == raised | {BadParameter.slug, UnsupportedFormat.slug}
    assert len(documented) == len(set(documented))
