"""A signed statement: what a merchant keeps can be verified, and cannot be changed."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

from cli.errors import CommandError
from cli.prove.clauses import Clause
from cli.prove.command import prove
from cli.prove.findings import NAMED_MAX, Finding, Position, Report, Verdict
from cli.prove.statement import sign, statement_of, verify

# As many as there are, about.
CLAUSE_COUNT = 50
NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
VERDICT = Verdict(
    Clause("receipt-sent", "Every paid order has a receipt."), 3, (), 1, {"count": 3, "hash": "ab"}
)
POSITIONS = {"notify": Position(NOW, "700:702:701", 4711)}
REPORT = Report(NOW, "acme", full=True, positions=POSITIONS, verdicts=(VERDICT,))


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return new_keys(tmp_path, "proof")


def new_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A private and a public key, as files."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def statement(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    file = tmp_path / "statement.json"
    file.write_text(sign(statement_of(REPORT), keys[0]))
    return file


def test_what_was_signed_is_what_is_verified(statement: Path, keys: tuple[Path, Path]) -> None:
    stated = verify(statement, keys[1])
    assert stated == statement_of(REPORT)
    assert (stated["merchant"], stated["holds"]) == ("acme", True)
    assert stated["clauses"][0]["digest"] == {"count": 3, "hash": "ab"}


def test_a_statement_does_not_tell_how_much_other_merchants_do(statement: Path) -> None:
    payload = base64.b64decode(json.loads(statement.read_text())["payload"]).decode()
    assert "4711" not in payload
    assert "702" not in payload


def test_a_statement_of_a_book_that_holds_nowhere_is_verified(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    what = f"merchants/acme/standingOrders/{'o' * 63}/orders/1: {'w' * 63} and not {'n' * 63}"
    broken = Verdict(VERDICT.clause, 3, (Finding("acme", what),) * NAMED_MAX)
    stated = statement_of(replace(REPORT, verdicts=(broken,) * CLAUSE_COUNT))
    file = tmp_path / "broken.json"
    file.write_text(sign(stated, keys[0]))
    assert verify(file, keys[1]) == stated


def test_a_statement_says_what_did_not_hold(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    broken = Verdict(VERDICT.clause, 3, (Finding("acme", "order 1 has no receipt"),))
    file = tmp_path / "statement.json"
    report = replace(REPORT, verdicts=(broken,))
    file.write_text(sign(statement_of(report), keys[0]))
    stated = verify(file, keys[1])
    assert stated["holds"] is False
    assert stated["clauses"][0]["violations"] == ["order 1 has no receipt"]


def test_a_statement_that_was_changed_is_refused(statement: Path, keys: tuple[Path, Path]) -> None:
    envelope = json.loads(statement.read_text())
    payload = base64.b64decode(envelope["payload"]).replace(b"acme", b"else")
    envelope["payload"] = base64.b64encode(payload).decode()
    statement.write_text(json.dumps(envelope))
    with pytest.raises(CommandError, match="or was changed since"):
        verify(statement, keys[1])


def test_another_key_did_not_sign_it(statement: Path, tmp_path: Path) -> None:
    _, other = new_keys(tmp_path, "other")
    with pytest.raises(CommandError, match="was not signed by"):
        verify(statement, other)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"payloadType": "text/plain"}'])
def test_what_is_no_statement_is_refused(
    text: str, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(CommandError, match=r"other\.json is"):
        verify(file, keys[1])


def test_the_command_verifies(statement: Path, keys: tuple[Path, Path]) -> None:
    done = CliRunner().invoke(prove, ["verify", str(statement), "--key", str(keys[1])])
    assert done.exit_code == 0, done.output
    assert "signed: every clause held of acme at 2026-01-31T09:00:00+00:00" in done.output
    statement.write_text("{}")
    refused = CliRunner().invoke(prove, ["verify", str(statement), "--key", str(keys[1])])
    assert refused.exit_code == 1


def test_a_proof_that_cannot_read_ends_with_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in ("CATALOG", "SCHEDULER", "PAYMENTS", "NOTIFY"):
        url = "postgresql://nobody@127.0.0.1:9/nothing"
        monkeypatch.setenv(f"RECURRING_{service}_DATABASE_URL", url)
    monkeypatch.setenv("RECURRING_HOME", "/nowhere")
    done = CliRunner().invoke(prove, [])
    assert (done.exit_code, "cannot be read" in done.output) == (2, True)
