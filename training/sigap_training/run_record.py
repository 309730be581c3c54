"""What a run was made of, so that it can be repeated: `run.json` beside its checkpoints."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sigap_training.recipe import Recipe

RECORD = "run.json"
_LIBRARIES = ("torch", "monai", "lightning-fabric", "numpy", "scipy", "nibabel", "pycocotools", "sigap")


class BadRecord(Exception):
    """A run's folder that belongs to another run; the message says what differs."""


@dataclass(frozen=True)
class Start:
    """What a run begins or goes on with.

    Attributes:
        recipe: all of it.
        fingerprints: SHA-256 of the files of each split, and of the model that `taught_by` names.
        device: what trains, e.g. `NVIDIA H100` or `CPU, 2 cores`.
        processes: how many.
    """

    recipe: Recipe
    fingerprints: Mapping[str, str]
    device: str
    processes: int = 1


def write_record(folder: Path, start: Start) -> None:
    """Add a start to `run.json`: a resumed run has several.

    Raises:
        BadRecord: the folder's run has another recipe, other data or another number of processes, and would not go on
            to the result that it began.
    """
    path = folder / RECORD
    starts = read_starts(folder)
    if starts:
        _refuse_another_run(path, starts[-1], start)
    begun_with = start.recipe.start_from
    starts.append(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "recipe": start.recipe.model_dump(mode="json", exclude={"data"}),
            "data_sha256": dict(start.fingerprints),
            "start_from_sha256": begun_with and hashlib.sha256(begun_with.read_bytes()).hexdigest(),
            "git_revision": git_revision(),
            "libraries": {name: version(name) for name in _LIBRARIES},
            "python": platform.python_version(),
            "device": start.device,
            "processes": start.processes,
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{RECORD}.part")
    part.write_text(json.dumps({"starts": starts}, indent=1))
    part.replace(path)


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """The starts that `run.json` holds, none where there is none.

    Raises:
        BadRecord: it cannot be read.
    """
    path = folder / RECORD
    try:
        starts: list[dict[str, Any]] = json.loads(path.read_text())["starts"] if path.exists() else []
    except (ValueError, KeyError, TypeError) as error:
        raise BadRecord(f"{path} cannot be read: {error}") from error
    return starts


def _refuse_another_run(path: Path, before: Mapping[str, Any], start: Start) -> None:
    recipe = Recipe.model_validate({**before["recipe"], "data": str(start.recipe.data)})
    differs = {
        "recipe": recipe.as_trained() != start.recipe.as_trained(),
        "data": before["data_sha256"] != dict(start.fingerprints),
        "number of processes": before["processes"] != start.processes,
    }
    if any(differs.values()):
        what = " and ".join(name for name, is_other in differs.items() if is_other)
        raise BadRecord(f"{path}: that run began with another {what}: name another --out, or go on as it began")


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


def device_name(device: torch.device) -> str:
    """What trains, e.g. `NVIDIA H100` or `CPU, 2 cores`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores"
