"""Recipes are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigap_training.networks import AttentionResUNet, AttentionUNet
from sigap_training.recipe import RECIPES, BadRecipe, read_recipe


@pytest.mark.parametrize(("name", "network"), [("liver", AttentionResUNet), ("hemorrhage", AttentionUNet)])
def test_the_packages_recipes_make_their_networks(name: str, network: type) -> None:
    recipe = read_recipe(Path(name))
    built = recipe.build_network()
    assert isinstance(built, network)
    assert recipe.size % built.stride == 0
    assert not recipe.data.is_absolute()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("width: 16", "width: wide", "width"),
        ("seed: 20260", "", "seed"),
        ("batch_size: 12", "batch_size: 12\nbatch_sise: 3", "batch_sise"),
        ("  blur: 0.3", "  blurr: 0.3", "blurr"),
        ("task: liver", "task: [", "bad.yaml"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, before: str, after: str, message: str) -> None:
    text = (RECIPES / "liver.yaml").read_text()
    assert before in text
    path = tmp_path / "bad.yaml"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(BadRecipe, match=message):
        read_recipe(path)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=r"none\.yaml is missing"):
        read_recipe(tmp_path / "none.yaml")
