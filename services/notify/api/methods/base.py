"""What all methods of the service work with."""

from datetime import timedelta

from services.notify.domain.phone_changes import PHONE_CHANGE_WAIT
from services.notify.domain.phone_codes import DEFAULT_BUDGET, CodeBudget
from services.notify.domain.phone_numbers import EVERY_COUNTRY, NumberPolicies
from services.notify.domain.replies.inbound import ONE_SENDER_NUMBER, SenderNumbers
from services.runtime.db.pool import Database
from services.runtime.workers.clock import Clock


class Methods:
    """What parts of the servicer have in common."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        numbers: NumberPolicies = EVERY_COUNTRY,
        budget: CodeBudget = DEFAULT_BUDGET,
        webhook_test_hosts: frozenset[str] = frozenset(),
        phone_change_wait: timedelta = PHONE_CHANGE_WAIT,
        senders: SenderNumbers = ONE_SENDER_NUMBER,
    ) -> None:
        self._database = database
        self._clock = clock
        self._numbers = numbers
        self._budget = budget
        self._webhook_test_hosts = webhook_test_hosts
        self._phone_change_wait = phone_change_wait
        self._senders = senders
