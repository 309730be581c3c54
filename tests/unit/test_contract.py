import json
from typing import Any

import pytest

import toy
from sigap.core.contract import Contract
from sigap.core.errors import ModelError


def test_a_contract_says_what_its_json_says() -> None:
    contract = Contract.from_json(json.dumps(toy.contract()))
    assert [label.name for label in contract.labels] == ["body", "blob"]
    assert contract.label("blob").parent == "body"
    assert contract.label("blob").code.region == "10200004"
    assert [step.as_json() for step in contract.postprocess] == toy.CONTRACT["postprocess"]
    assert (contract.level_hu, contract.width_hu, contract.context_slices) == (0, 400, 1)


def test_a_family_holds_all_that_a_label_contains() -> None:
    labels = toy.contract()["labels"]
    labels.append(labels[1] | {"name": "core", "parent": "blob"})
    labels.append(labels[0] | {"name": "spleen", "parent": None})
    contract = Contract.from_json(json.dumps(toy.contract(labels=labels)))
    assert contract.family("body") == (1, 2, 3)
    assert contract.family("blob") == (2, 3)
    assert contract.family("spleen") == (4,)


def labels_with(**changes: Any) -> dict[str, Any]:
    first, second = toy.contract()["labels"]
    return {"labels": [first, second | changes]}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"labels": []}, "no labels"),
        (labels_with(name="body"), "one name"),
        (labels_with(parent="heart"), "parent of 'blob'"),
        (labels_with(role="vessel"), "role of 'blob'"),
        (labels_with(thresholds=[0.5, 0.4, 0.7]), "must ascend"),
        (labels_with(thresholds=[0, 0.4, 0.7]), "must ascend"),
        (labels_with(thresholds=[0.4, 0.7]), "cannot be read"),
        ({"window": {"level_hu": 0, "width_hu": 0}}, "no width"),
        (labels_with(name="a/b"), "cannot be a label's name"),
        (labels_with(name=5), "5 should be a text"),
        (labels_with(colour=[0, 0, 256]), "0..255"),
        (labels_with(code={"category": 49755003, "type": "108369006"}), "49755003 should be a text"),
        ({"window": {"level_hu": float("nan"), "width_hu": 80}}, "no level"),
        ({"window": {"level_hu": 0, "width_hu": float("inf")}}, "no width"),
        ({"expects": {"body_parts": "HEAD", "contrast": None}}, "list of texts"),
        ({"expects": {"body_parts": [], "contrast": "yes"}}, "contrast must be"),
        ({"measures": [[]]}, "should be a text"),
        ({"postprocess": ["fill_holes"]}, "cannot be read"),
        ({"postprocess": [{"step": ["fill_holes"], "label": "blob"}]}, "should be a text"),
        ({"window": {"level_hu": 0}}, "lacks 'width_hu'"),
        ({"context_slices": 2}, "odd"),
        ({"measures": ["colour"]}, "measures"),
        ({"priority": "soon"}, "priority"),
        ({"postprocess": [{"step": "fill_holes", "label": "heart"}]}, "no label"),
    ],
)
def test_a_broken_contract_is_named(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ModelError, match=fault):
        Contract.from_json(json.dumps(toy.contract(**changes)))


def test_text_that_is_no_json_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        Contract.from_json("{")
