"""What a machine has to give before the stack or the tests begin; what is missing is said at once.

An ordinary user's usual soft limit of 1024 open files is raised here, up to the hard one.
"""

import os
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.process import Account, PartError

# More than any process opens; a process gets no more than the hard limit allows.
OPEN_FILES_WANTED = 16_384
MEBIBYTE = 1024**2
# PostgreSQL's parallel queries use it.
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # nosec B108
SHARED_MEMORY_MIN_BYTES = 16 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class Needs:
    """What something needs of a machine to begin."""

    what: str
    open_files: int
    disk_bytes: int


STACK = Needs("the stack", open_files=1024, disk_bytes=512 * MEBIBYTE)


def prepare(needs: Needs, folder: Path) -> None:
    """Raise this process's own limits, which its children inherit, and look at the machine.

    Raises PartError, with a line for each thing that is missing, before anything was started.
    """
    missing = [*_open_files(needs), *_disk(needs, folder), *_shared_memory(), *_account()]
    if missing:
        raise PartError(
            "\n".join(f"{needs.what} cannot run here: {requirement}" for requirement in missing)
        )


def _open_files(needs: Needs) -> list[str]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    possible = OPEN_FILES_WANTED if hard == unlimited else min(hard, OPEN_FILES_WANTED)
    if soft != unlimited and soft < possible:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible >= needs.open_files:
        return []
    how = "raise the hard limit (`ulimit -Hn`, /etc/security/limits.conf)"
    return [f"a process may open {possible} files, and {needs.open_files} are needed: {how}"]


def _disk(needs: Needs, folder: Path) -> list[str]:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free >= needs.disk_bytes:
        return []
    return [
        f"{there} has {free // MEBIBYTE} MiB free, and {needs.disk_bytes // MEBIBYTE} are needed"
    ]


def _shared_memory() -> list[str]:
    # Without it PostgreSQL takes the kernel's other kind.
    if not SHARED_MEMORY.is_dir() or not os.access(SHARED_MEMORY, os.W_OK):
        return []
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free >= SHARED_MEMORY_MIN_BYTES:
        return []
    needed = SHARED_MEMORY_MIN_BYTES // MEBIBYTE
    return [f"{SHARED_MEMORY} has {free // MEBIBYTE} MiB free, and {needed} are needed"]


def _account() -> list[str]:
    if os.geteuid() != 0:
        return []
    try:
        Account.unprivileged()
    except KeyError:
        return [
            "PostgreSQL refuses root, and there is no account `nobody`: run as an ordinary user"
        ]
    return []
