"""A picture of the images that a network sees."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mnist_compact.common.atomic import replacing
from mnist_compact.common.shapes import SIDE
from mnist_compact.deploy.preprocessing import Array

COLUMNS = 10
MOST = 200  # images in one picture
ZOOM = 4  # px of the picture for each px of an image
GAP, LINE = 6, 14  # px between images, and for the text below each
GROUND, TEXT = 40, 255  # grey levels


def write_contact_sheet(path: Path, images: Array, captions: Sequence[str]) -> None:
    """Draw images in rows of ten, each enlarged and with its caption below, and write them as a PNG.

    Args:
        path: The file to create or replace.
        images: (N, 28, 28), uint8; the first 200 are drawn.
        captions: One short text for each image.
    """
    shown = [*zip(images[:MOST], captions, strict=False)]
    columns, width, height = min(COLUMNS, len(shown)), ZOOM * SIDE + GAP, ZOOM * SIDE + LINE + GAP
    sheet = Image.new("L", (columns * width + GAP, -(-len(shown) // columns) * height + GAP), GROUND)
    draw = ImageDraw.Draw(sheet)
    for index, (image, caption) in enumerate(shown):
        left, top = GAP + index % columns * width, GAP + index // columns * height
        sheet.paste(Image.fromarray(np.kron(image, np.ones((ZOOM, ZOOM), np.uint8))), (left, top))
        draw.text((left, top + ZOOM * SIDE + 1), caption, fill=TEXT)
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
