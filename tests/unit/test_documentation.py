"""What the documentation names exists: files, commands, make targets, contracts and settings."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.__main__ import app
from protos import contracts
from services.catalog.__main__ import CatalogSettings
from services.notify.__main__ import Settings as NotifySettings
from services.payments.__main__ import Settings as PaymentsSettings
from services.runtime.app.settings import RuntimeSettings
from services.scheduler.__main__ import SchedulerSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(page for page in sorted(ROOT.glob("docs/**/*.md")) if page.parent.name != "reference"),
    *sorted(ROOT.glob("deploy/**/*.md")),
    *sorted(ROOT.glob("sandbox/**/*.md")),
]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)]+))?\)")
CODE = re.compile(r"`([^`\n]+)`")
# Up to a comment, and to what a shell does with it.
COMMAND = re.compile(r"^\s*recurring ([a-z][^|;>#]*)")
TARGET = re.compile(r"^\s*make ([a-z][a-z-]*)")
RECURRING: Any = get_command(app)
SERVICES = {path.name for path in (ROOT / "services").iterdir() if path.is_dir()}
# What is made, and not part of the tree.
MADE = {"build", "dist"}
FOLDERS = {
    path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")
} - MADE
# Decisions are history: they name what was there.
PRESENT = [page for page in PAGES if page.parent.name != "decisions"]


def paths(page: Path) -> set[str]:
    """The paths of this repository that stand in code spans, `<service>` read as the catalog."""
    spans = [span.replace("<service>", "catalog") for span in CODE.findall(page.read_text())]
    named = {span for span in spans if re.fullmatch(r"[\w.*/-]+", span) and "/" in span}
    under_services = {f"services/{span}" for span in named if span.split("/")[0] in SERVICES}
    return {span for span in named if span.split("/")[0] in FOLDERS} | under_services


def anchors(page: Path) -> set[str]:
    """What a code host makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if "://" not in target:
            file = page.parent / target if target else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_is_there(page: Path) -> None:
    assert [path for path in sorted(paths(page)) if not any(ROOT.glob(path))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_is_in_the_makefile(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    spans = [*CODE.findall(page.read_text()), *re.findall(r"(?m)^    .*", page.read_text())]
    assert {target for span in spans for target in TARGET.findall(span)} <= known


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_there(page: Path) -> None:
    # A command may be broken over lines, in a shell's way or in the text's.
    text = re.sub(r" *\\?\n +", " ", page.read_text())
    spans = re.findall(r"`([^`]+)`", re.sub(r"\n(?!\n)", " ", text))
    spans += re.findall(r"(?m)^    .*", page.read_text().replace("\\\n", ""))
    written = [command for span in spans for command in COMMAND.findall(span)]
    assert {command: unknown_in(command) for command in written if unknown_in(command)} == {}


def unknown_in(written: str) -> list[str]:
    """The words of a command that are no command, and its options that it does not have."""
    command = RECURRING
    options = {"--help"}
    words = re.sub(r"""(["']).*?\1""", "TEXT", written).split()
    for place, word in enumerate(words):
        options.update(name for parameter in command.params for name in parameter.opts)
        options.update(name for parameter in command.params for name in parameter.secondary_opts)
        if not hasattr(command, "commands") or word.startswith("-") or word == "…":
            return [each for each in words[place:] if each.startswith("--") and each not in options]
        if word not in command.commands:
            return [word]
        command = command.commands[word]
    return []


def test_every_word_of_the_glossary_is_in_the_contracts() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    for service, name in re.findall(r"`(catalog|scheduler|payments|notify)\.(\w+)", text):
        folder = ROOT / "protos" / "recurring" / service / "v1"
        protos = "".join(proto.read_text() for proto in folder.glob("*.proto"))
        assert re.search(rf"\b(message|enum|rpc) {name}\b", protos), f"{service}.{name}"


def test_every_service_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert all(f"services/{contract.service}" in readme for contract in contracts.read())


def test_every_setting_of_a_service_is_in_the_architecture() -> None:
    settings = (
        RuntimeSettings,
        CatalogSettings,
        SchedulerSettings,
        PaymentsSettings,
        NotifySettings,
    )
    known = {name.upper() for setting in settings for name in setting.model_fields}
    table = (ROOT / "docs" / "architecture.md").read_text().split("## Settings")[1]
    first_cells = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    assert set(re.findall(r"[A-Z][A-Z_]+", " ".join(first_cells))) == known
