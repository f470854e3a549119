"""Deliveries: from requests to the domain, and from the domain to messages."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from recurring.catalog.v1 import catalog_pb2 as pb

from services.catalog.api.responses import item_message
from services.catalog.application.deliveries import Supply
from services.catalog.domain.deliveries import Delivery, DeliveryId, DeliveryKey
from services.catalog.domain.transitions import DeliveryState
from services.catalog.names import DELIVERY, PRODUCT
from services.runtime.errors import Violations
from services.runtime.rpc.conversions import read_date, to_date, to_timestamp
from services.runtime.rpc.names import read_name


def read_delivery(request: pb.CreateDeliveryRequest, now: datetime) -> Delivery:
    """The delivery to remember."""
    key = DeliveryKey(*read_name(PRODUCT, request.parent), DeliveryId(request.delivery_id))
    violations = Violations()
    field = "delivery.expected_date"
    day = read_date(violations, field, request.delivery.expected_date)
    violations.check()
    # It may still be today where the merchant is.
    violations.require(field, "must not be past", met=day >= now.date() - timedelta(days=1))
    violations.check()
    return Delivery(
        *key,
        units=request.delivery.units,
        expected_date=day,
        state=DeliveryState.EXPECTED,
        received_units=0,
        create_time=now,
    )


def delivery_message(delivery: Delivery) -> pb.Delivery:
    """A delivery as callers see it."""
    return pb.Delivery(
        name=DELIVERY.format(*delivery.key),
        units=delivery.units,
        expected_date=to_date(delivery.expected_date),
        state=pb.Delivery.State.Value(delivery.state),
        received_units=delivery.received_units,
        create_time=to_timestamp(delivery.create_time),
    )


def supply_response(supplies: Sequence[Supply]) -> pb.BatchCheckSupplyResponse:
    """What there is of products, and what is expected."""
    return pb.BatchCheckSupplyResponse(
        supplies=[
            pb.ProductSupply(
                product=PRODUCT.format(*supply.key),
                title=supply.product.title if supply.product else "",
                stock_tracked=supply.product is not None and supply.product.stock_tracked,
                available_units=supply.available_units,
                expected_deliveries=map(delivery_message, supply.deliveries),
                bundle_parts=map(item_message, supply.product.parts if supply.product else ()),
                capacity_by_day=supply.product is not None and supply.product.capacity_by_day,
                service_days=[
                    pb.ServiceDay(date=to_date(day), slots=slots)
                    for day, slots in supply.service_days
                ],
            )
            for supply in supplies
        ]
    )
