"""English."""

from services.notify.domain.notices import NoticeKind
from services.notify.domain.templates.shipped.words import KindWords, Words

WORDS = Words(
    sender_sms="{% if merchant %}{{ merchant }}: {% endif %}",
    greeting_sms="{% if name %}Hi {{ name }}!{% endif %}",
    greeting_email="{% if name %}Hi {{ name }},{% else %}Hello,{% endif %}",
    reference="Ref. {{ reference }}",
    complaints="Complaints: {{ complaint_address }}",
    line=(
        "{{ line.quantity }} x {{ line.title }}"
        "{% if line.replaced %} (instead of {{ line.replaced }}){% endif %}: {{ line.amount }}"
        "{% for off in line.promotions %} ({{ off.title }}: {{ off.amount }}){% endfor %}"
    ),
    tax=(
        "{{ tax.title }} {{ tax.rate_ppm | percent }} %"
        '{% if tax.not_charged == "REVERSE_CHARGE" %}: reverse charge, the customer owes it'
        '{% elif tax.not_charged == "EXEMPT" %}: exempt'
        "{% elif tax.not_charged %}: not charged"
        "{% else %} included: {{ tax.amount }}{% endif %}"
    ),
    digest_subject="News of your orders",
    digest_more='{% if more %}{{ more | plural(other="And # more: see your account.") }}{% endif %}',
    reply_hint="Reply {acts} or {stop} (no more SMS).",
    reply_separator=", ",
    kinds={
        NoticeKind.PHONE_CODE: KindWords(
            "Your code",
            (
                "{% if masked_phone %}{{ code }} is your code to have messages sent to {{ masked_phone }} "
                "in place of this phone.{% else %}{{ code }} is your code to confirm this phone.{% endif %}",
                'It is valid for {{ minutes | plural(one="# minute", other="# minutes") }}.',
                "Do not share it. If you did not ask for it, you need not do anything.",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_CHANGED: KindWords(
            "Your phone was changed",
            (
                "{% if masked_phone %}Messages about your orders now go to {{ masked_phone }}, not to this "
                "phone.{% else %}Messages about your orders no longer come to this phone.{% endif %}",
                "If you did not change it, please tell the shop at once.",
            ),
            greets=False,
        ),
        NoticeKind.EMAIL_LINK: KindWords(
            "Please confirm your e-mail address",
            (
                "Please confirm that this is your e-mail address: {{ link_uri }}",
                'The link is valid for {{ hours | plural(one="# hour", other="# hours") }}.',
                "If you did not ask for it, you need not do anything.",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_LAPSED: KindWords(
            "Please confirm your phone",
            (
                "Messages to {{ masked_phone }} do not reach you any more as far as we can tell.",
                "Please confirm your phone again at the shop. Your orders wait until then.",
            ),
        ),
        NoticeKind.PHONE_CHANGE_PENDING: KindWords(
            "Your phone is about to change",
            (
                "From {{ bind_time | date }}, {{ bind_time | time }} on, messages about your orders go to "
                "{{ masked_phone }}, not to this phone.",
                "If you did not ask for it, please tell the shop before then: it can stop the change.",
            ),
            greets=False,
        ),
        NoticeKind.REPLY: KindWords(
            "Your message",
            (
                '{% if answer == "HELP" %}'
                "Reply [[SKIP]] to leave out your next order, [[PAUSE]] to have it wait, [[PAY]] to confirm "
                "a payment, [[STOP]] for no more messages. All else is in your account."
                '{% elif answer == "STOPPED" %}'
                "You get no more messages on this phone. Your standing orders go on: pause or end "
                "them in your account. Reply [[START]] to get messages again."
                '{% elif answer == "STARTED" %}'
                "Messages about your orders come to this phone again. Reply [[HELP]] for help, [[STOP]] to "
                "end them."
                '{% elif answer == "WHICH" %}'
                "Which one? {% for option in options %}{{ option.number }}: {{ option.title }}"
                "{% if option.due_date %} ({{ option.due_date }}){% endif %}{% if not loop.last %}; "
                "{% endif %}{% endfor %}. Reply with its number."
                '{% elif answer == "SKIPPED" %}'
                "Your order {{ title }}{% if due_date %} of {{ due_date }}{% endif %} is skipped. "
                "Nothing is charged for it."
                '{% elif answer == "PAUSED" %}'
                "{{ title }} is paused: what is announced is cancelled, and nothing new is ordered until you "
                "resume it in your account."
                '{% elif answer == "PAYING" %}'
                "Thank you. Your payment for {{ title }} is being made; a receipt follows."
                '{% elif answer == "TOO_LATE" %}'
                "Your order {{ title }}{% if due_date %} of {{ due_date }}{% endif %} cannot be "
                "skipped any more: its payment has begun, or it is over."
                '{% elif answer == "NOT_ACTIVE" %}'
                "{{ title }} is not active: it is paused already, or has ended. Nothing was changed."
                '{% elif answer == "NOT_PAYABLE" %}'
                "Nothing is to be paid for {{ title }} any more: it is paid or over, or is being "
                "charged now."
                '{% elif answer == "METHOD_NEEDED" %}'
                "{{ title }} cannot be paid like this: please choose a payment method in your account."
                '{% elif answer == "OUT_OF_STOCK" %}'
                "{{ title }} cannot be paid any more: it is out of stock."
                '{% elif answer == "NOTHING" and word == "PAY" %}'
                "No payment of yours waits to be confirmed."
                '{% elif answer == "NOTHING" %}'
                "No order of yours is coming up."
                "{% else %}"
                "Sorry, that could not be done for {{ title }}. Please use your account."
                "{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.ORDER_UPCOMING: KindWords(
            "Coming up: {{ title }}",
            (
                "Your order {{ title }}"
                "{% if is_late or moved_from %} of {{ order_time | date }}{% endif %}"
                " comes to {{ amount }}"
                "{% if amount_changed %} (was {{ previous_amount }} last time){% endif %}.",
                "{% if moved_from %}It is moved from {{ moved_from | day }}, which is full.{% endif %}",
                "{% if substitute %}With {{ substitute.title }} for {{ substitute.replaced }}"
                '{% if substitutes_more %} ({{ substitutes_more | plural(other="and # more") }})'
                "{% endif %}.{% endif %}",
                "{% if pay_on_notice %}We will ask you to confirm it on {{ charge_not_before }} or later."
                "{% else %}We will charge you on {{ charge_not_before }} or later.{% endif %}",
                "{% if credit %}Your credit pays {% if credit_pays_all %}all of it"
                "{% else %}{{ credit }} of it{% endif %}, unless you use it before.{% endif %}",
                "{% if link_uri %}Skip, pause or cancel: {{ link_uri }}"
                "{% else %}Skip or change it in your account before then.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_REQUEST: KindWords(
            "Please confirm your payment for {{ title }}",
            (
                "Please confirm your payment of {{ amount }} for {{ title }}"
                "{% if link_uri %} by {{ expire_time }}: {{ link_uri }}"
                "{% else %} in your account by {{ expire_time }}.{% endif %}",
                "{% if link_uri %}Otherwise nothing is charged."
                "{% else %}If you do not, this order ends and nothing is charged.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_REMINDER: KindWords(
            "Reminder: your payment for {{ title }}",
            (
                "Reminder: confirm your payment of {{ amount }} for {{ title }}"
                "{% if link_uri %} by {{ expire_time }}: {{ link_uri }}"
                "{% else %} in your account by {{ expire_time }}.{% endif %}",
                "{% if link_uri %}Otherwise nothing is charged."
                "{% else %}If you do not, this order ends and nothing is charged.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_OVERDUE: KindWords(
            "Not paid: {{ title }}",
            (
                "Your order {{ title }} has ended without payment.",
                "To have it all the same, pay {{ amount }} "
                "{% if link_uri %}by {{ expire_time }}: {{ link_uri }}"
                "{% else %}in your account by {{ expire_time }}.{% endif %}",
                "If you do not, nothing is charged.",
            ),
        ),
        NoticeKind.PAYMENT_ACTION_REQUIRED: KindWords(
            "Your bank asks you to confirm: {{ title }}",
            (
                "Your bank wants you to confirm {{ amount }} for {{ title }} by {{ expire_time }}: "
                "{% if action_uri %}{{ action_uri }}{% else %}in your account{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.PAYMENT_DECLINED: KindWords(
            "Payment declined: {{ title }}",
            (
                "Your payment of {{ amount }} for {{ title }} was declined{% if reasons %}: {{ reasons }}{% endif %}.",
                "{% if link_uri %}You can pay with another card: {{ link_uri }}"
                "{% elif next_attempt_time %}We will try again on {{ next_attempt_time }}. "
                "If it needs a change, please make it before."
                "{% elif expire_time %}You can pay with another card in your account by "
                "{{ expire_time }}."
                "{% else %}Please look at your payment method in your account.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_BLOCKED: KindWords(
            "Please replace your payment method",
            (
                "{% if last4 %}Your card {{ brand }} ending {{ last4 }}"
                "{% else %}Your payment method{% endif %}"
                " was declined for good, so we will not try it again.",
                "No order that uses it can be paid.",
                "Please add another one in your account for your standing orders, or ask your bank.",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_EXPIRING: KindWords(
            "Your payment method expires soon",
            (
                "{% if last4 %}Your card {{ brand }} ending {{ last4 }}"
                "{% else %}Your payment method{% endif %} is valid until the end of {{ month | month }}.",
                "Please replace it in your account before then.",
                "Your standing orders go on with the new one.",
            ),
        ),
        NoticeKind.RECEIPT: KindWords(
            "Receipt: {{ title }}",
            (
                "You paid {{ amount }}{% if tax_amount %} (tax {{ tax_amount }}){% endif %}"
                " for {{ title }} on {{ pay_time }}. Thank you.",
                "{% if credit_pays_all %}All of it from your credit."
                "{% elif credit %}{{ credit }} from your credit, {{ charged_amount }} "
                "charged.{% endif %}",
                "{% if substitute %}With {{ substitute.title }} for {{ substitute.replaced }}"
                '{% if substitutes_more %} ({{ substitutes_more | plural(other="and # more") }})'
                "{% endif %}.{% endif %}",
                "{% if next_due_time %}"
                "The next one is due on {{ next_due_time }}{% if link_uri %}. Pause or cancel: {{ link_uri }}"
                "{% else %}; change, skip or cancel it in your account.{% endif %}"
                "{% elif paused %}It is paused: no order follows until it is resumed."
                "{% else %}This was the last order.{% endif %}",
            ),
        ),
        NoticeKind.ORDER_SKIPPED: KindWords(
            "Skipped: {{ title }}",
            (
                "{% if last_due_time %}"
                '{{ order_count | plural(other="Your # orders") }} {{ title }} of {{ due_time }} to '
                "{{ last_due_time }} are"
                "{% else %}Your order {{ title }} of {{ due_time }} is{% endif %}"
                " left out: {{ reasons }}.",
                "Nothing is charged for {% if last_due_time %}them{% else %}it{% endif %}.",
            ),
        ),
        NoticeKind.ORDER_HELD: KindWords(
            "On hold: {{ title }}",
            (
                "Your order {{ title }} of {{ due_time }} is on hold: {{ reasons }}.",
                "{% if customer_decides %}{% if link_uri %}Want it? Say yes or skip it: {{ link_uri }}"
                "{% else %}Want it? Say yes in your account.{% endif %}"
                "{% elif customer_acts %}Please put it right in your account."
                "{% else %}We look at it again by ourselves.{% endif %} Nothing is charged meanwhile.",
                "{% if link_uri and not customer_decides %}Skip, pause or cancel: {{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ORDER_LAPSED: KindWords(
            "Not ordered: {{ title }}",
            (
                "Your order {{ title }} of {{ due_time }} has ended without payment: {{ reasons }}.",
                "Nothing was charged for it.",
            ),
        ),
        NoticeKind.ORDER_CANCELLED: KindWords(
            "Cancelled: {{ title }}",
            (
                "Your order {{ title }} of {{ due_time }} is cancelled, since its standing order is "
                "{% if by_pause %}paused{% else %}cancelled{% endif %}.",
                "Nothing is charged for it.",
            ),
        ),
        NoticeKind.STANDING_ORDER_CHANGED: KindWords(
            "Your standing order {{ title }} "
            '{% if change == "CREATED" %}is set up{% elif change == "PAUSED" %}is paused'
            '{% elif change == "RESUMED" %}is active again{% elif change == "CANCELLED" %}is cancelled'
            '{% elif change == "COMPLETED" %}is complete{% else %}has changed{% endif %}',
            (
                "Your standing order {{ title }} "
                '{% if change == "CREATED" %}is set up{% elif change == "PAUSED" %}is paused'
                '{% elif change == "RESUMED" %}is active again'
                '{% elif change == "CANCELLED" %}is cancelled'
                '{% elif change == "COMPLETED" %}is complete{% else %}has changed{% endif %}'
                "{% if reasons %}: {{ reasons }}{% endif %}."
                "{% if goes_on and next_due_time %} The next order is due on {{ next_due_time }}."
                "{% endif %}",
                "{% if resume_time %}Nothing new is ordered until {{ resume_time }}, "
                "unless you resume it before."
                '{% elif change == "CREATED" %}'
                "We will tell you before each one. Pause or cancel it in your account."
                '{% elif change == "PAUSED" %}'
                "Nothing new is ordered until you resume it{% if not link_uri %} in your account{% endif %}."
                '{% elif change == "RESUMED" %}We will tell you before each order.'
                '{% elif change == "CANCELLED" %}There will be no further orders.'
                '{% elif change == "COMPLETED" %}There will be no further orders. Thank you.'
                "{% else %}Your account shows what is new.{% endif %}",
                "{% if link_uri %}Resume or cancel: {{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ITEM_DISCONTINUED: KindWords(
            "Not sold any more: {{ product_title }}",
            (
                "{{ product_title }} in your standing order {{ title }} is not sold any more.",
                "{% if substitute_title %}From now on you get {{ substitute_title }} instead, "
                "as you agreed. We will tell you its price first."
                "{% else %}Please choose something else in your account.{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE: KindWords(
            "New price: {{ product_title }}",
            (
                "{{ product_title }} in {{ title }}"
                '{% if others %} ({{ others | plural(other="and # more") }}){% endif %}'
                " will cost {{ amount }} an order, not {{ previous_amount }}, "
                "from {{ first_due_time | date }} on.",
                "{% if is_cheaper %}There is nothing that you have to do."
                "{% elif link_uri %}To opt out, pause or cancel before then: {{ link_uri }}"
                "{% else %}To opt out, cancel or change it in your account before then.{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE_WITHDRAWN: KindWords(
            "No new price: {{ product_title }}",
            (
                "We announced a new price for {{ product_title }} in {{ title }}"
                '{% if others %} ({{ others | plural(other="and # more") }}){% endif %}.',
                "That is taken back: it stays at {{ previous_amount }} an order.",
            ),
        ),
        NoticeKind.PRICE_PROTECTION_ENDING: KindWords(
            "Your price for {{ title }} is kept until {{ first_due_time | date }}",
            (
                "The prices that we keep for you in {{ title }} apply to the orders before "
                "{{ first_due_time | date }}.",
                "From then on you pay the price of the day. We will tell you before each order.",
            ),
        ),
        NoticeKind.PROMOTION_ENDING: KindWords(
            "Your promotion for {{ title }} ends",
            (
                "{{ promotion_title }} for {{ title }} ends before your order of {{ first_due_time | date }}.",
                "{% if amount %}That one and those after it cost {{ amount }}{% if previous_amount %}"
                ", not {{ previous_amount }}{% endif %}, as things are.{% else %}"
                "From that one on, nothing is taken off.{% endif %}",
                "{% if link_uri %}To opt out, pause or cancel before then: {{ link_uri }}{% else %}"
                "To opt out, cancel or change it in your account before then.{% endif %}",
            ),
        ),
        NoticeKind.MONTHLY_SUMMARY: KindWords(
            "Summary of {{ month | month }}",
            (
                "Summary of {{ month | month }}: "
                "{% if totals %}{% for total in totals %}{% if total.order_count %}"
                "you paid {{ total.paid_amount }} for "
                '{{ total.order_count | plural(one="# order", other="# orders") }}'
                "{% if total.saved_amount %} (saved: {{ total.saved_amount }}){% endif %}{% endif %}"
                "{% if total.refund_amount %}{% if total.order_count %}; {% endif %}"
                "refunded: {{ total.refund_amount }}{% endif %}{% if not loop.last %}; {% endif %}"
                "{% endfor %}{% else %}nothing was paid{% endif %}.",
                "{% if skip_count %}Left out: "
                '{{ skip_count | plural(one="# order", other="# orders") }}.{% endif %}',
                "{% if has_more %}Your account shows the rest.{% endif %}",
                "{% if next_due_time %}Next: {{ next_title }} on {{ next_due_time | date }}"
                "{% if next_more %} ("
                '{{ next_more | plural(other="and # more") }}'
                "){% endif %}.{% endif %}",
            ),
        ),
        NoticeKind.REFUND: KindWords(
            "Refund: {{ title }}",
            (
                "We refunded {% if is_part %}{{ refund_amount }} of {% endif %}"
                "your payment of {{ paid_amount }} for {{ title }}.",
                "{% if credit_is_all %}It is your credit now, for the next orders."
                "{% else %}{% if credit %}{{ credit }} of it is your credit now. {% endif %}"
                "It can take a few days until your account shows it.{% endif %}",
            ),
        ),
        NoticeKind.DOCUMENT_ISSUED: KindWords(
            '{% if document_type == "INVOICE" %}Invoice'
            '{% elif document_type == "RECEIPT" %}Receipt'
            '{% elif document_type == "CREDIT_NOTE" %}Credit note'
            '{% elif document_type == "DEBIT_NOTE" %}Debit note{% else %}Document'
            "{% endif %}"
            " {{ number }}",
            (
                '{% if document_type == "INVOICE" %}Invoice'
                '{% elif document_type == "RECEIPT" %}Receipt'
                '{% elif document_type == "CREDIT_NOTE" %}Credit note'
                '{% elif document_type == "DEBIT_NOTE" %}Debit note{% else %}Document'
                "{% endif %}"
                " {{ number }} for {{ title }}: {{ amount }}.",
                "{% if attached %}It is attached as a PDF file."
                "{% else %}The file is too large for an e-mail: you find it in your account."
                "{% endif %}",
            ),
        ),
        NoticeKind.DISPUTE_OPENED: KindWords(
            "You dispute a payment: {{ title }}",
            (
                "{% if inquiry %}Your bank asks us about {% else %}Your bank tells us that you dispute "
                "{% endif %}{% if is_part %}{{ dispute_amount }} of {% endif %}"
                "your payment of {{ paid_amount }} for {{ title }}.",
                "{% if paused %}Until that is over, we charge nothing more under your consent."
                "{% else %}Your orders go on meanwhile.{% endif %}",
                "If it is a mistake, please tell your bank.",
            ),
        ),
        NoticeKind.DISPUTE_CLOSED: KindWords(
            "{% if won %}Your payment stands{% elif late_failure %}Sent back by your bank"
            "{% else %}Given back by your bank{% endif %}: {{ title }}",
            (
                "{% if won %}You disputed {% elif late_failure %}Your bank sent "
                "{% else %}Your bank gave back {% endif %}"
                "{% if is_part %}{{ dispute_amount }} of {% endif %}"
                "your payment of {{ paid_amount }} for {{ title }}"
                "{% if won %}. That is over, and the payment stands."
                "{% elif late_failure %} back to you: it is not paid. Please contact us."
                "{% else %}.{% endif %}",
                "{% if paused %}We charge nothing more under your consent until you allow it again."
                "{% else %}Your orders go on.{% endif %}",
            ),
        ),
    },
    reasons={
        "SKIPPED_BY_CUSTOMER": "you asked to leave it out",
        "PAUSED": "the standing order is paused",
        "MISSED": "the date passed while we could not act",
        "DATE_EXCLUDED": "its date is one that you left out",
        "PRODUCT_UNAVAILABLE": "a product is not sold any more",
        "PRICE_UNAVAILABLE": "a product has no price",
        "OUT_OF_STOCK": "a product is out of stock",
        "PHONE_NOT_BOUND": "your phone is not confirmed",
        "MANDATE_NOT_COVERING": "your consent to be charged does not cover it",
        "NOTICE_UNDELIVERABLE": "we could not reach you to announce it",
        "PAYMENT_REFUSED": "the payment was not allowed",
        "PAYMENT_DECLINED": "the payment was declined",
        "PAYMENT_REQUEST_EXPIRED": "the payment was not confirmed in time",
        "STANDING_ORDER_CANCELLED": "the standing order is cancelled",
        "CONDITION_NOT_MET": "a condition that you set does not hold",
        "HOLD_EXPIRED": "what it waited for was not put right in time",
        "PURCHASED_ELSEWHERE": "you bought a product of it elsewhere",
        "PREVIOUS_UNPAID": "the order before it is not paid",
        "PAYMENT_NOT_MADE": "the payment could not be made in time",
        "PAYMENT_METHOD_BLOCKED": "its card was declined for good",
        "TAX_UNAVAILABLE": "its taxes are not known yet",
        "NO_SLOT": "no slot is free on its day",
        "PAID_LATE": "it was paid after it had ended",
        "MANDATE_NOT_FOUND": "your consent to be charged is not known",
        "MANDATE_REVOKED": "your consent to be charged is withdrawn",
        "MANDATE_NOT_YET_VALID": "your consent to be charged is not valid yet",
        "MANDATE_EXPIRED": "your consent to be charged has expired",
        "ABOVE_CHARGE_CEILING": "it is above what you agreed to for one payment",
        "ABOVE_MONTH_CEILING": "it is above what you agreed to for a month",
        "CURRENCY_MISMATCH": "your consent to be charged is in another currency",
        "MANDATE_LAPSED": "your consent to be charged was not used for too long",
        "MANDATE_WITHOUT_END": "your consent to be charged has no last day, and needs one",
        "MANDATE_PENDING": "your consent to be charged is not confirmed yet",
        "MANDATE_DISPUTED": "a payment was disputed at your bank",
        "MANDATE_PAUSED": "your consent to be charged is paused",
        "INSUFFICIENT_FUNDS": "there was not enough money",
        "CARD_LIMIT_REACHED": "the card has reached its limit",
        "CARD_EXPIRED": "the card has expired",
        "BANK_CONFIRMATION_NEEDED": "your bank wants you to confirm it",
    },
    reason_unknown="your account says why",
)
