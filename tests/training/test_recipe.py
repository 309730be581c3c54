"""Recipes are read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sigap_training.networks import AttentionResUNet, AttentionUNet
from sigap_training.recipe import RECIPES, BadRecipe, Recipe, read_recipe
from sigap_training.second_head import WithFindings

OWN = sorted(path.stem for path in RECIPES.glob("*.yaml"))


class TestThePackagesRecipes:
    @pytest.mark.parametrize("name", OWN)
    def test_their_networks_take_their_slices(self, name: str) -> None:
        """The published widths are tried without weights: a batch of them takes a gigabyte."""
        recipe = read_recipe(Path(name))
        contract = recipe.read_contract()
        network: Any = recipe.build_network().to("meta")
        assert recipe.size % getattr(network, "stride", 8) == 0
        answer = network(torch.empty(1, contract.context_slices, recipe.size, recipe.size, device="meta"))
        logits = answer[0] if isinstance(answer, tuple) else answer
        assert logits.shape == (1, len(contract.labels), recipe.size, recipe.size)

    @pytest.mark.parametrize("name", OWN)
    def test_no_place_of_a_machine_stands_in_them(self, name: str) -> None:
        recipe = read_recipe(Path(name))
        assert not recipe.data.is_absolute()
        assert recipe.split.file is None
        assert name.startswith(recipe.task)

    def test_the_shipped_models_networks(self) -> None:
        assert isinstance(read_recipe(Path("liver")).build_network(), AttentionResUNet)
        hemorrhage = read_recipe(Path("hemorrhage")).build_network()
        assert isinstance(hemorrhage, WithFindings)
        assert hemorrhage.findings[1].out_features == 6  # blood, and five kinds of it

    @pytest.mark.parametrize("name", ["liver-paper", "liver-paper-baseline"])
    def test_paper_a(self, name: str) -> None:
        recipe = read_recipe(Path(name))
        assert recipe.network.name == "attention_res_unet"
        assert recipe.network.options == {"width": 64, **({"attention": False} if "baseline" in name else {})}
        assert (recipe.size, recipe.read_contract().context_slices, recipe.framed) == (256, 1, False)
        assert recipe.loss.kinds == ("focal_tversky", "focal_tversky")
        assert (recipe.loss.fn_weight, recipe.loss.fp_weight) == (0.7, 0.3)
        assert (recipe.split.valid_share, recipe.shares, recipe.epoch_slices) == (0.2, {}, None)
        assert (recipe.averaging, recipe.precision) == (0, "32-true")

    def test_paper_b(self) -> None:
        recipe = read_recipe(Path("hemorrhage-paper"))
        assert isinstance(recipe.build_network(), AttentionUNet)
        assert (recipe.network.options, recipe.size, recipe.framed) == ({"width": 64}, 256, False)
        assert (recipe.optimiser, recipe.learning_rate, recipe.schedule) == ("adam", 0.0001, "constant")
        assert (recipe.epochs, recipe.loss.kinds) == (20, ("bce_dice",))
        assert (recipe.loss.finding_weight, recipe.loss.pseudo_weight, recipe.painting.share) == (0, 0, 0)
        assert (recipe.averaging, recipe.shares, recipe.epoch_slices) == (0, {}, None)

    def test_what_is_compared_differs_in_its_network_alone(self) -> None:
        short = read_recipe(Path("liver-short"))
        others = [name for name in OWN if name.startswith("liver-short-")]
        assert len(others) == 4
        for name in others:
            recipe = read_recipe(Path(name))
            assert recipe.network != short.network
            assert recipe.model_copy(update={"network": short.network, "name": short.name}) == short


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("width: 16", "width: wide", "network attention_res_unet"),
        ("name: attention_res_unet", "name: unet_of_dreams", "unet_of_dreams"),
        ("{width: 16}", "{width: 16, depth: 3}", "depth"),
        ("seed: 20260", "", "seed"),
        ("batch_size: 12", "batch_size: 12\nbatch_sise: 3", "batch_sise"),
        ("batch_size: 12", "batch_size: 0", "batch_size"),
        ("epochs: 36", "epochs: 0", "epochs"),
        ("learning_rate: 0.003", "learning_rate: -1", "learning_rate"),
        ("averaging: 0.996", "averaging: 1.0", "averaging"),
        ("averaging: 0.996", "patience: 0", "patience"),
        ("size: 160", "size: 164", "at size 164"),
        ("  blur: 0.15", "  blurr: 0.15", "blurr"),
        ("  fn_weight: 0.6", "  fn_weight: 0.6\n  fp_weight: 0.6", "do not add up to 1"),
        ("[bce_dice, focal_tversky_bce]", "[bce_dice, hinge]", "hinge"),
        ("[bce_dice, focal_tversky_bce]", "[bce_dice]", "1 kinds for 2 labels"),
        ("averaging: 0.996", "best_by: [spleen]", "best_by.*spleen"),
        ("averaging: 0.996", "painting: {share: 0.5}", "painting"),
        ("averaging: 0.996", "precision: 8-bit", "precision"),
        ("tumour: 0.45", "tumour: -1", "shares"),
        ("context_slices: 3", "context_slices: 2", "context_slices must be odd"),
        ("step: fill_holes", "step: fill_holse", "fill_holse"),
        ("priority: routine", "", "priority"),
        ("task: liver", "task: [", "flow sequence"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, before: str, after: str, message: str) -> None:
    text = (RECIPES / "liver.yaml").read_text()
    assert before in text
    path = tmp_path / "bad.yaml"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(BadRecipe, match=rf"(?s)bad\.yaml: .*{message}"):
        read_recipe(path)


@pytest.mark.parametrize("content", [b"- liver\n", b"", b"\xff\xfe\x00"])
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(BadRecipe, match=r"bad\.yaml"):
        read_recipe(tmp_path / "bad.yaml")


def test_a_missing_recipe_is_named_beside_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=r"none\.yaml is missing.*hemorrhage, .*liver"):
        read_recipe(tmp_path / "none.yaml")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=tmp_path.name):
        read_recipe(tmp_path)


def test_a_folder_of_a_recipes_name_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "liver").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_recipe(Path("liver")).task == "liver"


def test_a_recipe_survives_its_json() -> None:
    """As checkpoints keep it."""
    for name in ("liver", "hemorrhage"):
        recipe = read_recipe(Path(name))
        assert Recipe.model_validate(json.loads(json.dumps(recipe.model_dump(mode="json")))) == recipe


class TestExtends:
    def test_entries_replace_the_others_and_the_contracts_single_ones(self, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text("extends: liver\nepochs: 3\nloss: {kinds: [bce_dice, bce_dice]}\n")
        (tmp_path / "wide.yaml").write_text("extends: mine\nsize: 320\ncontract: {context_slices: 5}\n")
        liver, wide = read_recipe(Path("liver")), read_recipe(tmp_path / "wide.yaml")
        assert (wide.epochs, wide.size, wide.loss.fn_weight) == (3, 320, 0.7)
        assert wide.contract == liver.contract | {"context_slices": 5}
        assert wide.learning_rate == liver.learning_rate

    def test_a_recipe_beside_it_comes_before_the_packages(self, tmp_path: Path) -> None:
        (tmp_path / "liver.yaml").write_text((RECIPES / "liver.yaml").read_text().replace("epochs: 36", "epochs: 7"))
        (tmp_path / "mine.yaml").write_text("extends: liver\n")
        assert read_recipe(tmp_path / "mine.yaml").epochs == 7

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("extends: none_such\n", "none_such is missing"),
            ("extends: mine\n", r"mine\.yaml: extends itself"),
            ("extends: [liver]\n", "liver"),
            ("extends: liver\ncontract: 3\n", r"mine\.yaml: contract"),
            ("extends: liver\nepoch: 3\n", r"mine\.yaml: (?s:.*)epoch"),
        ],
    )
    def test_what_cannot_be_extended_is_named(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "mine.yaml").write_text(text)
        with pytest.raises(BadRecipe, match=message):
            read_recipe(tmp_path / "mine.yaml")


class TestChanges:
    def test_entries_and_entries_of_entries(self) -> None:
        changes = ["epochs=8", "network.options.width=8", "split.leave_out=L3", "shares={tumour: 1}", "framed=false"]
        recipe = read_recipe(Path("liver"), changes)
        assert (recipe.epochs, recipe.network.options, recipe.framed) == (8, {"width": 8}, False)
        assert (recipe.split.leave_out, recipe.shares) == ("L3", {"tumour": 1.0})
        assert recipe.network.name == "attention_res_unet"

    def test_later_ones_win_and_no_recipe_stays_changed(self) -> None:
        assert read_recipe(Path("liver"), ["epochs=8", "epochs=9"]).epochs == 9
        assert read_recipe(Path("liver")).epochs == 36

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("epochs", "'epochs' is no change"),
            ("task.name=liver", "'task.name=liver' is no change"),
            ("epochs=[", r"'epochs=\['"),
            ("epohcs=3", "epohcs"),
            ("epochs=many", "epochs"),
            ("augmentation.flop=1", "flop"),
        ],
    )
    def test_a_wrong_one_is_named(self, change: str, message: str) -> None:
        with pytest.raises(BadRecipe, match=message):
            read_recipe(Path("liver"), [change])
