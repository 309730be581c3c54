"""A teacher: an exported model draws the masks of slices that are known to hold something, and of which nobody drew it.

Source: Xie et al. 2020, Self-training with Noisy Student (arXiv:1911.04252): the teacher sees slices as they are kept,
the student sees them changed, and learns soft masks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from sigap_training.bars import bar
from sigap_training.model_folder import BadModel, ModelFolder
from sigap_training.recipe import Recipe
from sigap_training.slice_labels import TAUGHT
from sigap_training.slices import SliceSet

_BATCH = 8
_HALF = 128  # of 255: a mask that reaches it nowhere shows nothing


class BadTeacher(Exception):
    """`taught_by` names no model that can teach; the message says why."""


def load_teacher(recipe: Recipe) -> ModelFolder | None:
    """The model that a recipe names, or None if it names none.

    Raises:
        BadTeacher: it cannot be run, or answers about other labels, another window or other slices than the recipe's.
    """
    if recipe.taught_by is None:
        return None
    threads = torch.get_num_threads()
    try:
        return ModelFolder.load_like(recipe.taught_by, recipe.read_contract())
    except BadModel as error:
        raise BadTeacher(f"taught_by: {error}") from error
    finally:
        torch.set_num_threads(threads)  # the model's own are for serving


def teach(slices: SliceSet, teacher: ModelFolder) -> SliceSet:
    """Give masks to slices that hold something nobody drew.

    Of each channel that is said to be there and has no mask, the teacher's probabilities become the mask, 0..255, if
    one of them is a half or more: such slices move to the group `label-taught`. The others stay as they are.
    """
    channels = slices.known.shape[1]
    unseen = (slices.findings[:, :channels] == 1) & ~slices.known
    rows = np.flatnonzero(unseen.any(axis=1))
    if not rows.size:
        return slices
    masks, known, group = slices.masks.copy(), slices.known.copy(), slices.group.copy()
    for start in bar(range(0, len(rows), _BATCH), "teaching"):
        indices = rows[start : start + _BATCH]
        answers = teacher.infer(slices.neighbours(indices, teacher.contract.context_slices))
        shown = unseen[indices] & (answers.max(axis=(2, 3)) >= _HALF)
        for place, channel in np.argwhere(shown):
            masks[indices[place], channel] = answers[place, channel]
        known[indices] |= shown
        group[indices[shown.any(axis=1)]] = slices.groups.index(TAUGHT)
    return replace(slices, masks=masks, known=known, group=group)
