"""Picture files of several formats give the same image; other files are refused with a reason."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from drawn import enlarged
from PIL import Image

from mnist_compact import read_picture
from mnist_compact.common.errors import ConfigError
from mnist_compact.deploy import pictures
from mnist_compact.deploy.pictures import FORMATS, grey_levels, picture_files
from mnist_compact.deploy.preprocessing import to_mnist


@pytest.fixture(scope="module")
def drawing():
    """A light seven on black, (280, 280) uint8."""
    image = np.zeros((28, 28), np.uint8)
    image[4:7, 7:21] = 255
    image[7:24, 14:17] = 255
    return enlarged(image)


@pytest.mark.parametrize("suffix", [*FORMATS])
def test_every_format_gives_the_same_image(drawing, tmp_path, suffix):
    path = tmp_path / f"seven{suffix}"
    Image.fromarray(drawing).save(path)
    found = read_picture(path).astype(int)
    assert np.abs(found - to_mnist(drawing)).mean() < 1.5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_mode_gives_the_same_image(drawing, tmp_path, mode):
    if mode == "I;16":
        picture = Image.fromarray(drawing.astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(drawing).convert("RGB").convert(mode)
    path = tmp_path / ("seven.tif" if mode == "CMYK" else "seven.png")
    picture.save(path)
    with Image.open(path) as saved:
        assert saved.mode == mode
    assert np.abs(read_picture(path).astype(int) - to_mnist(drawing)).mean() < 4


@pytest.mark.parametrize("level", [0, 255])
def test_ink_on_transparent_ground_is_seen(drawing, tmp_path, level):
    pixels = np.full((*drawing.shape, 4), level, np.uint8)
    pixels[..., 3] = drawing
    Image.fromarray(pixels).save(tmp_path / "ink.png")
    assert np.abs(read_picture(tmp_path / "ink.png").astype(int) - to_mnist(drawing)).mean() < 1


def test_orientation_of_the_camera_is_applied(drawing, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    Image.fromarray(np.rot90(drawing)).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert np.abs(read_picture(tmp_path / "turned.jpg").astype(int) - to_mnist(drawing)).mean() < 3


def test_first_image_of_an_animation_is_taken(drawing, tmp_path):
    frames = [Image.fromarray(drawing), Image.fromarray(np.rot90(drawing))]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_picture(tmp_path / "moving.gif"), to_mnist(drawing))


def test_grey_is_pillows_mode_l(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "colours.png")
    weights = np.array([19595, 38470, 7471])
    np.testing.assert_array_equal(grey_levels(tmp_path / "colours.png"), (colours @ weights + 0x8000) >> 16)


def png_of_size(width, height):
    """A PNG that claims a size and has next to no pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9)))


def as_bytes(form, image):
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", "is no picture in a known format"),
        ("text.png", b"hello", "is no picture in a known format"),
        ("script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "is no picture"),
        ("cut.png", as_bytes("PNG", Image.new("L", (50, 50)))[:60], "is damaged or no picture"),
        ("large.png", png_of_size(8_000, 8_001), "at most 64,000,000 pixels, got 8,000×8,001"),
        ("huge.png", png_of_size(100_000, 100_000), "at most 64,000,000 pixels"),
        ("tiny.png", as_bytes("PNG", Image.new("L", (7, 40))), "at least 8×8 px, got 7×40"),
        ("blank.png", as_bytes("PNG", Image.new("L", (40, 40), 90)), "shows no digit"),
        ("float.tif", as_bytes("TIFF", Image.new("F", (40, 40))), "floating-point"),
        ("deep.tif", as_bytes("TIFF", Image.new("I", (40, 40), 70_000)), "must lie in 0 … 65,535"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as refused:
        read_picture(tmp_path / name)
    assert name in str(refused.value)


def test_large_files_pipes_and_folders_are_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_picture(tmp_path / "pipe.png")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_picture(tmp_path)
    monkeypatch.setattr(pictures, "SMALL", 10)
    (tmp_path / "long.png").write_bytes(bytes(11))
    with pytest.raises(ConfigError, match="larger than"):
        read_picture(tmp_path / "long.png")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_damaged_files_are_refused_or_read(tmp_path, drawing, form):
    """No damage leads to another error than ConfigError."""
    content = as_bytes(form, Image.fromarray(drawing[::4, ::4]))
    generator = np.random.default_rng(0)
    path, refused = tmp_path / "damaged", 0
    for _ in range(60):
        damaged = bytearray(content[: generator.integers(1, len(content) + 1)])
        for place in generator.integers(0, len(damaged), 4):
            damaged[place] = generator.integers(0, 256)
        path.write_bytes(damaged)
        try:
            assert read_picture(path).shape == (28, 28)
        except ConfigError:
            refused += 1
    assert refused


def test_folders_give_their_pictures_in_order(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert picture_files([tmp_path, tmp_path / "notes.txt"]) == [
        tmp_path / "a.jpg",
        tmp_path / "b.PNG",
        tmp_path / "notes.txt",
    ]
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="has no picture") as refused:
        picture_files([tmp_path / "none", tmp_path / "missing.png"])
    assert "missing.png does not exist" in str(refused.value)
