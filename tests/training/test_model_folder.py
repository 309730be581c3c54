"""A model's folder, and folders that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigap_training.model_folder import BadModel, ModelFolder
from training.bright_model import write_bright_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bright_model(tmp_path, "hemorrhage", size=32)


def test_it_knows_what_it_is(folder: Path) -> None:
    model = ModelFolder.load(folder)
    assert (model.name, model.version) == ("hemorrhage", "1")
    assert f'"{model.sha256}"' in (folder / "config.pbtxt").read_text().replace("'", '"')


def test_its_weights_are_counted() -> None:
    shipped = ModelFolder.load(Path(__file__).parents[2] / "model_repository" / "liver")
    assert shipped.parameter_count > 100_000


@pytest.mark.parametrize("name", ["config.pbtxt", "1/model.pt"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BadModel, match=r"(config\.pbtxt|model\.pt) is missing"):
        ModelFolder.load(folder)


def test_another_file_than_the_config_names_is_refused(folder: Path) -> None:
    with (folder / "1" / "model.pt").open("ab") as file:
        file.write(b" ")
    with pytest.raises(BadModel, match=r"not the file that config\.pbtxt names"):
        ModelFolder.load(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("parameters {", "parameters [", "cannot be read"),
        ("INTRA_OP_THREAD_COUNT", "SOMETHING_ELSE", "no parameter 'INTRA_OP_THREAD_COUNT'"),
        ('"width_hu": 80', '"width_hu": -80', "its window has no width"),
        ('"min_volume"', '"min_weight"', "'min_weight' is unknown"),
    ],
)
def test_a_broken_config_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    text = (folder / "config.pbtxt").read_text()
    assert old in text
    (folder / "config.pbtxt").write_text(text.replace(old, new))
    with pytest.raises(BadModel, match=message):
        ModelFolder.load(folder)
