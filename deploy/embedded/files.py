"""Files that keep a secret."""

import os
from pathlib import Path


def write_secret(file: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    fresh.replace(file)
