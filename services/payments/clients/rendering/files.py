"""Documents as HTML and PDF: the same bytes for the same document, language and release."""

import base64
import json
from dataclasses import asdict
from datetime import UTC, datetime, time
from functools import cache
from importlib import resources
from pathlib import Path

import typst
from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.payments.clients.rendering.page import Page, page_of
from services.payments.clients.rendering.statement_page import statement_page
from services.payments.domain.buyers import Buyer
from services.payments.domain.documents import Document, Seller
from services.payments.domain.statements import Statement

HTML, PDF = "HTML", "PDF"
# Where the fonts are, by package: Latin, Arabic and simplified Chinese.
_FONTS = (
    ("fontpkg_noto_sans", "files"),
    ("fontpkg_noto_sans_arabic", "files"),
    ("pylopdf_fonts_zh_cn", ""),
)


def render(
    document: Document,
    sha256: str,
    file_format: str,
    language_code: str,
    logo: bytes,
    buyer: Buyer | None = None,
) -> bytes:
    """A document as a file."""
    page = page_of(document, language_code, buyer)
    if file_format == HTML:
        return html(page, sha256, logo)
    return pdf(page, sha256, logo, document.issue_time)


def render_statement(
    statement: Statement,
    seller: Seller,
    footer: str,
    sha256: str,
    file_format: str,
    language_code: str,
    logo: bytes,
) -> bytes:
    """A statement as a file; its date is the end of its period, whenever it is rendered."""
    page = statement_page(statement, seller, footer, language_code)
    if file_format == HTML:
        return html(page, sha256, logo)
    created = datetime.combine(statement.period.until_date, time(), UTC)
    return pdf(page, sha256, logo, created)


def html(page: Page, sha256: str, logo: bytes) -> bytes:
    """A page for a browser, with nothing to load: it looks the same when it is kept."""
    encoded = base64.b64encode(logo).decode()
    text = _template().render(page=page, sha256=sha256, logo=encoded)
    return text.encode()


@cache
def _template() -> Template:
    environment = ImmutableSandboxedEnvironment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string((_FOLDER / "document.html").read_text(encoding="utf-8"))


def pdf(page: Page, sha256: str, logo: bytes, created: datetime) -> bytes:
    """Pages for paper (PDF/A-2b). What they say is data to Typst and never its markup."""
    shown = {**asdict(page), "sha256": sha256, "logo": list(logo)}
    compiled = _compiler().compile(
        _FOLDER / "document.typ",
        format="pdf",
        sys_inputs={"page": json.dumps(shown, ensure_ascii=False)},
        timestamp=int(created.timestamp()),
        pdf_standards="a-2b",
    )
    if not isinstance(compiled, bytes):
        raise TypeError("a PDF is one file")
    return compiled


@cache
def _compiler() -> typst.Compiler:
    """With our fonts alone, so that a page looks the same on every machine; it downloads nothing."""
    fonts = typst.Fonts(
        include_system_fonts=False,
        include_embedded_fonts=False,
        font_paths=[_folder(package) / folder for package, folder in _FONTS],
    )
    return typst.Compiler(
        root=_FOLDER, font_paths=fonts, package_path=_FOLDER, package_cache_path=_FOLDER
    )


def _folder(package: str) -> Path:
    return Path(str(resources.files(package)))


_FOLDER = _folder(__package__)
