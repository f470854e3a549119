"""Arabic, which is written from right to left; it is addressed to whoever reads it, in the plural."""

from services.notify.domain.notices import NoticeKind
from services.notify.domain.templates.shipped.words import KindWords, Words

_CARD = "{% if last4 %}بطاقتكم {{ brand }} المنتهية بـ {{ last4 }}{% else %}وسيلة الدفع الخاصة بكم{% endif %}"
_MORE = '{{ %s | plural(one="وواحد آخر", two="واثنان آخران", few="و# أخرى", many="و# أخرى", other="و# أخرى") }}'
_CHANGED = (
    '{% if change == "CREATED" %}تم إعداده{% elif change == "PAUSED" %}متوقف مؤقتا'
    '{% elif change == "RESUMED" %}يعمل من جديد{% elif change == "CANCELLED" %}ملغى'
    '{% elif change == "COMPLETED" %}مكتمل{% else %}تغير{% endif %}'
)
_SUBSTITUTE = (
    "{% if substitute %}مع {{ substitute.title }} بدلا من {{ substitute.replaced }}"
    "{% if substitutes_more %} (" + _MORE % "substitutes_more" + "){% endif %}.{% endif %}"
)

WORDS = Words(
    # The mark has phones write the whole from right to left that take a Latin name for the first word.
    sender_sms="{% if merchant %}\u200f{{ merchant }}: {% endif %}",
    greeting_sms="{% if name %}مرحبا {{ name }}!{% endif %}",
    greeting_email="{% if name %}مرحبا {{ name }}،{% else %}مرحبا،{% endif %}",
    reference="رقم {{ reference }}",
    complaints="الشكاوى: {{ complaint_address }}",
    line=(
        "{{ line.quantity }} × {{ line.title }}"
        "{% if line.replaced %} (بدلا من {{ line.replaced }}){% endif %}: {{ line.amount }}"
        "{% for off in line.promotions %} ({{ off.title }}: {{ off.amount }}){% endfor %}"
    ),
    tax=(
        "{{ tax.title }} {{ tax.rate_ppm | percent }}%"
        '{% if tax.not_charged == "REVERSE_CHARGE" %}: احتساب عكسي، يسددها العميل'
        '{% elif tax.not_charged == "EXEMPT" %}: معفى'
        "{% elif tax.not_charged %}: غير محتسبة"
        "{% else %}، مشمولة: {{ tax.amount }}{% endif %}"
    ),
    digest_subject="مستجدات طلباتكم",
    digest_more='{% if more %}{{ more | plural(other="و# أخرى: انظروا حسابكم.") }}{% endif %}',
    reply_hint="للرد: {acts} أو {stop} (لا رسائل).",
    reply_separator="، ",
    kinds={
        NoticeKind.PHONE_CODE: KindWords(
            "رمزكم",
            (
                "{% if masked_phone %}{{ code }} هو رمزكم لتصل الرسائل إلى {{ masked_phone }} "
                "بدلا من هذا الهاتف."
                "{% else %}{{ code }} هو رمزكم لتأكيد هذا الهاتف.{% endif %}",
                '{{ minutes | plural(one="صالح لمدة دقيقة", two="صالح لمدة دقيقتين", '
                'few="صالح لمدة # دقائق", many="صالح لمدة # دقيقة", other="صالح لمدة # دقيقة") }}.',
                "لا تخبروا به أحدا. إن لم تطلبوه فلا حاجة إلى فعل شيء.",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_CHANGED: KindWords(
            "تم تغيير هاتفكم",
            (
                "{% if masked_phone %}الرسائل المتعلقة بطلباتكم تصل الآن إلى {{ masked_phone }} "
                "وليس إلى هذا الهاتف."
                "{% else %}لم تعد الرسائل المتعلقة بطلباتكم تصل إلى هذا الهاتف.{% endif %}",
                "إن لم تغيروه أنتم فأبلغوا المتجر فورا.",
            ),
            greets=False,
        ),
        NoticeKind.EMAIL_LINK: KindWords(
            "يرجى تأكيد بريدكم الإلكتروني",
            (
                "يرجى تأكيد أن هذا بريدكم الإلكتروني: {{ link_uri }}",
                '{{ hours | plural(one="الرابط صالح لمدة ساعة", two="الرابط صالح لمدة ساعتين", '
                'few="الرابط صالح لمدة # ساعات", '
                'many="الرابط صالح لمدة # ساعة", other="الرابط صالح لمدة # ساعة") }}.',
                "إن لم تطلبوه فلا حاجة إلى فعل شيء.",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_LAPSED: KindWords(
            "يرجى تأكيد هاتفكم",
            (
                "يبدو أن الرسائل إلى {{ masked_phone }} لم تعد تصلكم.",
                "يرجى تأكيد هاتفكم من جديد لدى المتجر. تنتظر طلباتكم حتى ذلك الحين.",
            ),
        ),
        NoticeKind.PHONE_CHANGE_PENDING: KindWords(
            "هاتفكم على وشك التغيير",
            (
                "ابتداء من {{ bind_time | date }}، {{ bind_time | time }} تصل الرسائل المتعلقة بطلباتكم إلى "
                "{{ masked_phone }} وليس إلى هذا الهاتف.",
                "إن لم تطلبوا ذلك فأبلغوا المتجر قبل ذلك: يمكنه إيقاف التغيير.",
            ),
            greets=False,
        ),
        NoticeKind.REPLY: KindWords(
            "رسالتكم",
            (
                '{% if answer == "HELP" %}'
                "أرسلوا «[[SKIP]]» لتخطي الطلب القادم، «[[PAUSE]]» لتعليقه، «[[PAY]]» لتأكيد دفعة، «[[STOP]]» "
                "لعدم تلقي الرسائل. وما عدا ذلك في حسابكم."
                '{% elif answer == "STOPPED" %}'
                "لن تصلكم رسائل على هذا الهاتف بعد الآن. تستمر طلباتكم المتكررة: يمكنكم تعليقها أو "
                "إلغاؤها في حسابكم. أرسلوا «[[START]]» لتلقي الرسائل من جديد."
                '{% elif answer == "STARTED" %}'
                "تصل الرسائل عن طلباتكم إلى هذا الهاتف من جديد. أرسلوا «[[HELP]]» للمساعدة، «[[STOP]]» "
                "لإيقافها."
                '{% elif answer == "WHICH" %}'
                "أي طلب؟ {% for option in options %}{{ option.number }}: {{ option.title }}"
                "{% if option.due_date %} ({{ option.due_date }}){% endif %}{% if not loop.last %}؛ "
                "{% endif %}{% endfor %}. أرسلوا رقمه."
                '{% elif answer == "SKIPPED" %}'
                "تم تخطي طلبكم {{ title }}{% if due_date %} بتاريخ {{ due_date }}{% endif %}. لن "
                "يخصم شيء مقابله."
                '{% elif answer == "PAUSED" %}'
                "تم تعليق {{ title }}: ألغي ما أعلن عنه، ولن يطلب شيء جديد حتى تستأنفوه في حسابكم."
                '{% elif answer == "PAYING" %}'
                "شكرا لكم. يجري الآن دفع {{ title }}، وسيصلكم إيصال."
                '{% elif answer == "TOO_LATE" %}'
                "لم يعد ممكنا تخطي طلبكم {{ title }}{% if due_date %} بتاريخ {{ due_date }}"
                "{% endif %}: لقد بدأ دفعه أو انتهى."
                '{% elif answer == "NOT_ACTIVE" %}'
                "{{ title }} غير نشط: معلق بالفعل أو منته. لم يتغير شيء."
                '{% elif answer == "NOT_PAYABLE" %}'
                "لم يعد هناك ما يدفع مقابل {{ title }}: مدفوع أو منته أو قيد الخصم الآن."
                '{% elif answer == "METHOD_NEEDED" %}'
                "لا يمكن دفع {{ title }} هكذا: يرجى اختيار وسيلة دفع في حسابكم."
                '{% elif answer == "OUT_OF_STOCK" %}'
                "لم يعد ممكنا دفع {{ title }}: نفد المخزون."
                '{% elif answer == "NOTHING" and word == "PAY" %}'
                "لا توجد دفعة بانتظار تأكيدكم."
                '{% elif answer == "NOTHING" %}'
                "لا يوجد طلب قادم لكم."
                "{% else %}"
                "عذرا، تعذر تنفيذ ذلك لطلب {{ title }}. يرجى استخدام حسابكم."
                "{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.ORDER_UPCOMING: KindWords(
            "قريبا: {{ title }}",
            (
                "طلبكم {{ title }}"
                "{% if is_late or moved_from %} بتاريخ {{ order_time | date }}{% endif %}"
                " قيمته {{ amount }}"
                "{% if amount_changed %} (كانت {{ previous_amount }} في المرة السابقة){% endif %}.",
                "{% if moved_from %}تم نقله من {{ moved_from | day }} لأنه محجوز بالكامل.{% endif %}",
                _SUBSTITUTE,
                "{% if pay_on_notice %}سنطلب منكم تأكيده في {{ charge_not_before }} أو بعده."
                "{% else %}سنخصم المبلغ في {{ charge_not_before }} أو بعده.{% endif %}",
                "{% if credit %}يدفع رصيدكم {% if credit_pays_all %}المبلغ كله"
                "{% else %}{{ credit }} منه{% endif %} ما لم تستخدموه قبل ذلك.{% endif %}",
                "{% if link_uri %}للتخطي أو الإلغاء: {{ link_uri }}"
                "{% else %}يمكنكم تخطيه أو تغييره في حسابكم قبل ذلك.{% endif %}",
            ),
            sms_sentences=(
                "طلبكم {{ title }}"
                "{% if is_late or moved_from %} ليوم {{ order_time | day }}{% endif %}: {{ amount }}"
                "{% if amount_changed %} (سابقا {{ previous_amount }}){% endif %}.",
                "{% if moved_from %}نقل من {{ moved_from | day }} لأنه ممتلئ.{% endif %}",
                _SUBSTITUTE,
                "{% if pay_on_notice %}سنطلب تأكيدكم {% else %}موعد الخصم {% endif %}"
                "{{ charge_not_before }} أو بعده.",
                "{% if credit %}يدفع رصيدكم {% if credit_pays_all %}المبلغ كله"
                "{% else %}{{ credit }} منه{% endif %} ما لم تستخدموه قبل ذلك.{% endif %}",
                "{% if link_uri %}{% if reply_hint %}الخيارات{% else %}للتخطي أو الإلغاء{% endif %}: "
                "{{ link_uri }}{% else %}للتخطي أو التغيير: حسابكم.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_REQUEST: KindWords(
            "يرجى تأكيد الدفع: {{ title }}",
            (
                "يرجى تأكيد دفع {{ amount }} مقابل {{ title }} قبل {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} في حسابكم.{% endif %}",
                "وإلا ينتهي هذا الطلب ولا يخصم شيء.",
            ),
            sms_sentences=(
                "يرجى تأكيد دفع {{ amount }} مقابل {{ title }} قبل {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} في حسابكم.{% endif %}",
                "وإلا فلا خصم.",
            ),
        ),
        NoticeKind.PAYMENT_REMINDER: KindWords(
            "تذكير بالدفع: {{ title }}",
            (
                "تذكير: أكدوا دفع {{ amount }} مقابل {{ title }} قبل {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} في حسابكم.{% endif %}",
                "وإلا ينتهي هذا الطلب ولا يخصم شيء.",
            ),
            sms_sentences=(
                "تذكير: أكدوا دفع {{ amount }} مقابل {{ title }} قبل {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} في حسابكم.{% endif %}",
                "وإلا فلا خصم.",
            ),
        ),
        NoticeKind.PAYMENT_OVERDUE: KindWords(
            "غير مدفوع: {{ title }}",
            (
                "انتهى طلبكم {{ title }} دون دفع.",
                "إن كنتم ما زلتم تريدونه فادفعوا {{ amount }} قبل {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} في حسابكم.{% endif %}",
                "وإلا فلا يخصم شيء.",
            ),
            sms_sentences=(
                "طلبكم {{ title }} غير مدفوع.",
                "إن أردتموه فادفعوا {{ amount }} قبل {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} في حسابكم.{% endif %}",
                "وإلا فلا خصم.",
            ),
        ),
        NoticeKind.PAYMENT_ACTION_REQUIRED: KindWords(
            "يطلب بنككم التأكيد: {{ title }}",
            (
                "يطلب بنككم تأكيد {{ amount }} مقابل {{ title }} قبل {{ expire_time }}: "
                "{% if action_uri %}{{ action_uri }}{% else %}في حسابكم{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.PAYMENT_DECLINED: KindWords(
            "رفض الدفع: {{ title }}",
            (
                "تم رفض دفع {{ amount }} مقابل {{ title }}{% if reasons %}: {{ reasons }}{% endif %}.",
                "{% if link_uri %}يمكنكم الدفع ببطاقة أخرى: {{ link_uri }}"
                "{% elif next_attempt_time %}سنحاول مرة أخرى في {{ next_attempt_time }}. "
                "إن لزم تغيير شيء فغيروه قبل ذلك."
                "{% elif expire_time %}يمكنكم الدفع ببطاقة أخرى في حسابكم قبل {{ expire_time }}."
                "{% else %}يرجى مراجعة وسيلة الدفع في حسابكم.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_BLOCKED: KindWords(
            "يرجى استبدال وسيلة الدفع",
            (
                "تم رفض " + _CARD + " نهائيا، ولن نحاول بها مجددا.",
                "لا يمكن دفع أي طلب يستخدمها.",
                "يرجى إضافة وسيلة أخرى في حسابكم لطلباتكم المتكررة أو سؤال بنككم.",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_EXPIRING: KindWords(
            "وسيلة الدفع ستنتهي قريبا",
            (
                _CARD + " صالحة حتى نهاية {{ month | month }}.",
                "يرجى استبدالها في حسابكم قبل ذلك.",
                "ستستمر طلباتكم المتكررة بالوسيلة الجديدة.",
            ),
        ),
        NoticeKind.RECEIPT: KindWords(
            "إيصال: {{ title }}",
            (
                "دفعتم {{ amount }}{% if tax_amount %} (منها ضريبة {{ tax_amount }}){% endif %}"
                " مقابل {{ title }} في {{ pay_time }}. شكرا لكم.",
                "{% if credit_pays_all %}كله من رصيدكم."
                "{% elif credit %}{{ credit }} من رصيدكم، وخصم {{ charged_amount }}.{% endif %}",
                _SUBSTITUTE,
                "{% if next_due_time %}موعد الطلب التالي {{ next_due_time }}"
                "{% if link_uri %}. للإلغاء: {{ link_uri }}"
                "{% else %}؛ يمكنكم تغييره أو تخطيه أو إلغاؤه في حسابكم.{% endif %}"
                "{% elif paused %}الطلب المتكرر متوقف مؤقتا: لا طلبات حتى استئنافه."
                "{% else %}كان هذا آخر طلب.{% endif %}",
            ),
            sms_sentences=(
                "دفعتم {{ amount }}{% if tax_amount %} (منها ضريبة {{ tax_amount }}){% endif %}"
                " عن {{ title }} {{ pay_time | day }}. شكرا.",
                "{% if credit_pays_all %}كله من رصيدكم."
                "{% elif credit %}{{ credit }} من رصيدكم، وخصم {{ charged_amount }}.{% endif %}",
                _SUBSTITUTE,
                "{% if next_due_time %}التالي: {{ next_due_time | day }}"
                "{% if link_uri %}. للإلغاء: {{ link_uri }}"
                "{% else %}؛ لتغييره أو تخطيه أو إلغائه: حسابكم.{% endif %}"
                "{% elif paused %}الطلب المتكرر متوقف مؤقتا: لا طلبات حتى استئنافه."
                "{% else %}كان هذا آخر طلب.{% endif %}",
            ),
        ),
        NoticeKind.ORDER_SKIPPED: KindWords(
            "تم التخطي: {{ title }}",
            (
                "{% if last_due_time %}"
                'تم تخطي {{ order_count | plural(two="طلبيكم", few="طلباتكم الـ#", many="طلباتكم الـ#", '
                'other="طلباتكم الـ#") }} {{ title }} من {{ due_time }} إلى {{ last_due_time }}'
                "{% else %}تم تخطي طلبكم {{ title }} بتاريخ {{ due_time }}{% endif %}"
                ": {{ reasons }}.",
                "لا يخصم شيء مقابل ذلك.",
            ),
        ),
        NoticeKind.ORDER_HELD: KindWords(
            "قيد الانتظار: {{ title }}",
            (
                "طلبكم {{ title }} بتاريخ {{ due_time }} قيد الانتظار: {{ reasons }}.",
                "{% if customer_decides %}هل تريدونه؟ "
                "{% if link_uri %}أكدوه أو تخطوه: {{ link_uri }}"
                "{% else %}أكدوا ذلك في حسابكم.{% endif %}"
                "{% elif customer_acts %}يرجى معالجة الأمر في حسابكم."
                "{% else %}سنراجعه مجددا من تلقاء أنفسنا.{% endif %} لا يخصم شيء في الأثناء.",
                "{% if link_uri and not customer_decides %}للتخطي أو الإلغاء: "
                "{{ link_uri }}{% endif %}",
            ),
            sms_sentences=(
                "طلبكم {{ title }} بتاريخ {{ due_time | day }} قيد الانتظار: {{ reasons }}.",
                "{% if customer_decides %}هل تريدونه؟ "
                "{% if link_uri %}أكدوه أو تخطوه: {{ link_uri }}"
                "{% else %}أكدوا ذلك في حسابكم.{% endif %}"
                "{% elif customer_acts %}يرجى معالجة الأمر في حسابكم."
                "{% else %}سنراجعه مجددا.{% endif %} لا خصم في الأثناء.",
                "{% if link_uri and not customer_decides %}للتخطي أو الإلغاء: "
                "{{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ORDER_LAPSED: KindWords(
            "لم يتم الطلب: {{ title }}",
            (
                "انتهى طلبكم {{ title }} بتاريخ {{ due_time }} دون دفع: {{ reasons }}.",
                "لم يخصم شيء مقابله.",
            ),
        ),
        NoticeKind.ORDER_CANCELLED: KindWords(
            "ملغى: {{ title }}",
            (
                "ألغي طلبكم {{ title }} بتاريخ {{ due_time }} لأن طلبه المتكرر "
                "{% if by_pause %}متوقف مؤقتا{% else %}ملغى{% endif %}.",
                "لا يخصم شيء مقابله.",
            ),
        ),
        NoticeKind.STANDING_ORDER_CHANGED: KindWords(
            "طلبكم المتكرر {{ title }} " + _CHANGED,
            (
                "طلبكم المتكرر {{ title }} "
                + _CHANGED
                + "{% if reasons %}: {{ reasons }}{% endif %}."
                "{% if goes_on and next_due_time %} موعد الطلب التالي {{ next_due_time }}.{% endif %}",
                "{% if resume_time %}لا يطلب شيء جديد حتى {{ resume_time }} إلا إذا استأنفتموه قبل ذلك."
                '{% elif change == "CREATED" %}سنخبركم قبل كل طلب. '
                "يمكنكم إيقافه مؤقتا أو إلغاؤه في حسابكم."
                '{% elif change == "PAUSED" %}لا يطلب شيء جديد حتى تستأنفوه'
                "{% if not link_uri %} في حسابكم{% endif %}."
                '{% elif change == "RESUMED" %}سنخبركم قبل كل طلب.'
                '{% elif change == "CANCELLED" %}لن تكون هناك طلبات أخرى.'
                '{% elif change == "COMPLETED" %}لن تكون هناك طلبات أخرى. شكرا لكم.'
                "{% else %}يعرض حسابكم الجديد.{% endif %}",
                "{% if link_uri %}للاستئناف أو الإلغاء: {{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ITEM_DISCONTINUED: KindWords(
            "لم يعد يباع: {{ product_title }}",
            (
                "{{ product_title }} في طلبكم المتكرر {{ title }} لم يعد يباع.",
                "{% if substitute_title %}من الآن تحصلون بدلا منه على {{ substitute_title }} كما وافقتم. "
                "سنخبركم بسعره مسبقا."
                "{% else %}يرجى اختيار شيء آخر في حسابكم.{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE: KindWords(
            "سعر جديد: {{ product_title }}",
            (
                "سيصبح سعر {{ product_title }} في {{ title }}"
                "{% if others %} (" + _MORE % "others" + "){% endif %}"
                " {{ amount }} لكل طلب بدلا من {{ previous_amount }} ابتداء من "
                "{{ first_due_time | date }}.",
                "{% if is_cheaper %}لا حاجة إلى فعل شيء."
                "{% elif link_uri %}إن لم يناسبكم: {{ link_uri }}"
                "{% else %}إن لم يناسبكم فألغوه أو غيروه في حسابكم قبل ذلك.{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE_WITHDRAWN: KindWords(
            "لا سعر جديد: {{ product_title }}",
            (
                "أخبرناكم بسعر جديد لـ {{ product_title }} في {{ title }}"
                "{% if others %} (" + _MORE % "others" + "){% endif %}.",
                "تم سحب ذلك: يبقى السعر {{ previous_amount }} لكل طلب.",
            ),
        ),
        NoticeKind.PRICE_PROTECTION_ENDING: KindWords(
            "سعر {{ title }} محفوظ حتى {{ first_due_time | date }}",
            (
                "الأسعار التي نحفظها لكم في {{ title }} تسري على الطلبات قبل {{ first_due_time | date }}.",
                "بعد ذلك تدفعون سعر اليوم. سنخبركم قبل كل طلب.",
            ),
        ),
        NoticeKind.PROMOTION_ENDING: KindWords(
            "ينتهي العرض على {{ title }}",
            (
                "ينتهي العرض {{ promotion_title }} على {{ title }} قبل طلبكم بتاريخ {{ first_due_time | date }}.",
                "{% if amount %}هذا الطلب وما بعده بسعر {{ amount }}{% if previous_amount %}"
                " بدلا من {{ previous_amount }}{% endif %} حسب أسعار اليوم.{% else %}"
                "ابتداء منه لا يخصم شيء من السعر.{% endif %}",
                "{% if link_uri %}للإيقاف أو الإلغاء قبل ذلك: {{ link_uri }}{% else %}"
                "يمكنكم إلغاؤه أو تغييره قبل ذلك في حسابكم.{% endif %}",
            ),
            sms_sentences=(
                "ينتهي العرض {{ promotion_title }} على {{ title }} قبل طلب {{ first_due_time | date }}.",
                "{% if amount %}سعره {{ amount }}{% if previous_amount %}"
                " بدلا من {{ previous_amount }}{% endif %} حسب أسعار اليوم.{% else %}"
                "ابتداء منه لا يخصم شيء من السعر.{% endif %}",
                "{% if link_uri %}للإيقاف أو الإلغاء: {{ link_uri }}{% else %}"
                "يمكنكم إلغاؤه أو تغييره قبل ذلك في حسابكم.{% endif %}",
            ),
        ),
        NoticeKind.MONTHLY_SUMMARY: KindWords(
            "ملخص {{ month | month }}",
            (
                "ملخص {{ month | month }}: "
                "{% if totals %}{% for total in totals %}{% if total.order_count %}"
                "دفعتم {{ total.paid_amount }} مقابل "
                '{{ total.order_count | plural(one="طلب واحد", two="طلبين", few="# طلبات", '
                'many="# طلبا", other="# طلب") }}'
                "{% if total.saved_amount %} (وفرتم {{ total.saved_amount }}){% endif %}{% endif %}"
                "{% if total.refund_amount %}{% if total.order_count %}؛ {% endif %}"
                "أعيد إليكم {{ total.refund_amount }}{% endif %}{% if not loop.last %}؛ {% endif %}"
                "{% endfor %}{% else %}لم يدفع شيء{% endif %}.",
                "{% if skip_count %}تم تخطي "
                '{{ skip_count | plural(one="طلب واحد", two="طلبين", few="# طلبات", '
                'many="# طلبا", other="# طلب") }}.{% endif %}',
                "{% if has_more %}الباقي في حسابكم.{% endif %}",
                "{% if next_due_time %}التالي: {{ next_title }} في {{ next_due_time | date }}"
                "{% if next_more %} (" + _MORE % "next_more" + "){% endif %}.{% endif %}",
            ),
        ),
        NoticeKind.REFUND: KindWords(
            "استرداد: {{ title }}",
            (
                "أعدنا إليكم {% if is_part %}{{ refund_amount }} من {% endif %}"
                "المبلغ المدفوع {{ paid_amount }} مقابل {{ title }}.",
                "{% if credit_is_all %}أصبح رصيدا لكم للطلبات التالية."
                "{% else %}{% if credit %}أصبح {{ credit }} منه رصيدا لكم. {% endif %}"
                "قد يستغرق ظهوره في حسابكم بضعة أيام.{% endif %}",
            ),
        ),
        NoticeKind.DOCUMENT_ISSUED: KindWords(
            '{% if document_type == "INVOICE" %}فاتورة'
            '{% elif document_type == "RECEIPT" %}إيصال'
            '{% elif document_type == "CREDIT_NOTE" %}إشعار دائن'
            '{% elif document_type == "DEBIT_NOTE" %}إشعار مدين{% else %}مستند'
            "{% endif %}"
            " {{ number }}",
            (
                '{% if document_type == "INVOICE" %}فاتورة'
                '{% elif document_type == "RECEIPT" %}إيصال'
                '{% elif document_type == "CREDIT_NOTE" %}إشعار دائن'
                '{% elif document_type == "DEBIT_NOTE" %}إشعار مدين{% else %}مستند'
                "{% endif %}"
                " {{ number }} عن {{ title }}: {{ amount }}.",
                "{% if attached %}تجدون المستند مرفقا بصيغة PDF."
                "{% else %}الملف أكبر من أن يرسل بالبريد الإلكتروني: تجدونه في حسابكم."
                "{% endif %}",
            ),
        ),
        NoticeKind.DISPUTE_OPENED: KindWords(
            "اعترضتم على دفعة: {{ title }}",
            (
                "{% if inquiry %}يستفسر بنككم منا عن {% else %}أبلغنا بنككم أنكم تعترضون على {% endif %}"
                "{% if is_part %}{{ dispute_amount }} من {% endif %}"
                "المبلغ المدفوع {{ paid_amount }} مقابل {{ title }}.",
                "{% if paused %}لن نخصم شيئا آخر بموجب تفويضكم حتى يحسم الأمر."
                "{% else %}تستمر طلباتكم في الأثناء.{% endif %}",
                "إن كان ذلك خطأ فأخبروا بنككم.",
            ),
        ),
        NoticeKind.DISPUTE_CLOSED: KindWords(
            "{% if won %}دفعتكم قائمة{% elif late_failure %}أعادها بنككم{% else %}ردها بنككم{% endif %}"
            ": {{ title }}",
            (
                "{% if won %}اعترضتم على {% else %}أعاد إليكم بنككم {% endif %}"
                "{% if is_part %}{{ dispute_amount }} من {% endif %}"
                "المبلغ المدفوع {{ paid_amount }} مقابل {{ title }}"
                "{% if won %}. حسم الأمر والدفعة قائمة."
                "{% elif late_failure %}: الطلب غير مدفوع. يرجى التواصل معنا."
                "{% else %}.{% endif %}",
                "{% if paused %}لن نخصم شيئا آخر بموجب تفويضكم حتى تسمحوا به من جديد."
                "{% else %}تستمر طلباتكم.{% endif %}",
            ),
        ),
    },
    reasons={
        "SKIPPED_BY_CUSTOMER": "طلبتم تخطيه",
        "PAUSED": "الطلب المتكرر متوقف مؤقتا",
        "MISSED": "مضى موعده دون أن نتمكن من التصرف",
        "DATE_EXCLUDED": "استبعدتم هذا التاريخ",
        "PRODUCT_UNAVAILABLE": "أحد المنتجات لم يعد يباع",
        "PRICE_UNAVAILABLE": "أحد المنتجات بلا سعر",
        "OUT_OF_STOCK": "أحد المنتجات غير متوفر",
        "PHONE_NOT_BOUND": "هاتفكم غير مؤكد",
        "MANDATE_NOT_COVERING": "تفويض الخصم لا يغطيه",
        "NOTICE_UNDELIVERABLE": "لم نتمكن من إبلاغكم به مسبقا",
        "PAYMENT_REFUSED": "الدفع غير مسموح به",
        "PAYMENT_DECLINED": "تم رفض الدفع",
        "PAYMENT_REQUEST_EXPIRED": "لم يؤكد الدفع في الوقت المحدد",
        "STANDING_ORDER_CANCELLED": "الطلب المتكرر ملغى",
        "CONDITION_NOT_MET": "شرط وضعتموه غير متحقق",
        "HOLD_EXPIRED": "لم يعالج سبب الانتظار في الوقت المحدد",
        "PURCHASED_ELSEWHERE": "اشتريتم أحد منتجاته من مكان آخر",
        "PREVIOUS_UNPAID": "الطلب السابق غير مدفوع",
        "PAYMENT_NOT_MADE": "تعذر الدفع في الوقت المحدد",
        "PAYMENT_METHOD_BLOCKED": "تم رفض بطاقته نهائيا",
        "TAX_UNAVAILABLE": "ضرائبه غير معروفة بعد",
        "NO_SLOT": "لا موعد متاح في يومه",
        "PAID_LATE": "تم دفعه بعد انتهائه",
        "MANDATE_NOT_FOUND": "تفويض الخصم غير معروف",
        "MANDATE_REVOKED": "تفويض الخصم مسحوب",
        "MANDATE_NOT_YET_VALID": "تفويض الخصم لم يسر بعد",
        "MANDATE_EXPIRED": "انتهى تفويض الخصم",
        "ABOVE_CHARGE_CEILING": "يتجاوز ما وافقتم عليه للدفعة الواحدة",
        "ABOVE_MONTH_CEILING": "يتجاوز ما وافقتم عليه للشهر",
        "CURRENCY_MISMATCH": "تفويض الخصم بعملة أخرى",
        "MANDATE_LAPSED": "لم يستخدم تفويض الخصم منذ مدة طويلة",
        "MANDATE_WITHOUT_END": "تفويض الخصم يحتاج إلى تاريخ انتهاء",
        "MANDATE_PENDING": "تفويض الخصم لم يؤكد بعد",
        "MANDATE_DISPUTED": "تم الاعتراض على دفعة لدى بنككم",
        "MANDATE_PAUSED": "تفويض الخصم متوقف مؤقتا",
        "INSUFFICIENT_FUNDS": "الرصيد لم يكن كافيا",
        "CARD_LIMIT_REACHED": "بلغت البطاقة حدها",
        "CARD_EXPIRED": "انتهت صلاحية البطاقة",
        "BANK_CONFIRMATION_NEEDED": "يطلب بنككم تأكيدكم",
    },
    reason_unknown="السبب مبين في حسابكم",
)
