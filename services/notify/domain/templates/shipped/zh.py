"""Chinese in simplified characters."""

from services.notify.domain.notices import NoticeKind
from services.notify.domain.templates.shipped.words import KindWords, Words

_CARD = "{% if last4 %}您尾号 {{ last4 }} 的 {{ brand }} 卡{% else %}您的付款方式{% endif %}"
_CHANGED = (
    '{% if change == "CREATED" %}已设立{% elif change == "PAUSED" %}已暂停'
    '{% elif change == "RESUMED" %}已恢复{% elif change == "CANCELLED" %}已取消'
    '{% elif change == "COMPLETED" %}已完成{% else %}有变更{% endif %}'
)
_SUBSTITUTE = (
    "{% if substitute %}其中以{{ substitute.title }}代替{{ substitute.replaced }}"
    '{% if substitutes_more %}（{{ substitutes_more | plural(other="另有 # 项") }}）{% endif %}。{% endif %}'
)

WORDS = Words(
    sender_sms="{% if merchant %}【{{ merchant }}】{% endif %}",
    greeting_sms="{% if name %}{{ name }}，您好！{% endif %}",
    greeting_email="{% if name %}{{ name }}，您好！{% else %}您好！{% endif %}",
    reference="编号 {{ reference }}",
    complaints="投诉：{{ complaint_address }}",
    line=(
        "{{ line.quantity }} x {{ line.title }}"
        "{% if line.replaced %}（代替{{ line.replaced }}）{% endif %}：{{ line.amount }}"
        "{% for off in line.promotions %}（{{ off.title }}：{{ off.amount }}）{% endfor %}"
    ),
    tax=(
        "{{ tax.title }} {{ tax.rate_ppm | percent }}%"
        '{% if tax.not_charged == "REVERSE_CHARGE" %}：反向征收，由客户申报'
        '{% elif tax.not_charged == "EXEMPT" %}：免税'
        "{% elif tax.not_charged %}：不收取"
        "{% else %}，已含：{{ tax.amount }}{% endif %}"
    ),
    digest_subject="您的订单动态",
    digest_more='{% if more %}{{ more | plural(other="另有 # 条，请查看账户。") }}{% endif %}',
    reply_hint="回复{acts}或{stop}（不再收短信）。",
    reply_separator="、",
    kinds={
        NoticeKind.PHONE_CODE: KindWords(
            "您的验证码",
            (
                "{% if masked_phone %}{{ code }} 是您将消息改为发送到 {{ masked_phone }} 的验证码。"
                "{% else %}{{ code }} 是您验证此手机的验证码。{% endif %}",
                '有效期 {{ minutes | plural(other="# 分钟") }}。',
                "请勿告诉任何人。如非您本人操作，请忽略。",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_CHANGED: KindWords(
            "您的手机号已更改",
            (
                "{% if masked_phone %}您的订单消息今后发送到 {{ masked_phone }}，不再发送到此手机。"
                "{% else %}您的订单消息不再发送到此手机。{% endif %}",
                "如果不是您更改的，请立即联系商家。",
            ),
            greets=False,
        ),
        NoticeKind.EMAIL_LINK: KindWords(
            "请验证您的邮箱",
            (
                "请确认这是您的邮箱： {{ link_uri }}",
                '链接在 {{ hours | plural(other="# 小时") }}内有效。',
                "如非您本人操作，请忽略。",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_LAPSED: KindWords(
            "请验证您的手机",
            (
                "您似乎已无法在 {{ masked_phone }} 收到消息。",
                "请在商家处重新验证您的手机。在此之前，您的订单将等待处理。",
            ),
        ),
        NoticeKind.PHONE_CHANGE_PENDING: KindWords(
            "您的手机号即将更改",
            (
                "自 {{ bind_time | date }} {{ bind_time | time }} 起，您的订单消息将发送到 "
                "{{ masked_phone }}，不再发送到此手机。",
                "如果不是您提出的，请在此之前联系商家停止更改。",
            ),
            greets=False,
        ),
        NoticeKind.REPLY: KindWords(
            "您的消息",
            (
                '{% if answer == "HELP" %}'
                "回复“[[SKIP]]”跳过下一单，“[[PAUSE]]”暂停定期订单，“[[PAY]]”确认付款，“[[STOP]]”不再接收短信。其他请"
                "到您的账户中操作。"
                '{% elif answer == "STOPPED" %}'
                "此手机将不再收到短信。您的定期订单仍然有效，可在您的账户中暂停或取消。回复“[[START]]”可恢"
                "复接收短信。"
                '{% elif answer == "STARTED" %}'
                "此手机将重新收到有关您订单的短信。回复“[[HELP]]”获取帮助，回复“[[STOP]]”停止接收。"
                '{% elif answer == "WHICH" %}'
                "请问是哪一个？{% for option in options %}{{ option.number }}：{{ option.title }}"
                "{% if option.due_date %}（{{ option.due_date }}）{% endif %}；{% endfor %}"
                "请回复编号。"
                '{% elif answer == "SKIPPED" %}'
                "您的订单 {{ title }}{% if due_date %}（{{ due_date }}）{% endif %}已跳过，不会扣款。"
                '{% elif answer == "PAUSED" %}'
                "{{ title }} 已暂停：已通知的订单将取消。在您的账户中恢复之前，不会产生新订单。"
                '{% elif answer == "PAYING" %}'
                "谢谢。{{ title }} 的付款正在进行，稍后将发送收据。"
                '{% elif answer == "TOO_LATE" %}'
                "您的订单 {{ title }}{% if due_date %}（{{ due_date }}）{% endif %}"
                "已无法跳过：付款已开始，或订单已结束。"
                '{% elif answer == "NOT_ACTIVE" %}'
                "{{ title }} 未在进行中：已暂停或已结束。未作任何更改。"
                '{% elif answer == "NOT_PAYABLE" %}'
                "{{ title }} 已无需付款：已付款、已结束或正在扣款。"
                '{% elif answer == "METHOD_NEEDED" %}'
                "{{ title }} 无法这样付款：请在您的账户中选择付款方式。"
                '{% elif answer == "OUT_OF_STOCK" %}'
                "{{ title }} 已无法付款：商品缺货。"
                '{% elif answer == "NOTHING" and word == "PAY" %}'
                "您没有待确认的付款。"
                '{% elif answer == "NOTHING" %}'
                "您没有即将到来的订单。"
                "{% else %}"
                "抱歉，{{ title }} 未能处理。请到您的账户中操作。"
                "{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.ORDER_UPCOMING: KindWords(
            "即将到来：{{ title }}",
            (
                "您{% if is_late or moved_from %} {{ order_time | date }} {% endif %}"
                "的订单{{ title }}金额为 {{ amount }}"
                "{% if amount_changed %}（上次为 {{ previous_amount }}）{% endif %}。",
                "{% if moved_from %}因 {{ moved_from | day }} 已约满而改期。{% endif %}",
                _SUBSTITUTE,
                "{% if pay_on_notice %}我们最早将于 {{ charge_not_before }} 请您确认付款。"
                "{% else %}我们最早将于 {{ charge_not_before }} 扣款。{% endif %}",
                "{% if credit %}您的余额将支付{% if credit_pays_all %}全部"
                "{% else %}其中 {{ credit }}{% endif %}，除非您提前使用。{% endif %}",
                "{% if link_uri %}跳过、暂停或取消： {{ link_uri }}"
                "{% else %}在此之前，您可以在账户中跳过或更改。{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_REQUEST: KindWords(
            "请确认付款：{{ title }}",
            (
                "请于 {{ expire_time }} 前"
                "{% if link_uri %}{% else %}在账户中{% endif %}"
                "确认{{ title }}的付款 {{ amount }}"
                "{% if link_uri %}： {{ link_uri }} {% else %}。{% endif %}",
                "否则此订单将结束，不会扣款。",
            ),
        ),
        NoticeKind.PAYMENT_REMINDER: KindWords(
            "提醒：{{ title }}待付款",
            (
                "提醒：请于 {{ expire_time }} 前"
                "{% if link_uri %}{% else %}在账户中{% endif %}"
                "确认{{ title }}的付款 {{ amount }}"
                "{% if link_uri %}： {{ link_uri }} {% else %}。{% endif %}",
                "否则此订单将结束，不会扣款。",
            ),
        ),
        NoticeKind.PAYMENT_OVERDUE: KindWords(
            "未付款：{{ title }}",
            (
                "您的订单{{ title }}未付款即结束。",
                "如仍需要，请于 {{ expire_time }} 前"
                "{% if link_uri %}支付 {{ amount }}： {{ link_uri }} {% else %}在账户中支付 {{ amount }}。{% endif %}",
                "否则不会扣款。",
            ),
        ),
        NoticeKind.PAYMENT_ACTION_REQUIRED: KindWords(
            "您的银行请您确认：{{ title }}",
            (
                "您的银行请您于 {{ expire_time }} 前确认{{ title }}的付款 {{ amount }}："
                "{% if action_uri %} {{ action_uri }}{% else %}请在账户中确认{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.PAYMENT_DECLINED: KindWords(
            "付款被拒：{{ title }}",
            (
                "您为{{ title }}支付的 {{ amount }} 被拒绝{% if reasons %}：{{ reasons }}{% endif %}。",
                "{% if link_uri %}您可以换一张卡付款： {{ link_uri }}"
                "{% elif next_attempt_time %}我们将于 {{ next_attempt_time }} 再次尝试。"
                "如需更改，请在此之前办理。"
                "{% elif expire_time %}您可以在 {{ expire_time }} 前在账户中换一张卡付款。"
                "{% else %}请在账户中检查您的付款方式。{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_BLOCKED: KindWords(
            "请更换付款方式",
            (
                _CARD + "已被永久拒绝，我们不会再尝试。",
                "使用它的订单无法付款。",
                "请在账户中为您的定期订单添加其他付款方式，或咨询您的银行。",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_EXPIRING: KindWords(
            "您的付款方式即将到期",
            (
                _CARD + "有效期至 {{ month | month }}底。",
                "请在此之前在账户中更换。",
                "您的定期订单将使用新的付款方式继续。",
            ),
        ),
        NoticeKind.RECEIPT: KindWords(
            "收据：{{ title }}",
            (
                "您已于 {{ pay_time }} 为{{ title }}支付 {{ amount }}"
                "{% if tax_amount %}（含税 {{ tax_amount }}）{% endif %}。谢谢。",
                "{% if credit_pays_all %}全部由您的余额支付。"
                "{% elif credit %}余额支付 {{ credit }}，扣款 {{ charged_amount }}。{% endif %}",
                _SUBSTITUTE,
                "{% if next_due_time %}下一次订单为 {{ next_due_time }}"
                "{% if link_uri %}。暂停或取消： {{ link_uri }}"
                "{% else %}，可在账户中更改、跳过或取消。{% endif %}"
                "{% elif paused %}定期订单已暂停：恢复之前不会有新订单。"
                "{% else %}这是最后一次订单。{% endif %}",
            ),
        ),
        NoticeKind.ORDER_SKIPPED: KindWords(
            "已跳过：{{ title }}",
            (
                "{% if last_due_time %}您 {{ due_time }} 至 {{ last_due_time }} 的 "
                '{{ order_count | plural(other="# 个订单") }}{{ title }}'
                "{% else %}您 {{ due_time }} 的订单{{ title }}{% endif %}"
                "已跳过：{{ reasons }}。",
                "不会扣款。",
            ),
        ),
        NoticeKind.ORDER_HELD: KindWords(
            "暂缓：{{ title }}",
            (
                "您 {{ due_time }} 的订单{{ title }}暂缓处理：{{ reasons }}。",
                "{% if customer_decides %}还需要吗？"
                "{% if link_uri %}确认或跳过： {{ link_uri }} {% else %}请在账户中确认。{% endif %}"
                "{% elif customer_acts %}请在账户中处理。"
                "{% else %}我们会自行再次检查。{% endif %}期间不会扣款。",
                "{% if link_uri and not customer_decides %}跳过、暂停或取消： {{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ORDER_LAPSED: KindWords(
            "未下单：{{ title }}",
            (
                "您 {{ due_time }} 的订单{{ title }}未付款即结束：{{ reasons }}。",
                "没有扣款。",
            ),
        ),
        NoticeKind.ORDER_CANCELLED: KindWords(
            "已取消：{{ title }}",
            (
                "您 {{ due_time }} 的订单{{ title }}已取消，因为其定期订单已"
                "{% if by_pause %}暂停{% else %}取消{% endif %}。",
                "不会扣款。",
            ),
        ),
        NoticeKind.STANDING_ORDER_CHANGED: KindWords(
            "您的定期订单{{ title }}" + _CHANGED,
            (
                "您的定期订单{{ title }}"
                + _CHANGED
                + "{% if reasons %}：{{ reasons }}{% endif %}。"
                "{% if goes_on and next_due_time %}下一次订单为 {{ next_due_time }}。{% endif %}",
                "{% if resume_time %}在 {{ resume_time }} 之前不会有新订单，除非您提前恢复。"
                '{% elif change == "CREATED" %}每次下单前我们都会通知您。可在账户中暂停或取消。'
                '{% elif change == "PAUSED" %}在您{% if not link_uri %}于账户中{% endif %}恢复之前不会有新订单。'
                '{% elif change == "RESUMED" %}每次下单前我们都会通知您。'
                '{% elif change == "CANCELLED" %}不会再有订单。'
                '{% elif change == "COMPLETED" %}不会再有订单。谢谢。'
                "{% else %}详情请见您的账户。{% endif %}",
                "{% if link_uri %}恢复或取消： {{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ITEM_DISCONTINUED: KindWords(
            "已停售：{{ product_title }}",
            (
                "您的定期订单{{ title }}中的{{ product_title }}已停售。",
                "{% if substitute_title %}按照约定，今后将为您改送{{ substitute_title }}。"
                "我们会事先告知价格。"
                "{% else %}请在账户中另选商品。{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE: KindWords(
            "价格调整：{{ product_title }}",
            (
                "自 {{ first_due_time | date }} 起，{{ title }}"
                '{% if others %}（{{ others | plural(other="及另外 # 个") }}）{% endif %}'
                "中的{{ product_title }}每次 {{ amount }}，不再是 {{ previous_amount }}。",
                "{% if is_cheaper %}您无需任何操作。"
                "{% elif link_uri %}如不同意，请在此之前暂停或取消： {{ link_uri }}"
                "{% else %}如不同意，请在此之前在账户中取消或更改。{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE_WITHDRAWN: KindWords(
            "价格不变：{{ product_title }}",
            (
                "我们曾通知您{{ title }}"
                '{% if others %}（{{ others | plural(other="及另外 # 个") }}）{% endif %}'
                "中的{{ product_title }}将调价。",
                "现已撤回：仍为每次 {{ previous_amount }}。",
            ),
        ),
        NoticeKind.PRICE_PROTECTION_ENDING: KindWords(
            "{{ title }}的价格保留至 {{ first_due_time | date }}",
            (
                "我们为您在{{ title }}中保留的价格适用于 {{ first_due_time | date }} 之前的订单。",
                "此后按当日价格付款。每次下单前我们都会通知您。",
            ),
        ),
        NoticeKind.PROMOTION_ENDING: KindWords(
            "{{ title }}的优惠即将结束",
            (
                "{{ title }}的优惠{{ promotion_title }}在 {{ first_due_time | date }} 的订单之前结束。",
                "{% if amount %}按目前价格，该订单及之后每次为 {{ amount }}{% if previous_amount %}"
                "，而不是 {{ previous_amount }}{% endif %}。{% else %}从该订单起不再优惠。{% endif %}",
                "{% if link_uri %}如需在此之前暂停或取消： {{ link_uri }}{% else %}您可以在此之前在账户中取消或更改。{% endif %}",
            ),
        ),
        NoticeKind.MONTHLY_SUMMARY: KindWords(
            "{{ month | month }}小结",
            (
                "{{ month | month }}小结："
                "{% if totals %}{% for total in totals %}{% if total.order_count %}"
                '{{ total.order_count | plural(other="# 个订单") }}，共付款 {{ total.paid_amount }}'
                "{% if total.saved_amount %}（节省 {{ total.saved_amount }}）{% endif %}{% endif %}"
                "{% if total.refund_amount %}{% if total.order_count %}；{% endif %}"
                "已退还 {{ total.refund_amount }}{% endif %}{% if not loop.last %}；{% endif %}"
                "{% endfor %}{% else %}没有付款{% endif %}。",
                "{% if skip_count %}已跳过 "
                '{{ skip_count | plural(other="# 个订单") }}。{% endif %}',
                "{% if has_more %}其余请查看账户。{% endif %}",
                "{% if next_due_time %}下一个：{{ next_title }}，{{ next_due_time | date }}"
                "{% if next_more %}（"
                '{{ next_more | plural(other="另有 # 个") }}'
                "）{% endif %}。{% endif %}",
            ),
        ),
        NoticeKind.REFUND: KindWords(
            "退款：{{ title }}",
            (
                "{% if is_part %}您为{{ title }}支付的 {{ paid_amount }} 中，我们已退还 {{ refund_amount }}。"
                "{% else %}我们已退还您为{{ title }}支付的 {{ paid_amount }}。{% endif %}",
                "{% if credit_is_all %}该金额现为您的余额，可用于之后的订单。"
                "{% else %}{% if credit %}其中 {{ credit }} 现为您的余额。{% endif %}"
                "款项可能需要几天才会到账。{% endif %}",
            ),
        ),
        NoticeKind.DOCUMENT_ISSUED: KindWords(
            '{% if document_type == "INVOICE" %}发票'
            '{% elif document_type == "RECEIPT" %}收据'
            '{% elif document_type == "CREDIT_NOTE" %}贷记单'
            '{% elif document_type == "DEBIT_NOTE" %}借记单{% else %}单据{% endif %}'
            " {{ number }}",
            (
                '{% if document_type == "INVOICE" %}发票'
                '{% elif document_type == "RECEIPT" %}收据'
                '{% elif document_type == "CREDIT_NOTE" %}贷记单'
                '{% elif document_type == "DEBIT_NOTE" %}借记单{% else %}单据{% endif %}'
                " {{ number }}（{{ title }}）：{{ amount }}。",
                "{% if attached %}PDF 文件见附件。{% else %}文件太大，无法通过邮件发送：请在您的账户中查看。{% endif %}",
            ),
        ),
        NoticeKind.DISPUTE_OPENED: KindWords(
            "您对付款提出异议：{{ title }}",
            (
                "{% if inquiry %}您的银行向我们查询{% else %}您的银行通知我们，您对以下付款提出异议："
                "{% endif %}您为{{ title }}支付的 {{ paid_amount }}"
                "{% if is_part %}中的 {{ dispute_amount }}{% endif %}。",
                "{% if paused %}结案之前，我们不会再凭您的授权扣款。"
                "{% else %}期间您的订单照常进行。{% endif %}",
                "如有误会，请告知您的银行。",
            ),
        ),
        NoticeKind.DISPUTE_CLOSED: KindWords(
            "{% if won %}您的付款有效{% elif late_failure %}被您的银行退回"
            "{% else %}您的银行已退款{% endif %}：{{ title }}",
            (
                "{% if won %}您曾对{% else %}您的银行已退还{% endif %}"
                "您为{{ title }}支付的 {{ paid_amount }}"
                "{% if is_part %}中的 {{ dispute_amount }}{% endif %}"
                "{% if won %}提出异议。现已结案，付款有效。"
                "{% elif late_failure %}：该款项尚未支付，请与我们联系。"
                "{% else %}。{% endif %}",
                "{% if paused %}在您重新允许之前，我们不会再凭您的授权扣款。"
                "{% else %}您的订单照常进行。{% endif %}",
            ),
        ),
    },
    reasons={
        "SKIPPED_BY_CUSTOMER": "您要求跳过",
        "PAUSED": "定期订单已暂停",
        "MISSED": "日期已过而我们未能处理",
        "DATE_EXCLUDED": "这是您排除的日期",
        "PRODUCT_UNAVAILABLE": "有商品已停售",
        "PRICE_UNAVAILABLE": "有商品没有价格",
        "OUT_OF_STOCK": "有商品缺货",
        "PHONE_NOT_BOUND": "您的手机尚未验证",
        "MANDATE_NOT_COVERING": "您的扣款授权不足",
        "NOTICE_UNDELIVERABLE": "我们未能事先通知您",
        "PAYMENT_REFUSED": "付款不被允许",
        "PAYMENT_DECLINED": "付款被拒绝",
        "PAYMENT_REQUEST_EXPIRED": "付款未及时确认",
        "STANDING_ORDER_CANCELLED": "定期订单已取消",
        "CONDITION_NOT_MET": "不符合您设定的条件",
        "HOLD_EXPIRED": "所等待的事项未及时解决",
        "PURCHASED_ELSEWHERE": "您已在别处购买其中的商品",
        "PREVIOUS_UNPAID": "上一个订单尚未付款",
        "PAYMENT_NOT_MADE": "未能及时付款",
        "PAYMENT_METHOD_BLOCKED": "银行卡已被永久拒绝",
        "TAX_UNAVAILABLE": "税额尚未确定",
        "NO_SLOT": "当天没有空位",
        "PAID_LATE": "订单结束后才付款",
        "MANDATE_NOT_FOUND": "找不到您的扣款授权",
        "MANDATE_REVOKED": "您的扣款授权已撤回",
        "MANDATE_NOT_YET_VALID": "您的扣款授权尚未生效",
        "MANDATE_EXPIRED": "您的扣款授权已过期",
        "ABOVE_CHARGE_CEILING": "超过您同意的单次金额",
        "ABOVE_MONTH_CEILING": "超过您同意的每月金额",
        "CURRENCY_MISMATCH": "您的扣款授权是另一种货币",
        "MANDATE_LAPSED": "您的扣款授权太久未使用",
        "MANDATE_WITHOUT_END": "您的扣款授权需要设定截止日期",
        "MANDATE_PENDING": "您的扣款授权尚未确认",
        "MANDATE_DISPUTED": "有付款在您的银行被提出异议",
        "MANDATE_PAUSED": "您的扣款授权已暂停",
        "INSUFFICIENT_FUNDS": "余额不足",
        "CARD_LIMIT_REACHED": "该卡已达到限额",
        "CARD_EXPIRED": "该卡已过期",
        "BANK_CONFIRMATION_NEEDED": "您的银行需要您确认",
    },
    reason_unknown="原因请见您的账户",
)
