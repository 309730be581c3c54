"""The models in model_repository are what the recipes and their own configs say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from sigap.core.contract import Contract
from sigap_training.export import LARGEST_BYTES
from sigap_training.model_folder import ModelFolder
from sigap_training.recipe import read_recipe

REPOSITORY = Path(__file__).parents[2] / "model_repository"


@pytest.mark.parametrize("task", ["liver", "hemorrhage"])
class TestShippedModel:
    def test_its_config_is_its_recipes_contract(self, task: str) -> None:
        config = text_format.Parse((REPOSITORY / task / "config.pbtxt").read_text(), ModelConfig())
        contract = Contract.from_json(config.parameters["contract"].string_value)
        assert contract == read_recipe(Path(f"{task}-finish")).read_contract()

    def test_its_file_is_the_one_its_config_names(self, task: str) -> None:
        config = text_format.Parse((REPOSITORY / task / "config.pbtxt").read_text(), ModelConfig())
        model = (REPOSITORY / task / "1" / "model.pt").read_bytes()
        assert config.parameters["sha256.1"].string_value == hashlib.sha256(model).hexdigest()
        assert len(model) <= LARGEST_BYTES

    def test_batching_changes_nothing(self, task: str) -> None:
        model = ModelFolder.load(REPOSITORY / task)
        shape = (4, model.contract.context_slices, 101, 122)
        slices = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        alone = np.concatenate([model.infer(slices[index : index + 1]) for index in range(4)])
        np.testing.assert_array_equal(model.infer(slices), alone)

    def test_black_slices_hold_nothing(self, task: str) -> None:
        model = ModelFolder.load(REPOSITORY / task)
        answer = model.infer(np.zeros((1, model.contract.context_slices, 64, 64), np.uint8))
        for channel, label in enumerate(model.contract.labels):
            assert answer[:, channel].max() < 255 * label.thresholds[1]

    def test_its_card_says_what_it_is_not(self, task: str) -> None:
        card = (REPOSITORY / task / "MODEL_CARD.md").read_text()
        assert "not a medical device" in card
        assert "Provisional" not in card
