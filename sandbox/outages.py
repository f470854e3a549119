"""Outages of parts of the outside world, which anybody may begin and end."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

from sandbox.record import Record, bad_request

# One account of the provider alone.
SECOND_ACCOUNT = "provider-second"
PARTS = ("provider", SECOND_ACCOUNT, "bank", "sms", "mail", "tax")


class Outage(StrEnum):
    """How a part is out of order."""

    # It answers 503 and does nothing.
    UNAVAILABLE = "unavailable"
    # It answers 429, 401 or 409 and does nothing.
    THROTTLED = "throttled"
    UNAUTHORIZED = "unauthorized"
    CONFLICT = "conflict"
    # Of the provider: its key may not do what is asked (403); its account cannot charge (400).
    FORBIDDEN = "forbidden"
    INACTIVE = "inactive"
    # It answers 200 with a page for people, as a proxy before it may, and does nothing.
    GARBAGE = "garbage"
    # It carries the request out, and closes the connection instead of answering.
    LOST_ANSWERS = "lost_answers"
    # It answers 500, and so whatever comes with the same key: it does nothing, or all that was asked.
    FAILED = "failed"
    FAILED_HALFWAY = "failed_halfway"
    # It carries the request out, and answers seconds later.
    SLOW = "slow"
    # The request waits on its way for seconds and is carried out then, even if the caller has gone.
    QUEUED = "queued"
    # Of the SMS gateway: it says that it delivered what it did not, or the other way round.
    FALSELY_DELIVERED = "falsely_delivered"
    FALSELY_UNDELIVERED = "falsely_undelivered"


DELAYS = frozenset({Outage.SLOW, Outage.QUEUED})
OF_ACCOUNTS = frozenset({Outage.FORBIDDEN, Outage.INACTIVE})
FALSE_RECEIPTS = frozenset({Outage.FALSELY_DELIVERED, Outage.FALSELY_UNDELIVERED})
SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Trouble:
    """An outage and its extent."""

    kind: Outage
    # Of those that delay.
    seconds: float = 0.0
    # So many requests meet it, and then it is over; None: all until it is switched off.
    times: int | None = None


class Outages:
    """Which parts are out of order at the moment; survives a restart."""

    def __init__(self, record: Record) -> None:
        self._record = record
        # Part -> how many requests have met the outage that began last.
        self._met_count: Counter[str] = Counter()
        rows = record.read("SELECT part, kind, seconds, times FROM outages")
        self._troubles = {
            str(row["part"]): Trouble(Outage(row["kind"]), row["seconds"], row["times"])
            for row in rows
        }

    def of(self, part: str) -> Outage | None:
        """How the part is out of order; None: it is not."""
        trouble = self._troubles.get(part)
        return trouble.kind if trouble else None

    async def meet(self, *parts: str) -> Trouble | None:
        """What a request that comes now meets; it counts as one of the times of the outage."""
        part = next((part for part in parts if part in self._troubles), "")
        trouble = self._troubles.get(part)
        self._met_count[part] += trouble is not None
        if trouble is not None and trouble.times is not None:
            left = trouble.times - 1
            await self.switch(part, Trouble(trouble.kind, trouble.seconds, left) if left else None)
        return trouble

    async def switch(self, part: str, trouble: Trouble | None) -> None:
        """Begin an outage of a part, or end it."""
        if trouble is None:
            self._troubles.pop(part, None)
            await self._record.execute("DELETE FROM outages WHERE part = ?", part)
            return
        self._troubles[part] = trouble
        statement = (
            "INSERT OR REPLACE INTO outages (part, kind, seconds, times) VALUES (?, ?, ?, ?)"
        )
        await self._record.execute(statement, part, trouble.kind, trouble.seconds, trouble.times)

    def routes(self) -> list[web.RouteDef]:
        """Routes that show outages, begin and end them."""

        async def show(_: web.Request) -> web.Response:
            return web.json_response({part: self._shown(part) for part in PARTS})

        async def put(request: web.Request) -> web.Response:
            part = request.match_info["part"]
            if part not in PARTS:
                raise bad_request(f"no such part; there are {', '.join(PARTS)}")
            trouble = await _read_trouble(request, part)
            if trouble is not None:
                self._met_count[part] = 0
            await self.switch(part, trouble)
            return web.json_response(self._shown(part))

        return [web.get("/outages", show), web.put("/outages/{part}", put)]

    def _shown(self, part: str) -> dict[str, object]:
        trouble = self._troubles.get(part)
        if trouble is None:
            return {"on": False, "met": self._met_count[part]}
        extent = {"seconds": trouble.seconds or None, "times": trouble.times}
        return {"on": True, "kind": trouble.kind, "met": self._met_count[part]} | {
            name: value for name, value in extent.items() if value is not None
        }


async def delay(trouble: Trouble | None, kind: Outage) -> None:
    """Let the seconds of an outage pass, if it is of this kind."""
    if trouble is not None and trouble.kind is kind:
        await asyncio.sleep(trouble.seconds)


async def _read_trouble(request: web.Request, part: str) -> Trouble | None:
    """The outage that a body begins; None: it ends one."""
    try:
        body = dict(await request.json())
    except (ValueError, TypeError):
        body = {}
    kind, kinds = body.get("kind", Outage.UNAVAILABLE), _kinds(part)
    if not isinstance(body.get("on"), bool) or kind not in kinds:
        raise bad_request(
            f'body: give {{"on": true}} or {{"on": false}}; "kind" is one of {", ".join(kinds)}'
        )
    seconds, times = body.get("seconds", 0.0), body.get("times")
    if (kind in DELAYS) != _is_within(seconds, SECONDS_MAX):
        raise bad_request(
            f"seconds: {', '.join(sorted(DELAYS))} take 0 to {SECONDS_MAX:g} s, others none"
        )
    if times is not None and not (type(times) is int and times > 0):
        raise bad_request("times: give a number of requests, or leave it out")
    return Trouble(Outage(kind), float(seconds), times) if body["on"] else None


def _kinds(part: str) -> list[Outage]:
    """How a part can be out of order."""
    if part == "mail":
        return [Outage.UNAVAILABLE, Outage.SLOW]
    others = frozenset() if part == "sms" else FALSE_RECEIPTS
    if part not in {"provider", SECOND_ACCOUNT}:
        others |= OF_ACCOUNTS
    return [kind for kind in Outage if kind not in others]


def _is_within(seconds: object, most: float) -> bool:
    return isinstance(seconds, int | float) and 0 < seconds <= most
