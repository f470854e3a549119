import json
import re
import subprocess
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson
from recurring.scheduler.v1 import scheduler_pb2 as pb

from cli.errors import CommandError
from cli.imports import sending
from cli.imports.rows import Book
from cli.imports.sending import describe_errors, summary
from cli.imports.table import STANDING_ORDERS

HEADER = "id,customer,title,items,every,on,start,zone,next_cycle,next_date"
ROW = "a,ada,Tea,tea=2;milk,month,31,2025-07-31,Europe/Berlin,7,2026-01-31"


def written(folder: Path, *lines: str, name: str = "book.csv") -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def read_book(file: Path, merchant: str) -> Book:
    return sending.read_book(file, merchant, STANDING_ORDERS)


def refusal(file: Path) -> str:
    """What is description of a file that is not sent."""
    try:
        book = read_book(file, "acme")
    except CommandError as error:
        return str(error)
    assert book.errors
    return describe_errors(file, book.errors)


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
    description = refusal(file)
    assert "line 2: is not UTF-8" in description
    assert "iconv" in description


def test_each_bad_cell_is_named_with_its_line(tmp_path: Path) -> None:
    bad = ROW.replace("2026-01-31", "31.1.2026").replace(",7,", ",seven,")
    description = refusal(written(tmp_path, HEADER, ROW, bad.replace("a,", "b,", 1)))
    assert "nothing was sent" in description
    assert "line 3: next_date: '31.1.2026'" in description
    assert "line 3: next_cycle: 'seven'" in description


@pytest.mark.parametrize("column", ["customer", "title", "items", "start", "zone", "next_date"])
def test_an_empty_cell_is_refused(tmp_path: Path, column: str) -> None:
    cells = ROW.split(",")
    cells[HEADER.split(",").index(column)] = ""
    assert f"line 2: {column}: must not be empty" in refusal(
        written(tmp_path, HEADER, ",".join(cells))
    )


def test_a_row_of_another_width_is_refused(tmp_path: Path) -> None:
    description = refusal(written(tmp_path, HEADER, ROW + ",more"))
    assert "line 2: column 11 has 'more', but no name in the header; quote cells" in description
    description = refusal(written(tmp_path, HEADER, ROW.rpartition(",")[0]))
    assert "line 2: has 9 columns, the header 10" in description


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
    assert [(error.line, error.field) for error in book.errors] == [(3, "next_date"), (4, "id")]


def test_the_end_says_that_it_was_all_or_nothing() -> None:
    response = pb.ImportStandingOrdersResponse(unchanged_count=1, refused_count=2)
    description = summary(response, 7, dry_run=False)
    assert description.startswith("0 imported; 1 imported before; 2 refused; 7 good, but")


@pytest.mark.parametrize("last", [",,,,,,,,,", " , ,,,,,,,,", "", "   ", ",", ",,,,,,,,,,,,"])
def test_empty_lines_say_nothing_however_a_spreadsheet_writes_them(
    tmp_path: Path, last: str
) -> None:
    other = ROW.replace("a,", "b,", 1)
    book = read_book(written(tmp_path, last, HEADER, ROW, last, other, last, last), "acme")
    assert book.errors == []
    assert [row.line for row in book.rows] == [3, 5]


def test_empty_columns_at_the_right_are_ignored(tmp_path: Path) -> None:
    book = read_book(written(tmp_path, HEADER + ",, ,", ROW + ",,,"), "acme")
    assert (len(book.rows), book.errors) == (1, [])
    book = read_book(written(tmp_path, HEADER, ROW + ",,"), "acme")
    assert (len(book.rows), book.errors) == (1, [])


def test_a_column_without_a_name_must_be_empty(tmp_path: Path) -> None:
    description = refusal(written(tmp_path, HEADER + ",", ROW + ",x"))
    assert "line 2: column 11 has 'x', but no name in the header" in description


def test_capitals_and_blanks_make_no_other_column(tmp_path: Path) -> None:
    header = HEADER.replace("id,", " ID ,", 1).replace("zone", "Zone")
    assert len(read_book(written(tmp_path, header, ROW), "acme").rows) == 1
    assert "id: each column once" in refusal(written(tmp_path, HEADER + ",ID", ROW + ",b"))
    assert "'Next Cycle' (meant 'next_cycle'?)" in refusal(
        written(tmp_path, HEADER.replace("next_cycle", "Next Cycle"), ROW)
    )


@pytest.mark.parametrize(
    ("mark", "words"), [(";", "not by semicolons"), ("\t", "not by tabs"), ("|", "not by bars")]
)
def test_another_separator_is_named(tmp_path: Path, mark: str, words: str) -> None:
    assert words in refusal(written(tmp_path, HEADER.replace(",", mark), ROW.replace(",", mark)))


@pytest.mark.parametrize(
    ("encoding", "mark", "name"),
    [
        ("utf-16-le", b"\xff\xfe", "utf-16"),
        ("utf-16-be", b"\xfe\xff", "utf-16"),
        ("utf-16-le", b"", "utf-16le"),
        ("utf-16-be", b"", "utf-16be"),
        ("utf-32-le", b"\xff\xfe\x00\x00", "utf-32"),
        ("windows-1252", b"", "windows-1252"),
    ],
)
def test_the_hint_converts_from_the_encoding_that_the_file_has(
    tmp_path: Path, encoding: str, mark: bytes, name: str
) -> None:
    file = tmp_path / "our book.csv"
    content = f"{HEADER}\n{ROW}\n".replace("Tea", "Tee für ž")
    file.write_bytes(mark + content.encode(encoding))
    command = re.search(r"`(iconv .*)`", refusal(file))
    assert command is not None
    assert f"-f {name} " in command[1]
    subprocess.run(["/bin/sh", "-c", command[1]], check=True)
    [row] = read_book(tmp_path / "utf-8-our book.csv", "acme").rows
    assert row.message.standing_order.title == "Tee für ž"


def test_bytes_of_no_encoding_that_is_known_have_no_hint(tmp_path: Path) -> None:
    file = tmp_path / "book.csv"
    file.write_bytes(f"{HEADER}\n{ROW}\n".encode().replace(b"Tea", b"T\x81"))
    description = refusal(file)
    assert "line 2: is not UTF-8" in description
    assert "iconv" not in description


def test_a_nul_is_refused_by_its_line(tmp_path: Path) -> None:
    assert "line 2: has a NUL" in refusal(written(tmp_path, HEADER, ROW.replace("Tea", "T\0")))


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_lines_are_counted_whatever_ends_them(tmp_path: Path, end: str) -> None:
    bad = ROW.replace("2026-01-31", "2026").replace("a,", "b,", 1)
    first = ROW.replace("Tea", f'"Tea{end}for two"')
    file = tmp_path / "book.csv"
    file.write_bytes(end.join([HEADER, "", first, bad, ""]).encode())
    assert "line 5: next_date: '2026'" in refusal(file)


@pytest.mark.parametrize(
    ("cell", "value", "description"),
    [
        ("on", "0", "line 2: on: '0'"),
        ("every", "2weeksx", "line 2: every: '2weeksx'"),
        ("items", "tea=", "line 2: items: 'tea='"),
        ("items", "tea;", "line 2: items: 'tea;'"),
        ("items", "te a", "line 2: items"),
        ("items", "tea=2;tea=3", "line 2: items: 'tea=3': tea comes twice"),
        ("items", "tea=\u0661", "line 2: items: 'tea=\u0661'"),
        ("next_cycle", "0", "line 2: next_cycle: '0' is too small"),
        ("next_cycle", "7.0", "line 2: next_cycle: '7.0'"),
        ("next_date", "2026-01", "line 2: next_date: '2026-01'"),
    ],
)
def test_a_cell_is_read_as_strictly_as_an_option(
    tmp_path: Path, cell: str, value: str, description: str
) -> None:
    cells = ROW.split(",")
    cells[HEADER.split(",").index(cell)] = value
    assert description in refusal(written(tmp_path, HEADER, ",".join(cells)))


def test_a_range_of_weekdays_is_read_in_a_cell_too(tmp_path: Path) -> None:
    [row] = read_book(
        written(tmp_path, HEADER, ROW.replace("month,31", "week,mon-fri")), "acme"
    ).rows
    assert list(row.message.standing_order.schedule.weekly.weekdays) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("line", ["[" * 100_000, '{"nextCycle": NaN}', '{"nextCycle": 1} x'])
def test_a_line_that_is_no_json_is_refused_whatever_it_is(tmp_path: Path, line: str) -> None:
    assert "line 1: is not JSON" in refusal(written(tmp_path, line, name="book.jsonl"))
