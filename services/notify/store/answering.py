"""Which notices say what the answer to a reply says, and which replies a notice has answered."""

from collections.abc import Sequence

from services.notify.domain.notices import Notice, NoticeKey
from services.notify.domain.replies.answering import (
    CLOCK_SKEW,
    DONE,
    PAYMENT_OUTCOMES,
    replied_about,
    word_behind,
)
from services.notify.domain.replies.inbound import ACT_LIFETIME, InboundKey
from services.notify.store.inbound import Acting
from services.runtime.db.pool import Connection
from services.runtime.db.statements import Query

# Of several facts that a reply could have caused, the first: the customer can take a skip back in the
# account and leave the order out again there.
_SAID_BY_ANSWERS = Query(
    """
    SELECT made.merchant, made.customer, made.notice
    FROM unnest(
        CAST(:merchant AS text[]), CAST(:customer AS text[]), CAST(:notice AS text[]),
        CAST(:kind AS text[]), CAST(:subject_resource AS text[]), CAST(:word AS text[]),
        CAST(:answer AS text[]), CAST(:about AS text[]), CAST(:occur_time AS timestamptz[]))
      AS made (merchant, customer, notice, kind, subject_resource, word, answer, about, occur_time)
    CROSS JOIN LATERAL (
        SELECT receive_time FROM inbound_messages
        WHERE inbound_messages.customer = made.customer AND inbound_messages.customer <> ''
          AND inbound_messages.merchant = made.merchant
          AND receive_time > made.occur_time - CAST(:lifetime AS interval)
          AND receive_time < made.occur_time + CAST(:skew AS interval)
          AND inbound_messages.word = made.word AND NOT is_silent
          AND (state = 'ACTING' OR outcome = made.answer)
          AND (inbound_messages.subject_resource = made.about
               OR starts_with(inbound_messages.subject_resource, made.about || '/orders/'))
        ORDER BY receive_time DESC LIMIT 1 OFFSET 0) AS reply
    WHERE NOT EXISTS (
        SELECT FROM notices AS earlier
        WHERE earlier.customer = made.customer AND earlier.merchant = made.merchant
          AND earlier.subject_resource = made.subject_resource AND earlier.kind = made.kind
          AND earlier.notice <> made.notice AND earlier.original_notice = ''
          AND earlier.occur_time BETWEEN reply.receive_time AND made.occur_time)
""",
    NoticeKey,
)

# What goes out now has answered the customer; what waits for the morning or is muted has not.
_SAID_BY_NOTICES = Query(
    """
    SELECT DISTINCT gateway, gateway_message
    FROM unnest(CAST(:gateway AS text[]), CAST(:gateway_message AS text[]))
      AS named (gateway, gateway_message)
    JOIN inbound_messages USING (gateway, gateway_message)
    CROSS JOIN LATERAL (
        SELECT notice FROM notices
        WHERE notices.customer = inbound_messages.customer
          AND notices.merchant = inbound_messages.merchant
          AND notices.subject_resource = inbound_messages.subject_resource
          AND notices.kind = ANY (CAST(:kinds AS text[])) AND notices.original_notice = ''
          AND notices.occur_time > inbound_messages.receive_time - CAST(:skew AS interval)
        OFFSET 0) AS outcome
    WHERE EXISTS (
        SELECT FROM deliveries
        WHERE deliveries.customer = inbound_messages.customer
          AND deliveries.merchant = inbound_messages.merchant
          AND deliveries.notice = outcome.notice AND deliveries.channel = 'SMS'
          AND (deliveries.attempt_count > 0 OR deliveries.failure_code = ''))
""",
    InboundKey,
)


async def said_by_answers(tx: Connection, notices: Sequence[Notice]) -> set[NoticeKey]:
    """Those of new notices whose fact a reply has caused, and which the answer to it says."""
    caused = [(it, word) for it in notices if (word := word_behind(it.facts)) is not None]
    return set(
        await _SAID_BY_ANSWERS.all_for(
            tx,
            [notice for notice, _ in caused],
            word=[word for _, word in caused],
            answer=[DONE[word] for _, word in caused],
            about=[replied_about(word, it.subject_resource) for it, word in caused],
            lifetime=ACT_LIFETIME,
            skew=CLOCK_SKEW,
        )
    )


async def said_by_notices(tx: Connection, acting: Sequence[Acting]) -> set[InboundKey]:
    """Those of messages that confirmed a payment whose outcome a notice says by SMS now."""
    return set(
        await _SAID_BY_NOTICES.all_for(
            tx,
            [it.key for it in acting],
            kinds=sorted(PAYMENT_OUTCOMES),
            skew=CLOCK_SKEW,
        )
    )
