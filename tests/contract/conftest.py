"""The last test asks what no other test has seen, so it comes last, and only after all of them."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LAST = HERE / "test_nothing_is_left_out.py"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
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
