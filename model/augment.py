"""Augmentation of uint8 images, with all random choices of a pass over them drawn at once.

What happens to an image in a pass depends on the seed, the number of the pass and the index of the image, but not on
its batch. Whoever repeats the pass, in another order or in another process, gets the same pixels; on another device,
those of `colour` and `randaugment` are the same up to rounding.

Distillation shows the same augmented images to teacher and student. CutMix and mixup therefore need no mixed teacher
targets: the teacher sees the mixture itself.

Inside, images are int32 words, one per pixel, as `pack` makes them. Rows of a table, which have more colours than a
word has bytes, are images one pixel high with four columns of the table in each word. They are only mixed.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from psahw.errors import UserError

from .config import TrainConfig

__all__ = ["View", "check_augmentation", "pack"]

_GREY = 0x808080
_GREY_4 = _GREY - (0x80 << 24)  # with four colours, as a number with a sign
_TABLE: dict[str, Any] = {"flip": False, "crop": 0, "cutout": 0, "cutmix": 0.0, "randaugment": 0, "colour": 0.0}


def check_augmentation(shape: tuple[int, int, int], config: TrainConfig) -> None:
    """Raise UserError if images [height, width, colours] cannot be augmented as the settings say."""
    height, width, colours = shape
    if (height, width) == (1, 1):
        return
    if min(height, width) <= config.crop:
        raise UserError(f"crop must be less than the images' {min(height, width)} pixels, not {config.crop}")
    if colours not in (1, 3):
        for name in ("randaugment", "colour"):
            if getattr(config, name):
                raise UserError(f"{name} must be 0 for images of {colours} colours, not {getattr(config, name):g}")
    if colours > 4:
        raise UserError(f"images must have at most 4 colours to be trained on, not {colours}")


def pack(images: np.ndarray) -> Tensor:
    """Return images uint8 [n, h, w, colours] as int32 [n, h, w], from which a `View` gathers.

    Each word is a pixel, with the first colour, red, in the lowest byte, and zero in bytes without a colour. Grey is
    repeated as red, green and blue. A word is copied eight times as fast as three bytes. Rows of a table, [n, 1, 1,
    columns] with more than four columns, become [n, 1, words].
    """
    colours, pixels = images.shape[3], torch.from_numpy(images)
    if colours > 4:
        return functional.pad(pixels[:, 0, 0], (0, -colours % 4)).view(torch.int32)[:, None]
    words = torch.zeros(*images.shape[:3], 4, dtype=torch.uint8)
    words[..., : max(colours, 3 if colours == 1 else 0)] = pixels
    return words.view(torch.int32).squeeze(-1)


def _unpack(words: Tensor, colours: int) -> Tensor:
    """Return the images uint8 [..., colours] of words [...], the inverse of `pack`."""
    if colours > 4:
        return words.view(torch.uint8)[..., None, :colours].contiguous()
    if colours != 3:
        return words.unsqueeze(-1).view(torch.uint8)[..., :colours].contiguous()
    if words.shape[-1] % 4:
        return words.unsqueeze(-1).view(torch.uint8)[..., :3].contiguous()
    # Four pixels become three words, because torch would copy three bytes of each four one by one.
    a, b, c, d = words.view(-1, 4).unbind(1)
    dense = torch.empty(len(a), 3, dtype=torch.int32, device=words.device)
    dense[:, 0], dense[:, 1], dense[:, 2] = a | b << 24, b >> 8 | c << 16, c >> 16 | d << 8
    return dense.view(torch.uint8).view(*words.shape, 3)


class View:
    """One augmented pass over a set of images.

    The random numbers of an image are drawn whatever the settings are, so that one more option leaves the effect of
    the others as it is. They are drawn on the CPU, so that they do not depend on the device of the images, where all
    the rest is computed.

    Parameters
    ----------
    packed
        The images, int32 [n, h, w]; see `pack`.
    targets
        Target probabilities [n, classes], on the same device.
    config
        The settings of the augmentation.
    seed
        Seed of the augmentation.
    number
        Number of the pass.
    colours
        Colours of a pixel, or columns of a table.
    """

    def __init__(
        self, packed: Tensor, targets: Tensor, config: TrainConfig, seed: int, number: int, colours: int = 3
    ):
        if colours > 4 or packed.shape[1:] == (1, 1):
            config = dataclasses.replace(config, **_TABLE)
        self.packed, self.targets, self.config, self.colours = packed, targets, config, colours
        state = np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        random = torch.rand(12, len(packed), generator=generator)
        partner = torch.randperm(len(packed), generator=generator)  # with which an image is mixed
        operations = torch.rand(2, config.randaugment, len(packed), generator=generator)  # [operation or sign, N, n]
        self.random, self.partner, self.operations = (x.to(packed.device) for x in (random, partner, operations))

    def __call__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return augmented images uint8 [B, h, w, colours] and their targets [B, classes], for image numbers [B].

        The targets are mixed where the images are.
        """
        words, targets = self._alone(index), self.targets[index]
        choice, cutmix = self.random[8, index], self.config.cutmix
        pasted, blended = choice < cutmix, (choice >= cutmix) & (choice < cutmix + self.config.mixup)
        for chosen, mix in ((pasted, _paste), (blended, _blend)):
            if len(at := chosen.nonzero().squeeze(1)):
                partner = self.partner[index[at]]
                words[at], share = mix(words[at], self._alone(partner), self.random[9:12, index[at]])
                targets[at] = share[:, None] * targets[at] + (1 - share)[:, None] * self.targets[partner]
        return _unpack(words, self.colours), targets

    def _alone(self, index: Tensor) -> Tensor:
        """Return the images `index` as they are before they are mixed."""
        config, random = self.config, self.random[:, index]
        height, width = self.packed.shape[1:]
        rows = _shifted(height, random[0], config.crop)
        columns = _shifted(width, random[1], config.crop)
        if config.flip:
            columns = torch.where(random[2, :, None] < 0.5, columns.flip(1), columns)
        where = (rows * width)[:, :, None] + columns[:, None, :] + (index * (height * width))[:, None, None].int()
        words = self.packed.view(-1).index_select(0, where.view(-1)).view(where.shape)
        if config.randaugment:
            words = _randaugment(words, self.operations[:, :, index], config.magnitude)
        if config.colour:
            words = _colour(words, 1 + config.colour * (2 * random[3:6] - 1))
        if config.cutout:
            words.masked_fill_(
                _hole((height, width), random[6:8], config.cutout), _GREY_4 if self.colours == 4 else _GREY
            )
        return words


def _shifted(length: int, random: Tensor, margin: int) -> Tensor:
    """Return positions [B, length] on a line that are moved by up to `margin` and reflected at its ends."""
    start = (random * (2 * margin + 1)).int() - margin
    position = (start[:, None] + torch.arange(length, dtype=torch.int32, device=random.device)).abs()
    return (length - 1) - ((length - 1) - position).abs()


def _colour(words: Tensor, factors: Tensor) -> Tensor:
    """Change brightness, then contrast around the mean of the image, then saturation, by `factors` [3, B].

    Together they are one matrix per image on (red, green, blue, 1).
    """
    if len(words) > 64 and words.device.type == "cpu":  # parts that fit into the cache are twice as fast
        parts = zip(words.split(64), factors.split(64, 1), strict=True)
        return torch.cat([_colour(part, numbers) for part, numbers in parts])
    brightness, contrast, saturation = factors[..., None, None]
    x = (words | 1 << 24).unsqueeze(-1).view(torch.uint8).flatten(1, 2).float()  # [B, h·w, 4]
    mean = x.mean((1, 2), keepdim=True) * 4 / 3 - 1 / 3
    matrix = torch.zeros(len(words), 4, 4, device=words.device)
    one = torch.eye(3, device=words.device)
    matrix[:, :3, :3] = brightness * contrast * ((1 - saturation) / 3 + saturation * one)
    matrix[:, 3:, :3] = brightness * (1 - contrast) * mean
    pixels = torch.bmm(x, matrix).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.view(torch.int32).view(words.shape)


_OPERATIONS = (
    "identity", "shear x", "shear y", "translate x", "translate y", "rotate", "brightness", "contrast", "saturation",
    "posterize", "solarize",
)  # fmt: skip


def _randaugment(words: Tensor, random: Tensor, magnitude: float) -> Tensor:
    """Apply N operations to each image (E. Cubuk et al., "RandAugment", 2019, with torchvision's ranges).

    `random` [2, N, B] chooses the operations and their signs. Operations that move pixels come first, as one affine
    map, so that each pixel is looked up once; the others follow in their order. Sharpness, autocontrast and
    equalisation are left out.

    Parameters
    ----------
    words
        Images, which are changed in place.
    random
        Numbers from 0 to below 1.
    magnitude
        Strength of all operations, 0 to 30.
    """
    level = magnitude / 30
    which = (random[0] * len(_OPERATIONS)).long()  # [N, B]
    signs = torch.where(random[1] < 0.5, -level, level)

    def strength(name: str) -> Tensor:
        return torch.where(which == _OPERATIONS.index(name), signs, 0)

    shape = words.shape[1:]
    angle = strength("rotate") * math.radians(30)
    one = torch.eye(3, device=words.device)
    maps = one.repeat(*which.shape, 1, 1)  # [N, B, 3, 3], on (row, column, 1) around the centre
    maps[..., 0, 0] = maps[..., 1, 1] = angle.cos()
    maps[..., 0, 1] = strength("shear y") * 0.3 - angle.sin()
    maps[..., 1, 0] = strength("shear x") * 0.3 + angle.sin()
    maps[..., 0, 2] = strength("translate y") * (150 / 331 * shape[0])
    maps[..., 1, 2] = strength("translate x") * (150 / 331 * shape[1])
    moved = (maps != one).any(3).any(2).any(0).nonzero().squeeze(1)
    if len(moved):
        together = maps[0, moved]
        for following in maps[1:, moved]:
            together = together @ following
        words[moved] = _warp(words[moved], together)

    factors = torch.stack([1 + 0.9 * strength(name) for name in ("brightness", "contrast", "saturation")])
    for step in range(len(which)):
        for name, change in (
            ("posterize", lambda part: part & (0xFF << round(4 * level) & 0xFF) * 0x010101),
            ("solarize", lambda part: _solarize(part, 255 * (1 - level))),
        ):
            chosen = which[step] == _OPERATIONS.index(name)
            words[chosen] = change(words[chosen])
        coloured = (factors[:, step] != 1).any(0)
        words[coloured] = _colour(words[coloured], factors[:, step, coloured])
    return words


def _warp(words: Tensor, maps: Tensor) -> Tensor:
    """Take each pixel from where its image's map [B, 3, 3] points: the nearest pixel, or grey outside."""
    height, width = words.shape[1:]
    framed = functional.pad(words, (1, 1, 1, 1), value=_GREY)
    row, column = (torch.arange(n, device=words.device) - (n - 1) / 2 for n in (height, width))

    def nearest(i: int, length: int) -> Tensor:  # [B, h, w], positions in `framed`
        down = maps[:, i, :1] * row
        right = maps[:, i, 1:2] * column + maps[:, i, 2:] + (length + 1) / 2
        return (down[:, :, None] + right[:, None, :]).round_().clamp_(0, length + 1)

    where = nearest(0, height).mul_(width + 2).add_(nearest(1, width)).int().flatten(1)
    where += torch.arange(len(words), dtype=torch.int32, device=words.device)[:, None] * framed[0].numel()
    return framed.flatten().index_select(0, where.flatten()).view(words.shape)


def _solarize(words: Tensor, threshold: float) -> Tensor:
    """Invert the values from a threshold on."""
    pixels = words.unsqueeze(-1).view(torch.uint8)
    return torch.where(pixels >= threshold, 255 - pixels, pixels).view(torch.int32).squeeze(-1) & 0xFFFFFF


def _inside(length: int, start: Tensor, size: Tensor | int) -> Tensor:
    """Return a mask [B, length] of the positions in [start, start + size), for `start` [B]."""
    position = torch.arange(length, device=start.device)
    return (position >= start[:, None]) & (position < (start + size)[:, None])


def _hole(shape: tuple[int, int], random: Tensor, size: int) -> Tensor:
    """Return masks [B, h, w] of a square around a random pixel, cut off at the border.

    See T. DeVries and G. Taylor, "Cutout", 2017.
    """
    top, left = ((r * n).long() - size // 2 for r, n in zip(random, shape, strict=True))
    return _inside(shape[0], top, size)[:, :, None] & _inside(shape[1], left, size)[:, None, :]


def _paste(words: Tensor, others: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
    """Replace a box of each image by another image's (S. Yun et al., "CutMix", 2019, with Beta(1, 1)).

    Returns the images, and the share [B] of the area that is left of the first ones.
    """
    (height, width), side = words.shape[1:], random[0].sqrt()
    heights, widths = (side * height).round().long(), (side * width).round().long()
    top = (random[1] * (height - heights + 1)).long()
    left = (random[2] * (width - widths + 1)).long()
    box = _inside(height, top, heights)[:, :, None] & _inside(width, left, widths)[:, None, :]
    return torch.where(box, others, words), 1 - heights * widths / (height * width)


def _blend(words: Tensor, others: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
    """Return weighted means of two images, and the weights [B] of the first ones.

    See H. Zhang et al., "mixup", 2018, with Beta(1, 1).
    """
    first, second = (part.unsqueeze(-1).view(torch.uint8).float() for part in (words, others))
    mixed = second.lerp_(first, random[0, :, None, None, None]).round_().to(torch.uint8)
    return mixed.view(torch.int32).squeeze(-1), random[0]
