"""Nothing is read by prefix or default that was not said: the command refuses it before it calls."""

# ruff: noqa: E501, RUF001 - tables, of letters and digits that look like others
from collections.abc import Callable
from functools import partial

import pytest
import typer
from recurring.scheduler.v1 import scheduler_pb2 as pb
from typer.testing import CliRunner

from cli.__main__ import app
from cli.connect import find_stack
from cli.errors import CommandError
from cli.names import MANDATE, ORDER, PRODUCT, full_name
from cli.schedules import ScheduleOptions, parse_blackout, parse_holidays, parse_recurrence
from cli.standing_orders import items_of, parse_item
from cli.values import (
    parse_address,
    parse_count,
    parse_date,
    parse_duration,
    parse_moment,
    parse_money,
    parse_number,
    parse_time_of_day,
)

SERVICES = ("CATALOG", "SCHEDULER", "PAYMENTS", "NOTIFY")
CREATE = ("standing-orders", "create", "--customer", "ada", "--title", "Tea", "--item", "tea")
WHEN = ("--every", "week", "--start", "2100-01-01", "--zone", "UTC")
LOOK_ALIKES = ("١", "１", "²", "1_0", "+1", " 1", "1 ", "1.5", "1e1", "0x1", "one", "")


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_a_number_is_plain_digits(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_number(text)
    with pytest.raises(typer.BadParameter):
        parse_item(f"beans={text}")


@pytest.mark.parametrize("text", ["0", "-1", "9999999999"])
def test_a_count_is_from_one_and_fits_the_contract(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_count(text)


@pytest.mark.parametrize("text", ["beans=", "beans==2", "beans=x", "beans=2=3", "beans =2", "=1"])
def test_an_item_says_all_of_its_quantity_or_none(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"beans|=1"):
        parse_item(text)


@pytest.mark.parametrize("texts", [["beans", "beans=2"], ["beans", "products/beans"]])
def test_a_product_comes_once_however_it_is_named(texts: list[str]) -> None:
    with pytest.raises(typer.BadParameter, match="twice"):
        items_of(partial(full_name, "demo", PRODUCT), texts)


def test_weekdays_from_one_to_another_are_all_of_them() -> None:
    assert list(parse_recurrence("week", "mon-fri").weekly.weekdays) == [1, 2, 3, 4, 5]
    assert list(parse_recurrence("week", "sunday-tue,thu").weekly.weekdays) == [7, 1, 2, 4]


@pytest.mark.parametrize(
    ("every", "on"),
    [
        *(("week", on) for on in (
            "mond", "mon-", "-fri", "mon-mon", "mon-fri-sun", "mon..fri", "mon–fri", "mon,mon",
            "mon,monday", "mon-fri,wed", "mon,", ",mon", "mon,,thu", "mon;thu", "monx", "m", "1mon",
        )),
        *(("month", on) for on in ("1-5", "0", "32", "-32", "1,1", "01,1", "١", "+1", "2tu", "2tuesd",
                                   "2tue-fri", "2tue,2tuesday", "1,", "-", "2 tue")),
        *(("year", on) for on in ("00-00", "12-00", "0-24", "13-01", "02-30", "12-24-25", "1-١")),
        *((every, "") for every in ("0 weeks", "2weeksx", "2weeks", "weekx", "weekss", " week", "٢ weeks",
                                    "2  weeks", "1.5 weeks", "w", "mon", "-2 weeks", "", "every week")),
    ],
)  # fmt: skip
def test_a_recurrence_is_read_whole_or_not_at_all(every: str, on: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        parse_recurrence(every, on)
    assert refused.value.param_hint in {"--every", "--on"}


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *((parse_date, text) for text in (
            "2026", "2026-12", "20261231", "2026-W53-4", "2026-1-2", "2026-12-31 ", "2026-12-31T09:00",
            "٢٠٢٦-12-31", "0000-01-01", "26-12-31", "",
        )),
        *((parse_time_of_day, text) for text in (
            "9", "09", "9:00", "0900", "25:00", "24:00", "09:60", "09:00:00", "09:00+01:00", "T09:00", "",
            "09:00 ", "٠٩:00",
        )),
        *((parse_moment, text) for text in (
            "2026-12", "20261231T0900", "2026-12-31T09", "2026-12-31x09:00", "2026-12-31T09:00+1",
            "2026-12-31T25:00", "9999-12-31T23:59-12:00", "2026-12-31T", "2026-12-31T09:00 UTC", "now", "",
        )),
        *((parse_duration, text) for text in (
            "3", "3 d", "3days", "d", "1d1d", "1h2d", "٣d", "1.5d", "+3d", "3d ", "", "999999w", "P3D",
        )),
        *((parse_money, text) for text in (
            "12,50 EUR", "1e3 EUR", "١٢ EUR", "12.50  EUR", " 12.50 EUR", "12.50 EUR ", "12.50 EUR x",
            "12. EUR", ".5 EUR", "1,000.00 EUR", "EUR 12.50", "€12.50", "+1 EUR", "12.50 ЕUR", "",
        )),
        *((parse_blackout, text) for text in (
            "2026-12-24..", "..2026-12-24", "2026-12-24...2026-12-26", "2026-12-26..2026-12-24", "..", "",
        )),
        *((parse_holidays, text) for text in ("DE-", "-BY", "de", "Germany", "DE-BY-X", "DE BY", "")),
        *((parse_address, text) for text in (", , GB", "High Street 1, , GB", "GB", "Bath, gb", "")),
    ],
)  # fmt: skip
def test_a_value_is_read_whole_or_not_at_all(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse(text)


@pytest.mark.parametrize(
    "given",
    [
        {"rrule": "RRULE:FREQ=DAILY", "every": "week"},
        {"rrule": "RRULE:FREQ=DAILY", "count": 3},
        {"every": "week", "count": 3, "until": parse_date("2100-01-01")},
        {"on": "mon"},
    ],
    ids=str,
)
def test_one_option_does_not_silence_another(given: dict[str, object]) -> None:
    with pytest.raises(typer.BadParameter):
        ScheduleOptions(**given).changed(pb.Schedule())  # type: ignore[arg-type] # options


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (ORDER, "products/tea"),
        (MANDATE, "customers/ada"),
        (PRODUCT, "merchants/demo/customers/ada"),
        (PRODUCT, "merchants/demo/products/tea/prices/p"),
        (PRODUCT, " "),
    ],
)
def test_the_name_of_something_else_is_not_read_as_ids(pattern: str, text: str) -> None:
    with pytest.raises(typer.BadParameter):
        full_name("demo", pattern, text)


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ((*CREATE, *WHEN, "--item", "beans="), ["--item", "'beans='"]),
        ((*CREATE, *WHEN, "--item", "tea=2"), ["--item", "twice"]),
        ((*CREATE, *WHEN, "--on", "monx"), ["--on", "'monx'"]),
        ((*CREATE, *WHEN, "--on", "mon", "--on", "tue"), ["--on", "2 times"]),
        ((*CREATE, *WHEN, "--count", "١"), ["--count", "'١'"]),
        ((*CREATE, *WHEN, "--count", "0"), ["--count", "at least 1"]),
        ((*CREATE, *WHEN, "--mandate", ""), ["--mandate", "must not be empty"]),
        ((*CREATE, *WHEN, "--cap-percent", "12%"), ["--cap-percent", "'12%'"]),
        ((*CREATE, *WHEN, "--condition", ", else skip"), ["--condition"]),
        ((*CREATE, *WHEN, "--catch-up-window", "3d"), ["--catch-up-window", "--catch-up"]),
        ((*CREATE, *WHEN, "--repurchase-action", "DEFER"), ["--repurchase-action", "HOLD_AND_ASK"]),
        ((*CREATE, "--every", "week", "--zone", "UTC"), ["--start", "needed"]),
        ((*CREATE, "--every", "week", "--start", "2100-01-01"), ["--zone", "needed"]),
        (("settings", "set", "--unpaid", "WAI"), ["--unpaid", "'WAI'", "WAIT"]),
        (("settings", "set", "--unpaid", "waıt"), ["--unpaid"]),
        (("cycles", "skip", "tea", "0"), ["at least 1"]),
        (("preview", "tea", "--cycles", "1_0"), ["--cycles"]),
        (("orders", "list", "--customer", ""), ["--customer", "must not be empty"]),
        (("events", "watch", "--type", "PaymentSucceded"), ["--type", "PaymentSucceeded"]),
        (("sandbox", "outage", "prov"), ["provider"]),
        (("sandbox", "inbox", ""), ["must not be empty"]),
    ],
    ids=lambda value: " ".join(value[2:]) if isinstance(value, tuple) else "",
)
def test_the_command_names_option_value_and_rule(
    arguments: tuple[str, ...], messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in SERVICES:
        monkeypatch.setenv(f"RECURRING_{service}_TARGET", "127.0.0.1:1")
    monkeypatch.setenv("RECURRING_MERCHANT", "demo")
    refused = CliRunner().invoke(app, arguments, env={"COLUMNS": "400", "NO_COLOR": "1"})
    assert refused.exit_code == 2, refused.output
    for message in messages:
        assert message in refused.output


def test_a_switch_of_the_environment_is_true_or_false() -> None:
    targets = {
        f"RECURRING_{name}_TARGET": "x:1" for name in ("CATALOG", "SCHEDULER", "PAYMENTS", "NOTIFY")
    }
    with pytest.raises(CommandError, match="RECURRING_GRPC_PLAINTEXT=yes: must be true or false"):
        find_stack({**targets, "RECURRING_GRPC_PLAINTEXT": "yes"})
