"""Augmentation of whole batches on uint8 images, with one generator, so that a seed fixes every pixel.

Distillation shows teacher and student the same augmented images; CutMix therefore needs no mixed teacher
targets, the teacher sees the mixture itself.
"""

import torch
from torch import Tensor
from torch.nn import functional

from .config import TrainConfig

__all__ = ["augment", "reflect_borders"]


def reflect_borders(images: Tensor, margin: int) -> Tensor:
    """[n, h, w, 3] with `margin` reflected pixels on each side: what `augment` crops from."""
    if margin == 0:
        return images
    planes = images.permute(0, 3, 1, 2).float()
    padded = functional.pad(planes, (margin,) * 4, mode="reflect")
    return padded.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def augment(
    padded: Tensor, index: Tensor, targets: Tensor, config: TrainConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The images `index` [B] of `padded` (see `reflect_borders`), changed at random.

    `targets` [B, classes] are probabilities. Returns images uint8 [B, h, w, 3] and targets, mixed if the
    images are. The generator is advanced equally whatever the options.
    """
    batch, margin = len(index), config.crop
    height, width = padded.shape[1] - 2 * margin, padded.shape[2] - 2 * margin
    random = torch.rand(12, batch, generator=generator)
    partner = torch.randperm(batch, generator=generator)

    top = (random[0] * (2 * margin + 1)).long()
    left = (random[1] * (2 * margin + 1)).long()
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    if config.flip:
        columns = torch.where(random[2, :, None] < 0.5, columns.flip(1), columns)
    images = padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]

    if config.colour:
        images = _colour(images, random[3:6], config.colour)
    if config.cutout:
        images = _cutout(images, random[6:8], config.cutout)
    if config.cutmix and random[8, 0] < config.cutmix:
        images, targets = _cutmix(images, targets, partner, random[9:12, 0])
    return images, targets


def _colour(images: Tensor, random: Tensor, strength: float) -> Tensor:
    """Brightness, contrast and saturation, each by a factor in 1 +- strength."""
    brightness, contrast, saturation = (1 + strength * (2 * random - 1))[:, :, None, None, None]
    x = images.float() * brightness
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + contrast * (x - mean)
    grey = x.mean(3, keepdim=True)
    x = grey + saturation * (x - grey)
    return x.round().clamp(0, 255).to(torch.uint8)


def _inside(length: int, start: Tensor, size: Tensor | int) -> Tensor:
    """Which of 0..length-1 lie in [start, start + size): [B, length]."""
    position = torch.arange(length)
    return (position >= start[:, None]) & (position < start[:, None] + size)


def _cutout(images: Tensor, random: Tensor, size: int) -> Tensor:
    height, width = images.shape[1:3]
    top = (random[0] * height).long() - size // 2
    left = (random[1] * width).long() - size // 2
    hole = _inside(height, top, size)[:, :, None] & _inside(width, left, size)[:, None, :]
    return images.masked_fill(hole[..., None], 128)


def _cutmix(images: Tensor, targets: Tensor, partner: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
    """One box for the whole batch (S. Yun et al., 2019, with Beta(1, 1))."""
    height, width = images.shape[1:3]
    box_height, box_width = (round(n * float(random[0]) ** 0.5) for n in (height, width))
    top = int(float(random[1]) * (height - box_height + 1))
    left = int(float(random[2]) * (width - box_width + 1))
    images = images.clone()
    box = (slice(None), slice(top, top + box_height), slice(left, left + box_width))
    images[box] = images[partner][box]
    kept = 1 - box_height * box_width / (height * width)
    return images, kept * targets + (1 - kept) * targets[partner]
