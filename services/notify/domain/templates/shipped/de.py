"""German, with the formal address."""

from services.notify.domain.notices import NoticeKind
from services.notify.domain.templates.shipped.words import KindWords, Words

_CARD = "{% if last4 %}Ihre Karte {{ brand }} mit den Endziffern {{ last4 }}{% else %}Ihr Zahlungsmittel{% endif %}"
_MORE = '{{ %s | plural(other="und # weitere") }}'
_CHANGED = (
    '{% if change == "CREATED" %}ist eingerichtet{% elif change == "PAUSED" %}ist angehalten'
    '{% elif change == "RESUMED" %}läuft wieder{% elif change == "CANCELLED" %}ist gekündigt'
    '{% elif change == "COMPLETED" %}ist beendet{% else %}wurde geändert{% endif %}'
)
_SUBSTITUTE = (
    "{% if substitute %}Mit {{ substitute.title }} statt {{ substitute.replaced }}"
    "{% if substitutes_more %} (" + _MORE % "substitutes_more" + "){% endif %}.{% endif %}"
)

WORDS = Words(
    sender_sms="{% if merchant %}{{ merchant }}: {% endif %}",
    greeting_sms="{% if name %}Hallo {{ name }}!{% endif %}",
    greeting_email="{% if name %}Hallo {{ name }},{% else %}Guten Tag,{% endif %}",
    reference="Ref. {{ reference }}",
    complaints="Beschwerden: {{ complaint_address }}",
    line=(
        "{{ line.quantity }} x {{ line.title }}"
        "{% if line.replaced %} (statt {{ line.replaced }}){% endif %}: {{ line.amount }}"
        "{% for off in line.promotions %} ({{ off.title }}: {{ off.amount }}){% endfor %}"
    ),
    tax=(
        "{{ tax.title }} {{ tax.rate_ppm | percent }} %"
        '{% if tax.not_charged == "REVERSE_CHARGE" %}: Steuerschuldnerschaft des Leistungsempfängers'
        '{% elif tax.not_charged == "EXEMPT" %}: steuerfrei'
        "{% elif tax.not_charged %}: nicht berechnet"
        "{% else %} enthalten: {{ tax.amount }}{% endif %}"
    ),
    digest_subject="Neues zu Ihren Bestellungen",
    digest_more='{% if more %}{{ more | plural(other="Und # weitere: siehe Ihr Konto.") }}{% endif %}',
    reply_hint="Antwort: {acts} oder {stop} (keine SMS mehr).",
    reply_separator=", ",
    kinds={
        NoticeKind.PHONE_CODE: KindWords(
            "Ihr Code",
            (
                "{% if masked_phone %}{{ code }} ist Ihr Code, um Nachrichten an {{ masked_phone }} statt an "
                "dieses Telefon zu bekommen."
                "{% else %}{{ code }} ist Ihr Code, um dieses Telefon zu bestätigen.{% endif %}",
                'Er gilt {{ minutes | plural(one="# Minute", other="# Minuten") }}.',
                "Geben Sie ihn nicht weiter. Wenn Sie ihn nicht angefordert haben, brauchen Sie nichts zu tun.",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_CHANGED: KindWords(
            "Ihr Telefon wurde geändert",
            (
                "{% if masked_phone %}Nachrichten zu Ihren Bestellungen gehen jetzt an {{ masked_phone }}, "
                "nicht mehr an dieses Telefon."
                "{% else %}Nachrichten zu Ihren Bestellungen kommen nicht mehr an dieses Telefon.{% endif %}",
                "Wenn Sie das nicht waren, sagen Sie bitte sofort dem Geschäft Bescheid.",
            ),
            greets=False,
        ),
        NoticeKind.EMAIL_LINK: KindWords(
            "Bitte bestätigen Sie Ihre E-Mail-Adresse",
            (
                "Bitte bestätigen Sie, dass dies Ihre E-Mail-Adresse ist: {{ link_uri }}",
                'Der Link gilt {{ hours | plural(one="# Stunde", other="# Stunden") }}.',
                "Wenn Sie ihn nicht angefordert haben, brauchen Sie nichts zu tun.",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_LAPSED: KindWords(
            "Bitte bestätigen Sie Ihr Telefon",
            (
                "Nachrichten an {{ masked_phone }} erreichen Sie wohl nicht mehr.",
                "Bitte bestätigen Sie Ihr Telefon beim Geschäft noch einmal. Bis dahin warten Ihre Bestellungen.",
            ),
        ),
        NoticeKind.PHONE_CHANGE_PENDING: KindWords(
            "Ihr Telefon wird geändert",
            (
                "Ab {{ bind_time | date }}, {{ bind_time | time }} gehen Nachrichten zu Ihren Bestellungen an "
                "{{ masked_phone }}, nicht mehr an dieses Telefon.",
                "Wenn Sie das nicht waren, sagen Sie bitte vorher dem Geschäft Bescheid: Es kann die Änderung stoppen.",
            ),
            greets=False,
        ),
        NoticeKind.REPLY: KindWords(
            "Ihre Nachricht",
            (
                '{% if answer == "HELP" %}'
                "Antworten Sie [[SKIP]], um die nächste Bestellung auszulassen, [[PAUSE]], um sie "
                "anzuhalten, [[PAY]], um eine Zahlung zu bestätigen, [[STOP]], um Nachrichten "
                "abzubestellen. Alles Weitere in Ihrem Konto."
                '{% elif answer == "STOPPED" %}'
                "Sie bekommen auf diesem Telefon keine Nachrichten mehr. Ihre Daueraufträge laufen "
                "weiter: Anhalten oder kündigen können Sie sie in Ihrem Konto. [[START]] schaltet die "
                "Nachrichten wieder ein."
                '{% elif answer == "STARTED" %}'
                "Nachrichten zu Ihren Bestellungen kommen wieder auf dieses Telefon. [[HELP]] zeigt "
                "Hilfe, [[STOP]] beendet die Nachrichten."
                '{% elif answer == "WHICH" %}'
                "Welche? {% for option in options %}{{ option.number }}: {{ option.title }}"
                "{% if option.due_date %} ({{ option.due_date }}){% endif %}{% if not loop.last %}; "
                "{% endif %}{% endfor %}. Antworten Sie mit der Nummer."
                '{% elif answer == "SKIPPED" %}'
                "Ihre Bestellung {{ title }}{% if due_date %} vom {{ due_date }}{% endif %} fällt "
                "aus. Dafür wird nichts abgebucht."
                '{% elif answer == "PAUSED" %}'
                "{{ title }} ist angehalten: Angekündigtes entfällt, und es wird nichts Neues bestellt, bis "
                "Sie den Dauerauftrag in Ihrem Konto fortsetzen."
                '{% elif answer == "PAYING" %}'
                "Danke. Ihre Zahlung für {{ title }} wird ausgeführt; ein Zahlungsbeleg folgt."
                '{% elif answer == "TOO_LATE" %}'
                "Ihre Bestellung {{ title }}{% if due_date %} vom {{ due_date }}{% endif %} kann "
                "nicht mehr ausfallen: Die Zahlung läuft schon, oder die Bestellung ist beendet."
                '{% elif answer == "NOT_ACTIVE" %}'
                "{{ title }} läuft nicht: schon angehalten oder beendet. Es wurde nichts geändert."
                '{% elif answer == "NOT_PAYABLE" %}'
                "Für {{ title }} ist nichts mehr zu zahlen: bezahlt, beendet oder gerade in Bearbeitung."
                '{% elif answer == "METHOD_NEEDED" %}'
                "{{ title }} kann so nicht bezahlt werden: Bitte wählen Sie in Ihrem Konto ein "
                "Zahlungsmittel."
                '{% elif answer == "OUT_OF_STOCK" %}'
                "{{ title }} kann nicht mehr bezahlt werden: nicht mehr vorrätig."
                '{% elif answer == "NOTHING" and word == "PAY" %}'
                "Es wartet keine Zahlung auf Ihre Bestätigung."
                '{% elif answer == "NOTHING" %}'
                "Es steht keine Bestellung von Ihnen an."
                "{% else %}"
                "Das ging bei {{ title }} leider nicht. Bitte nutzen Sie Ihr Konto."
                "{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.ORDER_UPCOMING: KindWords(
            "Demnächst: {{ title }}",
            (
                "Ihre Bestellung {{ title }}"
                "{% if is_late or moved_from %} vom {{ order_time | date }}{% endif %}"
                " kostet {{ amount }}"
                "{% if amount_changed %} (zuletzt {{ previous_amount }}){% endif %}.",
                "{% if moved_from %}Sie wurde verschoben: Der {{ moved_from | day }} "
                "ist ausgebucht.{% endif %}",
                _SUBSTITUTE,
                "{% if pay_on_notice %}Wir bitten Sie frühestens am {{ charge_not_before }} "
                "um Ihre Bestätigung."
                "{% else %}Wir buchen frühestens am {{ charge_not_before }} ab.{% endif %}",
                "{% if credit %}Ihr Guthaben deckt {% if credit_pays_all %}alles"
                "{% else %}{{ credit }} davon{% endif %}, falls Sie es nicht vorher "
                "verwenden.{% endif %}",
                "{% if link_uri %}Auslassen, anhalten oder kündigen: {{ link_uri }}"
                "{% else %}Bis dahin können Sie sie in Ihrem Konto auslassen oder ändern.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_REQUEST: KindWords(
            "Bitte bestätigen Sie Ihre Zahlung für {{ title }}",
            (
                "Bitte bestätigen Sie Ihre Zahlung von {{ amount }} für {{ title }} "
                "bis {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} in Ihrem Konto.{% endif %}",
                "Sonst endet diese Bestellung, und nichts wird abgebucht.",
            ),
        ),
        NoticeKind.PAYMENT_REMINDER: KindWords(
            "Erinnerung: Ihre Zahlung für {{ title }}",
            (
                "Erinnerung: Bestätigen Sie Ihre Zahlung von {{ amount }} für {{ title }} "
                "bis {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} in Ihrem Konto.{% endif %}",
                "Sonst endet diese Bestellung, und nichts wird abgebucht.",
            ),
        ),
        NoticeKind.PAYMENT_OVERDUE: KindWords(
            "Nicht bezahlt: {{ title }}",
            (
                "Ihre Bestellung {{ title }} ist ohne Zahlung beendet.",
                "Wenn Sie sie trotzdem möchten, zahlen Sie {{ amount }} bis {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} in Ihrem Konto.{% endif %}",
                "Sonst wird nichts abgebucht.",
            ),
        ),
        NoticeKind.PAYMENT_ACTION_REQUIRED: KindWords(
            "Ihre Bank bittet um Bestätigung: {{ title }}",
            (
                "Ihre Bank bittet Sie, {{ amount }} für {{ title }} bis {{ expire_time }} "
                "zu bestätigen: "
                "{% if action_uri %}{{ action_uri }}{% else %}in Ihrem Konto{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.PAYMENT_DECLINED: KindWords(
            "Zahlung abgelehnt: {{ title }}",
            (
                "Ihre Zahlung von {{ amount }} für {{ title }} wurde abgelehnt{% if reasons %}: {{ reasons }}{% endif %}.",
                "{% if link_uri %}Sie können mit einer anderen Karte zahlen: {{ link_uri }}"
                "{% elif next_attempt_time %}Wir versuchen es am {{ next_attempt_time }} noch einmal. "
                "Wenn etwas zu ändern ist, tun Sie es bitte vorher."
                "{% elif expire_time %}Sie können bis {{ expire_time }} in Ihrem Konto mit "
                "einer anderen Karte zahlen."
                "{% else %}Bitte prüfen Sie Ihr Zahlungsmittel in Ihrem Konto.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_BLOCKED: KindWords(
            "Bitte ersetzen Sie Ihr Zahlungsmittel",
            (
                _CARD + " wurde endgültig abgelehnt; wir versuchen es damit nicht mehr.",
                "Damit kann keine Bestellung bezahlt werden.",
                "Bitte hinterlegen Sie in Ihrem Konto ein anderes Zahlungsmittel für Ihre "
                "Daueraufträge oder fragen Sie Ihre Bank.",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_EXPIRING: KindWords(
            "Ihr Zahlungsmittel läuft bald ab",
            (
                _CARD + " gilt bis Ende {{ month | month }}.",
                "Bitte hinterlegen Sie vorher in Ihrem Konto ein neues Zahlungsmittel.",
                "Ihre Daueraufträge laufen damit weiter.",
            ),
        ),
        NoticeKind.RECEIPT: KindWords(
            "Zahlungsbeleg: {{ title }}",
            (
                "Sie haben am {{ pay_time }} für {{ title }} {{ amount }} bezahlt"
                "{% if tax_amount %} (Steuer {{ tax_amount }}){% endif %}. Vielen Dank.",
                "{% if credit_pays_all %}Alles aus Ihrem Guthaben."
                "{% elif credit %}{{ credit }} aus Ihrem Guthaben, {{ charged_amount }} "
                "abgebucht.{% endif %}",
                _SUBSTITUTE,
                "{% if next_due_time %}Die nächste Bestellung ist am {{ next_due_time }} fällig"
                "{% if link_uri %}. Anhalten oder kündigen: {{ link_uri }}"
                "{% else %}; ändern, auslassen oder kündigen können Sie in Ihrem Konto.{% endif %}"
                "{% elif paused %}Der Dauerauftrag ist angehalten: "
                "Es folgt keine Bestellung, bis Sie ihn fortsetzen."
                "{% else %}Das war die letzte Bestellung.{% endif %}",
            ),
        ),
        NoticeKind.ORDER_SKIPPED: KindWords(
            "Ausgelassen: {{ title }}",
            (
                "{% if last_due_time %}"
                '{{ order_count | plural(other="Ihre # Bestellungen") }} {{ title }} '
                "vom {{ due_time }} bis {{ last_due_time }} fallen aus"
                "{% else %}Ihre Bestellung {{ title }} vom {{ due_time }} fällt aus{% endif %}"
                ": {{ reasons }}.",
                "Dafür wird nichts abgebucht.",
            ),
        ),
        NoticeKind.ORDER_HELD: KindWords(
            "Zurückgestellt: {{ title }}",
            (
                "Ihre Bestellung {{ title }} vom {{ due_time }} ist zurückgestellt: {{ reasons }}.",
                "{% if customer_decides %}Möchten Sie sie? "
                "{% if link_uri %}Ja sagen oder auslassen: {{ link_uri }}"
                "{% else %}Sagen Sie in Ihrem Konto Ja.{% endif %}"
                "{% elif customer_acts %}Bitte bringen Sie es in Ihrem Konto in Ordnung."
                "{% else %}Wir prüfen es von selbst wieder.{% endif %} "
                "Bis dahin wird nichts abgebucht.",
                "{% if link_uri and not customer_decides %}Auslassen, anhalten oder kündigen: "
                "{{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ORDER_LAPSED: KindWords(
            "Nicht bestellt: {{ title }}",
            (
                "Ihre Bestellung {{ title }} vom {{ due_time }} ist ohne Zahlung beendet: {{ reasons }}.",
                "Dafür wurde nichts abgebucht.",
            ),
        ),
        NoticeKind.ORDER_CANCELLED: KindWords(
            "Storniert: {{ title }}",
            (
                "Ihre Bestellung {{ title }} vom {{ due_time }} ist storniert, da ihr Dauerauftrag "
                "{% if by_pause %}angehalten{% else %}gekündigt{% endif %} ist.",
                "Dafür wird nichts abgebucht.",
            ),
        ),
        NoticeKind.STANDING_ORDER_CHANGED: KindWords(
            "Ihr Dauerauftrag {{ title }} " + _CHANGED,
            (
                "Ihr Dauerauftrag {{ title }} "
                + _CHANGED
                + "{% if reasons %}: {{ reasons }}{% endif %}."
                "{% if goes_on and next_due_time %} "
                "Die nächste Bestellung ist am {{ next_due_time }} fällig.{% endif %}",
                "{% if resume_time %}Bis {{ resume_time }} wird nichts Neues bestellt, "
                "außer Sie setzen ihn vorher fort."
                '{% elif change == "CREATED" %}Wir sagen Ihnen vor jeder Bestellung Bescheid. '
                "Anhalten oder kündigen können Sie in Ihrem Konto."
                '{% elif change == "PAUSED" %}Es wird nichts Neues bestellt, '
                "bis Sie ihn {% if not link_uri %}in Ihrem Konto {% endif %}fortsetzen."
                '{% elif change == "RESUMED" %}Wir sagen Ihnen vor jeder Bestellung Bescheid.'
                '{% elif change == "CANCELLED" %}Es folgen keine Bestellungen mehr.'
                '{% elif change == "COMPLETED" %}Es folgen keine Bestellungen mehr. Vielen Dank.'
                "{% else %}In Ihrem Konto steht, was neu ist.{% endif %}",
                "{% if link_uri %}Fortsetzen oder kündigen: {{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ITEM_DISCONTINUED: KindWords(
            "Nicht mehr im Angebot: {{ product_title }}",
            (
                "{{ product_title }} in Ihrem Dauerauftrag {{ title }} wird nicht mehr verkauft.",
                "{% if substitute_title %}Von nun an bekommen Sie stattdessen {{ substitute_title }}, "
                "wie vereinbart. Den Preis nennen wir Ihnen vorher."
                "{% else %}Bitte wählen Sie in Ihrem Konto etwas anderes.{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE: KindWords(
            "Neuer Preis: {{ product_title }}",
            (
                "{{ product_title }} in {{ title }}"
                "{% if others %} (" + _MORE % "others" + "){% endif %}"
                " kostet ab {{ first_due_time | date }} {{ amount }} je Bestellung statt "
                "{{ previous_amount }}.",
                "{% if is_cheaper %}Sie brauchen nichts zu tun."
                "{% elif link_uri %}Wenn Sie das nicht möchten, vorher anhalten oder kündigen: {{ link_uri }}"
                "{% else %}Wenn Sie das nicht möchten, kündigen oder ändern Sie vorher "
                "in Ihrem Konto.{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE_WITHDRAWN: KindWords(
            "Kein neuer Preis: {{ product_title }}",
            (
                "Wir hatten Ihnen einen neuen Preis für {{ product_title }} in {{ title }} angekündigt"
                "{% if others %} (" + _MORE % "others" + "){% endif %}.",
                "Das ist zurückgenommen: Es bleibt bei {{ previous_amount }} je Bestellung.",
            ),
        ),
        NoticeKind.PRICE_PROTECTION_ENDING: KindWords(
            "Ihr Preis für {{ title }} gilt bis {{ first_due_time | date }}",
            (
                "Die Preise, die wir Ihnen für {{ title }} zugesagt haben, gelten für Bestellungen vor "
                "{{ first_due_time | date }}.",
                "Danach zahlen Sie den Tagespreis. Wir sagen Ihnen vor jeder Bestellung Bescheid.",
            ),
        ),
        NoticeKind.PROMOTION_ENDING: KindWords(
            "Ihre Aktion für {{ title }} endet",
            (
                "{{ promotion_title }} für {{ title }} endet vor Ihrer Bestellung vom {{ first_due_time | date }}.",
                "{% if amount %}"
                "Diese und die folgenden kosten nach heutigem Stand {{ amount }}{% if previous_amount %}"
                " statt {{ previous_amount }}{% endif %}.{% else %}"
                "Ab dieser wird nichts mehr abgezogen.{% endif %}",
                "{% if link_uri %}Vorher anhalten oder kündigen: {{ link_uri }}{% else %}"
                "Kündigen oder ändern können Sie vorher in Ihrem Konto.{% endif %}",
            ),
        ),
        NoticeKind.MONTHLY_SUMMARY: KindWords(
            "Überblick {{ month | month }}",
            (
                "Überblick {{ month | month }}: "
                "{% if totals %}{% for total in totals %}{% if total.order_count %}"
                "{{ total.paid_amount }} für "
                '{{ total.order_count | plural(one="# Bestellung", other="# Bestellungen") }} bezahlt'
                "{% if total.saved_amount %} (gespart: {{ total.saved_amount }}){% endif %}{% endif %}"
                "{% if total.refund_amount %}{% if total.order_count %}; {% endif %}"
                "erstattet: {{ total.refund_amount }}{% endif %}{% if not loop.last %}; {% endif %}"
                "{% endfor %}{% else %}nichts wurde bezahlt{% endif %}.",
                "{% if skip_count %}Ausgelassen: "
                '{{ skip_count | plural(one="# Bestellung", other="# Bestellungen") }}.{% endif %}',
                "{% if has_more %}Das Übrige zeigt Ihr Konto.{% endif %}",
                "{% if next_due_time %}Als Nächstes: {{ next_title }} am {{ next_due_time | date }}"
                "{% if next_more %} (" + _MORE % "next_more" + "){% endif %}.{% endif %}",
            ),
        ),
        NoticeKind.REFUND: KindWords(
            "Erstattung: {{ title }}",
            (
                "{% if is_part %}Wir haben Ihnen von Ihrer Zahlung über {{ paid_amount }} für {{ title }} "
                "{{ refund_amount }} erstattet."
                "{% else %}Wir haben Ihnen Ihre Zahlung über {{ paid_amount }} für {{ title }} erstattet."
                "{% endif %}",
                "{% if credit_is_all %}Es ist jetzt Ihr Guthaben für die nächsten Bestellungen."
                "{% else %}{% if credit %}{{ credit }} davon sind jetzt Ihr Guthaben. {% endif %}"
                "Bis es auf Ihrem Konto steht, kann es einige Tage dauern.{% endif %}",
            ),
        ),
        NoticeKind.DOCUMENT_ISSUED: KindWords(
            '{% if document_type == "INVOICE" %}Rechnung'
            '{% elif document_type == "RECEIPT" %}Zahlungsbeleg'
            '{% elif document_type == "CREDIT_NOTE" %}Rechnungskorrektur'
            '{% elif document_type == "DEBIT_NOTE" %}Nachbelastung{% else %}Dokument'
            "{% endif %}"
            " {{ number }}",
            (
                '{% if document_type == "INVOICE" %}Rechnung'
                '{% elif document_type == "RECEIPT" %}Zahlungsbeleg'
                '{% elif document_type == "CREDIT_NOTE" %}Rechnungskorrektur'
                '{% elif document_type == "DEBIT_NOTE" %}Nachbelastung{% else %}Dokument'
                "{% endif %}"
                " {{ number }} für {{ title }}: {{ amount }}.",
                "{% if attached %}Sie finden das Dokument als PDF-Datei im Anhang."
                "{% else %}Die Datei ist für eine E-Mail zu groß: Sie finden sie in Ihrem Konto."
                "{% endif %}",
            ),
        ),
        NoticeKind.DISPUTE_OPENED: KindWords(
            "Sie widersprechen einer Zahlung: {{ title }}",
            (
                "{% if inquiry %}Ihre Bank fragt uns nach{% else %}Ihre Bank meldet uns Ihren Widerspruch "
                "zu{% endif %}{% if is_part %} {{ dispute_amount }} aus{% endif %} "
                "Ihrer Zahlung über {{ paid_amount }} für {{ title }}.",
                "{% if paused %}Bis das geklärt ist, buchen wir unter Ihrer Einwilligung nichts mehr ab."
                "{% else %}Ihre Bestellungen gehen inzwischen weiter.{% endif %}",
                "Wenn das ein Irrtum ist, sagen Sie es bitte Ihrer Bank.",
            ),
        ),
        NoticeKind.DISPUTE_CLOSED: KindWords(
            "{% if won %}Ihre Zahlung bleibt bestehen{% elif late_failure %}Von Ihrer Bank zurückgegeben"
            "{% else %}Von Ihrer Bank erstattet{% endif %}: {{ title }}",
            (
                "{% if won %}Sie haben Ihrer Zahlung über {{ paid_amount }} für {{ title }}"
                "{% if is_part %} in Höhe von {{ dispute_amount }}{% endif %} widersprochen. "
                "Das ist geklärt, und die Zahlung bleibt bestehen."
                "{% else %}Ihre Bank hat Ihnen {% if is_part %}{{ dispute_amount }} aus Ihrer Zahlung"
                "{% else %}Ihre Zahlung{% endif %} über {{ paid_amount }} für {{ title }} "
                "{% if late_failure %}zurückgegeben: Sie ist nicht bezahlt. Bitte wenden Sie sich an uns."
                "{% else %}erstattet.{% endif %}{% endif %}",
                "{% if paused %}Wir buchen unter Ihrer Einwilligung nichts mehr ab, "
                "bis Sie es wieder erlauben."
                "{% else %}Ihre Bestellungen gehen weiter.{% endif %}",
            ),
        ),
    },
    reasons={
        "SKIPPED_BY_CUSTOMER": "Sie wollten sie auslassen",
        "PAUSED": "der Dauerauftrag ist angehalten",
        "MISSED": "der Termin verging, ohne dass wir handeln konnten",
        "DATE_EXCLUDED": "Sie haben diesen Tag ausgenommen",
        "PRODUCT_UNAVAILABLE": "ein Produkt wird nicht mehr verkauft",
        "PRICE_UNAVAILABLE": "ein Produkt hat keinen Preis",
        "OUT_OF_STOCK": "ein Produkt ist nicht vorrätig",
        "PHONE_NOT_BOUND": "Ihr Telefon ist nicht bestätigt",
        "MANDATE_NOT_COVERING": "Ihre Einwilligung zur Abbuchung deckt sie nicht",
        "NOTICE_UNDELIVERABLE": "wir konnten sie Ihnen nicht ankündigen",
        "PAYMENT_REFUSED": "die Zahlung war nicht erlaubt",
        "PAYMENT_DECLINED": "die Zahlung wurde abgelehnt",
        "PAYMENT_REQUEST_EXPIRED": "die Zahlung wurde nicht rechtzeitig bestätigt",
        "STANDING_ORDER_CANCELLED": "der Dauerauftrag ist gekündigt",
        "CONDITION_NOT_MET": "eine von Ihnen gesetzte Bedingung ist nicht erfüllt",
        "HOLD_EXPIRED": "das Hindernis wurde nicht rechtzeitig behoben",
        "PURCHASED_ELSEWHERE": "Sie haben ein Produkt daraus anderswo gekauft",
        "PREVIOUS_UNPAID": "die Bestellung davor ist nicht bezahlt",
        "PAYMENT_NOT_MADE": "die Zahlung kam nicht rechtzeitig zustande",
        "PAYMENT_METHOD_BLOCKED": "die Karte wurde endgültig abgelehnt",
        "TAX_UNAVAILABLE": "die Steuern stehen noch nicht fest",
        "NO_SLOT": "an diesem Tag ist kein Termin frei",
        "PAID_LATE": "sie wurde nach ihrem Ende bezahlt",
        "MANDATE_NOT_FOUND": "Ihre Einwilligung zur Abbuchung ist nicht bekannt",
        "MANDATE_REVOKED": "Ihre Einwilligung zur Abbuchung ist widerrufen",
        "MANDATE_NOT_YET_VALID": "Ihre Einwilligung zur Abbuchung gilt noch nicht",
        "MANDATE_EXPIRED": "Ihre Einwilligung zur Abbuchung ist abgelaufen",
        "ABOVE_CHARGE_CEILING": "sie kostet mehr, als Sie für eine Zahlung vereinbart haben",
        "ABOVE_MONTH_CEILING": "sie kostet mehr, als Sie für einen Monat vereinbart haben",
        "CURRENCY_MISMATCH": "Ihre Einwilligung zur Abbuchung gilt für eine andere Währung",
        "MANDATE_LAPSED": "Ihre Einwilligung zur Abbuchung wurde zu lange nicht genutzt",
        "MANDATE_WITHOUT_END": "Ihre Einwilligung zur Abbuchung hat kein Ende und braucht eines",
        "MANDATE_PENDING": "Ihre Einwilligung zur Abbuchung ist noch nicht bestätigt",
        "MANDATE_DISPUTED": "einer Zahlung wurde bei Ihrer Bank widersprochen",
        "MANDATE_PAUSED": "Ihre Einwilligung zur Abbuchung ist angehalten",
        "INSUFFICIENT_FUNDS": "das Geld reichte nicht",
        "CARD_LIMIT_REACHED": "das Limit der Karte ist erreicht",
        "CARD_EXPIRED": "die Karte ist abgelaufen",
        "BANK_CONFIRMATION_NEEDED": "Ihre Bank möchte Ihre Bestätigung",
    },
    reason_unknown="Näheres steht in Ihrem Konto",
)
