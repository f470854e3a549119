"""The evidence of consent, as it is stored."""

from recurring.payments.v1 import payments_pb2

from services.payments.domain.dispute_evidence import Consent
from services.runtime.rpc.conversions import from_timestamp


def read_consent(opened: bytes, *, amends: bool = False) -> Consent:
    """What a customer agreed to, out of the evidence of a mandate or an amendment, opened."""
    evidence = payments_pb2.Mandate.Evidence.FromString(opened)
    channel = payments_pb2.Mandate.Channel.Name(evidence.channel) if evidence.channel else ""
    return Consent(
        evidence.text,
        from_timestamp(evidence.accept_time),
        evidence.source,
        channel,
        evidence.text_version,
        evidence.text_sha256,
        amends=amends,
    )
