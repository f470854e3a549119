"""A proof that a merchant can keep: what held of its book at a moment, signed by the operator.

The file is a DSSE envelope (https://github.com/secure-systems-lab/dsse, protocol version 1.0.2): the
statement as base64, and an Ed25519 signature over its type and bytes. So whoever has the operator's
public key can verify it, with this command or with any tool that reads such envelopes.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from cli.errors import CommandError
from cli.prove.findings import Report
from cli.prove.report import clauses_of

PAYLOAD_TYPE = "application/vnd.recurring.proof.v1+json"
# Room for as many violations of each clause as are named (findings.NAMED_MAX).
STATEMENT_MAX_BYTES = 32 * 1024 * 1024


def statement_of(report: Report) -> dict[str, Any]:
    """What is stated of one merchant.

    How far a database has counted events and transactions shows how much the others do; it is left out.
    """
    return {
        "merchant": report.merchant,
        "moment": report.moment.isoformat(),
        "full": report.full,
        "holds": not report.violations,
        "read_times": {
            service: position.read_time.isoformat()
            for service, position in sorted(report.positions.items())
        },
        "clauses": clauses_of(report),
    }


def sign(statement: Mapping[str, Any], key_file: Path) -> str:
    """A signed statement, as the text of its file.

    The key is an Ed25519 private key in PEM (`openssl genpkey -algorithm ed25519`). Raises
    CommandError.
    """
    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CommandError(f"{key_file} is no private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CommandError(f"{key_file}: must be an Ed25519 key")
    payload = json.dumps(statement, indent=2, sort_keys=True, ensure_ascii=False).encode()
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {
                "keyid": key_id(key.public_key()),
                "sig": base64.b64encode(key.sign(_encoded(PAYLOAD_TYPE, payload))).decode(),
            }
        ],
    }
    return json.dumps(envelope, indent=2) + "\n"


def verify(file: Path, key_file: Path) -> dict[str, Any]:
    """What a file states, if the key signed it. Raises CommandError if it did not."""
    try:
        key = load_pem_public_key(key_file.read_bytes())
    except (OSError, ValueError) as error:
        raise CommandError(f"{key_file} is no public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CommandError(f"{key_file}: must be an Ed25519 key")
    payload, signatures = _read(file)
    for signature in signatures:
        try:
            key.verify(signature, _encoded(PAYLOAD_TYPE, payload))
        except InvalidSignature:
            continue
        statement: dict[str, Any] = json.loads(payload)
        return statement
    raise CommandError(f"{file} was not signed by {key_file}, or was changed since")


def key_id(key: Ed25519PublicKey) -> str:
    """A name for a public key: the first 16 hexadecimal digits of its SHA-256."""
    digest = Hash(SHA256())
    digest.update(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()[:16]


def _read(file: Path) -> tuple[bytes, list[bytes]]:
    try:
        with file.open("rb") as opened:
            envelope = json.loads(opened.read(STATEMENT_MAX_BYTES))
        if envelope["payloadType"] != PAYLOAD_TYPE:
            raise CommandError(
                f"{file} is of the type {envelope['payloadType']}, not {PAYLOAD_TYPE}"
            )
        signatures = [base64.b64decode(each["sig"]) for each in envelope["signatures"]]
        return base64.b64decode(envelope["payload"]), signatures
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CommandError(f"{file} is no statement of a proof: {error!r}") from error


def _encoded(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
