"""The served module's arithmetic, with networks whose answers are known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sigap_training.framing import crop, find_frames
from sigap_training.networks import AttentionUNet, AttentionUNetConfig
from sigap_training.second_head import WithFindings
from sigap_training.served import MaskOnly, ServedModel, normalise


class Brightness(nn.Module):
    """The logit is the pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, x.shape[1] // 2].unsqueeze(1)


class Certain(nn.Module):
    """Everything is found, everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x[:, :1], 20.0)


class LeftOnly(nn.Module):
    """Logits 8 on the left half of what it sees, 0 on the right."""

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.zeros_like(x)
        logits[:, :, :, : x.shape[3] // 2] = 8.0
        return logits


class Remembers(nn.Module):
    """Keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shown.append(x)
        return x[:, :1]


def _head() -> Tensor:
    """Rows 40..103 and columns 20..83 of 128 are bright: framed, they fill most of the network's input."""
    slices = torch.zeros(1, 1, 128, 128, dtype=torch.uint8)
    slices[:, :, 40:104, 20:84] = 200
    return slices


def _byte(logit: float) -> int:
    return round(255 * float(torch.sigmoid(torch.tensor(logit))))


def test_normalising_brings_black_and_white_to_two_either_way() -> None:
    assert normalise(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-2.0, 0.0, 2.0]


def test_the_network_sees_what_training_showed_it() -> None:
    """Training crops the same working size by the same frames."""
    network, slices = Remembers(), _head()
    ServedModel(network, size=32, working_size=128)(slices)
    pixels = slices.float() / 255
    expected = normalise(crop(pixels, find_frames(pixels[:, 0]), 32))
    torch.testing.assert_close(network.shown[0], expected, atol=1e-4, rtol=0)


def test_outside_the_frame_nothing_is_found() -> None:
    answer = ServedModel(Certain(), size=32, working_size=128)(_head())
    assert answer[0, 0, 42:102, 22:82].min() == 255
    assert answer[0, 0, :, 100:].max() == 0
    assert answer[0, 0, :30].max() == 0


def test_unframed_the_whole_picture_may_be_found() -> None:
    answer = ServedModel(Certain(), size=32, working_size=128, framed=False)(_head())
    assert answer[0, 0, 2:-2, 2:-2].min() == 255


def test_a_mirrored_models_answer_is_the_mean_of_both() -> None:
    slices = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    alone = ServedModel(LeftOnly(), size=32, working_size=32, framed=False)(slices)
    both = ServedModel(LeftOnly(), size=32, working_size=32, framed=False, mirrored=True)(slices)
    inside = slice(1, -1)
    assert alone[0, 0, inside, 1:15].unique().tolist() == [_byte(8.0)]
    assert alone[0, 0, inside, 17:31].unique().tolist() == [_byte(0.0)]
    assert both[0, 0, inside, inside].unique().tolist() == [_byte(4.0)]


def test_a_mirrored_models_answer_to_a_mirrored_slice_is_mirrored() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(1, 2, 3, padding=1)
    served = ServedModel(network, size=32, working_size=32, framed=False, mirrored=True)
    slices = torch.randint(0, 256, (1, 1, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        difference = served(slices.flip(3)).flip(3).int() - served(slices).int()
    assert difference.abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(33, 128), (128, 33), (97, 122), (64, 64)])
def test_a_bright_square_comes_back_where_it_was(height: int, width: int) -> None:
    """Through square, frame and network, at a size of its own: to a pixel or so."""
    slices = torch.zeros(1, 1, height, width, dtype=torch.uint8)
    slices[:, :, 8:26, 9:27] = 255
    answer = ServedModel(Brightness(), size=64, working_size=128)(slices)[0, 0].float()
    found = answer > 127
    rows, columns = torch.nonzero(found, as_tuple=True)
    ends = [int(end) for end in (rows.min(), rows.max(), columns.min(), columns.max())]
    assert ends == pytest.approx([8, 25, 9, 26], abs=1)


def test_neighbours_are_framed_by_their_middle_slice() -> None:
    network = Remembers()
    slices = torch.cat([torch.full((1, 1, 128, 128), 255, dtype=torch.uint8), _head(), _head()], dim=1)
    ServedModel(network, size=32, working_size=128)(slices)
    alone = Remembers()
    ServedModel(alone, size=32, working_size=128)(_head())
    torch.testing.assert_close(network.shown[0][:, 1:2], alone.shown[0])


def test_only_the_masks_of_a_second_head_are_served() -> None:
    unet = AttentionUNet(AttentionUNetConfig(width=2))
    network = WithFindings(unet, 3).eval()
    slices = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(MaskOnly(network)(slices), unet(slices))
