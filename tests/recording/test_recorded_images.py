from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recording_helpers import Training, pixels

from torch_lab.errors import ConfigurationError


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path)


RAMP = torch.linspace(0, 1, 30).reshape(5, 6)
BYTES = (RAMP * 255 + 0.5).to(torch.uint8)
COLORS = torch.stack([RAMP, 1 - RAMP, RAMP * 0.5])


@pytest.mark.parametrize(
    "image",
    [
        RAMP,
        RAMP[None],
        RAMP[..., None],
        RAMP.double(),
        RAMP.numpy(),
        RAMP.numpy()[..., None],
        RAMP.clone().requires_grad_(),
        BYTES,
        BYTES.long(),
        BYTES.numpy().astype(np.int16),
        Image.fromarray(BYTES.numpy()),
    ],
    ids=lambda image: f"{type(image).__name__}{list(getattr(image, 'shape', ''))}",
)
def test_gray_images(training: Training, image: object) -> None:
    training.recorder.image("gray", image)
    (item,) = training.items()
    assert (item.file, item.size, item.index) == ("media/gray/000001.png", (6, 5), None)
    assert (pixels(training.file(item)) == BYTES.numpy()).all()


@pytest.mark.parametrize(
    "image",
    [COLORS, COLORS.permute(1, 2, 0), COLORS.numpy(), COLORS.permute(1, 2, 0).numpy()],
    ids=["CHW", "HWC", "array CHW", "array HWC"],
)
def test_color_images(training: Training, image: object) -> None:
    training.recorder.image("color", image)
    (item,) = training.items()
    expected = (COLORS.permute(1, 2, 0) * 255 + 0.5).to(torch.uint8).numpy()
    assert (pixels(training.file(item)) == expected).all()


def test_a_shape_that_could_be_both_is_read_as_its_kind_has_it(training: Training) -> None:
    image = torch.rand(3, 5, 4)
    training.recorder.image("tensor", image)
    training.recorder.image("array", image.numpy())
    assert [item.size for item in training.items()] == [(4, 5), (5, 3)]


def test_masks_and_half_precision(training: Training) -> None:
    training.recorder.image("mask", RAMP > 0.5)
    training.recorder.image("half", torch.full((2, 2), 0.5, dtype=torch.bfloat16))
    training.recorder.image("transparent", torch.zeros(4, 2, 2))
    mask, half, transparent = (pixels(training.file(item)) for item in training.items())
    assert set(mask.ravel()) == {0, 255}
    assert (half == 128).all()
    assert transparent.shape == (2, 2, 4)


def test_several_images_are_kept_one_by_one(training: Training) -> None:
    training.recorder.image("batch", torch.rand(3, 1, 4, 5), caption=["a", "b", "c"])
    training.recorder.image("list", [RAMP, COLORS], caption="same")
    found = [(item.name, item.index, item.caption) for item in training.items()]
    assert found == [
        ("batch", 0, "a"), ("batch", 1, "b"), ("batch", 2, "c"),
        ("list", 0, "same"), ("list", 1, "same"),
    ]  # fmt: skip
    assert len({item.file for item in training.items()}) == 5


def test_files_are_copied_as_they_are(training: Training, tmp_path: Path) -> None:
    for name, ending in (("photo.jpg", ".jpg"), ("scan.bmp", ".png")):
        Image.fromarray(BYTES.numpy()).save(tmp_path / name)
        training.recorder.image(name, tmp_path / name)
        assert training.items()[-1].file.endswith(ending)
    photo = training.items()[0]
    assert training.file(photo).read_bytes() == (tmp_path / "photo.jpg").read_bytes()


def test_captions_are_masked(training: Training) -> None:
    training.recorder.image("x", RAMP, caption="password=hunter2hunter2")
    assert training.items()[0].caption == "password=***"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(5), "a Tensor of shape 5 is no image: expected HxW, CxHxW or HxWxC"),
        (torch.rand(8, 5, 6), "a Tensor of shape 8x5x6 is no image"),
        (np.zeros((2, 2, 0)), "a ndarray of shape 2x2x0 is no image"),
        (torch.rand(2, 2) * 3 - 1, "a Tensor of shape 2x2 and type float32 has values from"),
        (np.array([[0, 256]]), r"type int64 has values from 0 to 256: expected 0 to 255"),
        (torch.tensor([[0.5, float("nan")]]), "has NaN and values from 0.5 to 0.5"),
        (torch.full((2, 2), float("nan")), "float32 has only NaN: expected 0 to 1 in an image"),
        ("nowhere.png", "can't read the image nowhere.png: No such file"),
        (__file__, "is no image that Pillow can read"),
        (object(), "can't make an image of an object"),
        (np.array([["a"]]), "an image of <U1 values: expected numbers"),
    ],
    ids=["1d", "3d", "empty", "range", "ints", "nan", "nans", "gone", "text", "object", "letters"],
)
def test_what_is_no_image_is_said(training: Training, image: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        training.recorder.image("x", image)
    assert caught.value.message.startswith("record().image('x'): ")
    assert training.items() == []


def test_a_later_image_out_of_range_is_cut_off_with_a_warning(
    training: Training, caplog: pytest.LogCaptureFixture
) -> None:
    training.recorder.image("x", RAMP)
    for _ in range(2):
        training.recorder.image("x", torch.tensor([[-1.0, 2.0, float("nan")]]))
    (warning,) = caplog.messages
    assert "image 'x': a Tensor of shape 1x3 and type float32" in warning
    assert pixels(training.file(training.items()[-1])).tolist() == [[0, 255, 0]]


def test_as_many_captions_as_images(training: Training) -> None:
    with pytest.raises(ConfigurationError, match="2 captions for 3 images"):
        training.recorder.image("x", torch.rand(3, 1, 2, 2), caption=["a", "b"])
