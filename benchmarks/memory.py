"""Peak memory of one request, in a process of its own: `python memory.py REPOSITORY TASK INPUT`, answers in JSON.

The kernel's own high-water mark (VmHWM) is reset between phases, so that each phase's peak is its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import studies

from sigap import pipeline
from sigap.cli.inputs import collect
from sigap.core.study import Limits
from sigap.encoders.formats import FORMATS
from sigap.engines.torchscript import TorchScriptEngine

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main() -> None:
    """Measure and print."""
    repository, task, study = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    engine = TorchScriptEngine.load(repository)
    model = engine.model(task)
    # All code is imported and every buffer of the model's is known before anything is measured.
    with tempfile.TemporaryDirectory() as folder:
        request(engine, task, warm_up_study(Path(folder)), Path(folder))
    reset_peak()
    engine.infer(model, np.zeros((model.max_batch_size, model.contract.context_slices, 512, 512), np.uint8))
    model_bytes = peak_bytes()
    reset_peak()
    with tempfile.TemporaryDirectory() as folder:
        voxels = request(engine, task, study, Path(folder))
    print(json.dumps({"voxels": voxels, "model_bytes": model_bytes, "peak_bytes": peak_bytes()}))


def request(engine: TorchScriptEngine, task: str, study: Path, folder: Path) -> int:
    """One request with every answer there is; returns how many voxels it had."""
    workspace = folder / "work"
    workspace.mkdir()
    limits = Limits(volume_bytes=8 << 30, unpacked_bytes=32 << 30)
    result = pipeline.run(collect(study), task=task, engine=engine, workspace=workspace, limits=limits)
    FORMATS["zip"].write(result, folder / "answer.zip")
    return result.study.volume.voxels.size


def warm_up_study(folder: Path) -> Path:
    """A few small slices."""
    return studies.nifti(folder / "warm-up.nii.gz", 4)


def reset_peak() -> None:
    """Proc(5): writing 5 sets the peak to the present resident size."""
    _CLEAR.write_text("5")


def peak_bytes() -> int:
    """The largest resident size since the last reset."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
