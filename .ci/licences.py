"""Fail if anything that Sigap ships with is under the GPL or names no licence.

Walks the installed requirements of `sigap[torch,triton]`. The LGPL is allowed: such libraries are used unchanged, and
can be replaced.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SHIPPED = "sigap[torch,triton]"
GPL = re.compile(r"(?<!lesser )(?<!lesser_)(?<!l)gpl|(?<!lesser )general public license", re.IGNORECASE)


def shipped(root: str) -> set[str]:
    """Names of everything that installing `root` brings along on this machine."""
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(root).name, extra) for extra in ("", *Requirement(root).extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(needed.name), wanted) for wanted in ("", *needed.extras)]
    return {name for name, _ in seen}


def licence(name: str) -> str:
    """What a package says of its licence: the expression, else the classifiers, else the first line of the text."""
    about = metadata.metadata(name)
    classifiers = [line.split(" :: ")[-1] for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    text = (about.get("License") or "").strip().partition("\n")[0]
    return about.get("License-Expression") or "; ".join(classifiers) or text


def is_allowed(terms: str) -> bool:
    """One of several terms to choose from is enough (`MIT OR GPL-2.0`)."""
    return bool(terms) and any(not GPL.search(choice) for choice in re.split(r"\bOR\b", terms))


def main() -> int:
    """Print what is not allowed; returns the exit status."""
    terms = {name: licence(name) for name in sorted(shipped(SHIPPED))}
    refused = {name: found for name, found in terms.items() if not is_allowed(found)}
    for name, found in refused.items():
        print(f"{name}: {found or 'names no licence'}")
    print(f"Licences of {len(terms)} packages read, {len(refused)} refused.")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
