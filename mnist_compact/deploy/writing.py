"""Writing of several files that belong together."""

from contextlib import ExitStack
from pathlib import Path

from mnist_compact.common.atomic import replacing


def write_all(files: dict[str, str], folder: Path) -> None:
    """Write text files into a folder; the first is put in place after all have been written completely.

    Args:
        files: Text of every file by its name.
        folder: The folder; it is created if it is missing.
    """
    with ExitStack() as stack:
        for name, text in files.items():
            stack.enter_context(replacing(folder / name)).write_text(text, encoding="utf-8")
