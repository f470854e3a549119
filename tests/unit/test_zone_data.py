"""Every process reads the locked zone data, whatever the machine's own say."""

import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# British Columbia keeps daylight time from 2026 on: 10:00 is 17:00Z, where older data say 18:00Z.
ZONE = "America/Vancouver"
DUE = "2027-01-15 17:00:00+00:00"
_SCHEDULE = """{
    "start_date": "2027-01-15", "local_time": "10:00", "time_zone": "America/Vancouver",
    "recurrence": {"daily": {"every_days": 1}}, "end": {"cycle_count": 1},
}"""
# Whatever reckons with zones -> a program that prints when 10:00 in Vancouver is.
READERS = {
    "the scheduler": (
        "from services.scheduler.domain.calendar import local_to_utc\n"
        "from datetime import date, time\n"
        f"print(local_to_utc(date(2027, 1, 15), time(10), {ZONE!r}))"
    ),
    "a notice": (
        "from services.notify.domain.templates.variables import Moment\n"
        "from services.notify.domain.templates.language import language\n"
        "from datetime import UTC, datetime\n"
        f"moment = datetime.fromisoformat({DUE!r})\n"
        f"shown = str(Moment(moment, {ZONE!r}, language('en')))\n"
        "print(moment if shown.endswith('10:00') else 'another hour')"
    ),
    "the audit": (
        "from cli.prove.calendar import due_times\n"
        "from datetime import UTC, datetime\n"
        f"print(*due_times({_SCHEDULE}, datetime(2028, 1, 1, tzinfo=UTC)))"
    ),
    "the demo": (
        "import cli.demo.plan\n"
        "from datetime import UTC, datetime\n"
        "from zoneinfo import ZoneInfo\n"
        f"print(datetime(2027, 1, 15, 10, tzinfo=ZoneInfo({ZONE!r})).astimezone(UTC))"
    ),
}
# What reads zone data, or has a copy of its own.
_READS_ZONES = re.compile(
    r"^\s*(?:from|import) (zoneinfo|pytz|tzlocal|pendulum|babel|arrow|croniter|dateutil)\b",
    re.MULTILINE,
)
# What makes PostgreSQL read its own; UTC needs none.
_LOCAL_TIME_IN_SQL = re.compile(
    r"at\s+time\s+zone(?!\s+'utc')|at\s+local\b|\btimezone\s*\(|pg_timezone"
    r"|set\s+time\s*zone(?!\s*=\s*'utc')|timestamp\s+without",
    re.IGNORECASE,
)


@pytest.fixture
def false_zone_data(tmp_path: Path) -> Path:
    """Zone data that a machine could have, in which it is Tokyo everywhere."""
    tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    for zone in (ZONE, "UTC", "Europe/Berlin"):
        file = tmp_path / zone
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tokyo)
    return tmp_path


@pytest.mark.parametrize("reader", READERS)
def test_ten_o_clock_in_vancouver_is_the_same_on_every_machine(
    reader: str, false_zone_data: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READERS[reader]],
        env={
            **os.environ,
            "PYTHONTZPATH": str(false_zone_data),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "TZ": "Asia/Tokyo",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == DUE, done.stderr


def test_only_packages_that_read_the_locked_data_reckon_with_zones() -> None:
    for package in ("services", "cli"):
        assert "zoneinfo.reset_tzpath(to=())" in (ROOT / package / "__init__.py").read_text()
    readers = {
        (file.relative_to(ROOT).parts[0], zone)
        for package in ("services", "cli", "sandbox", "deploy", "clients", "examples", "bench")
        for file in (ROOT / package).rglob("*.py")
        if "node_modules" not in file.parts
        for zone in _READS_ZONES.findall(file.read_text())
    }
    # Babel reads no zone data: it is given the time of day.
    assert readers == {("services", "zoneinfo"), ("services", "babel"), ("cli", "zoneinfo")}


def test_postgresql_never_reckons_with_zones() -> None:
    assert not [
        str(file.relative_to(ROOT))
        for package in ("services", "cli", "sandbox", "deploy", "bench")
        for kind in ("*.py", "*.sql")
        for file in (ROOT / package).rglob(kind)
        if _LOCAL_TIME_IN_SQL.search(file.read_text())
    ]
