"""Which evaluation images a run's final weights got right: a bit an image, in the order of the split.

Ten thousand of them take 1,250 bytes. They tell errors that every seed makes from those of one seed.
"""

from pathlib import Path

from mnist_compact.common.bounded_read import read_bytes
from mnist_compact.common.run_files import CORRECT


def count_of_bits(folder: Path) -> tuple[int, int] | None:
    """How many images the file marks as correct, and its size in bytes; None where there is none."""
    try:
        bits = (folder / CORRECT).read_bytes()
    except OSError:
        return None
    return int.from_bytes(bits, "big").bit_count(), len(bits)


def read_bits(folder: Path, *, correct: int, total: int) -> bytes | None:
    """Packed, first image in the highest bit; None unless they are of `total` images with `correct` right ones.

    Runs of earlier versions have none.
    """
    try:
        bits = read_bytes(folder / CORRECT)
    except OSError:
        return None
    whole = len(bits) == -(-total // 8) and int.from_bytes(bits, "big").bit_count() == correct
    return bits if whole else None
