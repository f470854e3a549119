"""Pages of a list (AIP-158)."""

import base64
import binascii
import hashlib
import re
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Generic, NoReturn, TypeVar

import grpc

from services.runtime.errors import FieldViolation, Problem, Violations
from services.runtime.rpc.conversions import M

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1000
# Well below the maximum of a message. A page of large rows ends earlier, and the next one continues.
PAGE_MAX_BYTES = 3 * 1024**2
# A page of more rows than this may take several queries, and holds their rows meanwhile.
LARGE_PAGE_ROWS = 100
# Large rows are read in portions of so many, since more may not fit into the page.
PORTION_ROWS = LARGE_PAGE_ROWS + 1
# An integer of PostgreSQL.
_NUMBER = re.compile(r"[0-9]{1,9}")
_PAGE_RULE = "must come from the page before, with the same request"
# The ends of a list by position.
BEFORE_ALL, AFTER_ALL = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: at most `size` rows after the row `after`."""

    size: int
    after: tuple[str, ...]
    # The token belongs to one list with one set of filters.
    fingerprint: str

    @property
    def limit(self) -> int:
        """How many rows to read: one more than the page has shows whether there is another page."""
        return self.size + 1

    def cut(
        self,
        rows: Sequence[Row],
        message: Callable[[Row], M],
        key: Callable[[Row], tuple[str, ...]],
    ) -> tuple[list[M], str]:
        """The messages of the page, from at most `limit` rows, and the token of the next page, if any.

        A page of large rows has fewer.
        """
        filling = _Filling(self, message)
        if all(map(filling.takes, rows)):
            return filling.shown, ""
        return filling.shown, self.token(key(filling.last))

    async def fill(
        self,
        find: Callable[[Row | None, int], Awaitable[Sequence[Row]]],
        message: Callable[[Row], M],
        key: Callable[[Row], tuple[str, ...]],
    ) -> tuple[list[M], str]:
        """As `cut`, for rows that may be large and are read in portions.

        `find` reads so many after a row, or after the page before.
        """
        filling = _Filling(self, message)
        while True:
            wanted = min(PORTION_ROWS, self.limit - len(filling.shown))
            portion = await find(filling.last, wanted)
            if not all(map(filling.takes, portion)):
                return filling.shown, self.token(key(filling.last))
            if len(portion) < wanted:
                return filling.shown, ""

    def token(self, last: tuple[str, ...]) -> str:
        """The token of the page after the row `last`."""
        text = "\x1f".join((self.fingerprint, *last))
        return base64.urlsafe_b64encode(text.encode()).decode()

    def after_position(self, first: uuid.UUID = BEFORE_ALL) -> uuid.UUID:
        """The row before the page in a list by position; `first` on the first page.

        Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID.
        """
        if not self.after:
            return first
        try:
            return uuid.UUID(self.after[0])
        except ValueError:
            _refuse_page_token()

    def after_numbered_position(self) -> tuple[uuid.UUID, int]:
        """The row before the page in a list by a position and a number; on the first page, none.

        Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID.
        """
        return self.after_position(), self.after_numbered()[1]

    def after_time(self) -> datetime | None:
        """The row before the page in a list by one time; None on the first page.

        Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID.
        """
        if not self.after:
            return None
        try:
            return datetime.fromisoformat(self.after[0]).astimezone(UTC)
        except (ValueError, OverflowError):
            _refuse_page_token()

    def after_date(self) -> date | None:
        """The row before the page in a list by one date; None on the first page.

        Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID.
        """
        try:
            return date.fromisoformat(self.after[0]) if self.after else None
        except ValueError:
            _refuse_page_token()

    def after_numbered(self) -> tuple[str, int]:
        """The row before the page in a list by an id and a number; on the first page, none.

        Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID.
        """
        return (self.after[0], self.number_at(1)) if self.after else ("", 0)

    def number_at(self, index: int) -> int:
        """The number among the keys of the row before the page; 0 on the first page.

        Raises INVALID_ARGUMENT PAGE_TOKEN_INVALID.
        """
        if not self.after:
            return 0
        if not _NUMBER.fullmatch(self.after[index]):
            _refuse_page_token()
        return int(self.after[index])


class _Filling(Generic[Row, M]):
    """A page that is being filled, up to its size and to the maximum of bytes."""

    def __init__(self, page: Page, message: Callable[[Row], M]) -> None:
        self._size, self._message = page.size, message
        self._left_bytes = PAGE_MAX_BYTES
        self.shown: list[M] = []
        # The last row of the page so far.
        self.last: Any = None

    def takes(self, row: Row) -> bool:
        """Add a row if it fits, and return whether it did; the first one always does."""
        if len(self.shown) == self._size:
            return False
        made = self._message(row)
        self._left_bytes -= made.ByteSize()
        if self.shown and self._left_bytes < 0:
            return False
        self.shown.append(made)
        self.last = row
        return True


def _refuse_page_token() -> NoReturn:
    violation = FieldViolation("page_token", "PAGE_TOKEN_INVALID", _PAGE_RULE)
    raise Problem(grpc.StatusCode.INVALID_ARGUMENT, violation.reason, _PAGE_RULE, (violation,))


def read_page(request: Any, *, keys: int) -> Page:  # noqa: ANN401 - any List request
    """The page of a List request; `keys` is the number of sort keys of the list.

    Raises INVALID_ARGUMENT PAGE_SIZE_TOO_LARGE or PAGE_TOKEN_INVALID (AIP-158, but an oversized page
    is refused rather than cut, so that no caller takes a part for the whole).
    """
    violations = Violations()
    if not 0 <= request.page_size <= PAGE_SIZE_MAX:
        violations.add("page_size", f"must be 0 to {PAGE_SIZE_MAX}", "PAGE_SIZE_TOO_LARGE")
    filters = type(request)()
    filters.CopyFrom(request)
    filters.ClearField("page_size")
    filters.ClearField("page_token")
    # With the type, since requests of different lists may have the same bytes.
    content = f"{filters.DESCRIPTOR.full_name}\n".encode()
    content += filters.SerializeToString(deterministic=True)
    fingerprint = hashlib.sha256(content).hexdigest()[:16]
    after: tuple[str, ...] = ()
    if request.page_token:
        try:
            text = base64.urlsafe_b64decode(request.page_token.encode()).decode()
        except (binascii.Error, UnicodeError):
            text = ""
        page_fingerprint, *after_list = text.split("\x1f")
        after = tuple(after_list)
        if page_fingerprint != fingerprint or len(after) != keys or "\x00" in text:
            violations.add("page_token", _PAGE_RULE, "PAGE_TOKEN_INVALID")
    violations.check()
    return Page(request.page_size or PAGE_SIZE_DEFAULT, after, fingerprint)
