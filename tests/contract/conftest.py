"""Every mutation is sent twice, and the last test asks what no other has seen."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suite import recorder

HERE = Path(__file__).parent
LAST = HERE / "test_nothing_is_left_out.py"


@pytest.fixture(autouse=True)
def _twice() -> Iterator[None]:
    """Send each mutation of these tests twice, as after a time-out: it must change nothing for them."""
    recorder.repeats = True
    yield
    recorder.repeats = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the last test last, and leave it out where others are left out."""
    last = [item for item in items if item.path == LAST]
    others = [item for item in items if item.path != LAST]
    if not last:
        return
    options = config.option
    chosen = bool(options.keyword or options.markexpr or any("::" in each for each in config.args))
    whole = set(HERE.rglob("test_*.py")) <= {item.path for item in items}
    if whole and not chosen:
        items[:] = [*others, *last]
    else:
        items[:] = others
        config.hook.pytest_deselected(items=last)
