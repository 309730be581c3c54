"""Which slices a batch is made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigap_training.slices import SliceSet


class BadShares(Exception):
    """Shares that do not fit the slices; the message names the group."""


@dataclass(frozen=True)
class Group:
    """Slices that are drawn from together.

    Attributes:
        share: of a batch, on average.
        indices: the slices.
        weights: how likely each of them is drawn; they add up to one.
    """

    share: float
    indices: NDArray[np.int64]
    weights: NDArray[np.float64]


class Balance:
    """Draws batches by the shares of a recipe; groups that this data set does not have are left out.

    Within a group a patient of n slices is drawn as often as the root of n: neither does one patient fill the batches,
    nor are a patient's few slices learnt by heart.
    """

    def __init__(self, slices: SliceSet, shares: Mapping[str, float]) -> None:
        self.count = len(slices)
        present = {name for place, name in enumerate(slices.groups) if (slices.group == place).any()}
        _check_names(shares, slices.groups, present)
        used = {name: share for name, share in shares.items() if name in present and share > 0}
        self.left_out = tuple(name for name in shares if name not in present)
        total = sum(used.values())
        self.groups = [_group(slices, name, share / total) for name, share in used.items()]

    def epoch(self, random: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Indices of an epoch's `count` slices; without shares all slices in a random order, over and over."""
        if not self.groups:
            rounds = -(-count // self.count)
            return np.concatenate([random.permutation(self.count) for _ in range(rounds)])[:count]
        places = random.choice(len(self.groups), count, p=[group.share for group in self.groups])
        groups = [self.groups[place] for place in places]
        return np.array([random.choice(group.indices, p=group.weights) for group in groups])


def _check_names(shares: Mapping[str, float], groups: Sequence[str], present: Collection[str]) -> None:
    if not shares:
        return
    strange = sorted(set(shares) - set(groups))
    if strange:
        raise BadShares(f"shares: no group is called {strange[0]!r}; there are {', '.join(groups)}")
    silent = sorted(set(present) - set(shares))
    if silent:
        raise BadShares(
            f"shares: nothing says how often group {silent[0]!r} is drawn; 0 leaves it out, shares={{}} takes all"
        )
    if not any(shares[name] > 0 for name in present):
        raise BadShares(f"shares: no group with a share has a slice; there are {', '.join(sorted(present))}")


def _group(slices: SliceSet, name: str, share: float) -> Group:
    indices = np.flatnonzero(slices.group == slices.groups.index(name))
    _, patient, counts = np.unique(slices.patient[indices], return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[patient])
    return Group(share, indices, weights / weights.sum())
