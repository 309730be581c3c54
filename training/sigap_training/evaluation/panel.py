"""The papers' panel: slice, truth and answer side by side."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from sigap.core.contract import Contract, Label
from sigap.core.segmentation import mask_of
from sigap.imaging.window import window
from sigap_training import figure
from sigap_training.evaluation.case import Case
from sigap_training.evaluation.overlap import Overlap
from sigap_training.evaluation.part import Part
from sigap_training.model_folder import ModelFolder
from sigap_training.slices import BadData

_INCHES = 2.6
_TITLE_INCHES = 0.18
_AROUND_INCHES = 0.8
_FILL = 0.3


@dataclass(frozen=True)
class Packed:
    """A plane kept small: thousands of slices wait until it is known which are shown."""

    shape: tuple[int, int]
    content: bytes

    @classmethod
    def of(cls, plane: NDArray[np.uint8]) -> Packed:
        rows, columns = plane.shape
        return cls((rows, columns), zlib.compress(np.ascontiguousarray(plane).tobytes(), 1))

    def plane(self) -> NDArray[np.uint8]:
        return np.frombuffer(zlib.decompress(self.content), np.uint8).reshape(self.shape)


@dataclass(frozen=True)
class SliceView:
    """A slice that has the label, in canonical orientation.

    Attributes:
        case: its name.
        index: of the slice as stored, from 0; None of a single picture.
        dice: of the label in this slice.
        aspect: height of a pixel by its width.
        is_oriented: whether left and right are known.
        picture: windowed.
        truth, found: labelmaps, values in the contract's order from 1.
    """

    case: str
    index: int | None
    dice: float
    aspect: float
    is_oriented: bool
    picture: Packed
    truth: Packed
    found: Packed

    @property
    def height_by_width(self) -> float:
        rows, columns = self.picture.shape
        return rows * self.aspect / columns


def draw_panel(model: ModelFolder, part: Part, path: Path, *, count: int) -> str:
    """Draw slices that have a lesion, from best to worst; without any, those of the first label. Returns the label.

    Not picked by hand: at even steps of the ranks of their Dice, the best and the worst among them.

    Raises:
        BadData: no slice has either.
    """
    contract = model.contract
    wanted = next((label for label in contract.labels[::-1] if label.role == "lesion"), contract.labels[0])
    label, views = wanted, _all_views(model, part, wanted)
    if not views and wanted != contract.labels[0]:
        label = contract.labels[0]
        views = _all_views(model, part, label)
    if not views:
        raise BadData(f"{part.name}: no slice has {label.name}")
    chosen = spread(views, count)
    heights = [view.height_by_width * _INCHES + _TITLE_INCHES for view in chosen]
    canvas = figure.new_figure(3 * _INCHES, sum(heights) + _AROUND_INCHES)
    canvas.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    grid = canvas.subplots(len(chosen), 3, squeeze=False, height_ratios=heights)
    for axes, view in zip(grid, chosen, strict=True):
        _draw_row(axes, view, contract, label)
    canvas.suptitle(_caption(model, part, label, chosen, len(views), wanted=wanted), fontsize=7)
    _draw_legend(canvas, contract)
    figure.save(canvas, path)
    return label.name


def _all_views(model: ModelFolder, part: Part, label: Label) -> list[SliceView]:
    return [view for case in part.read(model.contract) for view in _views(model, case, label)]


def _draw_legend(canvas: Figure, contract: Contract) -> None:
    """Each label's colour, below all rows."""
    patches = []
    for label in contract.labels:
        red, green, blue = (part / 255 for part in label.colour)
        patches.append(Patch(facecolor=(red, green, blue, _FILL), edgecolor=(red, green, blue), label=label.name))
    title = "in the truth (middle) and in the answer (right)"
    # Dark as a slice, so that light colours look as they do there.
    legend = canvas.legend(
        handles=patches,
        title=title,
        loc="outside lower center",
        ncols=len(patches),
        fontsize=7,
        title_fontsize=7,
        labelcolor="white",
        facecolor="#303030",
        framealpha=1,
    )
    legend.get_title().set_color("white")


def spread(views: Sequence[SliceView], count: int) -> list[SliceView]:
    """Views at even steps of rank, from the best Dice to the worst; all where there are no more.

    Equal Dice: by case and slice, so that the same data gives the same panel.
    """
    ranked = sorted(views, key=lambda view: (-view.dice, view.case, view.index or 0))
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def _views(model: ModelFolder, case: Case, label: Label) -> Iterator[SliceView]:
    if label.name not in case.truth or not case.truth[label.name].any():
        return
    contract, volume = model.contract, case.volume
    labelmap = model.segment(volume, model.probabilities(volume)).labelmap
    orientation = volume.grid.orientation
    _, row_mm, column_mm = volume.grid.spacing_mm
    aspect = row_mm / column_mm if row_mm and column_mm else 1.0
    for index in np.flatnonzero(case.truth[label.name].any(axis=(1, 2))).tolist():
        here = slice(index, index + 1)
        mine = mask_of(labelmap[here], contract.family(label.name))
        pixels = volume.voxels[here]
        if volume.is_hounsfield:
            pixels = window(pixels, level_hu=contract.level_hu, width_hu=contract.width_hu)
        planes = [
            orientation.to_canonical(stored)[0] for stored in (pixels, _labelmap(case, contract, here), labelmap[here])
        ]
        yield SliceView(
            case=case.name,
            index=index if len(labelmap) > 1 else None,
            dice=Overlap.of(mine, case.truth[label.name][here]).dice,
            aspect=1 / aspect if orientation.transpose else aspect,
            is_oriented=volume.grid.is_oriented,
            picture=Packed.of(planes[0]),
            truth=Packed.of(planes[1]),
            found=Packed.of(planes[2]),
        )


def _labelmap(case: Case, contract: Contract, here: slice) -> NDArray[np.uint8]:
    """The truth of some slices as a labelmap: of labels within each other the inner one stands."""
    masks = {
        value: case.truth[label.name][here]
        for value, label in enumerate(contract.labels, 1)
        if label.name in case.truth
    }
    values = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for value, mask in masks.items():
        values[mask] = value
    return values


def _draw_row(axes: Sequence[Axes], view: SliceView, contract: Contract, label: Label) -> None:
    place = "" if view.index is None else f", slice {view.index}"
    titles = (f"case {view.case}{place}", "truth", f"answer: {label.name} Dice {view.dice:.2f}")
    for one, title, labels in zip(axes, titles, (None, view.truth, view.found), strict=True):
        one.imshow(view.picture.plane(), cmap="gray", vmin=0, vmax=255, aspect=view.aspect, interpolation="nearest")
        one.set_title(title if len(title) < 40 else f"{title[:18]}…{title[-20:]}", fontsize=7)
        one.set_axis_off()
        if labels is not None:
            _paint(one, labels.plane(), contract)


def _paint(axes: Axes, labels: NDArray[np.uint8], contract: Contract) -> None:
    """Fill each label lightly and draw its outline, in the contract's colours."""
    fill = np.zeros((*labels.shape, 4))
    for value, label in enumerate(contract.labels, 1):
        rgb = np.array(label.colour) / 255
        fill[labels == value] = (*rgb, _FILL)
    axes.imshow(fill, aspect=axes.get_aspect(), interpolation="nearest")
    for label in contract.labels:
        mask = mask_of(labels, contract.family(label.name))
        if mask.any():
            # Padded, so that an outline closes where the label runs out of the picture.
            places = [np.arange(-1, length + 1) for length in mask.shape]
            colour = [tuple(part / 255 for part in label.colour)]
            axes.contour(
                places[1], places[0], np.pad(mask, 1).astype(float), levels=[0.5], colors=colour, linewidths=1.0
            )
    rows, columns = labels.shape
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


def _caption(
    model: ModelFolder, part: Part, label: Label, chosen: Sequence[SliceView], total: int, *, wanted: Label
) -> str:
    side = "Patient's right on the left." if all(view.is_oriented for view in chosen) else "Sides as in the pictures."
    instead = "" if label == wanted else f"No slice is known to have {wanted.name}: these have {label.name}.\n"
    return (
        f"{model.name} {model.sha256[:12]}, {part.name}: slice | truth | answer after post-processing. {side}\n"
        f"{instead}{len(chosen)} of the {total} slices with {label.name} (counted from 0), "
        "at even steps of their rank by Dice, best to worst; none picked by hand."
    )
