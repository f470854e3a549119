"""Merchants' own templates: which one is taken, and what may stand in one."""

import pytest

from services.notify.domain.notices import Channel, MerchantId, NoticeKind
from services.notify.domain.templates.examples import EXAMPLES
from services.notify.domain.templates.own import (
    SUITE_ALONE,
    OwnTemplate,
    TemplateId,
    chosen,
    purpose_of,
)
from services.notify.domain.templates.rendering import Source, check, rendered_by

RECEIPT, SMS, EMAIL = NoticeKind.RECEIPT, Channel.SMS, Channel.EMAIL


def own(locale: str, *, is_fallback: bool = False) -> OwnTemplate:
    template = TemplateId(f"receipt-sms-{locale.lower()}")
    return OwnTemplate(MerchantId("acme"), template, 1, RECEIPT, SMS, locale, "", "x", is_fallback)


@pytest.mark.parametrize(
    ("locale", "locales", "taken"),
    [
        ("de-AT", ["de", "de-AT"], "de-AT"),
        ("de-CH", ["de", "de-AT"], "de"),
        ("zh-Hant-TW", ["zh", "fr!"], "fr"),
        ("", ["de", "fr!", "es!"], "es"),
        ("en", ["de"], None),
    ],
)
def test_the_nearest_language_is_taken_then_a_fallback(
    locale: str, locales: list[str], taken: str | None
) -> None:
    templates = [own(each.rstrip("!"), is_fallback=each.endswith("!")) for each in locales]
    found = chosen(templates, RECEIPT, SMS, locale)

    assert (found and found.locale) == taken
    assert chosen(templates, RECEIPT, EMAIL, locale) is None


@pytest.mark.parametrize(
    "kind",
    [kind for kind in NoticeKind if kind not in SUITE_ALONE],
)
def test_an_id_says_what_a_template_is_for(kind: NoticeKind) -> None:
    template = f"{kind}-EMAIL-zh-hant-tw".lower().replace("_", "-")

    assert purpose_of(TemplateId(template)) == (kind, EMAIL, "zh-Hant-TW")


def test_a_template_of_all_that_is_allowed_says_what_it_should() -> None:
    text = (
        "{% if name and not paused %}{{ name | upper }}: {% endif %}"
        "{% for line in lines %}{{ line.quantity }} {{ line.title }}"
        "{% if not loop.last %}, {% endif %}{% endfor %} "
        "{{ pay_time | day }}, {{ pay_time | time }} ({{ pay_time | month }}) {{ amount }}"
        "{% if substitutes_more > 1 or amount == amount %}.{% else %}!{% endif %}"
    )
    source = Source("de", "{{ title }}", text)

    assert list(check(RECEIPT, EMAIL, source)) == []
    assert rendered_by(source, EMAIL, EXAMPLES[RECEIPT], "Ann").text == (
        "ANN: 1 Espresso, 1 kg Sa., 31. Jan., 09:00 (Jan. 2026) 12,50 EUR.\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "{{ lines }}",
        "{{ paused }}",
        "{{ title | date }}",
        "{{ title | safe }}",
        "{{ amount + amount }}",
        "{{ lines[0] }}",
        "{{ title.upper() }}",
        "{{ title[:5] }}",
        "{{ 'x' ~ 'y' }}",
        "{{ [1, 2] }}",
        "{% set x = 1 %}",
        "{% include 'x' %}",
        "{% for a in lines %}{% for b in lines %}x{% endfor %}{% endfor %}",
        "{% for c in title %}x{% endfor %}",
        "{% for line in lines recursive %}x{% endfor %}",
        "{% if amount > 5 %}x{% endif %}",
        "{% if 'x' in title %}x{% endif %}",
        "{{ substitutes_more | plural(one='x') }}",
        "{{ substitutes_more | plural(other=title) }}",
        "{% for line in lines %}x{% endfor %}" * 11,
        "{{ (" + "not " * 300 + "paused) }}",
    ],
)
def test_whatever_could_run_on_or_fail_is_not_allowed(text: str) -> None:
    reasons = {problem.reason for _, problem in check(RECEIPT, SMS, Source("en", "", text))}

    assert reasons == {"TEMPLATE_ELEMENT_NOT_ALLOWED"}


def test_a_problem_names_its_line_and_what_there_is() -> None:
    [(field, problem)] = check(RECEIPT, SMS, Source("en", "", "Hi\n{{ prize }}"))

    assert field == "text"
    assert problem.message.startswith("line 2: has no variable 'prize'; it has amount, ")
