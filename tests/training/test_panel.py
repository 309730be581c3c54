"""The panel: which slices it shows, and that they are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from sigap_training import cli_evaluate
from sigap_training.evaluation.panel import Packed, SliceView, spread
from training.bright_model import write_bright_model
from training.tiny_data import save_coco, write_coco, write_lits


def view(case: str, dice: float) -> SliceView:
    plane = Packed.of(np.zeros((2, 2), np.uint8))
    return SliceView(case, None, dice, 1.0, is_oriented=True, picture=plane, truth=plane, found=plane)


def test_slices_are_taken_at_even_steps_from_best_to_worst() -> None:
    views = [view(str(number), number / 10) for number in (3, 0, 10, 7, 1, 9, 2, 4, 6, 5, 8)]
    assert [one.dice for one in spread(views, 3)] == [1.0, 0.5, 0.0]
    assert [one.dice for one in spread(views, 1)] == [1.0]
    assert len(spread(views, 50)) == 11


def test_equal_slices_are_ordered_by_name() -> None:
    assert [one.case for one in spread([view("b", 0), view("a", 0)], 2)] == ["a", "b"]


def test_a_packed_plane_comes_back() -> None:
    plane = np.arange(12, dtype=np.uint8).reshape(3, 4)[::-1, ::2]
    np.testing.assert_array_equal(Packed.of(plane).plane(), plane)


@pytest.fixture
def panel() -> typer.Typer:
    app = typer.Typer()
    app.command()(cli_evaluate._predict_panel)
    return app


def test_slices_with_tumour_are_drawn_in_the_contracts_colours(panel: typer.Typer, tmp_path: Path) -> None:
    model = write_bright_model(tmp_path / "repository", "liver", size=24)
    write_lits(tmp_path / "lits", {"2": ("test", ["liver", "tumour"]), "3": ("test", ["liver", "tumour"])})
    arguments = [str(model), str(tmp_path / "lits"), "--out", str(tmp_path / "panel.png"), "--count", "6"]
    result = CliRunner().invoke(panel, arguments)
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "panel.png") as picture:
        drawn = np.asarray(picture.convert("RGB"))
    # Two slices have tumour: two rows. The truth's is small, the answer calls all that is bright.
    assert drawn.shape[0] < 2 * drawn.shape[1]
    is_tumour = (np.abs(drawn.astype(int) - (144, 238, 144)) < 12).all(axis=2)
    third = drawn.shape[1] // 3
    assert 0 == is_tumour[:, :third].sum() < is_tumour[:, third : 2 * third].sum() < is_tumour[:, 2 * third :].sum()


def test_pictures_are_drawn_too(panel: typer.Typer, tmp_path: Path) -> None:
    model = write_bright_model(tmp_path / "repository", "hemorrhage", size=32)
    write_coco(tmp_path / "coco" / "test")
    result = CliRunner().invoke(panel, [str(model), str(tmp_path / "coco"), "--out", str(tmp_path / "panel.png")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "panel.png").exists()


def test_without_a_lesion_slices_of_the_first_label_are_drawn(panel: typer.Typer, tmp_path: Path) -> None:
    model = write_bright_model(tmp_path / "repository", "liver", size=24)
    write_lits(tmp_path / "lits", {"2": ("test", ["liver"])})
    result = CliRunner().invoke(panel, [str(model), str(tmp_path / "lits"), "--out", str(tmp_path / "panel.png")])
    assert result.exit_code == 0, result.output
    assert "slices with liver" in result.output
    with Image.open(tmp_path / "panel.png") as picture:
        assert picture.height > picture.width  # all four slices have liver: four rows of three


def test_without_any_label_there_is_no_panel(panel: typer.Typer, tmp_path: Path) -> None:
    model = write_bright_model(tmp_path / "repository", "hemorrhage", size=32)
    document = write_coco(tmp_path / "coco" / "test")
    save_coco(tmp_path / "coco" / "test", document | {"annotations": []})
    result = CliRunner().invoke(panel, [str(model), str(tmp_path / "coco"), "--out", str(tmp_path / "panel.png")])
    assert result.exit_code == 1
    assert "no slice has hemorrhage" in result.output


def test_a_file_that_cannot_be_written_is_said_first(panel: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out, message in (("file/panel.png", "cannot be written into"), ("panel.tiff", "is no PNG file")):
        result = CliRunner().invoke(panel, [str(tmp_path / "none"), str(tmp_path), "--out", str(tmp_path / out)])
        assert result.exit_code == 1
        assert message in result.output
        assert len(result.output.strip().splitlines()) == 1
