"""Writes docs/reference/ from the contracts, or says whether it is fresh.

python -m protos.reference            write docs/reference/
python -m protos.reference --check    compare it with the contracts; exit 1 if it is stale
"""

import argparse
import sys
from collections.abc import Iterator

from protos import contracts
from protos.contracts import Contract, Element, Enum, Field, Message, Method
from protos.generate import ROOT

REFERENCE = ROOT / "docs" / "reference"
_EXTERNAL = {
    "google.protobuf.": "https://protobuf.dev/reference/protobuf/google.protobuf/",
    "google.type.": "https://github.com/googleapis/googleapis/tree/master/google/type",
}


def main() -> int:
    """Run as a command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only compare with the contracts")
    checking = parser.parse_args().check
    pages = {f"{contract.service}.md": page(contract) for contract in contracts.read()}
    stale = [
        name
        for name, text in pages.items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text() != text
    ]
    left_over = sorted({path.name for path in REFERENCE.glob("*.md")} - pages.keys())
    if not checking:
        REFERENCE.mkdir(parents=True, exist_ok=True)
        for name in stale:
            (REFERENCE / name).write_text(pages[name])
        for name in left_over:
            (REFERENCE / name).unlink()
        return 0
    for name in (*stale, *left_over):
        print(f"docs/reference/{name} does not match protos/: run `make gen` and commit",
              file=sys.stderr)  # fmt: skip
    return 1 if stale or left_over else 0


def page(contract: Contract) -> str:
    """The reference of one service, in Markdown."""
    return "\n".join(_lines(contract)) + "\n"


def _lines(contract: Contract) -> Iterator[str]:
    yield f"# {contract.full_name}"
    yield ""
    yield "<!-- Written by `make gen` from the contracts in protos/. -->"
    yield ""
    yield contract.comment
    yield ""
    yield "## Methods"
    yield ""
    yield "| method | answers with |"
    yield "|---|---|"
    for method in contract.methods:
        link = f"[{method.name}](#{method.name.lower()})"
        yield f"| {link} | {_type(contract, method.output)} |"
    for method in contract.methods:
        yield from _method(contract, method)
    yield from ("", "## Messages")
    requests = {method.input for method in contract.methods}
    for message in contract.messages:
        if message.name not in requests:
            yield from _message(contract, message)
    yield from ("", "## Events")
    for event in contract.events:
        yield from _message(contract, event, f"Subject `{contract.package}.{event.name}`.")
    for part in contract.event_parts:
        yield from _message(contract, part)
    yield from ("", "## Enums")
    for enum in contract.enums:
        yield from _enum(enum)


def _method(contract: Contract, method: Method) -> Iterator[str]:
    yield from ("", f"### {method.name}", "")
    yield from _comment(method)
    if method.streams_in:
        yield from ("The caller sends a stream of messages with these fields:", "")
    request = next(message for message in contract.messages if message.name == method.input)
    yield from _fields(contract, request.fields)


def _message(contract: Contract, message: Message, note: str = "") -> Iterator[str]:
    yield from ("", f"### {message.name}", "")
    if note:
        yield from (note, "")
    yield from _comment(message)
    yield from _fields(contract, message.fields)


def _fields(contract: Contract, fields: tuple[Field, ...]) -> Iterator[str]:
    if not fields:
        return
    yield "| field | type | rules | |"
    yield "|---|---|---|---|"
    for field in fields:
        kind = _type(contract, field.type_name)
        many = "list of " if field.repeated else ""
        one_of = f"one of `{field.oneof}`" if field.oneof else ""
        behaviours = ", ".join(
            behaviour.lower().replace("_", " ") for behaviour in field.behaviours
        )
        rules = ", ".join(f"`{rule}`" for rule in field.rules)
        cells = (many + kind, "; ".join(filter(None, (behaviours, one_of, rules))), _cell(field))
        yield f"| `{field.name}` | " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"


def _enum(enum: Enum) -> Iterator[str]:
    yield from ("", f"### {enum.name}", "")
    yield from _comment(enum)
    yield from ("| value | |", "|---|---|")
    for value in enum.values[1:]:
        yield f"| `{value.name}` | {_cell(value)} |"


def _comment(element: Element) -> Iterator[str]:
    if element.comment:
        yield from (element.comment, "")


def _cell(element: Element) -> str:
    text = " ".join(element.comment.split())
    return f"**Deprecated.** {text}" if element.deprecated else text


def _type(contract: Contract, name: str) -> str:
    for package in (contract.package, *contracts.SHARED_PACKAGES):
        own = name.removeprefix(f"{package}.")
        if own != name:
            requests = {method.input: method.name for method in contract.methods}
            anchor = requests.get(own, own).lower().replace(".", "")
            return f"[{own}](#{anchor})"
    for prefix, address in _EXTERNAL.items():
        if name.startswith(prefix):
            return f"[{name}]({address})"
    return name


if __name__ == "__main__":
    sys.exit(main())
