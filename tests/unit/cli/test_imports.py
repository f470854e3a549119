import json
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.errors import CommandError
from cli.imports.command import describe_faults, read_book, summary

HEADER = "id,customer,title,items,every,on,start,zone,next_cycle,next_date"
ROW = "a,ada,Tea,tea=2;milk,month,31,2025-07-31,Europe/Berlin,7,2026-01-31"


def written(folder: Path, *lines: str, name: str = "book.csv") -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def refusal(file: Path) -> str:
    """What is said of a file that is not sent."""
    try:
        book = read_book(file, "acme")
    except CommandError as error:
        return str(error)
    assert book.faults
    return describe_faults(file, book.faults)


def test_a_table_is_read_in_the_words_of_the_command(tmp_path: Path) -> None:
    [row] = read_book(written(tmp_path, HEADER, ROW), "acme").rows
    assert row.line == 2
    message = row.message
    assert (message.standing_order_id, message.next_cycle) == ("a", 7)
    order = message.standing_order
    assert order.customer == "merchants/acme/customers/ada"
    assert [(item.product, item.quantity) for item in order.items] == [
        ("merchants/acme/products/tea", 2),
        ("merchants/acme/products/milk", 1),
    ]
    assert order.billing_mode == pb.PAY_ON_NOTICE
    assert list(order.schedule.monthly.month_days) == [31]
    assert (order.schedule.start_date.year, order.schedule.time_zone) == (2025, "Europe/Berlin")


def test_a_mandate_makes_it_automatic(tmp_path: Path) -> None:
    [row] = read_book(written(tmp_path, f"{HEADER},mandate", f"{ROW},consent"), "acme").rows
    order = row.message.standing_order
    assert order.billing_mode == pb.AUTOMATIC
    assert order.mandate == "merchants/acme/customers/ada/mandates/consent"


def test_a_schedule_may_be_a_rule(tmp_path: Path) -> None:
    rule = "DTSTART;TZID=Europe/Berlin:20250731T090000 RRULE:FREQ=MONTHLY;BYMONTHDAY=31"
    file = written(
        tmp_path,
        "id,customer,title,items,rrule,next_cycle,next_date",
        f"a,ada,Tea,tea,{rule},7,2026-01-31",
    )
    [row] = read_book(file, "acme").rows
    assert row.message.standing_order.schedule.rrule == rule.replace(" RRULE", "\nRRULE")


def test_lines_are_those_of_the_file_whatever_cells_contain(tmp_path: Path) -> None:
    first = ROW.replace("Tea", '"Tea\nfor two"')
    rows = read_book(written(tmp_path, HEADER, first, ROW.replace("a,", "b,", 1)), "acme").rows
    assert [row.line for row in rows] == [2, 4]


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    file = written(tmp_path, "\ufeff" + HEADER, ROW)
    assert len(read_book(file, "acme").rows) == 1


def test_json_lines_are_rows_of_the_contract(tmp_path: Path) -> None:
    wanted = pb.ImportRow(standing_order_id="a", next_cycle=7)
    line = MessageToJson(wanted, indent=None)
    [row] = read_book(written(tmp_path, "", line, name="book.jsonl"), "acme").rows
    assert (row.line, row.message) == (2, wanted)


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        (HEADER.replace("title", "titel"), "meant 'title'?"),
        (HEADER.replace("zone,", ""), "add the missing columns zone"),
        (HEADER + ",id", "id: each column once"),
        (HEADER.replace(",", ";"), "separated by commas"),
        (HEADER.replace("id,", "", 1), "add the missing columns id"),
    ],
)
def test_a_wrong_header_is_refused_with_a_way_to_mend_it(
    tmp_path: Path, header: str, hint: str
) -> None:
    assert hint in refusal(written(tmp_path, header, ROW))


def test_another_encoding_is_refused_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "book.csv"
    file.write_bytes(f"{HEADER}\n{ROW}\n".replace("Tea", "Kräutertee").encode("latin-1"))
    said = refusal(file)
    assert "line 2: is not UTF-8" in said
    assert "iconv" in said


def test_each_bad_cell_is_named_with_its_line(tmp_path: Path) -> None:
    bad = ROW.replace("2026-01-31", "31.1.2026").replace(",7,", ",seven,")
    said = refusal(written(tmp_path, HEADER, ROW, bad.replace("a,", "b,", 1)))
    assert "nothing was sent" in said
    assert "line 3: next_date: '31.1.2026'" in said
    assert "line 3: next_cycle: 'seven'" in said


@pytest.mark.parametrize("column", ["customer", "title", "items", "start", "zone", "next_date"])
def test_an_empty_cell_is_refused(tmp_path: Path, column: str) -> None:
    cells = ROW.split(",")
    cells[HEADER.split(",").index(column)] = ""
    assert f"line 2: {column}: must not be empty" in refusal(
        written(tmp_path, HEADER, ",".join(cells))
    )


def test_a_row_of_another_width_is_refused(tmp_path: Path) -> None:
    said = refusal(written(tmp_path, HEADER, ROW + ",more"))
    assert "line 2: has 11 columns, the header 10" in said


def test_an_id_that_comes_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    assert "line 3: id: line 2 has it already" in refusal(written(tmp_path, HEADER, ROW, ROW))


def test_a_quotation_mark_without_its_other_is_refused(tmp_path: Path) -> None:
    assert "line 2: " in refusal(written(tmp_path, HEADER, ROW.replace("Tea", '"Tea')))


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("{", "line 1: is not JSON"),
        ("[]", "line 1: is not a JSON object"),
        ('{"nextCycle": 1, "nextCycle": 2}', "line 1: nextCycle: comes twice"),
        (json.dumps({"standingOrderID": "a"}), "line 1: does not fit ImportRow"),
    ],
)
def test_a_bad_json_line_is_refused(tmp_path: Path, line: str, hint: str) -> None:
    assert hint in refusal(written(tmp_path, line, name="book.jsonl"))


@pytest.mark.parametrize("name", ["book.xlsx", "book"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    assert ".csv, .jsonl, .ndjson" in refusal(written(tmp_path, HEADER, ROW, name=name))


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    assert "has no rows" in refusal(written(tmp_path, HEADER))
    assert "is empty" in refusal(written(tmp_path, "", name="empty.csv"))
    assert "cannot be read" in refusal(tmp_path / "none.csv")


def test_rows_that_can_be_read_are_kept_beside_those_that_cannot(tmp_path: Path) -> None:
    bad = ROW.replace("2026-01-31", "31.1.2026").replace("a,", "b,", 1)
    book = read_book(written(tmp_path, HEADER, ROW, bad, ROW), "acme")
    assert [row.line for row in book.rows] == [2]
    assert [(fault.line, fault.field) for fault in book.faults] == [(3, "next_date"), (4, "id")]


def test_the_end_says_that_it_was_all_or_nothing() -> None:
    response = pb.ImportStandingOrdersResponse(unchanged_count=1, refused_count=2)
    said = summary(response, 7, dry_run=False)
    assert said.startswith("0 imported; 1 imported before; 2 refused; 7 good, but")
