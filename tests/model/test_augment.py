"""Tests of the augmentation: what a view does to an image, and that the batch does not matter."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from psahw.model import augment
from psahw.model.augment import View, pack
from psahw.model.config import TrainConfig

PLAIN = TrainConfig(flip=False, crop=0)


def _view(images, seed=1, number=0, **changes):
    config = dataclasses.replace(PLAIN, **changes)
    return View(pack(images), torch.eye(len(images), 10), config, seed, number)


def _all(images, **changes):
    return _view(images, **changes)(torch.arange(len(images)))


@pytest.fixture(params=[12, 11])  # a row of bytes is a whole number of words, and is not
def images(request):
    shape = (8, 9, request.param, 3)
    return np.random.default_rng(9).integers(0, 256, shape, dtype=np.uint8)


def test_no_augmentation(images):
    augmented, targets = _all(images)
    assert augmented.dtype == torch.uint8 and augmented.is_contiguous()
    np.testing.assert_array_equal(augmented.numpy(), images)
    assert torch.equal(targets, torch.eye(8, 10))


def test_flip_and_crop(images):
    augmented, _ = _all(images, flip=True, crop=2)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    flipped = 0
    for image, around in zip(augmented.numpy(), padded, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(around, image.shape[:2], (0, 1)).transpose(0, 1, 3, 4, 2)
        windows = windows.reshape(25, *image.shape)
        straight = (windows == image).all((1, 2, 3)).any()
        mirrored = (windows[:, :, ::-1] == image).all((1, 2, 3)).any()
        assert straight != mirrored
        flipped += mirrored
    assert 0 < flipped < 8


def test_cutout(images):
    augmented, _ = _all(images, cutout=4)
    holes = (augmented.numpy() != images).any(-1)
    assert (augmented.numpy()[holes] == 128).all()
    assert 4 <= holes.sum((1, 2)).max() <= 16


def test_cutmix(images):
    """Each image gets its own box. Its class is its own too, so a target tells of which images it is made."""
    augmented, targets = _all(images, cutmix=1.0)
    unchanged, shares = 0, set()
    for i, (image, target) in enumerate(zip(augmented.numpy(), targets.numpy(), strict=True)):
        assert target.sum() == pytest.approx(1)
        others = [k for k in target.nonzero()[0] if k != i]
        pixels = (image == images[i]).all(-1)
        unchanged += pixels.all()
        for other in others:
            assert (pixels | (image == images[other]).all(-1)).all()
            assert pixels.mean() == pytest.approx(target[i], abs=0.01)
            shares.add(round(float(target[i]), 3))
    assert unchanged < 4 and len(shares) > 3


def test_cutmix_mixes_its_fraction_of_the_images():
    images = np.zeros((1000, 4, 4, 3), np.uint8)
    _, targets = View(pack(images), torch.eye(1000), dataclasses.replace(PLAIN, cutmix=0.3), 1, 0)(torch.arange(1000))
    assert 0.15 < (targets.diagonal() < 1).float().mean() < 0.3  # some boxes are empty


def test_colour(images):
    """Compare with the definition, written out image by image."""
    view = _view(images, colour=0.4)
    augmented, _ = view(torch.arange(8))
    factors = (1 + 0.4 * (2 * view.random[3:6].double() - 1)).T.numpy()
    for image, ours, (brightness, contrast, saturation) in zip(images, augmented.numpy(), factors, strict=True):
        x = image * brightness
        x = x.mean() + contrast * (x - x.mean())
        grey = x.mean(2, keepdims=True)
        x = (grey + saturation * (x - grey)).round().clip(0, 255)
        assert np.abs(ours - x).max() <= 1 and (ours == x).mean() > 0.99


def _unpacked(words):
    return words.unsqueeze(-1).view(torch.uint8)[..., :3].numpy()


def _operated(images, *names, sign=1, magnitude=15):
    """Return images after operations that are given by name."""
    which = torch.tensor([(augment._OPERATIONS.index(name) + 0.5) / len(augment._OPERATIONS) for name in names])
    random = torch.stack([which, torch.full_like(which, 0.75 if sign > 0 else 0.25)])
    random = random[..., None].expand(-1, -1, len(images))
    return _unpacked(augment._randaugment(pack(images), random, magnitude))


def _half(x, y, height, width):
    """Return where each operation that moves pixels reads, at half its strength, relative to the centre."""
    sine, cosine = np.sin(np.pi / 12), np.cos(np.pi / 12)
    return {
        "shear x": (x + 0.15 * y, y),
        "shear y": (x, y + 0.15 * x),
        "translate x": (x + width * 75 / 331, y),
        "translate y": (x, y + height * 75 / 331),
        "rotate": (cosine * x + sine * y, cosine * y - sine * x),
    }


@pytest.mark.parametrize("name", ["shear x", "shear y", "translate x", "translate y", "rotate"])
def test_moved_pixels(images, name):
    """Compare with Pillow, which may break a tie in another way."""
    height, width = images.shape[1:3]

    def at(x, y):
        u, v = _half(x, y, height, width)[name]
        return np.array([u + width / 2, v + height / 2])

    origin = at(-width / 2, -height / 2)
    across, down = at(1 - width / 2, -height / 2) - origin, at(-width / 2, 1 - height / 2) - origin
    data = [coefficient for i in (0, 1) for coefficient in (across[i], down[i], origin[i])]
    for image, augmented in zip(images, _operated(images, name), strict=True):
        expected = Image.fromarray(image).transform(
            (width, height), Image.Transform.AFFINE, data, Image.Resampling.NEAREST, fillcolor=(128, 128, 128)
        )
        assert (augmented == np.asarray(expected)).all(-1).mean() > 0.95
    there_and_back = _operated(images, name, sign=-1)
    assert (there_and_back != _operated(images, name)).any()


def test_changed_values(images):
    """Compare with Pillow at half the strength: 6 bits, threshold 127.5, factors 1 +- 0.45."""
    for name, expect in (
        ("identity", lambda image: image),
        ("posterize", lambda image: ImageOps.posterize(image, 6)),
        ("solarize", lambda image: ImageOps.solarize(image, 128)),
    ):
        expected = [np.asarray(expect(Image.fromarray(image))) for image in images]
        np.testing.assert_array_equal(_operated(images, name), expected)
    for sign in (1, -1):
        bright = _operated(images, "brightness", sign=sign)
        np.testing.assert_allclose(bright, (images * (1 + sign * 0.45)).clip(0, 255), atol=0.51)
        mean = images.mean((1, 2, 3), keepdims=True)
        expected = (mean + (1 + sign * 0.45) * (images - mean)).clip(0, 255)
        np.testing.assert_allclose(_operated(images, "contrast", sign=sign), expected, atol=0.51)
        grey = images.mean(3, keepdims=True)
        expected = (grey + (1 + sign * 0.45) * (images - grey)).clip(0, 255)
        np.testing.assert_allclose(_operated(images, "saturation", sign=sign), expected, atol=0.51)


def test_several_operations(images):
    """Operations that move pixels come first, in their order, and the others follow in theirs."""
    both = _operated(images, "translate x", "posterize", "brightness")
    step = _operated(_operated(_operated(images, "translate x"), "posterize"), "brightness")
    np.testing.assert_array_equal(both, step)
    swapped = _operated(images, "posterize", "translate x", "brightness")
    np.testing.assert_array_equal(swapped, both)
    ends = np.zeros((1, 9, 9, 3), np.uint8)
    ends[0, 4, 4] = 255
    first = _operated(ends, "translate x", "rotate")
    apart = _operated(_operated(ends, "translate x"), "rotate")
    np.testing.assert_array_equal(first[..., 0] == 255, apart[..., 0] == 255)


def test_strongest_and_weakest(images):
    for name in augment._OPERATIONS:
        np.testing.assert_array_equal(
            _operated(images, name, magnitude=0) == images, name != "solarize" or images < 255
        )
        _operated(images, name, magnitude=30)
    np.testing.assert_array_equal(_operated(images, "solarize", magnitude=30), 255 - images)


def test_randaugment_draws_all_operations():
    images = np.random.default_rng(1).integers(0, 256, (200, 16, 16, 3), dtype=np.uint8)
    view = _view(images, randaugment=2)
    which = (view.operations[0] * len(augment._OPERATIONS)).long()
    assert which.shape == (2, 200) and set(which.flatten().tolist()) == set(range(11))
    augmented, _ = view(torch.arange(200))
    unchanged = (augmented.numpy() == images).all((1, 2, 3))
    identity = augment._OPERATIONS.index("identity")
    assert unchanged[(which == identity).all(0)].all() and unchanged.mean() < 0.1


def test_mixup(images):
    augmented, targets = _all(images, mixup=1.0)
    view = _view(images, mixup=1.0)
    for i, (image, target) in enumerate(zip(augmented.numpy(), targets.numpy(), strict=True)):
        partner, share = int(view.partner[i]), float(view.random[9, i])
        expected = share * images[i] + (1 - share) * images[partner].astype(float)
        np.testing.assert_allclose(image, expected, atol=0.51)
        np.testing.assert_allclose(target, share * np.eye(10)[i] + (1 - share) * np.eye(10)[partner], atol=1e-6)


def test_an_image_is_pasted_or_blended_or_neither(images):
    """One random number decides, so mixup does not change which images are pasted."""
    images = np.repeat(images, 30, 0)
    whole, _ = _all(images)
    pasted, _ = _all(images, cutmix=0.4)
    both, _ = _all(images, cutmix=0.4, mixup=0.3)
    choice = _view(images).random[8]
    assert torch.equal(both[choice < 0.4], pasted[choice < 0.4])
    assert torch.equal(both[choice >= 0.7], whole[choice >= 0.7])
    blended = (choice >= 0.4) & (choice < 0.7)
    assert (both[blended] != whole[blended]).flatten(1).any(1).float().mean() > 0.7  # a partner may be the same image


ALL = dict(flip=True, crop=2, cutout=3, cutmix=0.4, mixup=0.4, colour=0.4, randaugment=2)


def test_batch_does_not_matter(images):
    """In any order, any batch size and any process, an image has the same pixels and target."""
    whole, targets = _all(images, **ALL)
    order = torch.tensor([5, 0, 7, 3, 1, 2, 6, 4])
    for part in order.split(3):
        augmented, mixed = _view(images, **ALL)(part)
        assert torch.equal(augmented, whole[part]) and torch.equal(mixed, targets[part])


def test_seed_and_number_matter(images):
    views = [_all(images, seed=seed, number=number, **ALL)[0] for seed, number in ((1, 0), (1, 1), (2, 0), (0, 1))]
    assert not any(torch.equal(a, b) for i, a in enumerate(views) for b in views[:i])


def test_one_more_option_leaves_the_others(images):
    plain, _ = _all(images, flip=True, crop=2)
    holed, _ = _all(images, flip=True, crop=2, cutout=3)
    operated, _ = _all(images, flip=True, crop=2, randaugment=1, magnitude=0)
    assert torch.equal(operated[plain < 255], plain[plain < 255])  # the weakest solarisation inverts 255
    differs = (plain != holed).any(-1)
    assert (holed[differs] == 128).all() and differs.sum() <= 8 * 9


def test_targets_given_are_not_changed(images):
    view = _view(images, cutmix=1.0)
    view(torch.arange(8))
    assert torch.equal(view.targets, torch.eye(8, 10))
    np.testing.assert_array_equal(_unpacked(view.packed), images)
