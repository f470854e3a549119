"""No sequence of events gets a charge past the guard that breaks what the customer was promised."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.payments.domain.attempts import Attempt, present_attempt, settle_attempt
from services.payments.domain.charges import (
    AbandonReason,
    Charge,
    abandon,
    ask_customer,
    confirm_request,
    expire,
    is_expired,
    present_mandate,
)
from services.payments.domain.consent import BillingMode, Mandate, Notice, PauseReason
from services.payments.domain.decisions import Evidence, decide_all
from services.payments.domain.idempotent_retries import resend_all
from services.payments.domain.keys import ChargeId, ChargeKey, MandateId, MandateKey
from services.payments.domain.outcomes import Declined, NotMade, Succeeded
from services.payments.domain.rules import ChargeRule, dump_rules
from services.payments.domain.transitions import AttemptState, ChargeState
from services.payments.domain.verdicts import Verdict
from tests.unit.payments.promises import Announcement, Consent, Facts, Sent, broken_promises
from tests.unit.payments.strategies import ANN, CHARGE, MANDATE, NOTICE, VISA

BEGIN = datetime(2026, 1, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LEAD = ChargeRule("pack", "lead", "A law", notice_lead_seconds=24 * 60 * 60)
ASKING = ChargeRule(
    "pack", "ask", "A law", confirmation_above_minor=1000, confirmation_currency="EUR"
)
OUTCOMES = [Succeeded("pi"), Declined("insufficient_funds", hard=False), NotMade()]

ORDERS_MAX = 12
CHANGES = ["confirm", "confirm", "pause", "resume", "resume", "resume", "revoke"]
# Counted from the last one: the one that falls due next, and those before it.
ages = st.integers(-1, 3)
consents = st.sampled_from(["coffee", "tea"])
amounts_minor = st.sampled_from([400, 800, 1200])
ceilings_minor = st.sampled_from([1000, 1500, 3000])
rules = st.sampled_from([frozenset[ChargeRule]()] * 3 + [frozenset([LEAD]), frozenset([ASKING])])
hours = st.integers(-24, 24).map(lambda count: timedelta(hours=count))


class Customer(RuleBasedStateMachine):
    """A customer to whom anything happens, in any order, and the guard before each payment."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = Facts()
        self.now = BEGIN
        self.charges: dict[int, Charge] = {}
        self.notices: dict[ChargeKey, Notice] = {}
        self.mandates: dict[str, Mandate] = {}
        self.mandate_changes: dict[int, str] = {}
        self.attempts: dict[int, tuple[Attempt, Sent]] = {}
        self.permits: list[tuple[ChargeKey, int, int]] = []
        self.broken: list[str] = []

    # --- what happens -----------------------------------------------------------------------------

    @rule(by=st.sampled_from([timedelta(minutes=1), timedelta(hours=12), DAY, 2 * DAY]))
    def time_passes(self, by: timedelta) -> None:
        self.now += by
        self.due_charges_are_decided()

    @rule(by=st.timedeltas(-timedelta(minutes=5), timedelta(minutes=5)))
    def the_clock_is_set(self, by: timedelta) -> None:
        self.now += by

    @initialize(
        charge_minor=ceilings_minor,
        period_minor=st.none() | ceilings_minor,
        begins=hours,
        ends=st.none() | hours,
        stopped_by=st.sampled_from([(), (), ("pending",)]),
    )
    def the_customer_consents(
        self,
        charge_minor: int,
        period_minor: int | None,
        begins: timedelta,
        ends: timedelta | None,
        stopped_by: tuple[str, ...],
    ) -> None:
        self._consent("coffee", charge_minor, period_minor, BEGIN - 2 * DAY, None)
        end = BEGIN + ends + 3 * DAY if ends is not None else None
        self._consent("tea", charge_minor, None, BEGIN + begins, end, *stopped_by)

    def _consent(
        self,
        name: str,
        charge_minor: int,
        period_minor: int | None,
        begin: datetime,
        end: datetime | None,
        *stopped_by: str,
    ) -> None:
        self.facts.consents[name] = Consent(
            "EUR", charge_minor, period_minor, begin, end, set(stopped_by)
        )
        self.mandates[name] = replace(
            MANDATE,
            mandate=MandateId(name),
            charge_ceiling_minor=charge_minor,
            period_ceiling_minor=period_minor,
            valid_from_time=begin,
            valid_until_time=end,
            is_pending="pending" in stopped_by,
        )

    @rule(name=consents, charge_minor=ceilings_minor, period_minor=st.none() | ceilings_minor)
    def a_mandate_is_amended(self, name: str, charge_minor: int, period_minor: int | None) -> None:
        consent = self.facts.consents[name]
        consent.charge_ceiling_minor, consent.period_ceiling_minor = charge_minor, period_minor
        self.mandates[name] = replace(
            self.mandates[name],
            charge_ceiling_minor=charge_minor,
            period_ceiling_minor=period_minor,
        )

    @rule(name=consents, what=st.sampled_from(CHANGES))
    def a_mandate_is_changed(self, name: str, what: str) -> None:
        mandate, stopped_by = self.mandates[name], self.facts.consents[name].stopped_by
        if what == "confirm":
            mandate = replace(mandate, is_pending=False)
            stopped_by.discard("pending")
        elif what == "pause" and not mandate.is_pending:
            mandate = replace(mandate, pause_time=self.now, pause_reason=PauseReason.REQUESTED)
            stopped_by.add("paused")
        elif what == "resume":
            mandate = replace(mandate, pause_time=None, pause_reason=None)
            stopped_by.discard("paused")
        elif what == "revoke":
            mandate = replace(mandate, revoke_time=self.now)
            stopped_by.add("revoked")
        self.mandates[name] = mandate

    @rule(
        amount_minor=amounts_minor,
        mode=st.sampled_from(BillingMode),
        mandate=consents,
        rules=rules,
    )
    def payment_is_due(
        self,
        amount_minor: int,
        mode: BillingMode,
        mandate: str,
        rules: frozenset[ChargeRule],
    ) -> None:
        order = len(self.charges) + 1
        if order > ORDERS_MAX:
            return
        charge = CHARGE._replace(
            charge=ChargeId(f"coffee-{order}"),
            amount_minor=amount_minor,
            mandate=MandateKey(*ANN, MandateId(mandate)).name,
            create_time=self.now,
            update_time=self.now,
            next_attempt_time=self.now,
            charge_rules=dump_rules([("", sorted(rules))]) if rules else "[]",
        )
        if mode is BillingMode.PAY_ON_NOTICE:
            charge = ask_customer(charge, self.now + 2 * DAY)
            self.facts.expire_times[order] = self.now + 2 * DAY
        elif rules:
            self.facts.leads[order] = DAY if LEAD in rules else timedelta()
            self.facts.asked_above_minor |= {order: 1000} if ASKING in rules else {}
        self.charges[order] = charge
        self._heed_instructions(order)

    @rule(
        age=ages,
        amount_minor=amounts_minor,
        currency=st.sampled_from(["EUR", "EUR", "EUR", "USD"]),
        not_before=st.sampled_from([-DAY, timedelta(), timedelta(), DAY]),
        mode=st.sampled_from(BillingMode),
    )
    def a_notice_is_delivered(
        self,
        age: int,
        amount_minor: int,
        currency: str,
        not_before: timedelta,
        mode: BillingMode,
    ) -> None:
        order = self._aged(age)
        key = CHARGE.key._replace(charge=ChargeId(f"coffee-{order}"))
        notice = replace(
            NOTICE,
            charge=key.charge,
            amount_minor=amount_minor,
            currency=currency,
            charge_not_before_time=self.now + not_before,
            deliver_time=self.now,
            billing_mode=mode,
        )
        before = self.notices.get(key)
        # By a clock that was set back, it is not the last one.
        if before is not None and before.deliver_time > notice.deliver_time:
            return
        self.notices[key] = notice
        asks = mode is BillingMode.PAY_ON_NOTICE
        said = Announcement(amount_minor, currency, notice.charge_not_before_time, self.now, asks)
        self.facts.announcements.setdefault(order, []).append(said)
        self._wake(order)

    @rule(
        amount_minor=amounts_minor,
        less_minor=st.sampled_from([0] * 7 + [1]),
        not_before=st.sampled_from([timedelta(), timedelta(), timedelta(), DAY]),
        mandate=consents,
        rules=rules,
    )
    def an_order_is_announced_and_falls_due(
        self,
        amount_minor: int,
        less_minor: int,
        not_before: timedelta,
        mandate: str,
        rules: frozenset[ChargeRule],
    ) -> None:
        automatic = BillingMode.AUTOMATIC
        self.a_notice_is_delivered(-1, amount_minor - less_minor, "EUR", not_before, automatic)
        self.payment_is_due(amount_minor, automatic, mandate, rules)

    @rule(age=ages)
    def an_order_is_withdrawn(self, age: int) -> None:
        order = self._aged(age)
        self.facts.withdrawn.add(order)
        self._heed_instructions(order)

    @rule(age=ages, mandate=consents)
    def an_order_gets_another_mandate(self, age: int, mandate: str) -> None:
        order = self._aged(age)
        self.mandate_changes[order] = MandateKey(*ANN, MandateId(mandate)).name
        self._heed_instructions(order)

    @precondition(lambda self: self.charges)
    @rule(data=st.data())
    def the_customer_confirms(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(sorted(self.charges)))
        confirmed = confirm_request(self.charges[order], VISA, self.now)
        if confirmed is not None:
            self.charges[order] = confirmed
            self.facts.confirmed.add(order)

    # --- what the workers do ----------------------------------------------------------------------

    @rule()
    def due_charges_are_decided(self) -> None:
        for order, charge in self.charges.items():
            if charge.state is ChargeState.REQUESTED and is_expired(charge, self.now):
                self.charges[order] = expire(charge, self.now)
        due = {
            order: charge
            for order, charge in self.charges.items()
            if charge.state is ChargeState.SCHEDULED
            and charge.next_attempt_time is not None
            and charge.next_attempt_time <= self.now
        }
        decisions = decide_all(due.values(), self._evidence(), self.now)
        for order, (charge, verdict) in zip(due, list(decisions), strict=True):
            self.charges[order] = charge
            if charge.state is ChargeState.IN_FLIGHT:
                self._send(order, present_attempt(charge, self.now), verdict)

    @precondition(lambda self: self.attempts)
    @rule()
    def lost_attempts_are_sent_again(self) -> None:
        lost = {
            self.charges[order].key: (order, attempt)
            for order, (attempt, _) in self.attempts.items()
            if attempt.state is AttemptState.UNKNOWN
        }
        missing = [(self.charges[order], attempt) for order, attempt in lost.values()]
        for permit in list(resend_all(missing, self._evidence(), self.now)):
            order, attempt = lost[permit.charge_key]
            again = replace(attempt, resend_time=self.now, permit=permit.permit)
            sent = self.attempts[order][1]
            sent.times.append(self.now)
            self.attempts[order] = again, sent
            self._judge(order, again, permit)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def the_provider_answers(
        self, data: st.DataObject, outcome: Succeeded | Declined | NotMade
    ) -> None:
        order = data.draw(st.sampled_from(sorted(self.attempts)))
        attempt, sent = self.attempts[order]
        if attempt.state is not AttemptState.UNKNOWN:
            return
        state = AttemptState.SUCCEEDED if isinstance(outcome, Succeeded) else AttemptState.DECLINED
        self.attempts[order] = replace(attempt, state=state), sent
        sent.may_have_moved = isinstance(outcome, Succeeded)
        # A request that was not made is made again without asking the customer once more.
        if not isinstance(outcome, NotMade):
            self.facts.confirmed.discard(order)
        self.charges[order] = settle_attempt(self.charges[order], attempt, outcome, self.now)

    @invariant()
    def no_promise_is_broken(self) -> None:
        assert self.broken == []

    # --- what the database would do ---------------------------------------------------------------

    def _aged(self, age: int) -> int:
        return max(1, len(self.charges) - age)

    def _heed_instructions(self, order: int) -> None:
        charge = self.charges.get(order)
        if charge is None:
            return
        charge = charge._replace(
            withdrawn=order in self.facts.withdrawn,
            mandate=present_mandate(charge, self.mandate_changes.get(order, "")),
        )
        if charge.withdrawn and charge.state in {ChargeState.SCHEDULED, ChargeState.REQUESTED}:
            charge = abandon(charge, AbandonReason.WITHDRAWN, self.now)
        self.charges[order] = charge

    def _wake(self, order: int) -> None:
        charge = self.charges.get(order)
        if charge is not None and charge.notice_wait_until_time is not None:
            self.charges[order] = charge._replace(next_attempt_time=self.now)

    def _evidence(self) -> Evidence:
        month = self.now.strftime("%Y-%m")
        spent_minor: Counter[MandateKey] = Counter()
        for attempt, sent in self.attempts.values():
            key = MandateKey(*ANN, attempt.mandate)
            if sent.may_have_moved:
                in_month = any(time.strftime("%Y-%m") == month for time in sent.times)
                spent_minor[key] += attempt.amount_minor if in_month else 0
        mandates = {mandate.key: mandate for mandate in self.mandates.values()}
        return Evidence(self.notices, mandates, spent_minor, {})

    def _send(self, order: int, attempt: Attempt, verdict: Verdict | None) -> None:
        sent = Sent(order, attempt.mandate, attempt.amount_minor, [self.now])
        self.facts.sent.append(sent)
        self._judge(order, attempt, verdict)
        self.attempts[order] = attempt, sent

    def _judge(self, order: int, attempt: Attempt, verdict: Verdict | None) -> None:
        permit = (attempt.charge_key, attempt.number, attempt.permit)
        if verdict is None or verdict.reasons or permit in self.permits:
            self.broken.append("it was sent without a permit of its own")
        self.permits.append(permit)
        self.broken += broken_promises(
            self.facts, order, attempt.amount_minor, attempt.currency, attempt.mandate, self.now
        )


TestCustomer = Customer.TestCase
