"""A third task is a new folder in the model repository and nothing else."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

import toy
from sigap import pipeline
from sigap.core.study import InputFile
from sigap.engines.torchscript import TorchScriptEngine


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    """A body of 6 x 10 x 12 voxels of 2 x 1 x 1 mm with a hole and a blob of 2 x 3 x 4 in it, and a speck outside."""
    voxels = np.full((20, 24, 10), toy.AIR_HU, np.int16)
    voxels[4:16, 5:15, 2:8] = toy.ORGAN_HU
    voxels[6, 7, 4] = toy.AIR_HU
    voxels[8:12, 8:11, 4:6] = toy.LESION_HU
    voxels[18, 20, 5] = toy.ORGAN_HU
    path = tmp_path / "phantom.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


def run(repository: Path, task: str, phantom: Path, workspace: Path) -> pipeline.Result:
    engine = TorchScriptEngine.load(repository)
    workspace.mkdir()
    return pipeline.run([InputFile(phantom, "phantom")], task=task, engine=engine, workspace=workspace)


def test_a_new_folder_is_a_new_task(tmp_path: Path, phantom: Path) -> None:
    repository = toy.write_repository(tmp_path / "models")
    body, blob = run(repository, "toy", phantom, tmp_path / "work").measurements.labels
    assert (body.voxels, body.volume_ml) == (720, pytest.approx(1.44, abs=1e-12))
    assert (blob.voxels, blob.volume_ml) == (24, pytest.approx(0.048, abs=1e-12))
    assert (body.dropped_components, body.dropped_volume_ml) == (1, pytest.approx(0.002, abs=1e-12))


def test_its_post_processing_stands_in_its_contract(tmp_path: Path, phantom: Path) -> None:
    repository = toy.write_repository(tmp_path / "models", task="plain", document=toy.contract(postprocess=[]))
    body, _ = run(repository, "plain", phantom, tmp_path / "work").measurements.labels
    assert (body.voxels, body.dropped_components) == (720 - 1 + 1, 0)  # the hole stays open, the speck stays


def test_its_neighbouring_slices_are_its_own_choice(tmp_path: Path, phantom: Path) -> None:
    repository = toy.write_repository(tmp_path / "models", document=toy.contract(context_slices=3))
    body, blob = run(repository, "toy", phantom, tmp_path / "work").measurements.labels
    assert (body.voxels, blob.voxels) == (720, 24)
