"""Framing: where the body stands in a slice, so that the network's pixels are spent on the patient and not on air.

A frame is a square, `[column, row, half]`: its centre and half its side, where -1..1 spans the picture. It may reach
beyond the picture, which is black there. Training and serving share these functions; they are TorchScript.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

# Defaults of parameters and not read inside: TorchScript sees no globals.
CELLS: Final = 32
DARK: Final = 0.04
MARGIN: Final = 1.05
SMALLEST_HALF: Final = 0.25
OUTSIDE_LOGIT: Final = -16.0


def find_frames(
    slices: Tensor,
    cells: int = CELLS,
    dark: float = DARK,
    margin: float = MARGIN,
    smallest_half: float = SMALLEST_HALF,
) -> Tensor:
    """Frames around what is not air.

    A cell of a raster belongs to the body if more than half of it is not black: a table's or a headrest's thin line
    does not count.

    Args:
        slices: float [N, S, S], 0..1, black beyond the picture.
        cells: of the raster, along each side.
        dark: up to here a pixel is air.
        margin: the frame's side beside the body's.
        smallest_half: no frame is smaller.

    Returns:
        float [N, 3]; the whole picture where a slice has no body.
    """
    body = F.adaptive_avg_pool2d((slices > dark).to(torch.float32).unsqueeze(1), (cells, cells))[:, 0] > 0.5
    across, down = body.any(dim=1), body.any(dim=2)  # [N, cells] each
    left, right = _ends(across)
    top, bottom = _ends(down)
    half = torch.maximum(right - left, bottom - top) * (margin / cells)
    centres = [(left + right) / cells - 1.0, (top + bottom) / cells - 1.0]
    frames = torch.stack([centres[0], centres[1], half.clamp(smallest_half, 1.0)], dim=1)
    return torch.where(across.any(dim=1).unsqueeze(1), frames, whole_picture(slices.shape[0], slices.device))


def whole_picture(count: int, device: torch.device) -> Tensor:
    """The frames [count, 3] that leave nothing out."""
    return torch.tensor([0.0, 0.0, 1.0], device=device).expand(count, 3)


def crop(slices: Tensor, frames: Tensor, size: int) -> Tensor:
    """Sample float [N, K, S, S] inside its frames [N, 3] at `[N, K, size, size]`."""
    centres = pixel_centres(size, slices.device)
    columns = frames[:, 0:1] + frames[:, 2:3] * centres
    rows = frames[:, 1:2] + frames[:, 2:3] * centres
    return F.grid_sample(slices, _grid(columns, rows), mode="bilinear", padding_mode="zeros", align_corners=False)


def uncrop(logits: Tensor, frames: Tensor, height: int, width: int, outside: float = OUTSIDE_LOGIT) -> Tensor:
    """Bring logits [N, C, size, size] of framed slices back to the picture, [N, C, height, width].

    The picture is `height` x `width` in a square where `slices.fit` puts it; outside the frame the logit is `outside`:
    nothing is found.
    """
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    centres = pixel_centres(side, logits.device)
    rows, columns = centres[top : top + height], centres[left : left + width]
    columns = (columns - frames[:, 0:1]) / frames[:, 2:3]
    rows = (rows - frames[:, 1:2]) / frames[:, 2:3]
    grid = _grid(columns, rows)
    raised = F.grid_sample(logits - outside, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return raised + outside


def pixel_centres(count: int, device: torch.device) -> Tensor:
    """Places of `count` pixels' centres where -1..1 spans them all."""
    return (torch.arange(count, device=device, dtype=torch.float32) * 2.0 + 1.0) / count - 1.0


def _ends(marked: Tensor) -> tuple[Tensor, Tensor]:
    """The first marked place of each row of [N, M] and one past the last, as floats."""
    numbers = marked.to(torch.float32)
    count = float(marked.shape[1])
    first = numbers.argmax(dim=1).to(torch.float32)
    last = count - numbers.flip(1).argmax(dim=1).to(torch.float32)
    return first, last


def _grid(columns: Tensor, rows: Tensor) -> Tensor:
    """What grid_sample asks for, [N, H, W, 2], of columns [N, W] and rows [N, H]."""
    height, width = rows.shape[1], columns.shape[1]
    x = columns.unsqueeze(1).expand(-1, height, -1)
    y = rows.unsqueeze(2).expand(-1, -1, width)
    return torch.stack([x, y], dim=3)
