"""The report card's figures on phantoms whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sigap_training import lits, report_card
from sigap_training.export import write_model
from sigap_training.model_folder import ModelFolder
from training.tiny_data import small_recipe, write_coco, write_lits


class Bright(torch.nn.Module):
    """Calls every label where the middle slice is bright: 160 of 255 and more."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = x.shape[1] // 2
        return ((x[:, middle : middle + 1] - 0.5) * 20).repeat(1, self.channels, 1, 1)


@pytest.fixture
def liver(tmp_path: Path) -> ModelFolder:
    recipe = small_recipe("liver", size=24)
    return ModelFolder.load(write_model(recipe, Bright(2), tmp_path / "repository"))


def test_a_study_is_scored_as_served(liver: ModelFolder, tmp_path: Path) -> None:
    write_lits(tmp_path, {"2": ("test", ["liver", "tumour"])})
    volume = report_card.read_volume(tmp_path / "test" / "volume-2.nii.gz")
    case = lits.read_case(tmp_path, lits.case_entries(tmp_path, "test")[0])
    scores = report_card.score_study(liver, volume, case.labels, ["liver", "tumour"])
    # The dark square is a hole: filled, it is liver again, but nobody calls it a tumour.
    assert scores["liver"] > 0.95
    assert scores["tumour"] == 0


def test_the_command_prints_what_a_model_card_quotes(
    liver: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report_card, "time_slices", lambda _: 0.05)
    write_lits(tmp_path, {"2": ("test", ["liver", "tumour"])})
    case = tmp_path / "test"
    report_card.main(
        tmp_path / "repository" / "liver",
        tmp_path,
        study=case / "volume-2.nii.gz",
        truth=case / "segmentation-2.nii.gz",
    )
    printed = capsys.readouterr().out
    assert "case 2 (patient P2, 4 slices)" in printed
    assert "50 ms a slice" in printed


def test_pictures_are_called_or_not_by_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco(tmp_path / "test", side=64)
    recipe = small_recipe("hemorrhage", size=64)
    model = ModelFolder.load(write_model(recipe, Bright(1), tmp_path / "repository"))
    report_card.score_pictures(model, tmp_path, "test")
    printed = capsys.readouterr().out
    assert "BHSD, blood: called 0/1" in printed  # 64 pixels: less than the smallest lesion
    assert "RSNA (no), none: called 0/1" in printed


def test_the_smallest_called_area_is_a_tenth_of_a_millilitre() -> None:
    assert int(np.ceil(100 / (0.45 * 0.45 * 5))) == report_card.CALLED_PIXELS
