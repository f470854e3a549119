"""Documents call a thing by the word that notices call it by, in each language."""

import pytest

from services.notify.domain.templates.shipped import SHIPPED
from services.payments.clients.rendering.statement_words import STATEMENT_WORDS
from services.payments.domain.documents import LANGUAGES

# A standing order, a promotion, credit, a refund and the consent to be charged, without their endings.
NOUNS = {
    "en": ("standing order", "promotion", "credit", "refund", "consent to be charged"),
    "de": ("dauerauftr", "aktion", "guthaben", "erstattung", "einwilligung zur abbuchung"),
    "es": ("pedido periódico", "promoción", "saldo", "reembolso", "autorización de cobro"),
    "fr": ("commande régulière", "promotion", "avoir", "remboursement", "autorisation de débit"),
    "zh": ("定期订单", "优惠", "余额", "退款", "扣款授权"),
    "ar": ("متكرر", "عرض", "رصيد", "استرداد", "تفويض الخصم"),
}
# What a document is called in a notice that it is issued.
DOCUMENT_TYPES = ("INVOICE", "RECEIPT", "CREDIT_NOTE", "DEBIT_NOTE")


def of_documents(language: str) -> str:
    return "\n".join(STATEMENT_WORDS[language].values()).lower()


def of_notices(language: str) -> str:
    shipped = SHIPPED[language]
    texts = [text for it in shipped.templates.values() for text in (it.subject, it.text)]
    return "\n".join((*texts, *shipped.words.reasons.values())).lower()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_noun_is_the_same_on_documents_and_in_notices(language: str) -> None:
    missing = [
        noun
        for noun in NOUNS[language]
        if noun not in of_documents(language) or noun not in of_notices(language)
    ]
    assert missing == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_notice_calls_a_document_as_it_calls_itself(language: str) -> None:
    for kind in DOCUMENT_TYPES:
        assert f'== "{kind.lower()}" %}}{STATEMENT_WORDS[language][kind].lower()}' in of_notices(
            language
        )
