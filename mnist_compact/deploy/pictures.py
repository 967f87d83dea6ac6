"""Reading a picture file of unknown origin as grey levels, with limits."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.Image import open as open_image

from mnist_compact.common.bounded_read import MIB, SMALL, read_bytes
from mnist_compact.common.errors import ConfigError
from mnist_compact.deploy.preprocessing import SMALLEST_SIDE, Array, NoDigitError, to_mnist

# Ending of a file name → Pillow's name of the format. No other decoder is started: that of EPS, for example, would run
# the program in the file.
FORMATS = {
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".gif": "GIF", ".bmp": "BMP", ".webp": "WEBP"},
    **{".tif": "TIFF", ".tiff": "TIFF", ".pgm": "PPM", ".ppm": "PPM"},
}
LARGEST = 64_000_000  # pixels, checked before they are decoded


def read_picture(path: Path | str) -> Array:
    """Read a picture of one digit and bring it into the form of MNIST.

    The formats are PNG, JPEG, GIF, BMP, WebP, TIFF, PGM and PPM, found by the content of the file. Colours become grey
    by Pillow's mode L. The orientation that a camera stored is applied. Of an animation, the first image is taken.
    Transparent parts become white, or black if what can be seen is lighter than medium grey.

    Args:
        path: The file.

    Returns:
        An image (28, 28), uint8, which `Classifier.classify` takes in a list. The steps are described in
        `mnist_compact.deploy.preprocessing`.

    Raises:
        ConfigError: The file cannot be read, is no picture in one of these formats, is larger than 64 MiB or 64 million
            pixels, is smaller than 8 px, or shows no digit.

    Example:
        >>> digits, confidence = load("under_8k").classify([read_picture("three.png")])  # doctest: +SKIP
    """
    path = Path(path)
    try:
        return to_mnist(grey_levels(path))
    except NoDigitError as error:
        raise ConfigError([f"{path}: {error}"]) from error


def grey_levels(path: Path) -> Array:
    """Return the grey levels (H, W) of a picture file, uint8. Raises ConfigError as `read_picture`."""
    try:
        content = read_bytes(path, SMALL)
    except OSError as error:
        raise ConfigError([f"{path} cannot be read ({error.strerror or error}; limit {SMALL // MIB} MiB)"]) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged metadata; limits are checked here
            with open_image(io.BytesIO(content), formats=sorted({*FORMATS.values()})) as image:
                _check_size(path, image.size)
                image.seek(0)
                return _as_grey(ImageOps.exif_transpose(image))
    except ConfigError:
        raise
    except Image.DecompressionBombError as error:
        raise ConfigError([f"{path} must have at most {LARGEST:,} pixels: {error}"]) from error
    except UnidentifiedImageError as error:
        known = ", ".join(sorted({*FORMATS.values()}))
        raise ConfigError([f"{path} is no picture in a known format ({known})"]) from error
    except Exception as error:  # decoders raise errors of many types for damaged files
        raise ConfigError([f"{path} is damaged or no picture: {error}"]) from error


def _check_size(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > LARGEST:
        raise ConfigError([f"{path} must have at most {LARGEST:,} pixels, got {width:,}×{height:,}"])
    if min(size) < SMALLEST_SIDE:
        raise ConfigError([f"{path} must have at least {SMALLEST_SIDE}×{SMALLEST_SIDE} px, got {width}×{height}"])


def _as_grey(image: Image.Image) -> Array:
    if image.mode.startswith("I"):  # 16 bits per pixel, in Pillow's modes I;16, I;16B and I
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65_535:
            raise ValueError(f"grey levels must lie in 0 … 65,535, got {levels.min():,} … {levels.max():,}")
        return ((levels + 128) // 257).astype(np.uint8)
    if image.mode == "F":
        raise ValueError("pictures of floating-point numbers have no common range of grey levels")
    if not image.has_transparency_data:
        return np.asarray(image.convert("L"))
    coloured = image.convert("RGBA")
    alpha = np.asarray(coloured.getchannel("A")).astype(np.float64) / 255
    levels = np.asarray(coloured.convert("RGB").convert("L"))
    light = alpha.sum() > 0 and (alpha * levels).sum() / alpha.sum() > 127.5
    background = 0 if light else 255
    return np.floor(alpha * levels + (1 - alpha) * background + 0.5).astype(np.uint8)


def picture_files(paths: list[Path]) -> list[Path]:
    """Return the picture files: the files in `paths`, and the sorted files with a known ending in its folders.

    Raises:
        ConfigError: A path does not exist, or a folder has no such file.
    """
    files: list[Path] = []
    faults = []
    for path in paths:
        if path.is_dir():
            found = sorted(each for each in path.iterdir() if each.suffix.lower() in FORMATS)
            if not found:
                faults.append(f"{path} has no picture: no file that ends in {', '.join(FORMATS)}")
            files += found
        elif path.exists():
            files.append(path)
        else:
            faults.append(f"{path} does not exist")
    if faults:
        raise ConfigError(faults)
    return files
