"""The type of a network file system, found in a table of mounts."""

import pytest

from mnist_compact.common import file_systems
from mnist_compact.common.file_systems import network_file_system

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /home rw,relatime shared:2 master:1 - nfs4 server:/home rw,vers=4.2
31 30 8:2 / /home/ada/scratch rw - xfs /dev/sdb rw
32 22 0:27 / /my\040disk rw shared:3 - fuse.sshfs host:/data rw
33 22 0:28 / /replaced rw - lustre mgs:/fs rw
34 33 8:3 / /replaced rw - ext4 /dev/sdc rw
35 22 0:29 / /image rw - fuse.squashfuse image rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", None),
        ("/srv/studies", None),
        ("/home", "nfs4"),
        ("/home/ada/outputs/sweeps", "nfs4"),
        ("/homes", None),
        ("/home/ada/scratch/outputs", None),
        ("/my disk/outputs", "fuse.sshfs"),
        ("/replaced/outputs", None),  # the second mount hides the first one
        ("/image/outputs", None),
    ],
)
def test_folder_has_the_type_of_its_mount(tmp_path, monkeypatch, folder, kind):
    monkeypatch.setattr(file_systems, "MOUNTS", tmp_path / "mountinfo")
    file_systems.MOUNTS.write_text(TABLE.strip())
    monkeypatch.setattr(file_systems.Path, "resolve", lambda path: path)  # without the links of this machine
    assert network_file_system(file_systems.Path(folder)) == kind


def test_link_to_a_network_file_system_is_followed(tmp_path, monkeypatch):
    (tmp_path / "mount").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mount")
    monkeypatch.setattr(file_systems, "MOUNTS", tmp_path / "mountinfo")
    file_systems.MOUNTS.write_text(f"30 1 0:26 / {tmp_path}/mount rw - cifs //server/share rw\n")
    assert network_file_system(tmp_path / "link" / "outputs") == "cifs"


def test_system_without_a_table_of_mounts_has_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(file_systems, "MOUNTS", tmp_path / "missing")
    assert network_file_system(tmp_path) is None
