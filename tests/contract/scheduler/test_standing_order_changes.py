"""A template is changed from its next cycle on, and what a change would do can be seen before."""

from datetime import timedelta

from google.protobuf import duration_pb2, field_mask_pb2
from google.type import postal_address_pb2
from recurring.scheduler.v1 import scheduler_pb2 as pb

from services.runtime.rpc.conversions import from_money, to_date
from tests.contract.scheduler.shop import COFFEE_MINOR, TEA_MINOR, Shop, daily, day_of, schedule
from tests.suite import new_id, refused

DAY = timedelta(days=1)


async def test_only_the_masked_fields_change(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + 10 * DAY))
    changed = await shop.update(made.name, ["title"], title="Morning tea", items=[])
    assert (changed.title, changed.items[0].quantity) == ("Morning tea", 1)
    assert changed.etag != made.etag


async def test_every_field_of_the_mask_is_stored(shop: Shop) -> None:
    mandate = await shop.sign_up("bob")
    made = await shop.create(daily(await shop.today() + 10 * DAY), customer=shop.customer("bob"))
    wanted = pb.StandingOrder(
        title="Both",
        items=[shop.item("coffee", 2), shop.item("tea")],
        schedule=schedule(await shop.today() + 12 * DAY, weekly=pb.Schedule.Weekly(every_weeks=1)),
        billing_mode=pb.AUTOMATIC,
        mandate=mandate,
        ship_to=postal_address_pb2.PostalAddress(region_code="DE", locality="Bonn"),
        notice_lead=duration_pb2.Duration(seconds=7200),
        payment_window=duration_pb2.Duration(seconds=3600),
        catch_up=pb.CatchUp(mode=pb.CatchUp.NONE, window=duration_pb2.Duration(seconds=3600)),
    )
    paths = [field.name for field, _ in wanted.ListFields()]
    wanted.name = made.name
    changed = await shop.scheduler.UpdateStandingOrder(
        pb.UpdateStandingOrderRequest(
            standing_order=wanted,
            update_mask=field_mask_pb2.FieldMask(paths=paths),
            request_id=new_id(),
        )
    )
    stored = await shop.get(made.name)
    assert stored == changed
    stored.schedule.ClearField("rrule")
    for path in paths:
        assert getattr(stored, path) == getattr(wanted, path), path
    assert stored.region_code == "DE"


async def test_an_announced_order_stays_as_announced(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(2 * DAY, cycle_count=3))
    await shop.suite.advance(1.5 * DAY)
    await shop.update(made.name, ["items"], items=[shop.item("coffee")])
    first, *_ = await shop.orders(made.name)
    assert [line.product for line in first.lines] == [shop.product("tea")]
    coming = await shop.preview(made.name)
    assert {line.product for cycle in coming for line in cycle.lines} == {shop.product("coffee")}


async def test_a_new_schedule_goes_on_without_a_gap_or_an_overlap(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(2 * DAY))
    await shop.suite.advance(1.5 * DAY)
    announced = (await shop.orders(made.name))[-1]
    changed = await shop.update(
        made.name,
        ["schedule"],
        schedule=schedule(await shop.today(), daily=pb.Schedule.Daily(every_days=3)),
    )
    assert changed.next_cycle == announced.cycle + 1
    first, second, *_ = await shop.dates(made.name)
    assert first > day_of(announced.local_date)
    assert second - first == 3 * DAY


async def test_a_preview_shows_both_and_stores_nothing(shop: Shop) -> None:
    start = await shop.today() + 10 * DAY
    made = await shop.create(daily(start))
    response = await shop.scheduler.PreviewStandingOrderUpdate(
        pb.PreviewStandingOrderUpdateRequest(
            standing_order=pb.StandingOrder(
                name=made.name,
                items=[shop.item("coffee", 2)],
                schedule=schedule(start + DAY, daily=pb.Schedule.Daily(every_days=7)),
            ),
            update_mask=field_mask_pb2.FieldMask(paths=["items", "schedule"]),
            cycle_count=3,
        )
    )
    assert [day_of(cycle.local_date) for cycle in response.before] == [
        start + n * DAY for n in (0, 1, 2)
    ]
    assert [day_of(cycle.local_date) for cycle in response.after] == [
        start + n * DAY for n in (1, 8, 15)
    ]
    assert {from_money(cycle.amount).amount_minor for cycle in response.before} == {TEA_MINOR}
    assert {from_money(cycle.amount).amount_minor for cycle in response.after} == {2 * COFFEE_MINOR}
    assert await shop.get(made.name) == made


async def test_a_mask_that_names_nothing_or_what_cannot_change_is_refused(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + 10 * DAY))
    for paths in ([], ["customer"], ["state"], ["items.quantity"]):
        refusal = await refused(shop.update(made.name, paths))
        assert refusal.fields == {"update_mask": "FIELD_INVALID"}, paths


async def test_a_change_is_checked_as_a_new_standing_order_is(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + 10 * DAY))
    yesterday = await shop.today() - DAY
    for paths, fields, violations in (
        (["title"], {"title": ""}, {"standing_order.title": "FIELD_INVALID"}),
        (["items"], {"items": []}, {"standing_order.items": "FIELD_INVALID"}),
        (
            ["items"],
            {"items": [shop.item("tea"), shop.item("cocoa")]},
            {"standing_order.items[1].product": "PRODUCT_NOT_FOUND"},
        ),
        (
            ["schedule"],
            {"schedule": daily(yesterday)},
            {"standing_order.schedule.start_date": "START_DATE_PAST"},
        ),
        (
            ["billing_mode"],
            {"billing_mode": pb.AUTOMATIC},
            {"standing_order.mandate": "FIELD_INVALID"},
        ),
        (
            ["notice_lead"],
            {"notice_lead": duration_pb2.Duration(seconds=1)},
            {"standing_order.notice_lead": "FIELD_INVALID"},
        ),
        (
            ["catch_up"],
            {"catch_up": pb.CatchUp()},
            {"standing_order.catch_up.mode": "FIELD_INVALID"},
        ),
    ):
        refusal = await refused(shop.update(made.name, paths, **fields))
        assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", violations)
    assert await shop.get(made.name) == made


async def test_a_mandate_that_does_not_cover_the_change_refuses_it(shop: Shop) -> None:
    mandate = await shop.sign_up("bob", ceiling_minor=TEA_MINOR)
    made = await shop.create(
        daily(await shop.today() + 10 * DAY),
        customer=shop.customer("bob"),
        billing_mode=pb.AUTOMATIC,
        mandate=mandate,
    )
    refusal = await refused(shop.update(made.name, ["items"], items=[shop.item("tea", 2)]))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "MANDATE_NOT_COVERING")


async def test_a_stale_etag_or_a_wrong_state_refuses_a_change_and_its_preview(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + 10 * DAY))
    await shop.update(made.name, ["title"], title="Other")

    async def ask(kind: str, name: str, etag: str = "") -> tuple[str, str]:
        wanted = pb.StandingOrder(title="New", name=name, etag=etag)
        mask = field_mask_pb2.FieldMask(paths=["title"])
        call = (
            shop.scheduler.UpdateStandingOrder(
                pb.UpdateStandingOrderRequest(
                    standing_order=wanted, update_mask=mask, request_id=new_id()
                )
            )
            if kind == "update"
            else shop.scheduler.PreviewStandingOrderUpdate(
                pb.PreviewStandingOrderUpdateRequest(standing_order=wanted, update_mask=mask)
            )
        )
        refusal = await refused(call)
        return refusal.code, refusal.reason

    for kind in ("update", "preview"):
        assert await ask(kind, name=made.name, etag=made.etag) == ("ABORTED", "ETAG_MISMATCH")
        nobody = f"{shop.name}/standingOrders/nobody"
        assert await ask(kind, name=nobody) == ("NOT_FOUND", "STANDING_ORDER_NOT_FOUND")
    await shop.cancel(made.name)
    for kind in ("update", "preview"):
        state = await ask(kind, name=made.name)
        assert state == ("FAILED_PRECONDITION", "STANDING_ORDER_STATE")


async def test_the_same_request_changes_once(shop: Shop) -> None:
    made = await shop.create(daily(await shop.today() + 10 * DAY))
    request = pb.UpdateStandingOrderRequest(
        standing_order=pb.StandingOrder(name=made.name, title="Once"),
        update_mask=field_mask_pb2.FieldMask(paths=["title"]),
        request_id=new_id(),
    )
    first = await shop.scheduler.UpdateStandingOrder(request)
    assert await shop.scheduler.UpdateStandingOrder(request) == first
    request.standing_order.title = "Twice"
    refusal = await refused(shop.scheduler.UpdateStandingOrder(request))
    assert refusal.reason == "REQUEST_ID_REUSED"


async def test_a_cycle_keeps_its_own_change_when_the_standing_order_changes(shop: Shop) -> None:
    start = await shop.today() + 10 * DAY
    made = await shop.create(schedule(start, daily=pb.Schedule.Daily(every_days=7)))
    await shop.change(
        made.name, 2, items=[shop.item("coffee")], local_date=to_date(start + 8 * DAY)
    )
    changed = await shop.update(
        made.name, ["schedule"], schedule=schedule(start, daily=pb.Schedule.Daily(every_days=5))
    )
    [kept] = changed.cycle_changes
    assert (kept.cycle, kept.HasField("local_date")) == (2, False)
    assert [item.product for item in kept.items] == [shop.product("coffee")]


async def test_the_same_schedule_given_again_changes_no_date(shop: Shop) -> None:
    start = await shop.today() + 3 * DAY
    when = schedule(start, daily=pb.Schedule.Daily(every_days=7), cycle_count=3)
    made = await shop.create(when)
    await shop.order_now(made.name)
    await shop.suite.advance(DAY / 4)
    assert len(await shop.orders(made.name)) == 1
    await shop.change(made.name, 2, local_date=to_date(start + 8 * DAY))
    dates = await shop.dates(made.name)
    assert dates == [start + 8 * DAY, start + 14 * DAY]
    rule = pb.Schedule(rrule=made.schedule.rrule)
    for again in (when, rule):
        changed = await shop.update(made.name, ["schedule"], schedule=again)
        assert await shop.dates(made.name) == dates
        assert changed.schedule == made.schedule
    # So does a change of it: what was brought forward has used up its date, and the count goes on.
    await shop.update(
        made.name,
        ["schedule"],
        schedule=schedule(start, daily=pb.Schedule.Daily(every_days=8), cycle_count=3),
    )
    assert await shop.dates(made.name) == [start + 8 * DAY, start + 16 * DAY]


async def test_what_a_new_schedule_leaves_of_a_postponed_cycle_can_be_changed_and_restored(
    shop: Shop,
) -> None:
    start = await shop.today() + 2 * DAY
    closed = pb.Schedule.Blackout(
        start_date=to_date(start - DAY), end_date=to_date(start + 9 * DAY)
    )
    weekly = pb.Schedule.Daily(every_days=30)
    made = await shop.create(
        schedule(
            start,
            daily=weekly,
            blackouts=[closed],
            blackout_rule=pb.Schedule.MOVE_TO_NEXT_ALLOWED,
        )
    )
    await shop.suite.advance(4 * DAY)
    changed = await shop.update(made.name, ["schedule"], schedule=schedule(start, daily=weekly))
    dates = [start + 10 * DAY, start + 30 * DAY, start + 60 * DAY]
    assert await shop.dates(made.name, 3) == dates
    [kept] = changed.cycle_changes
    assert (kept.cycle, day_of(kept.local_date)) == (1, start + 10 * DAY)
    await shop.skip(made.name, 1)
    await shop.restore(made.name, 1)
    assert await shop.dates(made.name, 3) == dates


async def test_a_standing_order_keeps_the_only_currency_that_there_was_at_sign_up(
    shop: Shop,
) -> None:
    made = await shop.create(await shop.due_in(20 * DAY, cycle_count=3))
    assert made.currency == "EUR"
    await shop.reprice("tea", 1234, "USD")
    coming = await shop.preview(made.name)
    assert {cycle.amount.currency_code for cycle in coming} == {"EUR"}


async def test_a_product_that_is_newer_than_the_standing_order_can_be_added(shop: Shop) -> None:
    made = await shop.create(await shop.due_in(20 * DAY, cycle_count=3))
    await shop.suite.advance(DAY)
    await shop.sell("mate", 700)
    await shop.update(made.name, ["items"], items=[shop.item("mate", 2)])
    first, *_ = await shop.preview(made.name)
    assert from_money(first.amount).amount_minor == 1400
