"""A merchant of its own for a test: what it sells, who orders, and what becomes of it."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
from google.protobuf import duration_pb2, field_mask_pb2
from google.type import date_pb2, timeofday_pb2
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import events_pb2, scheduler_pb2_grpc
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.prove.calendar_clauses import judge_brought_forward
from cli.prove.moment import Moment
from deploy.embedded import wiring
from services.runtime.rpc.conversions import to_date, to_money, to_timestamp
from tests.published import messages
from tests.suite import Client, Suite, new_id

TEA_MINOR, COFFEE_MINOR = 420, 1290
LEAD = timedelta(days=1)
LIVE = (pb.StandingOrder.ACTIVE, pb.StandingOrder.PAUSED)
_CODE = re.compile(r"\b\d{8}\b")


def day_of(given: date_pb2.Date) -> date:
    return date(given.year, given.month, given.day)


def daily(start: date, **more: Any) -> pb.Schedule:  # noqa: ANN401 - fields of a schedule
    return schedule(start, daily=pb.Schedule.Daily(every_days=1), **more)


def schedule(start: date, **more: Any) -> pb.Schedule:  # noqa: ANN401 - fields of a schedule
    """A schedule at noon in UTC."""
    noon = timeofday_pb2.TimeOfDay(hours=12)
    return pb.Schedule(start_date=to_date(start), local_time=noon, time_zone="UTC", **more)


@dataclass
class Shop:
    """What a test does with the scheduler, in few words."""

    suite: Suite
    client: Client
    _phones: dict[str, str] = field(default_factory=dict)

    @property
    def scheduler(self) -> scheduler_pb2_grpc.SchedulerServiceStub:
        return self.client.scheduler

    @property
    def name(self) -> str:
        return self.client.name

    async def now(self) -> datetime:
        return await self.suite.sandbox.now()

    async def today(self) -> date:
        return (await self.now()).astimezone(UTC).date()

    async def due_in(self, after: timedelta, every_days: int = 1, **more: Any) -> pb.Schedule:  # noqa: ANN401
        """A schedule that falls due first after so long, to the minute."""
        first = await self.now() + after
        return pb.Schedule(
            start_date=to_date(first.date()),
            local_time=timeofday_pb2.TimeOfDay(hours=first.hour, minutes=first.minute),
            time_zone="UTC",
            daily=pb.Schedule.Daily(every_days=every_days),
            **more,
        )

    def product(self, product: str) -> str:
        return f"{self.name}/products/{product}"

    def customer(self, customer: str) -> str:
        return f"{self.name}/customers/{customer}"

    def item(self, product: str, quantity: int = 1) -> pb.Item:
        return pb.Item(product=self.product(product), quantity=quantity)

    async def sell(
        self,
        product: str,
        amount_minor: int,
        currency: str = "EUR",
        **fields: Any,  # noqa: ANN401 - fields of a product
    ) -> None:
        await self.client.catalog.CreateProduct(
            catalog_pb2.CreateProductRequest(
                parent=self.name,
                product_id=product,
                product=catalog_pb2.Product(title=product.title(), **fields),
                request_id=new_id(),
            )
        )
        await self.reprice(product, amount_minor, currency)

    async def reprice(
        self,
        product: str,
        amount_minor: int,
        currency: str = "EUR",
        effective: datetime | None = None,
    ) -> catalog_pb2.Price:
        price = catalog_pb2.Price(unit_price=to_money(amount_minor, currency))
        if effective is not None:
            price.effective_time.CopyFrom(to_timestamp(effective))
        made: catalog_pb2.Price = await self.client.catalog.CreatePrice(
            catalog_pb2.CreatePriceRequest(
                parent=self.product(product),
                price_id=f"p-{new_id()}",
                price=price,
                request_id=new_id(),
            )
        )
        return made

    async def correct_price(self, price: catalog_pb2.Price, amount_minor: int) -> None:
        await self.client.catalog.UpdatePrice(
            catalog_pb2.UpdatePriceRequest(
                price=catalog_pb2.Price(name=price.name, unit_price=to_money(amount_minor, "EUR")),
                update_mask=field_mask_pb2.FieldMask(paths=["unit_price"]),
                request_id=new_id(),
            )
        )

    async def withdraw_price(self, price: catalog_pb2.Price) -> None:
        await self.client.catalog.WithdrawPrice(
            catalog_pb2.WithdrawPriceRequest(name=price.name, request_id=new_id())
        )

    async def sign_up(
        self, customer: str, *, ceiling_minor: int = 10_000, card: str = "pm_card_visa"
    ) -> str:
        """Bind the customer's phone and give a mandate; returns its name."""
        await self.bind_phone(customer)
        return await self.add_card(customer, card=card, ceiling_minor=ceiling_minor)

    async def add_card(
        self,
        customer: str,
        method_id: str = "card",
        *,
        mandate_id: str = "consent",
        card: str = "pm_card_visa",
        ceiling_minor: int = 10_000,
    ) -> str:
        """Register a card and a mandate to charge it; returns the mandate's name."""
        name = self.customer(customer)
        method = await self.client.payments.CreatePaymentMethod(
            payments_pb2.CreatePaymentMethodRequest(
                parent=name,
                payment_method_id=method_id,
                payment_method=payments_pb2.PaymentMethod(provider_token=card),
                request_id=new_id(),
            )
        )
        return await self.consent(name, method.name, ceiling_minor, mandate_id)

    async def consent(
        self,
        customer: str,
        method: str,
        ceiling_minor: int,
        mandate_id: str = "consent",
        **more: Any,  # noqa: ANN401 - fields of a mandate
    ) -> str:
        mandate = await self.client.payments.CreateMandate(
            payments_pb2.CreateMandateRequest(
                parent=customer,
                mandate_id=mandate_id,
                mandate=payments_pb2.Mandate(
                    payment_method=method,
                    charge_ceiling=to_money(ceiling_minor, "EUR"),
                    evidence=payments_pb2.Mandate.Evidence(
                        text="Charge me.", accept_time=to_timestamp(await self.now()), source="test"
                    ),
                    **more,
                ),
                request_id=new_id(),
            )
        )
        return str(mandate.name)

    async def bind_phone(self, customer: str) -> None:
        # The same one again, if the customer has one: another would have to wait.
        unused = f"+4917{random.randrange(10**9):09}"  # noqa: S311 - a number that no test has yet
        phone = self._phones.setdefault(customer, unused)
        contact = notify_pb2.Contact(
            name=f"{self.customer(customer)}/contact",
            display_name=customer.title(),
            email=f"{customer}@example.com",
        )
        await self.client.notify.UpdateContact(
            notify_pb2.UpdateContactRequest(
                contact=contact, allow_missing=True, request_id=new_id()
            )
        )
        await self.client.notify.StartPhoneBinding(
            notify_pb2.StartPhoneBindingRequest(name=contact.name, phone=phone, request_id=new_id())
        )
        await self.suite.sandbox.settle()
        [*_, message] = await self.suite.sandbox.inbox(phone)
        code = _CODE.search(message["body"])
        assert code is not None
        await self.client.notify.ConfirmPhoneBinding(
            notify_pb2.ConfirmPhoneBindingRequest(
                name=contact.name, code=code[0], request_id=new_id()
            )
        )

    async def texts(self, customer: str = "ada") -> list[str]:
        """What is on the phone of a customer, the oldest first."""
        return [str(it["body"]) for it in await self.suite.sandbox.inbox(self._phones[customer])]

    def wish(self, when: pb.Schedule, **changes: Any) -> pb.StandingOrder:  # noqa: ANN401
        """A standing order of Ada for one tea a cycle, who pays each herself."""
        fields = {
            "customer": self.customer("ada"),
            "title": "Tea",
            "items": [self.item("tea")],
            "schedule": when,
            "billing_mode": pb.PAY_ON_NOTICE,
            "notice_lead": duration_pb2.Duration(seconds=int(LEAD.total_seconds())),
        }
        return pb.StandingOrder(**{**fields, **changes})

    async def create(self, when: pb.Schedule, **changes: Any) -> pb.StandingOrder:  # noqa: ANN401
        wanted = self.wish(when, **changes)
        return await self.scheduler.CreateStandingOrder(
            pb.CreateStandingOrderRequest(
                parent=self.name,
                standing_order=wanted,
                allow_duplicate=True,
                request_id=new_id(),
            )
        )

    async def get(self, name: str) -> pb.StandingOrder:
        return await self.scheduler.GetStandingOrder(pb.GetStandingOrderRequest(name=name))

    async def order(self, name: str, cycle: int = 1) -> pb.Order:
        return await self.scheduler.GetOrder(pb.GetOrderRequest(name=f"{name}/orders/{cycle}"))

    async def notice_kinds(self, customer: str = "ada") -> list[str]:
        """The kinds of the notices to a customer, the oldest first."""
        response = await self.client.notify.ListNotices(
            notify_pb2.ListNoticesRequest(parent=self.customer(customer), page_size=1000)
        )
        return [notify_pb2.NoticeKind.Name(notice.kind) for notice in response.notices]

    async def charge_states(self, customer: str = "ada") -> dict[str, str]:
        """Each charge of a customer, by its id, as its state."""
        response = await self.client.payments.ListCharges(
            payments_pb2.ListChargesRequest(parent=self.customer(customer), page_size=1000)
        )
        return {
            charge.name.rpartition("/")[2]: payments_pb2.Charge.State.Name(charge.state)
            for charge in response.charges
        }

    async def orders(self, name: str) -> list[pb.Order]:
        response = await self.scheduler.ListOrders(pb.ListOrdersRequest(parent=name))
        return list(response.orders)

    async def outcomes(self, name: str) -> list[tuple[int, str, list[str]]]:
        """Each order of a standing order as cycle, state and reasons."""
        return [
            (
                order.cycle,
                pb.Order.State.Name(order.state),
                [*map(pb.OrderReason.Name, order.reasons)],
            )
            for order in await self.orders(name)
        ]

    async def preview(self, name: str, count: int = 12) -> list[pb.CyclePreview]:
        response = await self.scheduler.PreviewCycles(
            pb.PreviewCyclesRequest(name=name, cycle_count=count)
        )
        return list(response.cycles)

    async def dates(self, name: str, count: int = 12) -> list[date]:
        """The dates of the coming cycles that are not left out."""
        coming = await self.preview(name, count)
        return [day_of(cycle.local_date) for cycle in coming if not cycle.skip_reason]

    async def update(self, name: str, paths: Sequence[str], **fields: Any) -> pb.StandingOrder:  # noqa: ANN401
        return await self.scheduler.UpdateStandingOrder(
            pb.UpdateStandingOrderRequest(
                standing_order=pb.StandingOrder(name=name, **fields),
                update_mask=field_mask_pb2.FieldMask(paths=paths),
                request_id=new_id(),
            )
        )

    async def change(self, name: str, cycle: int, **fields: Any) -> pb.StandingOrder:  # noqa: ANN401
        return await self.scheduler.ChangeCycle(
            pb.ChangeCycleRequest(
                name=name, change=pb.CycleChange(cycle=cycle, **fields), request_id=new_id()
            )
        )

    async def skip(self, name: str, cycle: int = 0) -> pb.StandingOrder:
        return await self.scheduler.SkipCycle(
            pb.SkipCycleRequest(name=name, cycle=cycle, request_id=new_id())
        )

    async def restore(self, name: str, cycle: int) -> pb.StandingOrder:
        return await self.scheduler.RestoreCycle(
            pb.RestoreCycleRequest(name=name, cycle=cycle, request_id=new_id())
        )

    async def order_now(self, name: str) -> pb.StandingOrder:
        return await self.scheduler.OrderNow(pb.OrderNowRequest(name=name, request_id=new_id()))

    async def changes_published(self, name: str) -> list[str]:
        """What the scheduler published of a standing order, the oldest first."""
        rows = await self._stored(
            "_readonly",
            "SELECT data FROM outbox WHERE $1 = ANY(partition_keys) AND type = $2 ORDER BY position",
            name,
            events_pb2.StandingOrderChanged.DESCRIPTOR.full_name,
        )
        changes = messages(events_pb2.StandingOrderChanged, (row["data"] for row in rows))
        return [
            events_pb2.StandingOrderChanged.Change.Name(message.change)
            for message in changes
            if message.standing_order == name
        ]

    async def brought_forward(self, name: str) -> list[tuple[int, datetime]]:
        """Which cycles of a standing order the audit has as ordered at once, and when they were due."""
        rows = await self._stored(
            "_auditor",
            "SELECT cycle, due_time FROM audit_v1.cycles_brought_forward"
            " WHERE merchant = $1 AND standing_order = $2 ORDER BY cycle",
            name.split("/")[1],
            name.rpartition("/")[2],
        )
        return [(row["cycle"], row["due_time"]) for row in rows]

    async def billed_again(self) -> list[str]:
        """The dates of which the proof says that they are billed again."""

        class Rows:
            @staticmethod
            async def rows(query: str, merchant: str) -> list[asyncpg.Record]:
                return await self._stored("_auditor", query, merchant)

        merchant = self.name.split("/")[1]
        moment = SimpleNamespace(snapshots={"scheduler": Rows}, merchant=merchant)
        [verdict] = await judge_brought_forward(cast("Moment", moment))
        return [finding.what for finding in verdict.violations]

    async def _stored(self, role: str, query: str, *values: str) -> list[asyncpg.Record]:
        """Rows of the scheduler's database."""
        stack, keys = self.suite.stack, self.suite.deployment.keys
        url = wiring.database_url("scheduler", stack.addresses, keys, role)
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()

    async def cancel(self, name: str, **more: Any) -> pb.StandingOrder:  # noqa: ANN401
        return await self.scheduler.CancelStandingOrder(
            pb.CancelStandingOrderRequest(name=name, request_id=new_id(), **more)
        )

    async def pause(self, name: str, **more: Any) -> pb.StandingOrder:  # noqa: ANN401
        return await self.scheduler.PauseStandingOrder(
            pb.PauseStandingOrderRequest(name=name, request_id=new_id(), **more)
        )

    async def buy_elsewhere(self, *products: str) -> list[str]:
        """Ada buys products once; returns the standing orders that count it."""
        response = await self.scheduler.RecordPurchase(
            pb.RecordPurchaseRequest(
                customer=self.customer("ada"),
                products=[self.product(product) for product in products],
                request_id=new_id(),
            )
        )
        return list(response.standing_orders)

    async def resume(self, name: str, **more: Any) -> pb.StandingOrder:  # noqa: ANN401
        return await self.scheduler.ResumeStandingOrder(
            pb.ResumeStandingOrderRequest(name=name, request_id=new_id(), **more)
        )

    async def close(self) -> None:
        """Leave nothing alive that would keep the clock of later tests busy."""
        response = await self.scheduler.ListStandingOrders(
            pb.ListStandingOrdersRequest(parent=self.name, page_size=1000)
        )
        for standing_order in response.standing_orders:
            if standing_order.state in LIVE:
                await self.cancel(standing_order.name)


async def open_shop(suite: Suite) -> Shop:
    """A new merchant that sells tea and coffee; Ada has a bound phone."""
    shop = Shop(suite, suite.client())
    await shop.sell("tea", TEA_MINOR)
    await shop.sell("coffee", COFFEE_MINOR)
    await shop.bind_phone("ada")
    return shop
