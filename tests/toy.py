"""A model repository with a toy task: brightness is probability, so that every answer is known by hand."""

from __future__ import annotations

import hashlib
import json
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

ORGAN_HU, LESION_HU, AIR_HU = 50, 150, -1000

CONTRACT: dict[str, Any] = {
    "labels": [
        {
            "name": "body",
            "role": "organ",
            "parent": None,
            "code": {"category": "123037004", "type": "10200004"},
            "colour": [80, 160, 240],
            "thresholds": [0.3, 0.5, 0.7],
        },
        {
            "name": "blob",
            "role": "lesion",
            "parent": "body",
            "code": {"category": "49755003", "type": "108369006", "region": "10200004"},
            "colour": [240, 80, 60],
            "thresholds": [0.3, 0.5, 0.7],
        },
    ],
    "window": {"level_hu": 0, "width_hu": 400},
    "context_slices": 1,
    "postprocess": [
        {"step": "largest_component", "label": "body"},
        {"step": "fill_holes", "label": "body"},
        {"step": "inside", "label": "blob", "of": "body"},
    ],
    "measures": ["burden", "abc2"],
    "priority": "routine",
    "expects": {"body_parts": [], "contrast": None},
    "model_card": {"file": "MODEL_CARD.md", "sensitivity": "A toy misses whatever is dark."},
}


class Brightness(torch.nn.Module):
    """Shades above 120 are body, above 190 blob: ORGAN_HU and LESION_HU pass, air does not."""

    def forward(self, SLICES: torch.Tensor) -> torch.Tensor:  # noqa: N803 - the contract's name
        middle = SLICES[:, SLICES.shape[1] // 2].float()
        body = ((middle - 120) * 6).clamp(0, 255)
        blob = ((middle - 190) * 8).clamp(0, 255)
        return torch.stack([body, blob], dim=1).round().to(torch.uint8)


class FailsWhereBright(Brightness):
    """Runs when it is warmed; a pixel of 255 makes it raise an error, of 254 ask for more memory than can be had."""

    def forward(self, SLICES: torch.Tensor) -> torch.Tensor:  # noqa: N803 - the contract's name
        largest = int(SLICES.max())
        if largest == 255:
            raise RuntimeError("/secret/place")
        if largest == 254:
            return torch.zeros([1 << 60], dtype=torch.uint8)
        middle = SLICES[:, SLICES.shape[1] // 2].float()
        return torch.stack([middle, middle], dim=1).to(torch.uint8)


class Slow(Brightness):
    """Takes some milliseconds for each shade of the first pixel, so that a test can choose how long a batch takes."""

    def forward(self, SLICES: torch.Tensor) -> torch.Tensor:  # noqa: N803 - the contract's name
        middle = SLICES[:, SLICES.shape[1] // 2].float()
        work = torch.zeros([400, 400])
        for _ in range(int(middle[:, 0, 0].max())):
            work = work @ work
        return torch.stack([middle + work[0, 0], 255 - middle], dim=1).to(torch.uint8)


class Inverted(Brightness):
    """A later version: what was bright counts for nothing, and the other way round."""

    def forward(self, SLICES: torch.Tensor) -> torch.Tensor:  # noqa: N803 - the contract's name
        middle = SLICES[:, SLICES.shape[1] // 2]
        return torch.stack([255 - middle, middle], dim=1)


def contract(**changes: Any) -> dict[str, Any]:
    """The toy's contract with some of its parts replaced."""
    return deepcopy(CONTRACT) | changes


def write_repository(
    folder: Path,
    *,
    task: str = "toy",
    version: str = "1",
    document: dict[str, Any] | None = None,
    module: torch.nn.Module | None = None,
) -> Path:
    """Add a toy task to a model repository; returns the repository's folder."""
    document = document or contract()
    place = folder / task / version
    place.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript, in torch 2.13
        scripted = torch.jit.script((module or Brightness()).eval())
        scripted.save(str(place / "model.pt"))
    sha256 = hashlib.sha256((place / "model.pt").read_bytes()).hexdigest()
    (folder / task / "MODEL_CARD.md").write_text("# Toy\n")
    (folder / task / "config.pbtxt").write_text(
        f"""name: "{task}"
backend: "pytorch"
platform: "pytorch_libtorch"
max_batch_size: 4
input [ {{ name: "SLICES" data_type: TYPE_UINT8 dims: [ {document["context_slices"]}, -1, -1 ] }} ]
output [ {{ name: "PROBABILITIES" data_type: TYPE_UINT8 dims: [ {len(document["labels"])}, -1, -1 ] }} ]
version_policy {{ latest {{ num_versions: 2 }} }}
parameters {{ key: "sha256.{version}" value {{ string_value: "{sha256}" }} }}
parameters {{ key: "INTRA_OP_THREAD_COUNT" value {{ string_value: "2" }} }}
parameters {{ key: "contract" value {{ string_value: {json.dumps(json.dumps(document))} }} }}
"""
    )
    return folder
