"""Batches are drawn as the recipe says."""

from __future__ import annotations

import numpy as np
import pytest

from sigap_training.balance import BadShares, Balance
from sigap_training.lits import case_entries, slice_parts
from sigap_training.slices import SliceSet, join
from training.tiny_data import write_lits


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> SliceSet:
    """Case 0: one tumour slice, three without; case 101: four slices, tumours not told apart."""
    root = tmp_path_factory.mktemp("liver")
    write_lits(root, {"0": ("train", ["liver", "tumour"]), "101": ("train", ["liver"])})
    return join(list(slice_parts(root, case_entries(root, "train"), size=24, level_hu=100, width_hu=300)))


def test_shares_are_kept_on_average(slices: SliceSet) -> None:
    drawn = Balance(slices, {"tumour": 3, "liver": 0, "unlabelled": 1}).epoch(np.random.default_rng(0), 2000)
    assert set(drawn) == {1, 4, 5, 6, 7}
    assert (drawn == 1).mean() == pytest.approx(0.75, abs=0.04)


def test_a_patient_counts_as_the_root_of_its_slices(slices: SliceSet) -> None:
    one_group = Balance(
        SliceSet(**{**vars(slices), "group": np.zeros(8, np.int64), "patient": np.array(["A"] * 7 + ["B"])}),
        {"tumour": 1},
    )
    drawn = one_group.epoch(np.random.default_rng(0), 4000)
    assert (drawn == 7).mean() == pytest.approx(1 / (1 + np.sqrt(7)), abs=0.03)


def test_without_shares_an_epoch_is_every_slice_once(slices: SliceSet) -> None:
    drawn = Balance(slices, {}).epoch(np.random.default_rng(0), 8)
    assert sorted(drawn) == list(range(8))
    assert list(drawn) != list(range(8))


def test_a_longer_epoch_goes_round_again(slices: SliceSet) -> None:
    drawn = Balance(slices, {}).epoch(np.random.default_rng(0), 20)
    assert sorted(drawn[:8]) == sorted(drawn[8:16]) == list(range(8))
    assert len(set(drawn[16:])) == 4


def test_one_seed_gives_one_epoch(slices: SliceSet) -> None:
    for shares in ({}, {"tumour": 1, "liver": 1, "unlabelled": 1}):
        balance = Balance(slices, shares)
        first, again, other = (balance.epoch(np.random.default_rng(seed), 8) for seed in (1, 1, 2))
        assert list(first) == list(again)
        assert list(first) != list(other)


def test_a_group_that_is_not_there_is_named(slices: SliceSet) -> None:
    with pytest.raises(BadShares, match=r"'spleen'.*tumour, liver, unlabelled"):
        Balance(slices, {"spleen": 1.0})


def test_a_group_that_these_data_do_not_have_is_left_out(slices: SliceSet) -> None:
    lacking = SliceSet(**{**vars(slices), "group": np.ones(8, np.int64)})
    balance = Balance(lacking, {"tumour": 1.0, "liver": 1.0})
    assert balance.left_out == ("tumour",)
    assert [group.share for group in balance.groups] == [1.0]


def test_shares_that_no_slice_has_are_refused(slices: SliceSet) -> None:
    lacking = SliceSet(**{**vars(slices), "group": np.ones(8, np.int64)})
    with pytest.raises(BadShares, match="no group with a share has a slice"):
        Balance(lacking, {"tumour": 1.0, "liver": 0.0})


def test_a_group_that_nothing_is_said_of_is_named(slices: SliceSet) -> None:
    with pytest.raises(BadShares, match=r"'liver' is drawn.*shares=\{\}"):
        Balance(slices, {"tumour": 1.0, "unlabelled": 1.0})
