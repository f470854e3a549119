"""Outages of parts of the outside world, which anybody may begin and end."""

from enum import StrEnum

from aiohttp import web

from sandbox.record import Record, bad_request

PARTS = ("provider", "sms", "mail")


class Outage(StrEnum):
    """How a part is out of order."""

    # It answers 503 and does nothing.
    UNAVAILABLE = "unavailable"
    # It answers 429, 401 or 409 and does nothing.
    THROTTLED = "throttled"
    UNAUTHORIZED = "unauthorized"
    CONFLICT = "conflict"
    # It answers 200 with a page for people, as a proxy before it may, and does nothing.
    GARBAGE = "garbage"
    # It carries the request out, and closes the connection instead of answering.
    LOST_ANSWERS = "lost_answers"


class Outages:
    """Which parts are out of order at the moment; survives a restart."""

    def __init__(self, record: Record) -> None:
        self._record = record
        rows = record.read("SELECT part, kind FROM outages")
        self._kinds = {str(row["part"]): Outage(row["kind"]) for row in rows}

    def of(self, part: str) -> Outage | None:
        """How the part is out of order; None: it is not."""
        return self._kinds.get(part)

    async def switch(self, part: str, kind: Outage | None) -> None:
        """Begin an outage of a part, or end it."""
        if kind is None:
            await self._record.execute("DELETE FROM outages WHERE part = ?", part)
            self._kinds.pop(part, None)
            return
        statement = "INSERT OR REPLACE INTO outages (part, kind) VALUES (?, ?)"
        await self._record.execute(statement, part, kind)
        self._kinds[part] = kind

    def routes(self) -> list[web.RouteDef]:
        """Routes that show outages, begin and end them."""

        async def show(_: web.Request) -> web.Response:
            return web.json_response({part: self._shown(part) for part in PARTS})

        async def put(request: web.Request) -> web.Response:
            part = request.match_info["part"]
            if part not in PARTS:
                raise bad_request(f"no such part; there are {', '.join(PARTS)}")
            await self.switch(part, await _read_kind(request))
            return web.json_response(self._shown(part))

        return [web.get("/outages", show), web.put("/outages/{part}", put)]

    def _shown(self, part: str) -> dict[str, object]:
        kind = self.of(part)
        return {"on": kind is not None} | ({"kind": kind} if kind else {})


async def _read_kind(request: web.Request) -> Outage | None:
    """The outage that a body begins; None: it ends one."""
    try:
        body = dict(await request.json())
    except (ValueError, TypeError):
        body = {}
    kind = body.get("kind", Outage.UNAVAILABLE)
    if not isinstance(body.get("on"), bool) or kind not in list(Outage):
        kinds = ", ".join(Outage)
        raise bad_request(f'body: give {{"on": true}} or {{"on": false}}; "kind" is one of {kinds}')
    return Outage(kind) if body["on"] else None
