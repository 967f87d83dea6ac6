"""Pictures of digits like those of users, generated from images in the form of MNIST."""

import numpy as np
from PIL import Image, ImageFilter


def enlarged(image, side=280):
    """The image (28, 28) as a light drawing on black, (side, side) uint8."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def placed(image, generator, *, shape=(300, 400), side=220):
    """The enlarged image at a random place of a larger black picture."""
    picture = np.zeros(shape, np.uint8)
    top, left = (int(generator.integers(0, room - side)) for room in shape)
    picture[top : top + side, left : left + side] = enlarged(image, side)
    return picture


def photographed(image, generator, *, shape=(300, 400), noise=6):
    """A simulated photo (H, W) uint8 of dark ink on paper, under light that falls from one side and fades outwards."""
    ink = placed(image, generator, shape=shape) > 127
    y, x = (np.linspace(-1, 1, size).reshape(form) for size, form in zip(shape, ((-1, 1), (1, -1)), strict=True))
    angle = generator.uniform(0, 2 * np.pi)
    light = 200 * (1 - 0.3 * (x * np.cos(angle) + y * np.sin(angle))) * (1 - 0.12 * (x * x + y * y))
    levels = light * np.where(ink, 0.25, 0.9) + generator.normal(0, noise, shape)
    photo = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    return np.asarray(photo.filter(ImageFilter.GaussianBlur(1)))
