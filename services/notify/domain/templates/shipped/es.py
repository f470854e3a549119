"""Spanish, with the formal address."""

from services.notify.domain.notices import NoticeKind
from services.notify.domain.templates.shipped.words import KindWords, Words

_CARD = "{% if last4 %}Su tarjeta {{ brand }} terminada en {{ last4 }}{% else %}Su medio de pago{% endif %}"
_MORE = '{{ %s | plural(other="y # más") }}'
_CHANGED = (
    '{% if change == "CREATED" %}está configurado{% elif change == "PAUSED" %}está en pausa'
    '{% elif change == "RESUMED" %}vuelve a estar activo{% elif change == "CANCELLED" %}está cancelado'
    '{% elif change == "COMPLETED" %}ha terminado{% else %}ha cambiado{% endif %}'
)
_SUBSTITUTE = (
    "{% if substitute %}Con {{ substitute.title }} en lugar de {{ substitute.replaced }}"
    "{% if substitutes_more %} (" + _MORE % "substitutes_more" + "){% endif %}.{% endif %}"
)

WORDS = Words(
    sender_sms="{% if merchant %}{{ merchant }}: {% endif %}",
    greeting_sms="{% if name %}Hola, {{ name }}.{% endif %}",
    greeting_email="{% if name %}Hola, {{ name }}:{% else %}Hola:{% endif %}",
    reference="Ref. {{ reference }}",
    complaints="Reclamaciones: {{ complaint_address }}",
    line=(
        "{{ line.quantity }} x {{ line.title }}"
        "{% if line.replaced %} (en lugar de {{ line.replaced }}){% endif %}: {{ line.amount }}"
        "{% for off in line.promotions %} ({{ off.title }}: {{ off.amount }}){% endfor %}"
    ),
    tax=(
        "{{ tax.title }} {{ tax.rate_ppm | percent }} %"
        '{% if tax.not_charged == "REVERSE_CHARGE" %}: inversión del sujeto pasivo'
        '{% elif tax.not_charged == "EXEMPT" %}: exento'
        "{% elif tax.not_charged %}: no se cobra"
        "{% else %} incluido: {{ tax.amount }}{% endif %}"
    ),
    digest_subject="Novedades de sus pedidos",
    digest_more='{% if more %}{{ more | plural(other="Y # más: véalo en su cuenta.") }}{% endif %}',
    reply_hint="Responda {acts} o {stop} (no más SMS).",
    reply_separator=", ",
    kinds={
        NoticeKind.PHONE_CODE: KindWords(
            "Su código",
            (
                "{% if masked_phone %}{{ code }} es su código para recibir los mensajes en {{ masked_phone }} "
                "y no en este teléfono."
                "{% else %}{{ code }} es su código para confirmar este teléfono.{% endif %}",
                'Es válido durante {{ minutes | plural(one="# minuto", other="# minutos") }}.',
                "No se lo diga a nadie. Si no lo ha pedido, no tiene que hacer nada.",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_CHANGED: KindWords(
            "Su teléfono ha cambiado",
            (
                "{% if masked_phone %}Los mensajes sobre sus pedidos llegan ahora a {{ masked_phone }} y no a "
                "este teléfono."
                "{% else %}Los mensajes sobre sus pedidos ya no llegan a este teléfono.{% endif %}",
                "Si no lo ha cambiado usted, avise enseguida a la tienda.",
            ),
            greets=False,
        ),
        NoticeKind.EMAIL_LINK: KindWords(
            "Confirme su correo electrónico, por favor",
            (
                "Confirme que este es su correo electrónico: {{ link_uri }}",
                'El enlace es válido durante {{ hours | plural(one="# hora", other="# horas") }}.',
                "Si no lo ha pedido, no tiene que hacer nada.",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_LAPSED: KindWords(
            "Confirme su teléfono, por favor",
            (
                "Al parecer, los mensajes a {{ masked_phone }} ya no le llegan.",
                "Confirme de nuevo su teléfono en la tienda, por favor. Hasta entonces sus pedidos esperan.",
            ),
        ),
        NoticeKind.PHONE_CHANGE_PENDING: KindWords(
            "Su teléfono va a cambiar",
            (
                "A partir del {{ bind_time | date }}, {{ bind_time | time }}, los mensajes sobre sus pedidos "
                "llegan a {{ masked_phone }} y no a este teléfono.",
                "Si no lo ha pedido usted, avise antes a la tienda: puede detener el cambio.",
            ),
            greets=False,
        ),
        NoticeKind.REPLY: KindWords(
            "Su mensaje",
            (
                '{% if answer == "HELP" %}'
                "Responda [[SKIP]] para omitir su próximo pedido, [[PAUSE]] para dejarlo en espera, [[PAY]] "
                "para confirmar un pago, [[STOP]] para no recibir más mensajes. Lo demás está en su "
                "cuenta."
                '{% elif answer == "STOPPED" %}'
                "No recibirá más mensajes en este teléfono. Sus pedidos periódicos siguen: páuselos o"
                " cancélelos en su cuenta. Responda [[START]] para volver a recibir mensajes."
                '{% elif answer == "STARTED" %}'
                "Los mensajes sobre sus pedidos vuelven a llegar a este teléfono. [[HELP]] para ayuda, "
                "[[STOP]] para no recibirlos."
                '{% elif answer == "WHICH" %}'
                "¿Cuál? {% for option in options %}{{ option.number }}: {{ option.title }}"
                "{% if option.due_date %} ({{ option.due_date }}){% endif %}{% if not loop.last %}; "
                "{% endif %}{% endfor %}. Responda con su número."
                '{% elif answer == "SKIPPED" %}'
                "Su pedido {{ title }}{% if due_date %} del {{ due_date }}{% endif %} se omite. No se"
                " cobra nada por él."
                '{% elif answer == "PAUSED" %}'
                "{{ title }} está en pausa: lo anunciado se cancela y no se pide nada nuevo hasta que lo "
                "reanude en su cuenta."
                '{% elif answer == "PAYING" %}'
                "Gracias. Su pago por {{ title }} está en curso; recibirá un recibo."
                '{% elif answer == "TOO_LATE" %}'
                "Su pedido {{ title }}{% if due_date %} del {{ due_date }}{% endif %} ya no se puede "
                "omitir: el pago ya ha empezado o el pedido ha terminado."
                '{% elif answer == "NOT_ACTIVE" %}'
                "{{ title }} no está activo: ya está en pausa o ha terminado. No se ha cambiado nada."
                '{% elif answer == "NOT_PAYABLE" %}'
                "Ya no hay nada que pagar por {{ title }}: está pagado o terminado, o se está "
                "cobrando ahora."
                '{% elif answer == "METHOD_NEEDED" %}'
                "{{ title }} no se puede pagar así: elija un medio de pago en su cuenta, por favor."
                '{% elif answer == "OUT_OF_STOCK" %}'
                "{{ title }} ya no se puede pagar: está agotado."
                '{% elif answer == "NOTHING" and word == "PAY" %}'
                "No tiene ningún pago por confirmar."
                '{% elif answer == "NOTHING" %}'
                "No tiene ningún pedido próximo."
                "{% else %}"
                "Lo sentimos, no se pudo hacer con {{ title }}. Use su cuenta, por favor."
                "{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.ORDER_UPCOMING: KindWords(
            "Próximamente: {{ title }}",
            (
                "Su pedido {{ title }}"
                "{% if is_late or moved_from %} del {{ order_time | date }}{% endif %}"
                " cuesta {{ amount }}"
                "{% if amount_changed %} (la última vez, {{ previous_amount }}){% endif %}.",
                "{% if moved_from %}Se ha cambiado de fecha: el {{ moved_from | day }} "
                "está completo.{% endif %}",
                _SUBSTITUTE,
                "{% if pay_on_notice %}Le pediremos que lo confirme a partir del {{ charge_not_before }}."
                "{% else %}Se lo cobraremos a partir del {{ charge_not_before }}.{% endif %}",
                "{% if credit %}Su saldo paga {% if credit_pays_all %}todo"
                "{% else %}{{ credit }} de ello{% endif %}, si no lo usa antes.{% endif %}",
                "{% if link_uri %}Omitir o cancelar: {{ link_uri }}"
                "{% else %}Hasta entonces puede omitirlo o cambiarlo en su cuenta.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_REQUEST: KindWords(
            "Confirme su pago por {{ title }}",
            (
                "Confirme su pago de {{ amount }} por {{ title }} antes del {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} en su cuenta.{% endif %}",
                "Si no, este pedido termina y no se cobra nada.",
            ),
        ),
        NoticeKind.PAYMENT_REMINDER: KindWords(
            "Recordatorio: su pago por {{ title }}",
            (
                "Recordatorio: confirme su pago de {{ amount }} por {{ title }} "
                "antes del {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} en su cuenta.{% endif %}",
                "Si no, este pedido termina y no se cobra nada.",
            ),
        ),
        NoticeKind.PAYMENT_OVERDUE: KindWords(
            "No pagado: {{ title }}",
            (
                "Su pedido {{ title }} ha terminado sin pago.",
                "Si aún lo quiere, pague {{ amount }} antes del {{ expire_time }}"
                "{% if link_uri %}: {{ link_uri }}{% else %} en su cuenta.{% endif %}",
                "Si no, no se cobra nada.",
            ),
        ),
        NoticeKind.PAYMENT_ACTION_REQUIRED: KindWords(
            "Su banco le pide que confirme: {{ title }}",
            (
                "Su banco le pide que confirme {{ amount }} por {{ title }} antes del {{ expire_time }}: "
                "{% if action_uri %}{{ action_uri }}{% else %}en su cuenta{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.PAYMENT_DECLINED: KindWords(
            "Pago rechazado: {{ title }}",
            (
                "Su pago de {{ amount }} por {{ title }} ha sido rechazado{% if reasons %}: {{ reasons }}{% endif %}.",
                "{% if link_uri %}Puede pagar con otra tarjeta: {{ link_uri }}"
                "{% elif next_attempt_time %}Lo intentaremos de nuevo el {{ next_attempt_time }}. "
                "Si hay que cambiar algo, hágalo antes."
                "{% elif expire_time %}Puede pagar con otra tarjeta en su cuenta antes del "
                "{{ expire_time }}."
                "{% else %}Revise su medio de pago en su cuenta.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_BLOCKED: KindWords(
            "Cambie su medio de pago",
            (
                _CARD + " se ha rechazado de forma definitiva y no lo intentaremos más.",
                "No se puede pagar ningún pedido con este medio de pago.",
                "Añada otro en su cuenta para sus pedidos periódicos o pregunte a su banco.",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_EXPIRING: KindWords(
            "Su medio de pago caduca pronto",
            (
                "{% if last4 %}Su tarjeta {{ brand }} terminada en {{ last4 }} es válida"
                "{% else %}Su medio de pago es válido{% endif %} hasta finales de {{ month | month }}.",
                "Registre antes otro medio de pago en su cuenta.",
                "Sus pedidos periódicos seguirán con él.",
            ),
        ),
        NoticeKind.RECEIPT: KindWords(
            "Recibo: {{ title }}",
            (
                "Ha pagado {{ amount }}{% if tax_amount %} (impuestos: {{ tax_amount }}){% endif %}"
                " por {{ title }} el {{ pay_time }}. Gracias.",
                "{% if credit_pays_all %}Todo con su saldo."
                "{% elif credit %}{{ credit }} con su saldo, {{ charged_amount }} cobrados.{% endif %}",
                _SUBSTITUTE,
                "{% if next_due_time %}El próximo pedido será el {{ next_due_time }}"
                "{% if link_uri %}. Pausar o cancelar: {{ link_uri }}"
                "{% else %}; cámbielo, omítalo o cancélelo en su cuenta.{% endif %}"
                "{% elif paused %}Está en pausa: no habrá más pedidos hasta que lo reanude."
                "{% else %}Este ha sido el último pedido.{% endif %}",
            ),
        ),
        NoticeKind.ORDER_SKIPPED: KindWords(
            "Omitido: {{ title }}",
            (
                "{% if last_due_time %}"
                '{{ order_count | plural(other="Sus # pedidos") }} {{ title }} '
                "del {{ due_time }} al {{ last_due_time }} se omiten"
                "{% else %}Su pedido {{ title }} del {{ due_time }} se omite{% endif %}"
                ": {{ reasons }}.",
                "No se cobra nada por ello.",
            ),
        ),
        NoticeKind.ORDER_HELD: KindWords(
            "En espera: {{ title }}",
            (
                "Su pedido {{ title }} del {{ due_time }} está en espera: {{ reasons }}.",
                "{% if customer_decides %}¿Lo quiere? "
                "{% if link_uri %}Diga que sí u omítalo: {{ link_uri }}"
                "{% else %}Diga que sí en su cuenta.{% endif %}"
                "{% elif customer_acts %}Resuélvalo en su cuenta."
                "{% else %}Lo revisaremos de nuevo nosotros mismos.{% endif %} "
                "Mientras tanto no se cobra nada.",
                "{% if link_uri and not customer_decides %}Omitir o cancelar: "
                "{{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ORDER_LAPSED: KindWords(
            "Pedido no realizado: {{ title }}",
            (
                "Su pedido {{ title }} del {{ due_time }} ha terminado sin pago: {{ reasons }}.",
                "No se ha cobrado nada por él.",
            ),
        ),
        NoticeKind.ORDER_CANCELLED: KindWords(
            "Cancelado: {{ title }}",
            (
                "Su pedido {{ title }} del {{ due_time }} está cancelado, porque su pedido periódico está "
                "{% if by_pause %}en pausa{% else %}cancelado{% endif %}.",
                "No se cobra nada por él.",
            ),
        ),
        NoticeKind.STANDING_ORDER_CHANGED: KindWords(
            "Su pedido periódico {{ title }} " + _CHANGED,
            (
                "Su pedido periódico {{ title }} "
                + _CHANGED
                + "{% if reasons %}: {{ reasons }}{% endif %}."
                "{% if goes_on and next_due_time %} El próximo pedido será el {{ next_due_time }}."
                "{% endif %}",
                "{% if resume_time %}No se pedirá nada nuevo hasta el {{ resume_time }}, "
                "salvo que lo reanude antes."
                '{% elif change == "CREATED" %}Le avisaremos antes de cada uno. '
                "Puede pausarlo o cancelarlo en su cuenta."
                '{% elif change == "PAUSED" %}No se pedirá nada nuevo hasta que lo reanude'
                "{% if not link_uri %} en su cuenta{% endif %}."
                '{% elif change == "RESUMED" %}Le avisaremos antes de cada pedido.'
                '{% elif change == "CANCELLED" %}No habrá más pedidos.'
                '{% elif change == "COMPLETED" %}No habrá más pedidos. Gracias.'
                "{% else %}En su cuenta verá qué hay de nuevo.{% endif %}",
                "{% if link_uri %}Reanudar o cancelar: {{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ITEM_DISCONTINUED: KindWords(
            "Ya no se vende: {{ product_title }}",
            (
                "{{ product_title }}, de su pedido periódico {{ title }}, ya no se vende.",
                "{% if substitute_title %}A partir de ahora recibirá {{ substitute_title }} en su lugar, "
                "como acordó. Le diremos antes su precio."
                "{% else %}Elija otra cosa en su cuenta.{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE: KindWords(
            "Nuevo precio: {{ product_title }}",
            (
                "{{ product_title }} en {{ title }}"
                "{% if others %} (" + _MORE % "others" + "){% endif %}"
                " costará {{ amount }} por pedido, en lugar de {{ previous_amount }}, "
                "a partir del {{ first_due_time | date }}.",
                "{% if is_cheaper %}No tiene que hacer nada."
                "{% elif link_uri %}Si no le conviene, páuselo o cancélelo antes: {{ link_uri }}"
                "{% else %}Si no le conviene, cancélelo o cámbielo antes en su cuenta.{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE_WITHDRAWN: KindWords(
            "Sin nuevo precio: {{ product_title }}",
            (
                "Le habíamos anunciado un nuevo precio para {{ product_title }} en {{ title }}"
                "{% if others %} (" + _MORE % "others" + "){% endif %}.",
                "Queda anulado: sigue en {{ previous_amount }} por pedido.",
            ),
        ),
        NoticeKind.PRICE_PROTECTION_ENDING: KindWords(
            "Su precio de {{ title }} se mantiene hasta el {{ first_due_time | date }}",
            (
                "Los precios que le mantenemos en {{ title }} valen para los pedidos anteriores al "
                "{{ first_due_time | date }}.",
                "Después pagará el precio del día. Le avisaremos antes de cada pedido.",
            ),
        ),
        NoticeKind.PROMOTION_ENDING: KindWords(
            "Su promoción de {{ title }} termina",
            (
                "{{ promotion_title }} de {{ title }} termina antes de su pedido del {{ first_due_time | date }}.",
                "{% if amount %}Ese y los siguientes costarán {{ amount }}{% if previous_amount %}"
                " en lugar de {{ previous_amount }}{% endif %}, según los precios de hoy.{% else %}"
                "A partir de ese pedido no se descuenta nada.{% endif %}",
                "{% if link_uri %}Para pausar o cancelar antes: {{ link_uri }}{% else %}"
                "Puede cancelarlo o cambiarlo antes en su cuenta.{% endif %}",
            ),
        ),
        NoticeKind.MONTHLY_SUMMARY: KindWords(
            "Resumen de {{ month | month }}",
            (
                "Resumen de {{ month | month }}: "
                "{% if totals %}{% for total in totals %}{% if total.order_count %}"
                "pagó {{ total.paid_amount }} por "
                '{{ total.order_count | plural(one="# pedido", other="# pedidos") }}'
                "{% if total.saved_amount %} (ahorro: {{ total.saved_amount }}){% endif %}{% endif %}"
                "{% if total.refund_amount %}{% if total.order_count %}; {% endif %}"
                "reembolsado: {{ total.refund_amount }}{% endif %}{% if not loop.last %}; {% endif %}"
                "{% endfor %}{% else %}no se ha pagado nada{% endif %}.",
                "{% if skip_count %}Omitidos: "
                '{{ skip_count | plural(one="# pedido", other="# pedidos") }}.{% endif %}',
                "{% if has_more %}Lo demás está en su cuenta.{% endif %}",
                "{% if next_due_time %}Próximo: {{ next_title }}, {{ next_due_time | date }}"
                "{% if next_more %} (" + _MORE % "next_more" + "){% endif %}.{% endif %}",
            ),
        ),
        NoticeKind.REFUND: KindWords(
            "Reembolso: {{ title }}",
            (
                "Le hemos reembolsado {% if is_part %}{{ refund_amount }} de {% endif %}"
                "su pago de {{ paid_amount }} por {{ title }}.",
                "{% if credit_is_all %}Ahora es saldo suyo para los próximos pedidos."
                "{% else %}{% if credit %}{{ credit }} de ello es ahora saldo suyo. {% endif %}"
                "Puede tardar unos días en aparecer en su cuenta.{% endif %}",
            ),
        ),
        NoticeKind.DOCUMENT_ISSUED: KindWords(
            '{% if document_type == "INVOICE" %}Factura'
            '{% elif document_type == "RECEIPT" %}Recibo'
            '{% elif document_type == "CREDIT_NOTE" %}Factura rectificativa'
            '{% elif document_type == "DEBIT_NOTE" %}Nota de débito'
            "{% else %}Documento{% endif %}"
            " {{ number }}",
            (
                '{% if document_type == "INVOICE" %}Factura'
                '{% elif document_type == "RECEIPT" %}Recibo'
                '{% elif document_type == "CREDIT_NOTE" %}Factura rectificativa'
                '{% elif document_type == "DEBIT_NOTE" %}Nota de débito'
                "{% else %}Documento{% endif %}"
                " {{ number }} por {{ title }}: {{ amount }}.",
                "{% if attached %}Encontrará el documento adjunto en formato PDF."
                "{% else %}El archivo es demasiado grande para un correo: lo encontrará en su cuenta."
                "{% endif %}",
            ),
        ),
        NoticeKind.DISPUTE_OPENED: KindWords(
            "Usted impugna un pago: {{ title }}",
            (
                "{% if inquiry %}Su banco nos pregunta por {% else %}Su banco nos comunica que usted impugna "
                "{% endif %}{% if is_part %}{{ dispute_amount }} de {% endif %}"
                "su pago de {{ paid_amount }} por {{ title }}.",
                "{% if paused %}Hasta que se resuelva no cobraremos nada más con su autorización."
                "{% else %}Mientras tanto, sus pedidos continúan.{% endif %}",
                "Si es un error, avise a su banco.",
            ),
        ),
        NoticeKind.DISPUTE_CLOSED: KindWords(
            "{% if won %}Su pago se mantiene{% elif late_failure %}Devuelto por su banco"
            "{% else %}Reembolsado por su banco{% endif %}: {{ title }}",
            (
                "{% if won %}Usted impugnó {% elif late_failure %}Su banco le ha devuelto "
                "{% else %}Su banco le ha reembolsado {% endif %}"
                "{% if is_part %}{{ dispute_amount }} de {% endif %}"
                "su pago de {{ paid_amount }} por {{ title }}"
                "{% if won %}. Ya está resuelto y el pago se mantiene."
                "{% elif late_failure %}: no está pagado. Póngase en contacto con nosotros."
                "{% else %}.{% endif %}",
                "{% if paused %}No cobraremos nada más con su autorización hasta que lo permita de nuevo."
                "{% else %}Sus pedidos continúan.{% endif %}",
            ),
        ),
    },
    reasons={
        "SKIPPED_BY_CUSTOMER": "usted pidió omitirlo",
        "PAUSED": "el pedido periódico está en pausa",
        "MISSED": "pasó su fecha sin que pudiéramos actuar",
        "DATE_EXCLUDED": "usted excluyó esa fecha",
        "PRODUCT_UNAVAILABLE": "un producto ya no se vende",
        "PRICE_UNAVAILABLE": "un producto no tiene precio",
        "OUT_OF_STOCK": "un producto está agotado",
        "PHONE_NOT_BOUND": "su teléfono no está confirmado",
        "MANDATE_NOT_COVERING": "su autorización de cobro no lo cubre",
        "NOTICE_UNDELIVERABLE": "no pudimos avisarle",
        "PAYMENT_REFUSED": "el pago no estaba permitido",
        "PAYMENT_DECLINED": "el pago fue rechazado",
        "PAYMENT_REQUEST_EXPIRED": "el pago no se confirmó a tiempo",
        "STANDING_ORDER_CANCELLED": "el pedido periódico está cancelado",
        "CONDITION_NOT_MET": "no se cumple una condición que usted puso",
        "HOLD_EXPIRED": "lo que faltaba no se resolvió a tiempo",
        "PURCHASED_ELSEWHERE": "compró uno de sus productos en otro lugar",
        "PREVIOUS_UNPAID": "el pedido anterior no está pagado",
        "PAYMENT_NOT_MADE": "el pago no se pudo hacer a tiempo",
        "PAYMENT_METHOD_BLOCKED": "su tarjeta fue rechazada de forma definitiva",
        "TAX_UNAVAILABLE": "sus impuestos aún no se conocen",
        "NO_SLOT": "no queda hueco ese día",
        "PAID_LATE": "se pagó después de terminar",
        "MANDATE_NOT_FOUND": "su autorización de cobro no consta",
        "MANDATE_REVOKED": "su autorización de cobro está retirada",
        "MANDATE_NOT_YET_VALID": "su autorización de cobro aún no es válida",
        "MANDATE_EXPIRED": "su autorización de cobro ha caducado",
        "ABOVE_CHARGE_CEILING": "supera lo que autorizó para un pago",
        "ABOVE_MONTH_CEILING": "supera lo que autorizó para un mes",
        "CURRENCY_MISMATCH": "su autorización de cobro es en otra moneda",
        "MANDATE_LAPSED": "su autorización de cobro lleva demasiado tiempo sin usarse",
        "MANDATE_WITHOUT_END": "su autorización de cobro no tiene último día y lo necesita",
        "MANDATE_PENDING": "su autorización de cobro aún no está confirmada",
        "MANDATE_DISPUTED": "un pago fue impugnado ante su banco",
        "MANDATE_PAUSED": "su autorización de cobro está en pausa",
        "INSUFFICIENT_FUNDS": "no había saldo suficiente",
        "CARD_LIMIT_REACHED": "la tarjeta ha llegado a su límite",
        "CARD_EXPIRED": "la tarjeta ha caducado",
        "BANK_CONFIRMATION_NEEDED": "su banco quiere que lo confirme",
    },
    reason_unknown="su cuenta dice por qué",
)
