"""Augmentation of uint8 images, with every random choice of a pass over them drawn at once.

What becomes of an image in a pass depends on the seed, the pass's number and the image's index, never on the batch
in which it comes: whoever makes the pass again, in another order or in another process, gets the same pixels.
Distillation shows teacher and student the same augmented images; CutMix therefore needs no mixed teacher targets,
the teacher sees the mixture itself.
"""

import numpy as np
import torch
from torch import Tensor

from .config import TrainConfig

__all__ = ["View", "pack"]

_GREY = 0x808080


def pack(images: np.ndarray) -> Tensor:
    """uint8 [n, h, w, 3] as int32 [n, h, w], what a `View` gathers from: a pixel in one word, red lowest, is copied
    eight times as fast as three bytes. The uppermost byte is zero."""
    words = torch.zeros(*images.shape[:3], 4, dtype=torch.uint8)
    words[..., :3] = torch.from_numpy(images)
    return words.view(torch.int32).squeeze(-1)


def _unpack(words: Tensor) -> Tensor:
    """The inverse of `pack`. Four pixels make three words, for torch copies three bytes of four one by one."""
    if words.shape[-1] % 4:
        return words.unsqueeze(-1).view(torch.uint8)[..., :3].contiguous()
    a, b, c, d = words.view(-1, 4).unbind(1)
    dense = torch.empty(len(a), 3, dtype=torch.int32)
    dense[:, 0], dense[:, 1], dense[:, 2] = a | b << 24, b >> 8 | c << 16, c >> 16 | d << 8
    return dense.view(torch.uint8).view(*words.shape, 3)


class View:
    """Pass `number` over the images `packed` (see `pack`) with the probabilities `targets` [n, classes].

    Called with an index [B] it returns images uint8 [B, h, w, 3] and targets [B, classes], mixed if the images are.
    An image's random numbers are drawn whatever the options: a choice more leaves the others as they are.
    """

    def __init__(self, packed: Tensor, targets: Tensor, config: TrainConfig, seed: int, number: int):
        self.packed, self.targets, self.config = packed, targets, config
        state = np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        self.random = torch.rand(12, len(packed), generator=generator)
        self.partner = torch.randperm(len(packed), generator=generator)  # whom an image is mixed with

    def __call__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        words, targets = self._alone(index), self.targets[index]
        mixed = (self.random[8, index] < self.config.cutmix).nonzero().squeeze(1)
        if len(mixed):
            partner = self.partner[index[mixed]]
            box, kept = _box(words.shape[1:], self.random[9:12, index[mixed]])
            words[mixed] = torch.where(box, self._alone(partner), words[mixed])
            kept = kept[:, None]
            targets[mixed] = kept * targets[mixed] + (1 - kept) * self.targets[partner]
        return _unpack(words), targets

    def _alone(self, index: Tensor) -> Tensor:
        """The images `index` before they are mixed, in words."""
        config, random = self.config, self.random[:, index]
        height, width = self.packed.shape[1:]
        rows = _shifted(height, random[0], config.crop)
        columns = _shifted(width, random[1], config.crop)
        if config.flip:
            columns = torch.where(random[2, :, None] < 0.5, columns.flip(1), columns)
        where = (rows * width)[:, :, None] + columns[:, None, :] + (index * (height * width))[:, None, None].int()
        words = self.packed.view(-1).index_select(0, where.view(-1)).view(where.shape)
        if config.colour:
            for part, numbers in zip(words.split(64), random[3:6].split(64, 1), strict=True):  # fits the cache
                part.copy_(_colour(part, numbers, config.colour))
        if config.cutout:
            words.masked_fill_(_hole(words.shape[1:], random[6:8], config.cutout), _GREY)
        return words


def _shifted(length: int, random: Tensor, margin: int) -> Tensor:
    """Positions [B, length] on a line, moved by up to `margin` and reflected at its ends."""
    start = (random * (2 * margin + 1)).int() - margin
    position = (start[:, None] + torch.arange(length, dtype=torch.int32)).abs()
    return (length - 1) - ((length - 1) - position).abs()


def _colour(words: Tensor, random: Tensor, strength: float) -> Tensor:
    """Brightness, then contrast around the mean of the image, then saturation, each by a factor in 1 +- strength:
    together one matrix an image on (red, green, blue, 1)."""
    brightness, contrast, saturation = (1 + strength * (2 * random - 1))[..., None, None]
    x = (words | 1 << 24).unsqueeze(-1).view(torch.uint8).flatten(1, 2).float()  # [B, h·w, 4]
    mean = x.mean((1, 2), keepdim=True) * 4 / 3 - 1 / 3
    matrix = torch.zeros(len(words), 4, 4)
    matrix[:, :3, :3] = brightness * contrast * ((1 - saturation) / 3 + saturation * torch.eye(3))
    matrix[:, 3:, :3] = brightness * (1 - contrast) * mean
    pixels = torch.bmm(x, matrix).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.view(torch.int32).view(words.shape)


def _inside(length: int, start: Tensor, size: Tensor | int) -> Tensor:
    """Which of 0..length-1 lie in [start, start + size): [B, length]."""
    position = torch.arange(length)
    return (position >= start[:, None]) & (position < (start + size)[:, None])


def _hole(shape: tuple[int, int], random: Tensor, size: int) -> Tensor:
    """A square around any pixel, [B, h, w]; what lies outside is cut off (T. DeVries and G. Taylor, 2017)."""
    top, left = ((r * n).long() - size // 2 for r, n in zip(random, shape, strict=True))
    return _inside(shape[0], top, size)[:, :, None] & _inside(shape[1], left, size)[:, None, :]


def _box(shape: tuple[int, int], random: Tensor) -> tuple[Tensor, Tensor]:
    """A box that another image fills, [B, h, w], and the part of the area [B] that is kept (S. Yun et al., 2019, with
    Beta(1, 1))."""
    (height, width), side = shape, random[0].sqrt()
    heights, widths = (side * height).round().long(), (side * width).round().long()
    top = (random[1] * (height - heights + 1)).long()
    left = (random[2] * (width - widths + 1)).long()
    box = _inside(height, top, heights)[:, :, None] & _inside(width, left, widths)[:, None, :]
    return box, 1 - heights * widths / (height * width)
