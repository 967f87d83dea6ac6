"""correct.bits: one bit per evaluation image, 1 if the final weights of the run classified it correctly.

The bits are in the order of the split; 10,000 images take 1,250 bytes. They distinguish errors that every seed makes
from errors of a single seed.
"""

from pathlib import Path

from mnist_compact.common.bounded_read import read_bytes
from mnist_compact.common.run_files import CORRECT


def count_of_bits(folder: Path) -> tuple[int, int] | None:
    """Return the number of correct images and the size of the file in bytes; None if the file cannot be read."""
    try:
        bits = (folder / CORRECT).read_bytes()
    except OSError:
        return None
    return int.from_bytes(bits, "big").bit_count(), len(bits)


def read_bits(folder: Path, *, correct: int, total: int) -> bytes | None:
    """Read correct.bits.

    Args:
        folder: The run folder.
        correct: The number of correct images that the file must have.
        total: The number of images that the file must have.

    Returns:
        The packed bits, the first image in the highest bit; None if the file does not match or is missing, as in runs
        of earlier versions.
    """
    try:
        bits = read_bytes(folder / CORRECT)
    except OSError:
        return None
    valid = len(bits) == -(-total // 8) and int.from_bytes(bits, "big").bit_count() == correct
    return bits if valid else None
