"""Offers of price protection, from requests to the domain and from the domain to messages."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from recurring.catalog.v1 import catalog_pb2 as pb

from services.catalog.domain.offers import Offer, OfferFault, OfferKey, Offers, fault_of, protects
from services.catalog.domain.pricing import Line
from services.catalog.domain.products import Fault, MerchantId, StandingOrderKey
from services.catalog.domain.protections import NO_OFFER, Agreement, Cap, Lock, OfferId
from services.catalog.names import MERCHANT, OFFER, PRICE, PRODUCT, STANDING_ORDER
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import (
    etag,
    from_timestamp,
    optional_timestamp,
    read_timestamp,
    to_timestamp,
)
from services.runtime.rpc.names import read_name

FIELD = "price_protection_offer"


def read_new_offer(request: pb.CreatePriceProtectionOfferRequest, now: datetime) -> Offer:
    """The offer to create."""
    violations = Violations()
    merchant = read_name(MERCHANT, request.parent)
    message = request.price_protection_offer
    if message.WhichOneof("kind") is None:
        violations.add(FIELD, "must have a lock or a cap", "PROTECTION_MISSING")
    if message.lock.HasField("until_time"):
        field = f"{FIELD}.lock.until_time"
        until_time = read_timestamp(violations, field, message.lock.until_time)
        violations.require(field, "must be later than now", met=until_time > now)
    products = [PRODUCT.key(name) for name in message.products]
    for index, product in enumerate(products):
        if product.merchant != merchant:
            field = f"{FIELD}.products[{index}]"
            violations.add(field, "must be a product of the parent merchant")
    start_time, end_time = _read_window(violations, message, now)
    violations.check()
    return Offer(
        merchant=merchant,
        offer=OfferId(request.price_protection_offer_id),
        title=message.title,
        terms=read_lock(message.lock) if message.HasField("lock") else read_cap(message.cap),
        products=tuple(dict.fromkeys(product.product for product in products)),
        start_time=start_time,
        end_time=end_time,
        protects_added_products=message.protects_added_products,
        survives_schedule_changes=message.survives_schedule_changes,
        create_time=now,
    )


def _read_window(
    violations: Violations, message: pb.PriceProtectionOffer, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """From when on, and until when, an offer can be accepted."""
    start_time = end_time = None
    if message.HasField("start_time"):
        start_time = read_timestamp(violations, f"{FIELD}.start_time", message.start_time)
    if message.HasField("end_time"):
        end_time = read_timestamp(violations, f"{FIELD}.end_time", message.end_time)
        rule = "must be later than now and than start_time"
        met = end_time > max(now, start_time or now)
        violations.require(f"{FIELD}.end_time", rule, met=met)
    return start_time, end_time


def read_lock(message: pb.PriceLock) -> Lock:
    """A lock that was checked."""
    until_time = from_timestamp(message.until_time) if message.HasField("until_time") else None
    return Lock(message.cycle_count or None, until_time)


def read_cap(message: pb.PriceCap) -> Cap:
    """A cap that was checked."""
    return Cap(message.increase_limit_bps)


def offer_message(offer: Offer) -> pb.PriceProtectionOffer:
    """An offer as callers see it."""
    message = pb.PriceProtectionOffer(
        name=OFFER.format(*offer.key),
        title=offer.title,
        products=[PRODUCT.format(offer.merchant, product) for product in offer.products],
        start_time=optional_timestamp(offer.start_time),
        end_time=optional_timestamp(offer.end_time),
        protects_added_products=offer.protects_added_products,
        survives_schedule_changes=offer.survives_schedule_changes,
        state=pb.PriceProtectionOffer.State.Value(offer.state),
        create_time=to_timestamp(offer.create_time),
        etag=etag(offer.version),
    )
    match offer.terms:
        case Cap(increase_limit_bps):
            message.cap.increase_limit_bps = increase_limit_bps
        case Lock(cycle_count, until_time):
            message.lock.cycle_count = cycle_count or 0
            if until_time is not None:
                message.lock.until_time.CopyFrom(to_timestamp(until_time))
    return message


def read_agreement(
    violations: Violations, field: str, merchant: MerchantId, message: pb.PriceAgreement
) -> Agreement:
    """How a standing order of a merchant is protected."""
    protection = message.price_protection
    offer = NO_OFFER
    terms: Lock | Cap | None = None
    if protection.HasField("offer"):
        owner, offer = OFFER.key(protection.offer)
        if owner != merchant:
            rule = "must be an offer of the same merchant"
            violations.add(f"{field}.price_protection.offer", rule)
    elif protection.HasField("cap"):
        terms = read_cap(protection.cap)
    elif protection.HasField("lock"):
        if protection.lock.HasField("until_time"):
            place = f"{field}.price_protection.lock.until_time"
            read_timestamp(violations, place, protection.lock.until_time)
        terms = read_lock(protection.lock)
    agree_time = read_timestamp(violations, f"{field}.agree_time", message.agree_time)
    return Agreement(terms, offer, message.first_cycle, agree_time)


def accepted(entries: Sequence[pb.ProtectPrices]) -> list[OfferKey]:
    """The offers that entries name."""
    return [
        OFFER.key(entry.agreement.price_protection.offer)
        for entry in entries
        if entry.agreement.price_protection.HasField("offer")
    ]


def offer_faults(
    entries: Sequence[pb.ProtectPrices], offers: Offers
) -> dict[StandingOrderKey, OfferFault]:
    """By standing order, why the offer that it accepts now cannot be."""
    faults = {}
    for entry in entries:
        protection = entry.agreement.price_protection
        is_new = entry.agreement.agree_time == entry.sign_up_time
        if not is_new or not protection.HasField("offer"):
            continue
        products = [PRODUCT.key(name).product for name in entry.products]
        offer = offers.get(OFFER.key(protection.offer))
        fault = fault_of(offer, products, from_timestamp(entry.sign_up_time))
        if fault is not None:
            faults[STANDING_ORDER.key(entry.standing_order)] = fault
    return faults


def offer_problem(
    entry: pb.ProtectPrices, faults: Mapping[StandingOrderKey, OfferFault]
) -> pb.OfferProblem.ValueType:
    """Why the offer of an entry cannot be accepted; unspecified if it can, or there is none."""
    fault = faults.get(STANDING_ORDER.key(entry.standing_order))
    return pb.OfferProblem.Value(fault) if fault else pb.OFFER_PROBLEM_UNSPECIFIED


def agreed_message(
    entry: pb.ProtectPrices,
    agreement: Agreement | None,
    offers: Offers,
    lines: Sequence[Line | Fault],
) -> pb.AgreedProtection | None:
    """What comes of an agreement; None: nothing is protected."""
    if agreement is None:
        return None
    merchant = STANDING_ORDER.key(entry.standing_order).merchant
    offer = offers.get(OfferKey(merchant, agreement.offer)) if agreement.offer else None
    terms = offer.terms_from(agreement.first_cycle) if offer else agreement.terms
    if terms is None:
        return None
    sign_up_time = from_timestamp(entry.sign_up_time)
    message = pb.AgreedProtection(
        survives_schedule_changes=offer is None or offer.survives_schedule_changes,
        prices=[
            PRICE.format(*line.item.key, line.list_price)
            for line in lines
            if isinstance(line, Line)
            and (offer is None or protects(offer, line.item.key.product, agreement, sign_up_time))
        ],
    )
    if isinstance(terms, Lock):
        message.last_cycle = terms.cycle_count or 0
        if terms.until_time is not None:
            message.until_time.CopyFrom(to_timestamp(terms.until_time))
    return message
