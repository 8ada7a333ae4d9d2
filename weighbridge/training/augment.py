"""Changes to whole batches on the device, drawn anew for each step from a named generator.

Shape suffixes: B batch, H height, W width, C channel or class, D feature, L tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from weighbridge.preprocessing.text import HIDDEN

if TYPE_CHECKING:
    from weighbridge.preprocessing import Block
    from weighbridge.recipe import AugmentOptions

Batch = dict[str, Tensor]
SPAN = 3
LONGEST_MASK = 0.2  # of the bands, and of the frames


class Augmenter:
    """Applies the recipe's changes to a batch; a batch in, a batch and (possibly mixed) targets out."""

    def __init__(self, options: AugmentOptions, blocks: tuple[Block, ...], *, kind: str, outputs: int) -> None:
        self.options = options
        self.images = [block for block in blocks if block.of == "image"]
        self.clips = [block for block in blocks if block.of == "audio"]
        self.texts = {block.name: block.hidden for block in blocks if block.kind == "text"}
        self.lacking = {block.columns[0]: block.name for block in blocks if block.kind == "present"}
        self.numbers = [block.name for block in blocks if block.kind == "number"]
        self.kind, self.outputs = kind, outputs

    @property
    def active(self) -> bool:
        """Whether any change is asked for."""
        return any(value for value in self.options.model_dump().values())

    def __call__(self, batch: Batch, target: Tensor, generator: torch.Generator) -> tuple[Batch, Tensor]:
        batch = dict(batch)
        for block in self.images:
            batch[block.name] = self._image(batch[block.name], generator)
        for block in self.clips:
            batch[block.name] = self._clip(batch[block.name], generator)
        for name, hidden in self.texts.items():
            batch[name] = self._text(batch[name], generator, hidden)
        if self.options.modality_dropout:
            self._hide_inputs(batch, generator)
        if self.options.noise:
            for name in self.numbers:
                noise = torch.randn(batch[name].shape, generator=generator, device=batch[name].device)
                batch[name] = batch[name] + self.options.noise * noise
        if self.options.mixup:
            return self._mixup(batch, target, generator)
        if self.options.cutmix and self.images:
            return self._cutmix(batch, target, generator)
        return batch, target

    def _hide_inputs(self, batch: Batch, generator: torch.Generator) -> None:
        """Hide each image and clip that a row may lack and each text in some rows, as if it were missing (Neverova 2016)."""
        for block in (*self.images, *self.clips):
            if block.columns[0] in self.lacking:
                held_B1 = _kept_rows(batch[block.name], self.options.modality_dropout, generator)
                nothing_C = (torch.tensor(block.mean, device=held_B1.device) * 255).round().to(batch[block.name].dtype)
                batch[block.name] = torch.where(held_B1[:, :, None, None], batch[block.name], nothing_C)
                batch[self.lacking[block.columns[0]]] = batch[self.lacking[block.columns[0]]] * held_B1
        for name in self.texts:
            batch[name] = batch[name] * _kept_rows(batch[name], self.options.modality_dropout, generator)

    def _image(self, image_BHWC: Tensor, generator: torch.Generator) -> Tensor:
        if self.options.flip:
            image_BHWC = flip(image_BHWC, generator)
        if self.options.crop:
            image_BHWC = crop(image_BHWC, self.options.crop, generator)
        if self.options.erase:
            image_BHWC = erase(image_BHWC, self.options.erase, generator)
        return image_BHWC

    def _clip(self, level_BHWC: Tensor, generator: torch.Generator) -> Tensor:
        if self.options.time_shift:
            level_BHWC = shift_time(level_BHWC, self.options.time_shift, generator)
        if self.options.spectrogram_masks:
            level_BHWC = mask_spectrogram(level_BHWC, self.options.spectrogram_masks, generator)
        return level_BHWC

    def _text(self, codes_BL: Tensor, generator: torch.Generator, hidden: int) -> Tensor:
        if self.options.token_dropout:
            codes_BL = hide_tokens(codes_BL, self.options.token_dropout, generator, hidden)
        if self.options.span_mask:
            codes_BL = hide_spans(codes_BL, self.options.span_mask, generator, hidden)
        return codes_BL

    def _mixup(self, batch: Batch, target: Tensor, generator: torch.Generator) -> tuple[Batch, Tensor]:
        """Every row becomes a mean of itself and a partner; categories keep the row's own codes (Zhang 2018)."""
        share = _beta(self.options.mixup, generator)
        partner_B = torch.randperm(len(target), generator=generator, device=target.device)
        for name in [*self.numbers, *(block.name for block in (*self.images, *self.clips))]:
            mixed = share * batch[name].float() + (1 - share) * batch[name][partner_B].float()
            batch[name] = mixed
        return batch, self._mix_target(target, partner_B, share)

    def _cutmix(self, batch: Batch, target: Tensor, generator: torch.Generator) -> tuple[Batch, Tensor]:
        """A rectangle of each image comes from a partner; the target is mixed by its area (Yun 2019)."""
        share = _beta(self.options.cutmix, generator)
        partner_B = torch.randperm(len(target), generator=generator, device=target.device)
        kept = 1.0
        for block in self.images:
            height, width = block.shape[0], block.shape[1]
            side = (1 - share) ** 0.5
            high, wide = round(height * side), round(width * side)
            top, left = (
                int(torch.randint(0, most + 1, (), generator=generator, device=generator.device)) for most in (height - high, width - wide)
            )
            image = batch[block.name].clone()
            image[:, top : top + high, left : left + wide] = image[partner_B, top : top + high, left : left + wide]
            batch[block.name] = image
            kept = 1 - high * wide / (height * width)
        return batch, self._mix_target(target, partner_B, kept)

    def _mix_target(self, target: Tensor, partner_B: Tensor, share: float) -> Tensor:
        if self.kind == "category":
            target = functional.one_hot(target, self.outputs).float()
        return share * target + (1 - share) * target[partner_B]


def flip(image_BHWC: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images left to right."""
    chosen_B = torch.rand(len(image_BHWC), generator=generator, device=image_BHWC.device) < 0.5
    return torch.where(chosen_B[:, None, None, None], image_BHWC.flip(2), image_BHWC)


def crop(image_BHWC: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `pixels` in both directions; what enters at the edge is 0."""
    batch, height, width, channels = image_BHWC.shape
    padded = functional.pad(image_BHWC, (0, 0, pixels, pixels, pixels, pixels))
    device = image_BHWC.device
    shift_2B = torch.randint(0, 2 * pixels + 1, (2, batch), generator=generator, device=device)
    row_BH = shift_2B[0, :, None] + torch.arange(height, device=device)
    column_BW = shift_2B[1, :, None] + torch.arange(width, device=device)
    place_B = torch.arange(batch, device=device)[:, None, None]
    return padded[place_B, row_BH[:, :, None], column_BW[:, None, :]].view(batch, height, width, channels)


def erase(image_BHWC: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """Hide a rectangle of 2 to 25 % of the area in a share `chance` of the images (Zhong 2020); hidden pixels are 0."""
    batch, height, width, _ = image_BHWC.shape
    draw_5B = torch.rand(5, batch, generator=generator, device=image_BHWC.device)
    side_B = (0.02 + 0.23 * draw_5B[0]).sqrt()
    ratio_B = torch.exp((draw_5B[1] - 0.5) * 2.0)
    high_B = (side_B * ratio_B.sqrt()).clamp(max=1.0) * height
    wide_B = (side_B / ratio_B.sqrt()).clamp(max=1.0) * width
    top_B, left_B = draw_5B[2] * (height - high_B), draw_5B[3] * (width - wide_B)
    row_H, column_W = torch.arange(height, device=image_BHWC.device), torch.arange(width, device=image_BHWC.device)
    in_row_BH = (row_H >= top_B[:, None]) & (row_H < (top_B + high_B)[:, None])
    in_column_BW = (column_W >= left_B[:, None]) & (column_W < (left_B + wide_B)[:, None])
    hidden_BHW = in_row_BH[:, :, None] & in_column_BW[:, None, :] & (draw_5B[4] < chance)[:, None, None]
    return torch.where(hidden_BHW[..., None], torch.zeros((), dtype=image_BHWC.dtype, device=image_BHWC.device), image_BHWC)


def shift_time(level_BHWC: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Move each spectrogram to and fro by up to `share` of its length; silence enters at the edge."""
    width, device = level_BHWC.shape[2], level_BHWC.device
    most = max(1, round(share * width))
    shift_B = torch.randint(-most, most + 1, (len(level_BHWC),), generator=generator, device=device)
    from_BW = torch.arange(width, device=device) - shift_B[:, None]
    moved = level_BHWC.gather(2, from_BW.clamp(0, width - 1)[:, None, :, None].expand(level_BHWC.shape))
    return moved * ((from_BW >= 0) & (from_BW < width))[:, None, :, None]


def mask_spectrogram(level_BHWC: Tensor, masks: int, generator: torch.Generator) -> Tensor:
    """Hide as many runs of bands and of frames in each spectrogram, each up to a fifth of its side (SpecAugment, Park 2019)."""
    batch, height, width, _ = level_BHWC.shape
    kept = torch.ones(batch, height, width, dtype=torch.bool, device=level_BHWC.device)
    for _ in range(masks):
        for axis, side in ((1, height), (2, width)):
            draw_2B = torch.rand(2, batch, generator=generator, device=level_BHWC.device)
            long_B = draw_2B[0] * LONGEST_MASK * side
            first_B = draw_2B[1] * (side - long_B)
            place = torch.arange(side, device=level_BHWC.device)
            hidden_BS = (place >= first_B[:, None]) & (place < (first_B + long_B)[:, None])
            kept &= ~(hidden_BS[:, :, None] if axis == 1 else hidden_BS[:, None, :])
    return level_BHWC * kept[..., None]


def hide_tokens(codes_BL: Tensor, share: float, generator: torch.Generator, hidden: int = HIDDEN) -> Tensor:
    """Return the codes with each token hidden with this chance (token dropout); places behind a row's end stay."""
    drawn_BL = torch.rand(codes_BL.shape, generator=generator, device=codes_BL.device) < share
    return codes_BL.masked_fill(drawn_BL & (codes_BL != 0), hidden)


def hide_spans(codes_BL: Tensor, share: float, generator: torch.Generator, hidden: int = HIDDEN) -> Tensor:
    """Return the codes with about this share of tokens hidden in runs of SPAN (span masking, Joshi 2020)."""
    chance = 1 - (1 - share) ** (1 / SPAN)  # that a run starts at a place, so that a place is in one with chance `share`
    rows, length = codes_BL.shape
    starts = torch.rand((rows, length + SPAN - 1), generator=generator, device=codes_BL.device) < chance  # also before the first place
    total = functional.pad(starts.to(torch.int32).cumsum(1), (1, 0))
    inside_BL = total[:, SPAN:] > total[:, :length]
    return codes_BL.masked_fill(inside_BL & (codes_BL != 0), hidden)


def _kept_rows(values: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return bool [B, 1], False with chance `share`."""
    return torch.rand((len(values), 1), generator=generator, device=values.device) >= share


def _beta(alpha: float, generator: torch.Generator) -> float:
    """Return one draw of Beta(alpha, alpha), at least one half, so that a row stays mostly itself."""
    import numpy as np

    seed = int(torch.randint(0, 2**31 - 1, (), generator=generator, device=generator.device))
    share = float(np.random.Generator(np.random.Philox(seed)).beta(alpha, alpha))
    return max(share, 1 - share)
