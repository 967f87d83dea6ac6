"""Which folders are on a network file system, by Linux's table of mounts."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # see proc_pid_mountinfo(5)
NETWORK = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "orangefs", "panfs"),
    *("smb3", "smbfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs"),
    "fuse.sshfs",
}


def network_file_system(folder: Path) -> str | None:
    """Return the type of the network file system that a folder is on, such as `nfs4`.

    Args:
        folder: A folder, which need not exist.

    Returns:
        The type. None if the folder is on another file system, or if this system has no table of mounts.
    """
    try:
        table = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    types = dict(map(_mount, table))  # of several mounts in one place, the last one is in use
    place = folder.resolve()
    kind = next((types[str(above)] for above in (place, *place.parents) if str(above) in types), None)
    return kind if kind in NETWORK else None


def _mount(line: str) -> tuple[str, str]:
    """Return the mount point and the type of one line; the type follows a hyphen after optional fields."""
    fields = line.split(" ")
    point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])  # spaces are written as \040
    return point, fields[fields.index("-") + 1]
