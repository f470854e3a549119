"""Named parameters become numbered ones, and nothing else in a statement is taken for one."""

import pytest

from services.runtime.db.statements import compiled


@pytest.mark.parametrize(
    ("written", "sent", "names"),
    [
        ("SELECT 1", "SELECT 1", ()),
        ("SELECT :b, :a, :b", "SELECT $1, $2, $1", ("b", "a")),
        ("CAST(:ids AS uuid[])", "CAST($1 AS uuid[])", ("ids",)),
        ("make_interval(secs => :claim_seconds)", "make_interval(secs => $1)", ("claim_seconds",)),
        ("x::text = :x::text", "x::text = $1::text", ("x",)),
        ("names[1:n] || values[:low]", "names[1:n] || values[$1]", ("low",)),
        ("'at 10:30 :no' || 'it''s :no' || :yes", "'at 10:30 :no' || 'it''s :no' || $1", ("yes",)),
        ('"a :no" = :yes', '"a :no" = $1', ("yes",)),
        ("$$ :no $$, $b$ :no $$ $b$, :yes", "$$ :no $$, $b$ :no $$ $b$, $1", ("yes",)),
        ("-- :no\n:yes /* :no\n:no */", "-- :no\n$1 /* :no\n:no */", ("yes",)),
    ],
)
def test_parameters_are_numbered_by_their_first_appearance(
    written: str, sent: str, names: tuple[str, ...]
) -> None:
    assert compiled(written) == (sent, names)
