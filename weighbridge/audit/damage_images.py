"""Damage to pictures: noise, blur, contrast, shift and JPEG at five strengths (Hendrycks and Dietterich 2019).

Noise, contrast, JPEG and the blur of 32 pixels are CIFAR-10-C's own constants. A blur grows with the picture's side (and is never less
than at 32 pixels: a quarter of a pixel blurs nothing); a shift is a share of the side, by parts of pixels, in a direction drawn for each
picture, and what enters at the edge repeats the edge. n pictures, H height, W width, C channels.
"""

from __future__ import annotations

import io

import numpy as np

from weighbridge.audit.damage import Kind
from weighbridge.findings import Message

CIFAR_SIDE = 32
REACH = 4.0  # deviations of a Gaussian that are added up: what lies beyond is under 1/10,000


def noise(images: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of deviation `level`, in parts of the whole range."""
    return _pixels(images + 255 * level * random.standard_normal(images.shape, dtype=np.float32))


def blur(images: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Smooth with a Gaussian of `level` pixels of a picture of 32; edges are repeated."""
    sigma = level * max(1.0, min(images.shape[1:3]) / CIFAR_SIDE)
    radius = max(1, int(np.ceil(REACH * sigma)))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    found = images.astype(np.float32)
    for axis in (1, 2):
        padded = np.pad(found, [(radius, radius) if place == axis else (0, 0) for place in range(4)], mode="edge")
        size = found.shape[axis]
        found = np.sum([weight * np.take(padded, range(at, at + size), axis=axis) for at, weight in enumerate(weights)], axis=0)
    return _pixels(found)


def contrast(images: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Keep a share `level` of each pixel's distance from the mean of its picture and channel."""
    values = images.astype(np.float32)
    middle = values.mean(axis=(1, 2), keepdims=True)
    return _pixels((values - middle) * level + middle)


def shift(images: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Move each picture by a share `level` of its side, in a direction of its own; between pixels values are mixed."""
    n, height, width, _ = images.shape
    angle = random.uniform(0, 2 * np.pi, n)
    away = level * min(height, width)
    return _pixels(_moved(_moved(images.astype(np.float32), away * np.sin(angle), 1), away * np.cos(angle), 2))


def _moved(values: np.ndarray, by: np.ndarray, axis: int) -> np.ndarray:
    """Return pictures moved by [n] pixels along an axis: each pixel is mixed of the two that come to lie around it."""
    size = values.shape[axis]
    whole = np.floor(by).astype(np.int64)
    part = (by - whole).astype(np.float32).reshape(-1, 1, 1, 1)
    form = [len(values), 1, 1, 1]
    form[axis] = size
    places = np.arange(size)[None, :] - whole[:, None]
    near, far = (np.take_along_axis(values, at.clip(0, size - 1).reshape(form), axis=axis) for at in (places, places - 1))
    return np.asarray((1 - part) * near + part * far)


def jpeg(images: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Compress as JPEG of quality `level` and read again."""
    from PIL import Image

    out = np.empty_like(images)
    for place, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(file, "JPEG", quality=int(level))
        out[place] = np.asarray(Image.open(file)).reshape(image.shape)
    return out


def _pixels(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


KINDS: tuple[Kind, ...] = (
    Kind(
        of="image", name="noise", title=Message("noise in pictures"), levels=(0.04, 0.06, 0.08, 0.09, 0.10), apply=noise,
        unit=Message("deviation of the noise, in parts of the range of a pixel"),
    ),
    Kind(
        of="image", name="blur", title=Message("blurred pictures"), levels=(0.4, 0.6, 0.7, 0.8, 1.0), apply=blur,
        unit=Message("deviation of the blur, in pixels of a picture of 32 pixels"),
    ),
    Kind(
        of="image", name="contrast", title=Message("low contrast"), levels=(0.75, 0.5, 0.4, 0.3, 0.15), apply=contrast,
        unit=Message("share of the contrast that is kept"),
    ),
    Kind(
        of="image", name="shift", title=Message("shifted pictures"), levels=(0.02, 0.04, 0.08, 0.12, 0.16), apply=shift,
        unit=Message("way, as a share of the side"),
    ),
    Kind(
        of="image", name="jpeg", title=Message("JPEG compression"), levels=(80, 65, 58, 50, 40), apply=jpeg,
        unit=Message("quality of the JPEG file"),
    ),
)  # fmt: skip
