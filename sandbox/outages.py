"""Outages of parts of the outside world, which anybody may begin and end."""

from aiohttp import web

from sandbox.record import Record, bad_request

PARTS = ("provider", "sms", "mail")


class Outages:
    """Which parts are switched off at the moment; survives a restart."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._off = {str(row["part"]) for row in record.read("SELECT part FROM outages")}

    def has(self, part: str) -> bool:
        """Say whether the part is down."""
        return part in self._off

    async def switch(self, part: str, *, on: bool) -> None:
        """Begin or end an outage of a part."""
        statement = (
            "INSERT OR IGNORE INTO outages (part) VALUES (?)"
            if on
            else "DELETE FROM outages WHERE part = ?"
        )
        await self._record.execute(statement, part)
        (self._off.add if on else self._off.discard)(part)

    def routes(self) -> list[web.RouteDef]:
        """Routes that show outages, begin and end them."""

        async def show(_: web.Request) -> web.Response:
            return web.json_response({part: {"on": self.has(part)} for part in PARTS})

        async def put(request: web.Request) -> web.Response:
            part = request.match_info["part"]
            if part not in PARTS:
                raise bad_request(f"no such part; there are {', '.join(PARTS)}")
            try:
                on = (await request.json())["on"]
            except (ValueError, TypeError, KeyError):
                on = None
            if not isinstance(on, bool):
                raise bad_request('body: give {"on": true} or {"on": false}')
            await self.switch(part, on=on)
            return web.json_response({"on": on})

        return [web.get("/outages", show), web.put("/outages/{part}", put)]
