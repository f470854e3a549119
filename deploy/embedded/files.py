"""Files and folders that are their owner's alone: secrets, and all that a stack keeps."""

import os
from pathlib import Path
from typing import IO, Any

PRIVATE_UMASK = 0o077


def private_folder(folder: Path) -> Path:
    """Make a folder, and those above it that are missing, which only their owner can look into."""
    missing = [directory for directory in (folder, *folder.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
    return folder


def open_private(file: Path, mode: str) -> IO[Any]:
    """Open a file that only its owner can read, also one that was there with other rights."""
    opened: IO[Any] = open(  # noqa: SIM115 - whoever asks closes it
        file, mode, opener=lambda path, flags: os.open(path, flags, 0o600)
    )
    os.fchmod(opened.fileno(), 0o600)
    return opened


def write_secret(file: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    fresh.replace(file)
