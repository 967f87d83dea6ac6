"""Write docs/exports.md, the figures of all exports of the zoo: `python -m tools.exports`.

It needs MNIST, a C compiler and the extra onnx, and takes some minutes.
"""

import tempfile
from pathlib import Path

import pandas as pd

from mnist_compact.common.atomic import replacing
from mnist_compact.common.tables import to_markdown
from mnist_compact.config.conversion import from_record
from mnist_compact.deploy.c_export import CExport, write_float, write_int8
from mnist_compact.deploy.checking import Agreement
from mnist_compact.deploy.graph_files import write_onnx
from mnist_compact.zoo.registry import card, load, names

PAGE = Path(__file__).parents[1] / "docs/exports.md"
TEXT = """\
<!-- Written by `python -m tools.exports`. -->

# Exports of the zoo

Each export was run on the 10,000 test images. *Same* is the number of images for which it predicts the same digit as
the network in PyTorch, *correct* the number that it classifies correctly, and *difference* the largest absolute
difference of a logit. The C programs were compiled by gcc with `-std=c99 -Wall -Wextra -Werror -pedantic`, and the
figures are those of the compiled programs. The 8-bit networks were calibrated on the first 256 training images; no test
image was used.

Flash is the size of `network.c` with its weights, compiled with `-Os` for x86-64; *data* is the part of weights and
tables. RAM is the static memory of all maps; the stack holds one row of a map more.
[Use a trained network](how-to/use-a-trained-network.md) has the commands.

"""


def main() -> None:
    """Export every network of the zoo into a temporary folder, and write the page."""
    rows = []
    for name in names():
        data = from_record(card(name).config).data.load(print)
        classifier = load(name)
        with tempfile.TemporaryDirectory() as folder:
            onnx = Path(folder) / "net.onnx"
            rows.append(_row(name, "ONNX", write_onnx(classifier, data.evaluation, onnx)))
            for form, export in (
                ("C, float", write_float(classifier, name, data, Path(folder) / "c", check=True)),
                ("C, 8 bits", write_int8(classifier, name, data, Path(folder) / "c_int8")),
            ):
                rows.append(_row(name, form, export.agreement, export))
        print(pd.DataFrame(rows[-3:]).to_string(index=False), flush=True)
    with replacing(PAGE) as temporary:
        temporary.write_text(TEXT + to_markdown(pd.DataFrame(rows)), encoding="utf-8")


def _row(name: str, form: str, agreement: Agreement, export: CExport | None = None) -> dict[str, str]:
    size = dict.fromkeys(("flash (bytes)", "data (bytes)", "RAM (bytes)"), "")
    if export is not None:
        flash = "" if export.code_bytes is None else f"{export.code_bytes:,}"
        size = dict(zip(size, (flash, f"{export.source.data_bytes:,}", f"{export.source.memory_bytes:,}"), strict=True))
    return {
        "network": name,
        "export": form,
        "correct in PyTorch": f"{agreement.original_correct:,}",
        "correct": f"{agreement.correct:,}",
        "same": f"{agreement.images - agreement.different:,}",
        "difference": f"{agreement.largest_difference:.2g}",
        **size,
    }


if __name__ == "__main__":
    main()
