"""Frames around the body, and the way back from them."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate, pad

from sigap_training.framing import CELLS, OUTSIDE_LOGIT, crop, find_frames, pixel_centres, uncrop, whole_picture
from sigap_training.slices import fit

CPU = torch.device("cpu")
CELL = 2 / CELLS  # where -1..1 spans the picture


def _body(rows: slice, columns: slice, side: int = 128) -> torch.Tensor:
    slices = torch.zeros(1, side, side)
    slices[:, rows, columns] = 0.5
    return slices


def _smooth(count: int, height: int, width: int) -> torch.Tensor:
    """Pictures without detail that a smaller copy would lose."""
    torch.manual_seed(height)
    return interpolate(torch.randn(count, 1, 4, 4), size=[height, width], mode="bicubic", align_corners=True)


class TestFindFrames:
    def test_a_body_is_found_to_within_a_cell(self) -> None:
        """Rows 30..89 and columns 40..119 of 128: centre (80, 60), half a side 40."""
        column, row, half = find_frames(_body(slice(30, 90), slice(40, 120)), margin=1.0)[0].tolist()
        assert column == pytest.approx(80 / 64 - 1, abs=CELL)
        assert row == pytest.approx(60 / 64 - 1, abs=CELL)
        assert half == pytest.approx(40 / 64, abs=CELL)

    def test_a_body_on_the_raster_is_found_exactly(self) -> None:
        """Rows 32..95 and columns 16..111, in cells of 4 pixels, with the default margin."""
        frame = find_frames(_body(slice(32, 96), slice(16, 112)))[0]
        torch.testing.assert_close(frame, torch.tensor([0.0, 0.0, 1.05 * 48 / 64]))

    def test_a_thin_line_is_no_body(self) -> None:
        """A table of one row, and a headrest of one column, of cells of 4 x 4 pixels."""
        slices = _body(slice(32, 96), slice(32, 96))
        expected = find_frames(slices)
        slices[:, 120, 8:120] = 0.5
        slices[:, :, 4] = 0.5
        assert torch.equal(find_frames(slices), expected)

    def test_what_is_dark_is_air(self) -> None:
        slices = _body(slice(32, 96), slice(32, 96))
        expected = find_frames(slices)
        slices[slices == 0] = 0.03
        assert torch.equal(find_frames(slices), expected)

    def test_an_empty_slice_has_the_whole_picture(self) -> None:
        slices = torch.cat([torch.zeros(1, 128, 128), _body(slice(32, 96), slice(32, 96))])
        frames = find_frames(slices)
        assert torch.equal(frames[:1], whole_picture(1, CPU))
        assert float(frames[1, 2]) < 1

    def test_a_frame_is_neither_tiny_nor_larger_than_the_picture(self) -> None:
        assert float(find_frames(_body(slice(60, 68), slice(60, 68)))[0, 2]) == 0.25
        assert float(find_frames(torch.ones(1, 128, 128))[0, 2]) == 1.0

    @pytest.mark.parametrize("side", [7, 33, 97])
    def test_the_side_need_not_be_a_number_of_cells(self, side: int) -> None:
        torch.testing.assert_close(find_frames(torch.ones(2, side, side)), whole_picture(2, CPU))

    def test_a_slice_is_framed_alone(self) -> None:
        torch.manual_seed(0)
        slices = (torch.rand(5, 64, 64) > 0.4).float() * torch.rand(5, 1, 1).round()
        alone = torch.cat([find_frames(one[None]) for one in slices])
        assert torch.equal(find_frames(slices), alone)


class TestCrop:
    def test_the_whole_picture_at_its_own_size_is_the_picture(self) -> None:
        slices = torch.rand(2, 3, 40, 40)
        torch.testing.assert_close(crop(slices, whole_picture(2, CPU), 40), slices, atol=1e-5, rtol=0)

    def test_a_frame_of_whole_pixels_is_a_piece_of_the_picture(self) -> None:
        """Rows 10..29 and columns 4..23 of 40: centre (14, 20), half a side 10."""
        slices = torch.rand(1, 1, 40, 40)
        frames = torch.tensor([[14 / 20 - 1, 20 / 20 - 1, 10 / 20]])
        torch.testing.assert_close(crop(slices, frames, 20), slices[:, :, 10:30, 4:24], atol=1e-5, rtol=0)

    def test_beyond_the_picture_it_is_black(self) -> None:
        frames = torch.tensor([[-1.0, 0.0, 1.0]])
        left, right = crop(torch.ones(1, 1, 40, 40), frames, 40).chunk(2, dim=3)
        assert float(left.abs().max()) < 1e-5
        torch.testing.assert_close(right, torch.ones_like(right), atol=1e-4, rtol=0)

    def test_a_batch_is_its_slices_one_by_one(self) -> None:
        slices, frames = torch.rand(4, 2, 33, 33), torch.rand(4, 3) * 0.5 + 0.2
        alone = torch.cat([crop(slices[[place]], frames[[place]], 24) for place in range(4)])
        assert torch.equal(crop(slices, frames, 24), alone)


class TestUncrop:
    @pytest.mark.parametrize(("height", "width"), [(97, 122), (122, 97), (64, 64), (101, 33), (50, 51)])
    def test_after_crop_the_picture_is_back_inside_its_frame(self, height: int, width: int) -> None:
        """Odd sizes, and sides that differ by an odd number: `fit` then pads one pixel more behind than before."""
        side, size = max(height, width), 96
        picture = _smooth(2, height, width)
        frames = torch.tensor([[0.1, -0.05, 0.5], [0.0, 0.0, 0.3]])
        back = uncrop(crop(fit(picture, side), frames, size), frames, height, width)
        top, left = (side - height) // 2, (side - width) // 2
        centres = pixel_centres(side, CPU)
        for place, (column, row, half) in enumerate(frames.tolist()):
            rows = (centres[top : top + height] - row).abs() < half - 4 / side
            columns = (centres[left : left + width] - column).abs() < half - 4 / side
            inside = rows[:, None] & columns
            inside[:2], inside[-2:], inside[:, :2], inside[:, -2:] = False, False, False, False  # mixed with black
            assert inside.sum() > 50
            torch.testing.assert_close(back[place, 0][inside], picture[place, 0][inside], atol=0.02, rtol=0)

    def test_a_single_pixel_returns_to_its_place(self) -> None:
        """40 rows and 21 columns: `fit` puts 9 columns before and 10 behind them."""
        picture = torch.full((1, 1, 40, 21), -5.0)
        picture[0, 0, 7, 3] = 5.0
        square = pad(picture, [9, 10], value=-5.0)
        back = uncrop(square, whole_picture(1, CPU), 40, 21)
        torch.testing.assert_close(back[:, :, 1:-1], picture[:, :, 1:-1], atol=1e-4, rtol=0)

    def test_outside_the_frame_nothing_is_found(self) -> None:
        frames = torch.tensor([[0.0, 0.0, 0.5]])
        back = uncrop(torch.full((1, 2, 16, 16), 9.0), frames, 40, 40)
        assert torch.equal(back[:, :, :9], torch.full((1, 2, 9, 40), OUTSIDE_LOGIT))
        torch.testing.assert_close(back[:, :, 11:29, 11:29], torch.full((1, 2, 18, 18), 9.0))
        assert round(255 * float(torch.sigmoid(torch.tensor(OUTSIDE_LOGIT)))) == 0

    def test_a_batch_is_its_slices_one_by_one(self) -> None:
        logits, frames = torch.randn(4, 2, 24, 24), torch.rand(4, 3) * 0.5 + 0.2
        alone = torch.cat([uncrop(logits[[place]], frames[[place]], 41, 30) for place in range(4)])
        assert torch.equal(uncrop(logits, frames, 41, 30), alone)


def test_pixel_centres_lie_half_a_pixel_from_the_edges() -> None:
    torch.testing.assert_close(pixel_centres(4, CPU), torch.tensor([-0.75, -0.25, 0.25, 0.75]))
