"""The shipped weights on real studies, beside the truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest

from conftest import ROOT
from sigap import pipeline
from sigap.core.result import Result
from sigap.core.study import InputFile
from sigap.encoders.formats import FORMATS
from sigap.engines.engine import Engine
from sigap.engines.torchscript import TorchScriptEngine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = TorchScriptEngine.load(ROOT / "model_repository")
    yield engine
    engine.close()


def run(engine: Engine, task: str, path: Path, workspace: Path) -> Result:
    workspace.mkdir()
    return pipeline.run([InputFile(path, path.name)], task=task, engine=engine, workspace=workspace)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def mask_of(result: Result, path: Path) -> nibabel.Nifti1Image:
    FORMATS["nifti"].write(result, path)
    image: nibabel.Nifti1Image = nibabel.load(path)
    return image


def test_the_liver_of_the_dicom_sample(engine: Engine, samples: Path, tmp_path: Path) -> None:
    result = run(engine, "liver", samples / "abdomen_ct_dicom.zip", tmp_path / "work")
    truth = nibabel.load(samples / "abdomen_ct_liver_truth.nii.gz")
    # The truth's rows run the other way, and its affine says so.
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(np.diag([-1, -1, 1, 1])), nibabel.io_orientation(truth.affine)
    )
    mask = mask_of(result, tmp_path / "mask.nii.gz").as_reoriented(turn)
    assert np.allclose(mask.affine, truth.affine, atol=1e-4)
    liver = np.asarray(mask.dataobj) > 0
    assert dice(liver, np.asarray(truth.dataobj) > 0) > 0.9
    volume_ml = result.measurements.labels[0].volume_ml
    assert volume_ml is not None
    assert abs(volume_ml / 1489.41 - 1) < 0.1
    assert result.study.geometry.as_json() == {"verdict": "ok", "reasons": []}


def test_the_bleed_of_the_head_sample(engine: Engine, samples: Path, tmp_path: Path) -> None:
    head = samples / "head_ich_ct.nii.gz"
    result = run(engine, "hemorrhage", head, tmp_path / "work")
    mask = mask_of(result, tmp_path / "mask.nii.gz")
    assert mask.affine.tobytes() == nibabel.load(head).affine.tobytes()
    truth = np.asarray(nibabel.load(samples / "head_ich_blood.nii.gz").dataobj) > 0
    assert dice(np.asarray(mask.dataobj) > 0, truth) > 0.5  # the truth is a weak mask
    assert result.measurements.lesions


@pytest.fixture(scope="module")
def straight(engine: Engine, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The small abdomen as it is stored."""
    return run(engine, "liver", samples / "abdomen_ct_3mm.nii.gz", tmp_path_factory.mktemp("straight") / "work")


# tests/property/test_nifti_axes.py: all 48 ways to store an image give the model the same bytes. Here some of them go
# all the way to the answer.
@pytest.mark.parametrize(
    "way",
    [
        [(0, -1), (1, 1), (2, 1)],
        [(0, 1), (1, -1), (2, 1)],
        [(0, 1), (1, 1), (2, -1)],
        [(2, 1), (0, 1), (1, 1)],
        [(1, -1), (2, -1), (0, -1)],
    ],
)
def test_flipping_an_image_with_its_affine_changes_no_millilitre(
    engine: Engine, samples: Path, tmp_path: Path, straight: Result, way: list[tuple[int, int]]
) -> None:
    """`way`: for each stored axis where it goes, and 1 or -1 for its direction (nibabel's orientation array)."""
    turned = nibabel.load(samples / "abdomen_ct_3mm.nii.gz").as_reoriented(np.array(way, float))
    nibabel.save(turned, tmp_path / "turned.nii")
    result = run(engine, "liver", tmp_path / "turned.nii", tmp_path / "work")
    for one, other in zip(result.measurements.labels, straight.measurements.labels, strict=True):
        assert (one.voxels, one.hu) == (other.voxels, other.hu)
        assert one.volume_ml == pytest.approx(other.volume_ml, rel=1e-6)  # the turned affine is float32 again
    mask = mask_of(result, tmp_path / "turned.nii.gz")
    expected = mask_of(straight, tmp_path / "straight.nii.gz").as_reoriented(np.array(way, float))
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(expected.dataobj))
