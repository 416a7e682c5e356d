"""What a view does to an image, and that it does it whatever the batch."""

import dataclasses

import numpy as np
import pytest
import torch

from model.augment import View, pack
from model.config import TrainConfig

PLAIN = TrainConfig(flip=False, crop=0)


def _view(images, seed=1, number=0, **changes):
    config = dataclasses.replace(PLAIN, **changes)
    return View(pack(images), torch.eye(len(images), 10), config, seed, number)


def _all(images, **changes):
    return _view(images, **changes)(torch.arange(len(images)))


@pytest.fixture(params=[12, 11])  # whole words in a row of bytes, and not
def images(request):
    shape = (8, 9, request.param, 3)
    return np.random.default_rng(9).integers(0, 256, shape, dtype=np.uint8)


def test_no_augmentation(images):
    got, targets = _all(images)
    assert got.dtype == torch.uint8 and got.is_contiguous()
    np.testing.assert_array_equal(got.numpy(), images)
    assert torch.equal(targets, torch.eye(8, 10))


def test_flip_and_crop(images):
    got, _ = _all(images, flip=True, crop=2)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    flipped = 0
    for image, around in zip(got.numpy(), padded, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(around, image.shape[:2], (0, 1)).transpose(0, 1, 3, 4, 2)
        windows = windows.reshape(25, *image.shape)
        straight = (windows == image).all((1, 2, 3)).any()
        mirrored = (windows[:, :, ::-1] == image).all((1, 2, 3)).any()
        assert straight != mirrored
        flipped += mirrored
    assert 0 < flipped < 8


def test_cutout(images):
    got, _ = _all(images, cutout=4)
    holes = (got.numpy() != images).any(-1)
    assert (got.numpy()[holes] == 128).all()
    assert 4 <= holes.sum((1, 2)).max() <= 16


def test_cutmix(images):
    """Every image by its own box; a tenth of its target a class, so the target says which images it is made of."""
    got, targets = _all(images, cutmix=1.0)
    own, shares = 0, set()
    for i, (image, target) in enumerate(zip(got.numpy(), targets.numpy(), strict=True)):
        assert target.sum() == pytest.approx(1)
        others = [k for k in target.nonzero()[0] if k != i]
        pixels = (image == images[i]).all(-1)
        own += pixels.all()
        for other in others:
            assert (pixels | (image == images[other]).all(-1)).all()
            assert pixels.mean() == pytest.approx(target[i], abs=0.01)
            shares.add(round(float(target[i]), 3))
    assert own < 4 and len(shares) > 3


def test_cutmix_takes_its_part_of_the_images():
    images = np.zeros((1000, 4, 4, 3), np.uint8)
    _, targets = View(pack(images), torch.eye(1000), dataclasses.replace(PLAIN, cutmix=0.3), 1, 0)(torch.arange(1000))
    assert 0.15 < (targets.diagonal() < 1).float().mean() < 0.3  # some boxes are empty


def test_colour(images):
    """Against the definition, written out image by image."""
    view = _view(images, colour=0.4)
    got, _ = view(torch.arange(8))
    factors = (1 + 0.4 * (2 * view.random[3:6].double() - 1)).T.numpy()
    for image, ours, (brightness, contrast, saturation) in zip(images, got.numpy(), factors, strict=True):
        x = image * brightness
        x = x.mean() + contrast * (x - x.mean())
        grey = x.mean(2, keepdims=True)
        x = (grey + saturation * (x - grey)).round().clip(0, 255)
        assert np.abs(ours - x).max() <= 1 and (ours == x).mean() > 0.99


ALL = dict(flip=True, crop=2, cutout=3, cutmix=0.5, colour=0.4)


def test_batch_does_not_matter(images):
    """Any order, any size, another process: the same pixels and targets for an image."""
    whole, targets = _all(images, **ALL)
    order = torch.tensor([5, 0, 7, 3, 1, 2, 6, 4])
    for part in order.split(3):
        got, mixed = _view(images, **ALL)(part)
        assert torch.equal(got, whole[part]) and torch.equal(mixed, targets[part])


def test_seed_and_number_matter(images):
    views = [_all(images, seed=seed, number=number, **ALL)[0] for seed, number in ((1, 0), (1, 1), (2, 0), (0, 1))]
    assert not any(torch.equal(a, b) for i, a in enumerate(views) for b in views[:i])


def test_an_option_more_leaves_the_others(images):
    plain, _ = _all(images, flip=True, crop=2)
    holed, _ = _all(images, flip=True, crop=2, cutout=3)
    differs = (plain != holed).any(-1)
    assert (holed[differs] == 128).all() and differs.sum() <= 8 * 9


def test_targets_given_are_not_changed(images):
    view = _view(images, cutmix=1.0)
    view(torch.arange(8))
    assert torch.equal(view.targets, torch.eye(8, 10))
    np.testing.assert_array_equal(view.packed.unsqueeze(-1).view(torch.uint8)[..., :3].numpy(), images)
