"""Scripts are cut into the statements that they are made of."""

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.migrations import RUNTIME_TABLES_V1, statements

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
    assert statements(f"{TABLE};\nDO $$\nBEGIN;\n") == [TABLE, "DO $$\nBEGIN;\n;\n"]


def test_each_statement_of_the_runtime_makes_one_thing() -> None:
    for statement in statements(RUNTIME_TABLES_V1):
        assert statement.count("CREATE ") == 1
