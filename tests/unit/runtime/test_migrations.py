"""Scripts are split into statements, and migrations say which code may serve on their schema."""

import re
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.db import revisions
from services.runtime.db.migrations import RUNTIME_TABLES_V1, served, statements

TABLE = "CREATE TABLE a (id text)"
FUNCTION = """CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1;
    RETURN NEW;
END;
$$"""

scripts = st.lists(st.sampled_from([TABLE, FUNCTION, "SELECT ';'"]))


@given(scripts)
def test_a_script_gives_the_statements_it_was_written_from(parts: list[str]) -> None:
    script = "".join(f"{part};\n" for part in parts)
    assert statements(script) == parts


def test_the_last_statement_needs_no_end_of_line() -> None:
    assert statements(f"{TABLE};\n{TABLE}") == [TABLE, TABLE]


def test_blank_lines_are_no_statements() -> None:
    assert statements(f"\n\n{TABLE};\n\n;\n") == [f"\n\n{TABLE}"]


def test_a_body_without_an_end_is_handed_on_for_postgresql_to_refuse() -> None:
    assert statements(f"{TABLE};\nDO $$\nBEGIN;\n") == [TABLE, "DO $$\nBEGIN;\n"]


def test_each_statement_of_the_runtime_does_one_thing() -> None:
    beginning = re.compile(r"^(CREATE|ALTER|DO|INSERT|SELECT|REVOKE) ", re.MULTILINE)
    for statement in statements(RUNTIME_TABLES_V1):
        assert len(beginning.findall(statement)) == 1


OWN = None


@pytest.mark.parametrize(
    ("serves_since", "serving"),
    [
        # Each migration's `serves_since`, the oldest first -> the code that may serve on the schema.
        ([OWN], ["0001"]),
        ([OWN, OWN], ["0002"]),
        ([OWN, "0001"], ["0002", "0001"]),
        # Expand, then contract: the code before the expansion is left behind.
        ([OWN, "0001", "0002"], ["0003", "0002"]),
        ([OWN, "0001", "0001"], ["0003", "0002", "0001"]),
        # What a later migration allows, one before it has forbidden already.
        ([OWN, OWN, "0001"], ["0003", "0002"]),
    ],
)
def test_code_serves_as_far_back_as_every_later_migration_says(
    serves_since: list[str | None],
    serving: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A name of its own, since what a service's migrations say is read once.
    service = tmp_path.name
    monkeypatch.setattr(revisions, "SERVICES_FOLDER", tmp_path)
    versions = tmp_path / service / "migrations" / "versions"
    versions.mkdir(parents=True)
    before: str | None = None
    for number, since in enumerate(serves_since, start=1):
        revision = f"{number:04}"
        lines = [f"revision = {revision!r}", f"down_revision = {before!r}"]
        if since is not OWN:
            lines.append(f"serves_since = {since!r}")
        (versions / f"{revision}.py").write_text("\n".join(lines))
        before = revision
    assert served(service) == serving
    assert [*revisions.known(service)] == [f"{n:04}" for n in range(1, len(serves_since) + 1)]


@pytest.mark.parametrize("service", ["catalog", "scheduler", "payments", "notify"])
def test_a_migration_s_file_begins_with_the_revision_that_alembic_knows(service: str) -> None:
    scripts = ScriptDirectory(str(revisions.migrations_folder(service))).walk_revisions()
    assert [*revisions.known(service)][::-1] == [script.revision for script in scripts]
