"""What a run was made of, so that it can be repeated: `run.json` beside its checkpoints."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sigap_training.recipe import Recipe

RECORD = "run.json"
_LIBRARIES = ("torch", "monai", "lightning-fabric", "numpy", "scipy", "nibabel", "pycocotools", "sigap")


def write_record(folder: Path, recipe: Recipe, fingerprints: Mapping[str, str]) -> None:
    """Add a start to `run.json`: a resumed run has several.

    Args:
        folder: of the run.
        recipe: all of it.
        fingerprints: SHA-256 of the files of each split.
    """
    path = folder / RECORD
    starts: list[dict[str, Any]] = json.loads(path.read_text())["starts"] if path.exists() else []
    starts.append(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "recipe": recipe.model_dump(mode="json", exclude={"data"}),
            "data_sha256": dict(fingerprints),
            "git_revision": git_revision(),
            "libraries": {name: version(name) for name in _LIBRARIES},
            "python": platform.python_version(),
            "device": device_name(),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"starts": starts}, indent=1))


def git_revision() -> str | None:
    """The commit of this code, `-dirty` behind it where files have changed since; None outside a checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}-dirty" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - git, fixed arguments
    return answer.stdout.strip()


def device_name() -> str:
    """What trained, e.g. `NVIDIA H100, 1 of them` or `CPU, 2 cores`."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {torch.cuda.device_count()} of them"
    return f"CPU, {os.cpu_count()} cores"
