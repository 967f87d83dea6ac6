"""The optimizer, the augmentation and the data set that pages of docs/how-to/ add to the package work as written.

Their code blocks are inserted into a copy of the package, as the pages say, and the copy trains with them.
"""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from documents import ROOT, blocks_of
from processes import PATIENCE_S

from mnist_compact.data.sources import MnistFile

PAGES = [ROOT / f"docs/how-to/add-{name}.md" for name in ("an-optimizer", "an-augmentation", "a-data-set")]
# Where a block is inserted, by its title: before the line that begins so, or at the end of the file.
BEFORE = {
    "mnist_compact/optim/optimizers.py": "OPTIMIZERS: ",
    "mnist_compact/data/augment_settings.py": "    def __post_init__(",
    "mnist_compact/data/augmentation.py, in Augmentation.__call__": "        if given.elastic_px:",
    "mnist_compact/data/config.py": "DATA: ",
}
# What the pages ask for in a sentence: a name that is imported, and entries of a dictionary.
IN_WORDS = {
    "mnist_compact/optim/optimizers.py": [("[OptimConfig]] = {", '\n    "signsgd": SignSgdConfig,')],
    "mnist_compact/data/config.py": [
        ("published import FASHION, ", "KMNIST, "),
        ("[DataConfig]] = {", '\n    "kmnist": KmnistConfig,\n    "kmnist_holdout": KmnistHoldoutConfig,'),
    ],
}
SCRIPT = """
import json, torch
from mnist_compact import compose, train

small = ("model=m1", "train.epochs=1", "train.batch_size=50", "machine.threads=1", "data.train_images=100")
first = compose("data=synthetic", "optim=signsgd", "augment=none", "augment.erase_px=6", *small)
train(first, "first")
erased = first.augment.build()(torch.ones(64, 28, 28), 1.0, torch.Generator().manual_seed(0)) == 0
model = torch.nn.Linear(2, 1)
torch.nn.init.ones_(model.weight)
optimizer = first.optim.build(model)
model(torch.tensor([[2.0, -3.0]])).sum().backward()
optimizer.step()
record = train(compose("data=kmnist_holdout", "data.held_out=100", *small), "kmnist")
print(json.dumps({
    "erased": sorted({int(count) for count in erased.sum((1, 2))}),
    "places": len({tuple(place.nonzero()[0].tolist()) for place in erased}),
    "moved": [round(each / first.optim.lr, 3) for each in (1 - model.weight[0]).tolist()],
    "scored": record.evaluated,
    "classes": record.classes[:2],
}))
"""


def insert(path, title, block):
    text, before = path.read_text(encoding="utf-8"), BEFORE.get(title)
    if before is None:
        path.write_text(f"{text}\n\n{block}", encoding="utf-8")
        return
    assert len(re.findall(rf"^{re.escape(before)}", text, re.MULTILINE)) == 1, before
    indent = "" if before[0] != " " else " " * 4 if "def " in before else " " * 8
    lines = "".join(f"{indent}{line}" for line in block.splitlines(keepends=True))
    path.write_text(text.replace(f"\n{before}", f"\n{lines}\n{before}"), encoding="utf-8")


def write_idx_files(folder):
    """Random images in the form of MNIST; their checksums by file."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for count, images, labels in (
        (60_000, MnistFile.TRAIN_IMAGES, MnistFile.TRAIN_LABELS),
        (10_000, MnistFile.TEST_IMAGES, MnistFile.TEST_LABELS),
    ):
        pixels = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (folder / images).write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + pixels.tobytes())
        (folder / labels).write_bytes(
            struct.pack(">2I", 0x801, count) + (np.arange(count) % 10).astype(np.uint8).tobytes()
        )
    return {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in MnistFile}


@pytest.mark.process
def test_extensions_of_the_how_to_pages_train_a_network(tmp_path):
    ignored = shutil.ignore_patterns("page", "weights", "*.safetensors")
    for folder in ("mnist_compact", "conf", "sweeps"):  # with the compiled kernels, which lie beside their sources
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    checksums = write_idx_files(tmp_path / "data/kmnist")
    titles = []
    for block in (block for page in PAGES for block in blocks_of(page) if block.title):
        path = tmp_path / block.title.partition(",")[0]
        titles.append(block.title)
        if block.language == "yaml":
            path.write_text(block.text, encoding="utf-8")
            continue
        text = block.text
        for file, checksum in checksums.items():
            text = text.replace(f'{file.name}: "…"', f'{file.name}: "{checksum}"')
        insert(path, block.title, text)
    assert {*BEFORE} <= {*titles}
    for name, changes in IN_WORDS.items():
        text = (tmp_path / name).read_text(encoding="utf-8")
        for after, added in changes:
            assert text.count(after) == 1, after
            text = text.replace(after, f"{after}{added}")
        (tmp_path / name).write_text(text, encoding="utf-8")

    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "MNIST_COMPACT_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["erased"] == [36]  # a square of 6 px in every image
    assert found["places"] > 10
    assert found["moved"] == [1.0, -1.0]  # by the learning rate, against the sign of the gradient
    assert (found["scored"], found["classes"]) == ("kmnist_holdout", ["o", "ki"])
