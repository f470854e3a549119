"""The participants of the demo: a merchant with three products, and five customers."""

import re
from dataclasses import dataclass
from datetime import timedelta

from google.type.postal_address_pb2 import PostalAddress
from recurring.catalog.v1 import catalog_pb2
from recurring.notify.v1 import notify_pb2
from recurring.payments.v1 import payments_pb2
from recurring.scheduler.v1 import scheduler_pb2

from cli.connect import Session, new_request_id, pages
from cli.demo import plan
from cli.demo.plan import Plan
from cli.errors import CommandError
from cli.names import last_id
from cli.values import from_minor, to_date, to_duration, to_timestamp

# Ofcom keeps 07700 900000 to 900999 for fiction; each run takes five of them.
FICTIONAL_PHONE = "+447700900{:03}"
FICTIONAL_PHONES = 1000
CEILING_MINOR = 60_00
FIRST_METHOD = "card"
_CODE = re.compile(r"\b\d{8}\b")
_COFFEE = re.compile(r"coffee-(\d+)")


@dataclass(frozen=True, slots=True)
class Participant:
    """A customer: who they are, what they pay with, and the standing order they want."""

    first_name: str
    number: int
    card: str
    about: str
    wish: scheduler_pb2.StandingOrder


@dataclass(frozen=True, slots=True)
class Participants:
    """One run's names: every run has customers and products of its own."""

    merchant: str
    run: int
    all: tuple[Participant, ...]

    def customer_id(self, participant: Participant) -> str:
        """The customer's id; their standing order has the same."""
        return f"{participant.first_name.lower()}-{self.run}"

    def customer(self, participant: Participant) -> str:
        """The customer's name."""
        return f"merchants/{self.merchant}/customers/{self.customer_id(participant)}"

    def standing_order(self, participant: Participant) -> str:
        """The name of the customer's standing order."""
        return f"merchants/{self.merchant}/standingOrders/{self.customer_id(participant)}"

    def payment_method(self, participant: Participant) -> str:
        """The name of the payment method that the customer signs up with."""
        return f"{self.customer(participant)}/paymentMethods/{FIRST_METHOD}"

    def phone(self, participant: Participant) -> str:
        """The customer's number, which rings in the sandbox only."""
        number = (self.run * len(self.all) + participant.number) % FICTIONAL_PHONES
        return FICTIONAL_PHONE.format(number)

    def email(self, participant: Participant) -> str:
        """The customer's mail address."""
        return f"{self.customer_id(participant)}@example.com"

    def participant(self, first_name: str) -> Participant:
        """The customer of that name."""
        return next(participant for participant in self.all if participant.first_name == first_name)

    def first_names(self) -> dict[str, str]:
        """First names by customer id."""
        return {self.customer_id(participant): participant.first_name for participant in self.all}


async def assemble(session: Session, dates: Plan) -> Participants:
    """The participants of the next run, whose number follows from the products of earlier runs."""
    request = catalog_pb2.ListProductsRequest(parent=session.parent)
    run = 1
    async for product in pages(session.catalog.ListProducts, request, "products"):
        if match := _COFFEE.fullmatch(last_id(product.name)):
            run = max(run, int(match[1]) + 1)
    return Participants(session.merchant, run, _participants(session.parent, run, dates))


async def stock_the_shop(session: Session, run: int) -> None:
    """Create the three products, with prices and stock."""
    coffee = catalog_pb2.Product(
        title="Coffee, 500 g",
        increase_notice_days=plan.INCREASE_NOTICE_DAYS,
        tax_category=f"coffee-{run}",
    )
    box = catalog_pb2.Product(
        title="Vegetable box", stock_tracked=True, low_stock_threshold=plan.BOXES_LOW
    )
    lenses = catalog_pb2.Product(title="Contact lenses")
    for name, product, amount_minor in (
        ("coffee", coffee, plan.COFFEE_MINOR),
        ("box", box, plan.BOX_MINOR),
        ("lenses", lenses, plan.LENSES_MINOR),
    ):
        made = await session.catalog.CreateProduct(
            catalog_pb2.CreateProductRequest(
                parent=session.parent,
                product_id=f"{name}-{run}",
                product=product,
                request_id=new_request_id(),
            )
        )
        await set_price(session, made.name, "at-first", amount_minor)
    await restock(session, f"{session.parent}/products/box-{run}", plan.BOXES_AT_FIRST)
    await _tax_coffee(session, run)
    await _promote_coffee(session, run)
    await _issue_invoices(session)


async def _tax_coffee(session: Session, run: int) -> None:
    """Say what VAT is in the price of coffee."""
    rate = catalog_pb2.TaxRate(
        region_code=plan.REGION,
        tax="vat",
        title="VAT",
        rate_ppm=plan.VAT_PPM,
        tax_category=f"coffee-{run}",
    )
    await session.catalog.CreateTaxRate(
        catalog_pb2.CreateTaxRateRequest(
            parent=session.parent,
            tax_rate_id=f"coffee-{run}",
            tax_rate=rate,
            request_id=new_request_id(),
        )
    )


async def _promote_coffee(session: Session, run: int) -> None:
    """Take something off the first orders of whoever signs up with the code."""
    promotion = catalog_pb2.Promotion(
        title="Welcome",
        code=f"WELCOME-{run}",
        percent_off_bps=plan.PROMOTION_BPS,
        cycle_count=plan.PROMOTION_CYCLES,
    )
    await session.catalog.CreatePromotion(
        catalog_pb2.CreatePromotionRequest(
            parent=session.parent,
            promotion_id=f"welcome-{run}",
            promotion=promotion,
            request_id=new_request_id(),
        )
    )


async def _issue_invoices(session: Session) -> None:
    """Have an invoice issued for each payment, and sent by e-mail."""
    settings = payments_pb2.DocumentSettings(
        name=f"{session.parent}/documentSettings",
        seller=payments_pb2.Seller(display_name="The Corner Shop", address_lines=plan.SHOP_ADDRESS),
        payment_documents=payments_pb2.DocumentSettings.INVOICES,
        time_zone=plan.ZONE,
        email_documents=True,
    )
    await session.payments.UpdateDocumentSettings(
        payments_pb2.UpdateDocumentSettingsRequest(
            document_settings=settings, request_id=new_request_id()
        )
    )


async def set_price(
    session: Session, product: str, price_id: str, amount_minor: int, from_plan: Plan | None = None
) -> None:
    """Add a price in minor units, from now on or from the day of the plan's price rise."""
    effective_time = from_plan.noon(plan.PRICE_RISE_DAY) if from_plan else None
    await session.catalog.CreatePrice(
        catalog_pb2.CreatePriceRequest(
            parent=product,
            price_id=price_id,
            price=catalog_pb2.Price(
                unit_price=from_minor(amount_minor, plan.CURRENCY),
                effective_time=to_timestamp(effective_time),
            ),
            request_id=new_request_id(),
        )
    )


async def restock(session: Session, product: str, units: int) -> None:
    """Add units of a product."""
    await session.catalog.AdjustStock(
        catalog_pb2.AdjustStockRequest(
            product=product, delta_units=units, request_id=new_request_id()
        )
    )


async def ask_for_code(
    session: Session, participants: Participants, participant: Participant
) -> None:
    """Give the customer's contact, and send a one-time code to their phone."""
    contact = notify_pb2.Contact(
        name=f"{participants.customer(participant)}/contact",
        display_name=participant.first_name,
        email=participants.email(participant),
    )
    await session.notify.UpdateContact(
        notify_pb2.UpdateContactRequest(
            contact=contact, allow_missing=True, request_id=new_request_id()
        )
    )
    await session.notify.StartPhoneBinding(
        notify_pb2.StartPhoneBindingRequest(
            name=contact.name, phone=participants.phone(participant), request_id=new_request_id()
        )
    )


async def sign_up(session: Session, participants: Participants, participant: Participant) -> None:
    """Bind the phone with the code that arrived, give consent, and create the standing order."""
    await session.notify.ConfirmPhoneBinding(
        notify_pb2.ConfirmPhoneBindingRequest(
            name=f"{participants.customer(participant)}/contact",
            code=await _read_code(session, participants.phone(participant)),
            request_id=new_request_id(),
        )
    )
    await session.payments.CreatePaymentMethod(
        payments_pb2.CreatePaymentMethodRequest(
            parent=participants.customer(participant),
            payment_method_id=FIRST_METHOD,
            payment_method=payments_pb2.PaymentMethod(provider_token=participant.card),
            request_id=new_request_id(),
        )
    )
    await _say_who_buys(session, participants, participant)
    wanted = scheduler_pb2.StandingOrder(customer=participants.customer(participant))
    wanted.MergeFrom(participant.wish)
    if wanted.billing_mode == scheduler_pb2.AUTOMATIC:
        wanted.mandate = await _consent(session, participants, participant)
    await session.scheduler.CreateStandingOrder(
        scheduler_pb2.CreateStandingOrderRequest(
            parent=session.parent,
            standing_order_id=participants.customer_id(participant),
            standing_order=wanted,
            request_id=new_request_id(),
        )
    )


async def _read_code(session: Session, phone: str) -> str:
    """The one-time code as its owner reads it on their phone."""
    inbox = await session.sandbox.inbox(phone)
    codes = [match[0] for message in inbox if (match := _CODE.search(message["body"]))]
    if not codes:
        raise CommandError(f"no one-time code arrived at {phone}")
    return codes[-1]


async def _consent(session: Session, participants: Participants, participant: Participant) -> str:
    """Record the customer's consent and return its name."""
    mandate = await session.payments.CreateMandate(
        payments_pb2.CreateMandateRequest(
            parent=participants.customer(participant),
            mandate_id="consent",
            mandate=payments_pb2.Mandate(
                payment_method=participants.payment_method(participant),
                charge_ceiling=from_minor(CEILING_MINOR, plan.CURRENCY),
                evidence=payments_pb2.Mandate.Evidence(
                    text=f"I let {participants.merchant} charge my card for {participant.wish.title}.",
                    accept_time=to_timestamp(await session.now()),
                    source="demo",
                ),
            ),
            request_id=new_request_id(),
        )
    )
    return str(mandate.name)


async def _say_who_buys(
    session: Session, participants: Participants, participant: Participant
) -> None:
    details = payments_pb2.BillingDetails(
        name=f"{participants.customer(participant)}/billingDetails",
        display_name=participant.first_name,
        address_lines=plan.CUSTOMERS_ADDRESS,
        region_code=plan.REGION,
    )
    await session.payments.UpdateBillingDetails(
        payments_pb2.UpdateBillingDetailsRequest(
            billing_details=details, request_id=new_request_id()
        )
    )


def _participants(merchant: str, run: int, dates: Plan) -> tuple[Participant, ...]:
    def wish(title: str, product: str, quantity: int, day: int) -> scheduler_pb2.StandingOrder:
        return scheduler_pb2.StandingOrder(
            title=title,
            items=[
                scheduler_pb2.Item(
                    product=f"{merchant}/products/{product}-{run}", quantity=quantity
                )
            ],
            schedule=scheduler_pb2.Schedule(
                start_date=to_date(dates.date(day)), time_zone=plan.ZONE
            ),
            billing_mode=scheduler_pb2.AUTOMATIC,
            notice_lead=to_duration(plan.NOTICE_LEAD),
        )

    ada = wish("Ada's coffee", "coffee", plan.ADA_BAGS, plan.START_DAY)
    ada.schedule.monthly.every_months = 1
    ada.schedule.monthly.month_days.append(plan.ADA_MONTH_DAY)
    ada.schedule.cycle_count = plan.ADA_CYCLES
    ada.promotion_code = f"WELCOME-{run}"

    ben = wish("Vegetables", "box", 1, plan.BEN_FIRST_DAY)
    ben.schedule.weekly.every_weeks = plan.BEN_EVERY_WEEKS
    ben.billing_mode = scheduler_pb2.PAY_ON_NOTICE
    ben.payment_window.FromTimedelta(timedelta(hours=72))

    cleo = wish("Lenses", "lenses", 1, plan.START_DAY)
    cleo.schedule.monthly.every_months = 1
    cleo.schedule.monthly.month_days.append(plan.CLEO_MONTH_DAY)
    cleo.schedule.end_date.CopyFrom(to_date(dates.date(plan.CLEO_END_DAY)))

    dan = wish("Dan's coffee", "coffee", 1, plan.DAN_FIRST_DAY)
    dan.schedule.daily.every_days = plan.DAN_EVERY_DAYS
    dan.price_protection.lock.cycle_count = plan.DAN_LOCKED_CYCLES
    eve = wish("Eve's lenses", "lenses", 1, plan.EVE_FIRST_DAY)
    eve.schedule.daily.every_days = plan.EVE_EVERY_DAYS
    eve.schedule.cycle_count = plan.EVE_CYCLES

    for coffee in (ada, dan):
        coffee.ship_to.CopyFrom(PostalAddress(region_code=plan.REGION))

    return (
        Participant(
            "Ada",
            0,
            "pm_card_visa",
            "two bags on the 31st of every month, with a code",
            ada,
        ),
        Participant(
            "Ben", 1, "pm_card_mastercard", "a box every two weeks, pays each himself", ben
        ),
        Participant(
            "Cleo",
            2,
            "pm_sandbox_declineFirstAttempt",
            "lenses on the 15th; her card declines at first",
            cleo,
        ),
        Participant(
            "Dan",
            3,
            "pm_sandbox_timeoutAfterCharge",
            "a bag every 30 days, price locked; his bank charges and does not say so",
            dan,
        ),
        Participant(
            "Eve",
            4,
            "pm_card_chargeDeclinedInsufficientFunds",
            "lenses every 60 days; a card to mend, a bank debit that fails late, a dispute",
            eve,
        ),
    )
