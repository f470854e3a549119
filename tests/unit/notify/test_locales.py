"""Languages, and which of them stand in for others."""

import pytest

from services.notify.domain.locales import canonical_locale, fallbacks, is_time_zone


@pytest.mark.parametrize(
    ("tag", "canonical"),
    [("de-at", "de-AT"), ("zh-tw", "zh-Hant-TW"), ("AR", "ar"), ("qq", ""), ("de-XX-bad", "")],
)
def test_a_tag_is_kept_as_it_is_written_and_only_if_somebody_speaks_it(
    tag: str, canonical: str
) -> None:
    assert canonical_locale(tag) == canonical


@pytest.mark.parametrize(
    ("locale", "chain"),
    [
        ("de-AT", ("de-AT", "de")),
        ("zh-Hans-CN", ("zh-Hans-CN", "zh-Hans", "zh")),
        ("zh-Hant-TW", ("zh-Hant-TW", "zh-Hant")),
        ("", ()),
    ],
)
def test_a_language_in_one_script_does_not_stand_in_for_it_in_another(
    locale: str, chain: tuple[str, ...]
) -> None:
    assert fallbacks(locale) == chain


def test_a_time_zone_is_one_of_the_locked_data() -> None:
    assert is_time_zone("Europe/Vienna")
    assert not is_time_zone("Europe/Atlantis")
