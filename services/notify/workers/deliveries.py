"""Sending what is to be delivered."""

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from services.notify.application import digests, phone_outcomes
from services.notify.application.attachments import attachment_key, attachment_keys, with_attachment
from services.notify.application.outcomes import count
from services.notify.application.rendering import OwnTemplates, outgoing_with_text, text_to_send
from services.notify.application.unsubscribing import UnsubscribeLinks
from services.notify.clients.documents import Documents
from services.notify.clients.gateway import Gateway, Message
from services.notify.domain.attachments import Attachment, AttachmentProblem
from services.notify.domain.circuit import FAILURES_REPORTED, Circuit
from services.notify.domain.frequency import CAP_WINDOW
from services.notify.domain.notices import (
    FAILURE_CODE_VOID,
    FAILURE_GATEWAY_AWAY,
    FAILURE_NO_CHANNEL,
    FAILURE_UNREADABLE,
    VOID_EXPIRED,
    WAITING_QUIET_HOURS,
    Attempt,
    Channel,
    NoticeKey,
    NoticeKind,
    Progress,
    Verdict,
    is_expired,
    is_sendable,
    progress,
)
from services.notify.domain.phone_codes import DEFAULT_BUDGET
from services.notify.domain.quiet_hours import deadline, send_time
from services.notify.domain.replies.inbound import ONE_SENDER_NUMBER, SenderNumbers
from services.notify.domain.routes import Route, route_of, routed
from services.notify.domain.sms_prices import NO_SMS, SmsPrices, SmsUsage
from services.notify.domain.templates.segments import segments
from services.notify.domain.transitions import DeliveryState
from services.notify.names import DELIVERY
from services.notify.publishers import notice_ended
from services.notify.store import attempts, outcomes, superseding, templates
from services.notify.store.attempts import Outgoing
from services.notify.store.templates import MerchantKind
from services.notify.workers.pace import Pace, PaceLimit
from services.runtime.crash_points import CrashPoint
from services.runtime.db.due_work import Batch
from services.runtime.db.pool import Database
from services.runtime.messaging import outbox
from services.runtime.observability import metrics, tracing
from services.runtime.workers.clock import Clock

log = logging.getLogger(__name__)

BATCH_DELIVERIES = 500
# Payments renders a file in hundredths of a second, and 42 of them in one or two.
BATCH_ATTACHMENTS = 42
# No send begins later than this before the end of a step: a gateway's time-out, and to store what came.
SEND_SECONDS = 12.0
FAILURE_INTERNAL = "INTERNAL"
_READ = CrashPoint("notify.delivery_read", "Deliveries are read and not sent.")
_DOWNLOADED = CrashPoint(
    "notify.attachments_downloaded", "Files of deliveries are there, and nothing is begun."
)
_HELD = CrashPoint(
    "notify.deliveries_held",
    "It is committed what waits for a later message, and nothing is begun.",
)
_BEGUN = CrashPoint(
    "notify.delivery_begun", "The words of deliveries are stored, and nothing is sent."
)
_SENT = CrashPoint("notify.delivery_sent", "Deliveries are sent and not finished.")
_FINISHED = CrashPoint("notify.delivery_finished", "What became of deliveries is committed.")

_opened_counter = metrics.counter(
    "recurring.deliveries.circuit.opened",
    "{opening}",
    "How often a gateway that takes no messages was left alone",
    [{"channel": channel} for channel in Channel],
)

_TAKEN, _NOT_TAKEN = "TAKEN", "NOT_TAKEN"
_attempts_counter = metrics.counter(
    "recurring.delivery.attempts",
    "{attempt}",
    "Messages that a gateway took or refused for good, and those that are tried again",
    [
        {"channel": channel, "route": route, "outcome": outcome}
        for channel in Channel
        for route in Route
        for outcome in (_TAKEN, _NOT_TAKEN)
    ],
)

_KEY_NAMESPACE = uuid.UUID("0c4f0c1e-7f0e-5f9c-8a55-6a4f3b0e9d27")


class Deliveries:
    """Sends due deliveries in batches, and publishes which notices arrived and which did not."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        gateways: Mapping[Channel, Gateway],
        documents: Documents,
        prices: SmsPrices = DEFAULT_BUDGET.prices,
        senders: SenderNumbers = ONE_SENDER_NUMBER,
        public_url: str = "",
        sms_fallback: Gateway | None = None,
        limits: Mapping[tuple[Channel, Route], PaceLimit] = MappingProxyType({}),
    ) -> None:
        """`prices` are those of SMS; `public_url` is where others reach notify.

        `sms_fallback` gets what the first SMS gateway does not take.
        """
        self._database = database
        self._clock = clock
        self._gateways = gateways
        self._sms_fallback = sms_fallback
        keys = [(channel, route) for channel in Channel for route in Route]
        self._circuits = {key: Circuit() for key in keys}
        self._paces = {key: Pace(limits.get(key, PaceLimit())) for key in keys}
        self._documents = documents
        self._unsubscribe_links = UnsubscribeLinks(database.keyring, public_url)
        self._prices = prices
        self._senders = senders

    async def work(self, batch: Batch) -> int:
        """Send a batch of what is due without a file, by the channel that is the batch's queue."""
        channel = Channel(batch.queue)
        due, void, own = await self._read(batch, BATCH_DELIVERIES, channel, has_attachment=False)
        await self._send(due, [it for it in due if it.notice.key not in void], own, batch)
        return len(due)

    async def work_with_attachments(self, batch: Batch) -> int:
        """Send a batch of what is due with a file, which payments is asked for first.

        What has none does not wait for it: another worker sends that.
        """
        due, void, own = await self._read(
            batch, BATCH_ATTACHMENTS, Channel.EMAIL, has_attachment=True
        )
        sendable = [it for it in due if it.notice.key not in void]
        files = await self._documents.download(attachment_keys(sendable))
        if sendable:
            _DOWNLOADED.reached()
        attached = [with_attachment(it, files.get(attachment_key(it))) for it in sendable]
        await self._send(due, attached, own, batch)
        return len(due)

    async def _read(
        self, batch: Batch, limit: int, channel: Channel, *, has_attachment: bool
    ) -> tuple[list[Outgoing], set[NoticeKey], OwnTemplates]:
        """What is due, what of it is not true any more, and the merchants' templates for it."""
        async with self._database.begin(wake_workers=False) as tx:
            due = await attempts.due(
                tx,
                batch.buckets,
                batch.now,
                limit,
                channel=channel,
                has_attachment=has_attachment,
            )
            # An event of another stream may have been stored at this moment, neither seeing the other.
            void = await superseding.void_superseded(tx, [o.notice.key for o in due])
            kinds = [MerchantKind(o.notice.merchant, o.notice.kind) for o in due]
            own = await templates.for_notices(tx, kinds)
        if due:
            _READ.reached()
        return due, void, own

    async def _send(
        self,
        due: Sequence[Outgoing],
        sendable: Sequence[Outgoing],
        own: OwnTemplates,
        batch: Batch,
    ) -> None:
        if not due:
            return
        parents = [outgoing.notice.traceparent for outgoing in due]
        messages = await self._gathered(sendable)
        written = [
            self._with_route(outgoing_with_text(outgoing, own, self._senders))
            for outgoing in messages
        ]
        with tracing.working("deliveries", len(due), parents):
            begun = await self._begin(written)
            await self._deliver(begun, batch.deadline - SEND_SECONDS)

    async def _gathered(self, sendable: Sequence[Outgoing]) -> list[Outgoing]:
        """What goes out now, by the message that says it; what is above those of a day waits."""
        now = self._clock.now()
        capped = {digests.address_of(it) for it in sendable if digests.is_capped(it)}
        if not capped:
            return digests.gathered(sendable, {}, now)[0]
        async with self._database.begin(wake_workers=False) as tx:
            sent = await attempts.counted(tx, capped, now - CAP_WINDOW)
            messages, held = digests.gathered(sendable, sent, now)
            await attempts.hold(tx, held)
        if held:
            _HELD.reached()
        return messages

    def _with_route(self, outgoing: Outgoing) -> Outgoing:
        """A delivery with the gateway that it goes by, if its channel has two."""
        if outgoing.delivery.channel is not Channel.SMS or self._sms_fallback is None:
            return outgoing
        circuit = self._circuits[outgoing.delivery.channel, Route.PRIMARY]
        is_away = circuit.open_until(self._clock.now()) is not None
        return outgoing._replace(route=route_of(outgoing.delivery, primary_is_away=is_away))

    async def _begin(self, sendable: Sequence[Outgoing]) -> list[Outgoing]:
        """Store what is said for the first time; returns what is to be attempted, in its order."""
        now = self._clock.now()
        sending = [outgoing for outgoing in sendable if _obstacle(outgoing, now) is None]
        async with self._database.begin(wake_workers=False) as tx:
            begun = {id(outgoing) for outgoing in await attempts.begin(tx, sending, now)}
        _BEGUN.reached()
        held_up = {id(outgoing) for outgoing in sending} - begun
        return [outgoing for outgoing in sendable if id(outgoing) not in held_up]

    async def _deliver(self, due: Sequence[Outgoing], last_start: float) -> None:
        loop = asyncio.get_running_loop()
        # Of each gateway, so that a slow one holds up its own alone.
        turns = {key: asyncio.Semaphore(pace.at_once) for key, pace in self._paces.items()}

        async def attempt(outgoing: Outgoing) -> tuple[Outgoing, Progress]:
            key = _gateway_key(outgoing)
            result = Attempt(Verdict.NOT_TRIED)
            async with turns[key]:
                if loop.time() < last_start and await self._paces[key].turn(last_start):
                    result = await self._attempt(outgoing)
            now = self._clock.now()
            came_to = progress(outgoing.delivery, result, now)
            if outgoing.route is not None:
                came_to = routed(outgoing.delivery, outgoing.route, result, came_to, now)
            return outgoing, came_to._replace(usage=self._usage(outgoing, came_to))

        async def attempt_in_order(queue: Sequence[Outgoing]) -> list[tuple[Outgoing, Progress]]:
            """Attempt the deliveries of one address; those after one that has to wait, wait as long."""
            done: list[tuple[Outgoing, Progress]] = []
            for index, outgoing in enumerate(queue):
                sent, result = await attempt(outgoing)
                done.append((sent, result))
                if result.state is DeliveryState.PENDING and not _waits_alone(result):
                    done += [(later, _waiting(later, result)) for later in queue[index + 1 :]]
                    break
            return done

        queues = await asyncio.gather(*(attempt_in_order(queue) for queue in _queues(due)))
        results = [result for queue in queues for result in queue]
        if not results:
            return
        _SENT.reached()
        said = [each for sent, result in results for each in _said_by(sent, result)]
        async with self._database.begin() as tx:
            now = self._clock.now()
            ended = await outcomes.finish(tx, said, now)
            await phone_outcomes.store(tx, results, now)
            await outbox.put(
                tx,
                [
                    event
                    for each in ended
                    for event in notice_ended(
                        each.notice, each.outcome, each.deliver_time, each.failure_code, now
                    )
                ],
            )
        _FINISHED.reached()
        count(ended)

    def _gateway(self, outgoing: Outgoing) -> Gateway:
        if outgoing.route is Route.SECONDARY and self._sms_fallback is not None:
            return self._sms_fallback
        return self._gateways[outgoing.delivery.channel]

    def _usage(self, outgoing: Outgoing, came_to: Progress) -> SmsUsage:
        """Where an SMS went, once it is known what became of it, and what it cost."""
        delivery = outgoing.delivery
        is_over = came_to.state not in {DeliveryState.PENDING, DeliveryState.VOIDED}
        if delivery.channel is not Channel.SMS or not outgoing.address or not is_over:
            return NO_SMS
        was_taken = came_to.accept_time is not None or came_to.deliver_time is not None
        taken = segments(delivery.text).segment_count if was_taken else 0
        return self._prices.usage(outgoing.address, taken)

    async def _attempt(self, outgoing: Outgoing) -> Attempt:
        delivery = outgoing.delivery
        if (obstacle := _obstacle(outgoing, self._clock.now())) is not None:
            return obstacle
        circuit = self._circuits[_gateway_key(outgoing)]
        if (until := circuit.open_until(self._clock.now())) is not None:
            return Attempt(Verdict.NOT_TRIED, FAILURE_GATEWAY_AWAY, retry_time=until)
        message = Message(
            _message_key(outgoing),
            outgoing.address,
            delivery.subject,
            text_to_send(outgoing),
            DELIVERY.format(*outgoing.notice.key, delivery.channel.lower()),
            self._senders.number_of(outgoing.notice.merchant),
            outgoing.attachment if isinstance(outgoing.attachment, Attachment) else None,
            # Its words are stored just before.
            may_have_been_sent=not outgoing.text_is_new,
            create_time=outgoing.notice.create_time,
            locale=delivery.locale,
            unsubscribe_uri=self._unsubscribe_links.uri(outgoing.notice, delivery.channel),
        )
        try:
            sent = await self._gateway(outgoing).send(message)
        except Exception as error:  # noqa: BLE001 - one message must not hold up the others
            # The error's own words may quote the address.
            log.error("sending failed: %s", type(error).__name__, extra={  # noqa: TRY400
                "notice": outgoing.notice.notice, "channel": delivery.channel})  # fmt: skip
            return Attempt(Verdict.TEMPORARY, FAILURE_INTERNAL)
        self._report(outgoing, circuit, sent)
        return sent

    def _report(self, outgoing: Outgoing, circuit: Circuit, sent: Attempt) -> None:
        """Count whether the gateway took a message; log the beginning and the end of an outage."""
        channel, route = _gateway_key(outgoing)
        gateway = {"channel": channel, "route": route}
        is_taken = sent.verdict not in {Verdict.TEMPORARY, Verdict.UNKNOWN}
        _attempts_counter.add(1, {**gateway, "outcome": _TAKEN if is_taken else _NOT_TAKEN})
        if is_taken:
            if circuit.failure_count >= FAILURES_REPORTED:
                log.info("messages are taken again", extra=gateway)
            circuit.works()
            return
        if circuit.failed(self._clock.now()):
            _opened_counter.add(1, {"channel": channel})
        if circuit.failure_count == FAILURES_REPORTED:
            log.warning("messages are not taken: %s", sent.failure_code, extra=gateway)


def _gateway_key(outgoing: Outgoing) -> tuple[Channel, Route]:
    return outgoing.delivery.channel, outgoing.route or Route.PRIMARY


def _obstacle(outgoing: Outgoing, now: datetime) -> Attempt | None:
    """Why a delivery cannot be sent, as what an attempt came to."""
    delivery = outgoing.delivery
    if not is_sendable(delivery, now):
        return Attempt(Verdict.PERMANENT, FAILURE_CODE_VOID)
    if is_expired(delivery, now):
        return Attempt(Verdict.VOID, VOID_EXPIRED)
    if not outgoing.readable:
        # A key that is missing may come back before the notice is of no use any more.
        log.error("a delivery does not open", extra={
            "notice": outgoing.notice.notice, "channel": delivery.channel})  # fmt: skip
        return Attempt(Verdict.TEMPORARY, FAILURE_UNREADABLE)
    # Without a text it was erased, and the customer has perhaps come back since.
    if not outgoing.address or not delivery.text:
        return Attempt(Verdict.PERMANENT, FAILURE_NO_CHANNEL)
    return _quiet_hours(outgoing, now) or _obstacle_of_file(outgoing)


def _quiet_hours(outgoing: Outgoing, now: datetime) -> Attempt | None:
    """The wait for the morning of what was to go out by day, and is tried in the night."""
    kind, delivery = outgoing.notice.kind, outgoing.delivery
    until = deadline(outgoing.notice.promise, delivery.expire_time)
    morning = send_time(kind, delivery.channel, now, outgoing.time_zone, until)
    if morning <= now:
        return None
    return Attempt(Verdict.NOT_TRIED, WAITING_QUIET_HOURS, retry_time=morning)


def _obstacle_of_file(outgoing: Outgoing) -> Attempt | None:
    file = outgoing.attachment
    if file is AttachmentProblem.NOT_FOUND:
        return Attempt(Verdict.PERMANENT, file)
    return Attempt(Verdict.TEMPORARY, file) if file is AttachmentProblem.UNAVAILABLE else None


def _message_key(outgoing: Outgoing) -> str:
    """The same for every attempt at a delivery, as long as the customer's phone is the same.

    It has no text and no language: a proof knows neither, and finds the message by its key.
    """
    said_by = outgoing.delivery.digest_notice or outgoing.notice.notice
    parts = (
        *outgoing.notice.customer_key,
        said_by,
        outgoing.delivery.channel,
        str(outgoing.address_version),
    )
    return str(uuid.uuid5(_KEY_NAMESPACE, "|".join(parts)))


def _queues(due: Sequence[Outgoing]) -> list[list[Outgoing]]:
    """What is due by the address that it goes to, in its order."""
    queues: dict[tuple[object, ...], list[Outgoing]] = defaultdict(list)
    for outgoing in due:
        is_code = outgoing.notice.kind is NoticeKind.PHONE_CODE
        queues[outgoing.notice.customer_key, outgoing.delivery.channel, is_code].append(outgoing)
    return list(queues.values())


def _waits_alone(result: Progress) -> bool:
    """Whether what waits keeps nothing of the same address waiting, which may have a deadline."""
    return result.failure_code in {FAILURE_UNREADABLE, WAITING_QUIET_HOURS}


def _waiting(outgoing: Outgoing, ahead: Progress) -> Progress:
    """What becomes of a delivery that waits for the one ahead of it."""
    kept = progress(outgoing.delivery, Attempt(Verdict.NOT_TRIED), ahead.next_attempt_time)
    return kept._replace(
        next_attempt_time=ahead.next_attempt_time, gateway=outgoing.delivery.gateway
    )


def _said_by(sent: Outgoing, result: Progress) -> list[tuple[Outgoing, Progress]]:
    """What an attempt came to for each notice that its message says; the first one's was paid for."""
    usage = result.usage._replace(segment_count=0, cost_micros=0)
    return [(sent, result), *((member, result._replace(usage=usage)) for member in sent.members)]
