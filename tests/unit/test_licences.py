"""What the services depend on may be used and passed on as the suite is."""

import re
from importlib import metadata
from pathlib import Path

import pytest

LOCK = Path(__file__).resolve().parents[2] / "requirements" / "runtime.txt"
NAMES = re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text(), re.MULTILINE)
# Words that name a licence without obligations on what uses the library.
FREE = re.compile(
    r"apache|mit\b|bsd|isc\b|python software foundation|psf|mpl|mozilla|unlicense|zlib|0bsd"
    r"|public domain"
    # Of fonts: what is set in them is free, and they may be passed on with what uses them.
    r"|ofl-1\.1|sil open font license",
    re.IGNORECASE,
)
# Not to be found on every system: the lock is for all of them.
ELSEWHERE = {"colorama"}


def licence(name: str) -> str:
    """All that a package says about its licence."""
    package = metadata.metadata(name)
    classifiers = [
        classifier for classifier in package.get_all("Classifier", []) if "License" in classifier
    ]
    declared = [
        str(package.get_all(field, [""])[0])[:200] for field in ("License-Expression", "License")
    ]
    files = metadata.files(name) or ()
    texts = [file for file in files if file.name.upper().startswith("LICENSE")]
    return " ".join([*declared, *classifiers, *(text.read_text()[:500] for text in texts)])


@pytest.mark.parametrize("name", NAMES)
def test_a_dependency_has_a_licence_that_lets_it_be_used(name: str) -> None:
    try:
        name_of_licence = licence(name)
    except metadata.PackageNotFoundError:
        assert name in ELSEWHERE
        return
    assert FREE.search(name_of_licence), f"{name}: {name_of_licence!r}"
