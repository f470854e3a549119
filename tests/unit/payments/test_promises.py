"""Whatever happens, and in whatever order, no charge gets past what the customer was promised."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.payments.domain.charges import ask_customer
from services.payments.domain.consent import BillingMode, PauseReason
from services.payments.domain.keys import ChargeKey, MandateId, MandateKey
from services.payments.domain.outcomes import (
    Declined,
    FinalOutcome,
    NotMade,
    Outcome,
    Pending,
    RequiresAction,
    Succeeded,
)
from services.payments.domain.rules import ChargeRule, dump_rules
from services.payments.domain.transitions import OPEN_ATTEMPTS, AttemptState
from tests.unit.payments.promises import (
    Announcement,
    Consent,
    Facts,
    Sent,
    broken_by_asking,
    broken_promises,
)
from tests.unit.payments.stored_payments import (
    ANSWERS,
    CANCELLED,
    Payment,
    StoredPayments,
    key_of,
)
from tests.unit.payments.strategies import ANN, CHARGE, MANDATE, NOTICE

BEGIN = datetime(2026, 1, 30, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEAD = ChargeRule("pack", "lead", "A law", notice_lead_seconds=24 * 60 * 60)
ASKING = ChargeRule(
    "pack", "ask", "A law", confirmation_above_minor=1000, confirmation_currency="EUR"
)
NO_RULES = frozenset[ChargeRule]()
ORDERS_MAX = 12
CHANGES = ["confirm", "confirm", "pause", "resume", "resume", "resume", "revoke"]
# Counted from the last one: the one that falls due next, and those before it.
ages = st.integers(-1, 3)
consents = st.sampled_from(["coffee", "coffee", "tea"])
amounts_minor = st.sampled_from([400, 800, 1200])
ceilings_minor = st.sampled_from([1000, 1500, 3000])
rules = st.sampled_from([NO_RULES] * 3 + [frozenset([LEAD]), frozenset([ASKING])])
# The method of few notices is not what is charged then.
modes = st.sampled_from([BillingMode.AUTOMATIC] * 4 + [BillingMode.PAY_ON_NOTICE])
hours = st.integers(-24, 24).map(lambda count: timedelta(hours=count))


class Meanwhile(Enum):
    """What happens to an order between an answer that was lost and the look-up."""

    NOTHING = auto()
    WITHDRAWN = auto()
    PAUSED = auto()
    LESS_ANNOUNCED = auto()
    CEILING_LOWERED = auto()
    PERIOD_BEGUN = auto()


class Withdrawal(Enum):
    """What the customer does not want any more while their bank waits for them."""

    NOTHING = auto()
    ORDER = auto()
    PAUSED = auto()
    REVOKED = auto()


class Customer(RuleBasedStateMachine):
    """A customer to whom anything happens, in any order, and the guard before each payment."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = Facts()
        self.stored = StoredPayments()
        self.now = BEGIN
        # The latest that a clock ever said.
        self.latest = BEGIN
        self.sent: dict[int, Sent] = {}
        self.permits: list[tuple[ChargeKey, int, int]] = []
        self.broken: list[str] = []

    # --- time -------------------------------------------------------------------------------------

    @rule(by=st.sampled_from([timedelta(minutes=1), 12 * HOUR, DAY, 2 * DAY]))
    def time_passes(self, by: timedelta) -> None:
        self._move_clock(by)
        self.due_charges_are_decided()

    @rule(by=st.timedeltas(-timedelta(minutes=5), timedelta(minutes=5)))
    def the_clock_is_set(self, by: timedelta) -> None:
        self._move_clock(by)

    def _move_clock(self, by: timedelta) -> None:
        self.now += by
        self.latest = max(self.latest, self.now)

    # --- what the customer agrees to --------------------------------------------------------------

    @initialize(
        charge_minor=ceilings_minor,
        period_minor=st.none() | ceilings_minor,
        period_days=st.sampled_from([None, None, 1, 3]),
        time_zone=st.sampled_from(["UTC", "Asia/Tokyo"]),
        begins=hours,
        ends=hours,
        stopped_by=st.sampled_from([(), (), ("pending",)]),
        lead=st.sampled_from([timedelta(), timedelta(), HOUR]),
    )
    def the_customer_consents(
        self,
        charge_minor: int,
        period_minor: int | None,
        period_days: int | None,
        time_zone: str,
        begins: timedelta,
        ends: timedelta,
        stopped_by: tuple[str, ...],
        lead: timedelta,
    ) -> None:
        coffee = Consent("EUR", charge_minor, period_minor, BEGIN - 2 * DAY, None, lead)
        coffee.period_days, coffee.time_zone = period_days, time_zone
        tea = Consent(
            "EUR",
            charge_minor,
            None,
            BEGIN + begins,
            BEGIN + ends + DAY,
            stopped_by=set(stopped_by),
        )
        for name, consent in {"coffee": coffee, "tea": tea}.items():
            self.facts.consents[name] = consent
            self.stored.mandates[name] = replace(
                MANDATE,
                mandate=MandateId(name),
                charge_ceiling_minor=consent.charge_ceiling_minor,
                period_ceiling_minor=consent.period_ceiling_minor,
                period_days=consent.period_days,
                time_zone=consent.time_zone,
                valid_from_time=consent.valid_from_time,
                valid_until_time=consent.valid_until_time,
                is_pending="pending" in consent.stopped_by,
                lead_seconds=int(consent.lead.total_seconds()),
            )

    @rule(name=consents, charge_minor=ceilings_minor, period_minor=st.none() | ceilings_minor)
    def a_mandate_is_amended(self, name: str, charge_minor: int, period_minor: int | None) -> None:
        consent = self.facts.consents[name]
        consent.charge_ceiling_minor, consent.period_ceiling_minor = charge_minor, period_minor
        self.stored.mandates[name] = replace(
            self.stored.mandates[name],
            charge_ceiling_minor=charge_minor,
            period_ceiling_minor=period_minor,
        )

    @rule(name=consents, what=st.sampled_from(CHANGES))
    def a_mandate_is_changed(self, name: str, what: str) -> None:
        mandate, stopped_by = self.stored.mandates[name], self.facts.consents[name].stopped_by
        if what == "confirm":
            self.stored.mandates[name] = replace(mandate, is_pending=False)
            stopped_by.discard("pending")
        elif what == "pause" and not mandate.is_pending:
            paused = replace(mandate, pause_time=self.now, pause_reason=PauseReason.REQUESTED)
            self.stored.stop_mandate(name, paused, self.now)
            stopped_by.add("paused")
        elif what == "resume":
            self.stored.mandates[name] = replace(mandate, pause_time=None, pause_reason=None)
            stopped_by.discard("paused")
        elif what == "revoke":
            self.stored.stop_mandate(name, replace(mandate, revoke_time=self.now), self.now)
            stopped_by.add("revoked")

    @rule(amount_minor=st.sampled_from([100, 400, 700, -100, -400]))
    def credit_is_given_or_paid_out(self, amount_minor: int) -> None:
        if self.stored.give_credit(amount_minor):
            self.facts.credit_minor += amount_minor

    # --- what happens to orders -------------------------------------------------------------------

    @rule(amount_minor=amounts_minor, mode=modes, mandate=consents, rules=rules)
    def payment_is_due(
        self,
        amount_minor: int,
        mode: BillingMode,
        mandate: str,
        rules: frozenset[ChargeRule],
    ) -> None:
        order = len(self.stored.charges) + 1
        if order > ORDERS_MAX:
            return
        charge = CHARGE._replace(
            charge=key_of(order).charge,
            amount_minor=amount_minor,
            mandate=MandateKey(*ANN, MandateId(mandate)).name,
            create_time=self.now,
            update_time=self.now,
            next_attempt_time=self.now,
            charge_rules=dump_rules([("", sorted(rules))]) if rules else "[]",
        )
        self.facts.owed_minor[order] = amount_minor
        if mode is BillingMode.PAY_ON_NOTICE:
            charge = ask_customer(charge, self.now + 2 * DAY)
            self.facts.expire_times[order] = self.now + 2 * DAY
        elif rules:
            self.facts.leads[order] = DAY if LEAD in rules else timedelta()
            self.facts.asked_above_minor |= {order: 1000} if ASKING in rules else {}
        self.stored.open(order, charge)

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
        notice = replace(
            NOTICE,
            charge=key_of(order).charge,
            amount_minor=amount_minor,
            currency=currency,
            charge_not_before_time=self.now + not_before,
            deliver_time=self.now,
            billing_mode=mode,
        )
        if not self.stored.keep_notice(order, notice):
            return
        asks = mode is BillingMode.PAY_ON_NOTICE
        said = Announcement(amount_minor, currency, notice.charge_not_before_time, self.now, asks)
        self.facts.announcements.setdefault(order, []).append(said)

    @rule(
        amount_minor=amounts_minor,
        less_minor=st.sampled_from([0] * 7 + [1]),
        currency=st.sampled_from(["EUR"] * 5 + ["USD"]),
        not_before=st.sampled_from([timedelta(), timedelta(), timedelta(), DAY]),
        mode=modes,
        mandate=consents,
        rules=rules,
    )
    def an_order_is_announced_and_falls_due(
        self,
        amount_minor: int,
        less_minor: int,
        currency: str,
        not_before: timedelta,
        mode: BillingMode,
        mandate: str,
        rules: frozenset[ChargeRule],
    ) -> None:
        self.a_notice_is_delivered(-1, amount_minor - less_minor, currency, not_before, mode)
        self.payment_is_due(amount_minor, BillingMode.AUTOMATIC, mandate, rules)

    @rule(age=ages)
    def an_order_is_withdrawn(self, age: int) -> None:
        self._withdraw(self._aged(age), unseen=False)

    @rule(amount_minor=amounts_minor, mandate=consents)
    def an_order_is_withdrawn_as_it_falls_due(self, amount_minor: int, mandate: str) -> None:
        """Two events at the same instant: whoever handles one does not see the other."""
        self.a_notice_is_delivered(-1, amount_minor, "EUR", timedelta(), BillingMode.AUTOMATIC)
        self.payment_is_due(amount_minor, BillingMode.AUTOMATIC, mandate, NO_RULES)
        self._withdraw(self._aged(0), unseen=True)
        self.due_charges_are_decided()

    def _withdraw(self, order: int, *, unseen: bool) -> None:
        self.facts.withdrawn.add(order)
        self.stored.withdraw(order, self.now, unseen=unseen)

    @rule(age=ages, mandate=consents)
    def an_order_gets_another_mandate(self, age: int, mandate: str) -> None:
        self.stored.change_mandate(self._aged(age), mandate)

    @precondition(lambda self: self.stored.charges)
    @rule(data=st.data())
    def the_customer_confirms(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(sorted(self.stored.charges)))
        if self.stored.confirm(order, self.now):
            self.facts.confirmed.add(order)

    # --- what the workers and the provider do -----------------------------------------------------

    @rule()
    def due_charges_are_decided(self) -> None:
        self.stored.expire_requests(self.now)
        for payment in list(self.stored.decide_due(self.now)):
            self._pay(payment)

    @precondition(lambda self: self.sent)
    @rule()
    def lost_attempts_are_sent_again(self) -> None:
        for payment in list(self.stored.resend_lost(self.now)):
            self.sent[payment.order].times.append(self.now)
            self._judge(self.sent[payment.order], payment)

    @rule(
        orders=st.integers(1, 3),
        amount_minor=st.sampled_from([400, 400, 800]),
        credit_minor=st.sampled_from([0, 0, 100, 500]),
        meanwhile=st.sampled_from(Meanwhile),
        mandate=consents,
    )
    def answers_are_lost_and_looked_up(
        self,
        orders: int,
        amount_minor: int,
        credit_minor: int,
        meanwhile: Meanwhile,
        mandate: str,
    ) -> None:
        """Attempts that never came to the provider, and what happens before it is found out."""
        if meanwhile is Meanwhile.PERIOD_BEGUN:
            # There is room for two in a period, and neither for three nor for one of the larger.
            self.a_mandate_is_amended(mandate, 1000, 1000)
            period = self.stored.mandates[mandate].period(self.now)
            self._move_clock(period.following - HOUR - self.now)
        self.credit_is_given_or_paid_out(credit_minor)
        self._fall_due(orders, amount_minor, mandate)
        match meanwhile:
            case Meanwhile.WITHDRAWN:
                self.an_order_is_withdrawn(0)
            case Meanwhile.PAUSED:
                self.a_mandate_is_changed(mandate, "pause")
            case Meanwhile.LESS_ANNOUNCED:
                less_minor = amount_minor - 1
                self.a_notice_is_delivered(0, less_minor, "EUR", timedelta(), BillingMode.AUTOMATIC)
            case Meanwhile.CEILING_LOWERED:
                self.a_mandate_is_amended(mandate, 500, 500)
            case Meanwhile.PERIOD_BEGUN:
                self._move_clock(2 * HOUR)
                self._fall_due(1, amount_minor, mandate)
        self.lost_attempts_are_sent_again()
        if meanwhile is Meanwhile.PAUSED:
            self.a_mandate_is_changed(mandate, "resume")

    def _fall_due(self, orders: int, amount_minor: int, mandate: str) -> None:
        for _ in range(orders):
            self.an_order_is_announced_and_falls_due(
                amount_minor, 0, "EUR", timedelta(), BillingMode.AUTOMATIC, mandate, NO_RULES
            )
        self.due_charges_are_decided()

    @rule(
        is_request=st.booleans(),
        mandate=consents,
        withdrawal=st.sampled_from(Withdrawal),
        is_before=st.booleans(),
        answered_after=st.sampled_from([timedelta(), 36 * HOUR]),
        asked_again_after=st.sampled_from([timedelta(), 12 * HOUR]),
        looked_up_after=st.sampled_from([HOUR, 12 * HOUR]),
    )
    def a_bank_waits_for_the_customer(
        self,
        *,
        is_request: bool,
        mandate: str,
        withdrawal: Withdrawal,
        is_before: bool,
        answered_after: timedelta,
        asked_again_after: timedelta,
        looked_up_after: timedelta,
    ) -> None:
        """An answer that the customer is to confirm a payment, and what they do not want meanwhile."""
        if is_request:
            self.payment_is_due(400, BillingMode.PAY_ON_NOTICE, mandate, NO_RULES)
            order = self._aged(0)
            if self.stored.charges and self.stored.confirm(order, self.now):
                self.facts.confirmed.add(order)
            self.due_charges_are_decided()
        else:
            self._fall_due(1, 400, mandate)
        order = self._aged(0)
        if order not in self.sent or self.stored.attempts[order].state is not AttemptState.UNKNOWN:
            return
        self._move_clock(answered_after)
        if is_before:
            self._stop(order, mandate, withdrawal)
        for after in (timedelta(), asked_again_after):
            self._move_clock(after)
            self._answer(order, RequiresAction("pi", "https://bank.example"))
        if not is_before:
            self._stop(order, mandate, withdrawal)
        self.waiting_attempts_are_looked_up()
        self._move_clock(looked_up_after)
        self.waiting_attempts_are_looked_up()

    def _stop(self, order: int, mandate: str, withdrawal: Withdrawal) -> None:
        match withdrawal:
            case Withdrawal.ORDER:
                self._withdraw(order, unseen=False)
            case Withdrawal.PAUSED:
                self.a_mandate_is_changed(mandate, "pause")
            case Withdrawal.REVOKED:
                self.a_mandate_is_changed(mandate, "revoke")

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def the_provider_answers(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(sorted(self.sent)))
        state = self.stored.attempts[order].state
        if state in OPEN_ATTEMPTS:
            self._answer(order, data.draw(st.sampled_from(ANSWERS[state])))

    @precondition(lambda self: self.sent)
    @rule()
    def waiting_attempts_are_looked_up(self) -> None:
        for order in self.stored.given_up(self.now):
            self._answer(order, CANCELLED)
        # By a clock that was set back, not all that was given up is so already.
        if self.now == self.latest:
            self.broken += broken_by_asking(self.facts, self.now)

    @invariant()
    def no_promise_is_broken(self) -> None:
        assert self.broken == []

    # --- what is known of it ----------------------------------------------------------------------

    def _aged(self, age: int) -> int:
        return max(1, len(self.stored.charges) - age)

    def _answer(self, order: int, outcome: Outcome) -> None:
        sent = self.sent[order]
        asked_time, sent.asked_time = sent.asked_time, None
        if isinstance(outcome, FinalOutcome):
            self.stored.settle(order, outcome, self.now)
            sent.may_have_moved = isinstance(outcome, Succeeded)
            # What was not made is made again without asking the customer once more.
            if not isinstance(outcome, NotMade):
                self.facts.confirmed.discard(order)
            # Who was declined has a day to try another method.
            if isinstance(outcome, Declined) and order in self.facts.expire_times:
                ends = max(self.facts.expire_times[order], self.now + DAY)
                self.facts.expire_times[order] = ends
        elif isinstance(outcome, Pending | RequiresAction):
            self.stored.wait(order, outcome, self.now)
            if isinstance(outcome, RequiresAction):
                # A bank that is asked again goes on waiting.
                sent.asked_time = asked_time or self.now

    def _pay(self, payment: Payment) -> None:
        order, charge, attempt, _ = payment
        mandate = charge.mandate_key
        consent = mandate.mandate if mandate else ""
        sent = Sent(order, consent, 0, charge.credit_minor, [self.now])
        if attempt is not None:
            sent.consent, sent.amount_minor = attempt.mandate, attempt.amount_minor
            self.sent[order] = sent
        self.facts.sent.append(sent)
        self._judge(sent, payment)
        if attempt is None:
            self.facts.confirmed.discard(order)

    def _judge(self, sent: Sent, payment: Payment) -> None:
        _, charge, attempt, verdict = payment
        if attempt is not None:
            permit = (attempt.charge_key, attempt.number, attempt.permit)
            if verdict is None or verdict.reasons or permit in self.permits:
                self.broken.append("it was sent without a permit of its own")
            self.permits.append(permit)
        self.broken += broken_promises(self.facts, sent, charge.currency, self.now)


TestCustomer = Customer.TestCase
