"""French, with the formal address."""

from services.notify.domain.notices import NoticeKind
from services.notify.domain.templates.shipped.words import KindWords, Words

_CARD = (
    "{% if last4 %}Votre carte {{ brand }} se terminant par {{ last4 }}"
    "{% else %}Votre moyen de paiement{% endif %}"
)
_MORE = '{{ %s | plural(one="et # autre", other="et # autres") }}'
_CHANGED = (
    '{% if change == "CREATED" %}est créée{% elif change == "PAUSED" %}est en pause'
    '{% elif change == "RESUMED" %}est de nouveau active{% elif change == "CANCELLED" %}est résiliée'
    '{% elif change == "COMPLETED" %}est terminée{% else %}a changé{% endif %}'
)
_SUBSTITUTE = (
    "{% if substitute %}Avec {{ substitute.title }} à la place de {{ substitute.replaced }}"
    "{% if substitutes_more %} (" + _MORE % "substitutes_more" + "){% endif %}.{% endif %}"
)

WORDS = Words(
    sender_sms="{% if merchant %}{{ merchant }} : {% endif %}",
    greeting_sms="{% if name %}Bonjour {{ name }}.{% endif %}",
    greeting_email="Bonjour{% if name %} {{ name }}{% endif %},",
    reference="Réf. {{ reference }}",
    complaints="Réclamations : {{ complaint_address }}",
    line=(
        "{{ line.quantity }} x {{ line.title }}"
        "{% if line.replaced %} (à la place de {{ line.replaced }}){% endif %} : {{ line.amount }}"
        "{% for off in line.promotions %} ({{ off.title }} : {{ off.amount }}){% endfor %}"
    ),
    tax=(
        "{{ tax.title }} {{ tax.rate_ppm | percent }} %"
        '{% if tax.not_charged == "REVERSE_CHARGE" %} : autoliquidation par le client'
        '{% elif tax.not_charged == "EXEMPT" %} : exonération'
        "{% elif tax.not_charged %} : non facturée"
        "{% else %} incluse : {{ tax.amount }}{% endif %}"
    ),
    digest_subject="Du nouveau pour vos commandes",
    digest_more='{% if more %}{{ more | plural(other="Et # de plus : voyez votre compte.") }}{% endif %}',
    reply_hint="Répondez {acts} ou {stop} (fin des SMS).",
    reply_separator=", ",
    kinds={
        NoticeKind.PHONE_CODE: KindWords(
            "Votre code",
            (
                "{% if masked_phone %}{{ code }} est votre code pour recevoir les messages au "
                "{{ masked_phone }} et non sur ce téléphone."
                "{% else %}{{ code }} est votre code pour confirmer ce téléphone.{% endif %}",
                'Il est valable {{ minutes | plural(one="# minute", other="# minutes") }}.',
                "Ne le donnez à personne. Si vous ne l'avez pas demandé, vous n'avez rien à faire.",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_CHANGED: KindWords(
            "Votre téléphone a changé",
            (
                "{% if masked_phone %}Les messages sur vos commandes arrivent désormais au {{ masked_phone }}, "
                "plus sur ce téléphone."
                "{% else %}Les messages sur vos commandes n'arrivent plus sur ce téléphone.{% endif %}",
                "Si vous ne l'avez pas changé, prévenez tout de suite la boutique.",
            ),
            greets=False,
        ),
        NoticeKind.EMAIL_LINK: KindWords(
            "Veuillez confirmer votre adresse e-mail",
            (
                "Veuillez confirmer que cette adresse e-mail est la vôtre : {{ link_uri }}",
                'Le lien est valable {{ hours | plural(one="# heure", other="# heures") }}.',
                "Si vous ne l'avez pas demandé, vous n'avez rien à faire.",
            ),
            greets=False,
        ),
        NoticeKind.PHONE_LAPSED: KindWords(
            "Veuillez confirmer votre téléphone",
            (
                "Les messages au {{ masked_phone }} ne semblent plus vous parvenir.",
                "Veuillez confirmer à nouveau votre téléphone auprès de la boutique. Vos commandes attendront jusque-là.",
            ),
        ),
        NoticeKind.PHONE_CHANGE_PENDING: KindWords(
            "Votre téléphone va changer",
            (
                "Dès le {{ bind_time | date }}, {{ bind_time | time }}, les messages sur vos commandes "
                "arriveront au {{ masked_phone }}, plus sur ce téléphone.",
                "Si vous ne l'avez pas demandé, prévenez la boutique avant : elle peut annuler le changement.",
            ),
            greets=False,
        ),
        NoticeKind.REPLY: KindWords(
            "Votre message",
            (
                '{% if answer == "HELP" %}'
                "Répondez [[SKIP]] pour sauter votre prochaine commande, [[PAUSE]] pour la suspendre, "
                "[[PAY]] pour confirmer un paiement, [[STOP]] pour ne plus recevoir de messages. Le reste "
                "est dans votre compte."
                '{% elif answer == "STOPPED" %}'
                "Vous ne recevrez plus de messages sur ce téléphone. Vos commandes régulières "
                "continuent : suspendez-les ou résiliez-les dans votre compte. Répondez [[START]] pour "
                "recevoir à nouveau des messages."
                '{% elif answer == "STARTED" %}'
                "Les messages sur vos commandes arrivent à nouveau sur ce téléphone. [[HELP]] pour de "
                "l'aide, [[STOP]] pour les arrêter."
                '{% elif answer == "WHICH" %}'
                "Laquelle ? {% for option in options %}{{ option.number }} : {{ option.title }}"
                "{% if option.due_date %} ({{ option.due_date }}){% endif %}{% if not loop.last %} ; "
                "{% endif %}{% endfor %}. Répondez par son numéro."
                '{% elif answer == "SKIPPED" %}'
                "Votre commande {{ title }}{% if due_date %} du {{ due_date }}{% endif %} est sautée. "
                "Rien n'est débité."
                '{% elif answer == "PAUSED" %}'
                "{{ title }} est en pause : ce qui est annoncé est annulé, et rien n'est commandé tant que "
                "vous ne la reprenez pas dans votre compte."
                '{% elif answer == "PAYING" %}'
                "Merci. Votre paiement pour {{ title }} est en cours ; un reçu suivra."
                '{% elif answer == "TOO_LATE" %}'
                "Il n'est plus possible de sauter votre commande {{ title }}{% if due_date %} du {{ due_date }}"
                "{% endif %} : son paiement a commencé, ou elle est terminée."
                '{% elif answer == "NOT_ACTIVE" %}'
                "{{ title }} n'est pas active : déjà en pause ou terminée. Rien n'a été changé."
                '{% elif answer == "NOT_PAYABLE" %}'
                "Il n'y a plus rien à payer pour {{ title }} : c'est payé ou terminé, ou en cours de "
                "débit."
                '{% elif answer == "METHOD_NEEDED" %}'
                "Impossible de payer {{ title }} ainsi : veuillez choisir un moyen de paiement dans"
                " votre compte."
                '{% elif answer == "OUT_OF_STOCK" %}'
                "Impossible désormais de payer {{ title }} : l'article est épuisé."
                '{% elif answer == "NOTHING" and word == "PAY" %}'
                "Aucun de vos paiements n'attend de confirmation."
                '{% elif answer == "NOTHING" %}'
                "Vous n'avez aucune commande à venir."
                "{% else %}"
                "Désolé, cela n'a pas pu être fait pour {{ title }}. Veuillez utiliser votre compte."
                "{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.ORDER_UPCOMING: KindWords(
            "À venir : {{ title }}",
            (
                "Votre commande {{ title }}"
                "{% if is_late or moved_from %} du {{ order_time | date }}{% endif %}"
                " s'élève à {{ amount }}"
                "{% if amount_changed %} ({{ previous_amount }} la dernière fois){% endif %}.",
                "{% if moved_from %}Elle est déplacée : le {{ moved_from | day }} "
                "est complet.{% endif %}",
                _SUBSTITUTE,
                "{% if pay_on_notice %}Nous vous demanderons de la confirmer "
                "à partir du {{ charge_not_before }}."
                "{% else %}Nous vous débiterons à partir du {{ charge_not_before }}.{% endif %}",
                "{% if credit %}Votre avoir en paie {% if credit_pays_all %}la totalité"
                "{% else %}{{ credit }}{% endif %}, sauf si vous l'utilisez avant.{% endif %}",
                "{% if link_uri %}Sauter ou résilier : {{ link_uri }}"
                "{% else %}D'ici là, vous pouvez la sauter ou la modifier dans votre compte.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_REQUEST: KindWords(
            "Confirmez votre paiement pour {{ title }}",
            (
                "Confirmez votre paiement de {{ amount }} pour {{ title }} avant le {{ expire_time }}"
                "{% if link_uri %} : {{ link_uri }}{% else %} dans votre compte.{% endif %}",
                "Sinon, cette commande prend fin et rien n'est débité.",
            ),
        ),
        NoticeKind.PAYMENT_REMINDER: KindWords(
            "Rappel : votre paiement pour {{ title }}",
            (
                "Rappel : confirmez votre paiement de {{ amount }} pour {{ title }} "
                "avant le {{ expire_time }}"
                "{% if link_uri %} : {{ link_uri }}{% else %} dans votre compte.{% endif %}",
                "Sinon, cette commande prend fin et rien n'est débité.",
            ),
        ),
        NoticeKind.PAYMENT_OVERDUE: KindWords(
            "Non payée : {{ title }}",
            (
                "Votre commande {{ title }} a pris fin sans paiement.",
                "Si vous la voulez encore, payez {{ amount }} avant le {{ expire_time }}"
                "{% if link_uri %} : {{ link_uri }}{% else %} dans votre compte.{% endif %}",
                "Sinon, rien n'est débité.",
            ),
        ),
        NoticeKind.PAYMENT_ACTION_REQUIRED: KindWords(
            "Votre banque vous demande de confirmer : {{ title }}",
            (
                "Votre banque vous demande de confirmer {{ amount }} pour {{ title }} "
                "avant le {{ expire_time }} : "
                "{% if action_uri %}{{ action_uri }}{% else %}dans votre compte{% endif %}",
            ),
            greets=False,
        ),
        NoticeKind.PAYMENT_DECLINED: KindWords(
            "Paiement refusé : {{ title }}",
            (
                "Votre paiement de {{ amount }} pour {{ title }} a été refusé{% if reasons %} : {{ reasons }}{% endif %}.",
                "{% if link_uri %}Vous pouvez payer avec une autre carte : {{ link_uri }}"
                "{% elif next_attempt_time %}Nous réessaierons le {{ next_attempt_time }}. "
                "S'il faut changer quelque chose, faites-le avant."
                "{% elif expire_time %}Vous pouvez payer avec une autre carte dans votre "
                "compte avant le {{ expire_time }}."
                "{% else %}Vérifiez votre moyen de paiement dans votre compte.{% endif %}",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_BLOCKED: KindWords(
            "Remplacez votre moyen de paiement",
            (
                _CARD
                + " a été {% if last4 %}refusée{% else %}refusé{% endif %} définitivement. Nous n'essaierons plus.",
                "Aucune commande ne peut se payer avec {% if last4 %}cette carte{% else %}ce moyen de paiement{% endif %}.",
                "Ajoutez-en {% if last4 %}une{% else %}un{% endif %} autre dans votre compte "
                "pour vos commandes régulières, ou contactez votre banque.",
            ),
        ),
        NoticeKind.PAYMENT_METHOD_EXPIRING: KindWords(
            "Votre moyen de paiement expire bientôt",
            (
                _CARD + " est valable jusqu'à fin {{ month | month }}.",
                "Enregistrez avant cela un autre moyen de paiement dans votre compte.",
                "Vos commandes régulières continueront avec le nouveau.",
            ),
        ),
        NoticeKind.RECEIPT: KindWords(
            "Reçu : {{ title }}",
            (
                "Vous avez payé {{ amount }}{% if tax_amount %} (dont {{ tax_amount }} de taxes){% endif %}"
                " pour {{ title }} le {{ pay_time }}. Merci.",
                "{% if credit_pays_all %}Le tout sur votre avoir."
                "{% elif credit %}{{ credit }} sur votre avoir, {{ charged_amount }} "
                "débités.{% endif %}",
                _SUBSTITUTE,
                "{% if next_due_time %}La prochaine commande est prévue le {{ next_due_time }}"
                "{% if link_uri %}. Suspendre ou résilier : {{ link_uri }}"
                "{% else %} ; modifiez-la, sautez-la ou résiliez dans votre compte.{% endif %}"
                "{% elif paused %}La commande régulière est en pause : aucune ne suit avant sa reprise."
                "{% else %}C'était la dernière commande.{% endif %}",
            ),
        ),
        NoticeKind.ORDER_SKIPPED: KindWords(
            "Sautée : {{ title }}",
            (
                "{% if last_due_time %}"
                '{{ order_count | plural(other="Vos # commandes") }} {{ title }} '
                "du {{ due_time }} au {{ last_due_time }} sont sautées"
                "{% else %}Votre commande {{ title }} du {{ due_time }} est sautée{% endif %}"
                " : {{ reasons }}.",
                "Rien n'est débité.",
            ),
        ),
        NoticeKind.ORDER_HELD: KindWords(
            "En attente : {{ title }}",
            (
                "Votre commande {{ title }} du {{ due_time }} est en attente : {{ reasons }}.",
                "{% if customer_decides %}La voulez-vous ? "
                "{% if link_uri %}Dites oui ou sautez-la : {{ link_uri }}"
                "{% else %}Dites oui dans votre compte.{% endif %}"
                "{% elif customer_acts %}Réglez cela dans votre compte."
                "{% else %}Nous vérifierons de nouveau nous-mêmes.{% endif %} "
                "Rien n'est débité d'ici là.",
                "{% if link_uri and not customer_decides %}Sauter ou résilier : "
                "{{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ORDER_LAPSED: KindWords(
            "Non commandée : {{ title }}",
            (
                "Votre commande {{ title }} du {{ due_time }} a pris fin sans paiement : {{ reasons }}.",
                "Rien n'a été débité.",
            ),
        ),
        NoticeKind.ORDER_CANCELLED: KindWords(
            "Annulée : {{ title }}",
            (
                "Votre commande {{ title }} du {{ due_time }} est annulée, car sa commande régulière est "
                "{% if by_pause %}en pause{% else %}résiliée{% endif %}.",
                "Rien n'est débité.",
            ),
        ),
        NoticeKind.STANDING_ORDER_CHANGED: KindWords(
            "Votre commande régulière {{ title }} " + _CHANGED,
            (
                "Votre commande régulière {{ title }} "
                + _CHANGED
                + "{% if reasons %} : {{ reasons }}{% endif %}."
                "{% if goes_on and next_due_time %} "
                "La prochaine commande est prévue le {{ next_due_time }}.{% endif %}",
                "{% if resume_time %}Rien n'est commandé avant le {{ resume_time }}, "
                "sauf si vous la reprenez plus tôt."
                '{% elif change == "CREATED" %}Nous vous préviendrons avant chacune. '
                "Mettez-la en pause ou résiliez-la dans votre compte."
                '{% elif change == "PAUSED" %}Rien n\'est commandé tant que vous ne la reprenez pas'
                "{% if not link_uri %} dans votre compte{% endif %}."
                '{% elif change == "RESUMED" %}Nous vous préviendrons avant chaque commande.'
                '{% elif change == "CANCELLED" %}Il n\'y aura plus de commandes.'
                '{% elif change == "COMPLETED" %}Il n\'y aura plus de commandes. Merci.'
                "{% else %}Votre compte montre ce qui est nouveau.{% endif %}",
                "{% if link_uri %}Reprendre ou résilier : {{ link_uri }}{% endif %}",
            ),
        ),
        NoticeKind.ITEM_DISCONTINUED: KindWords(
            "Plus en vente : {{ product_title }}",
            (
                "{{ product_title }}, de votre commande régulière {{ title }}, n'est plus en vente.",
                "{% if substitute_title %}Vous recevrez désormais {{ substitute_title }} à la place, "
                "comme convenu. Nous vous dirons son prix avant."
                "{% else %}Choisissez autre chose dans votre compte.{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE: KindWords(
            "Nouveau prix : {{ product_title }}",
            (
                "{{ product_title }} dans {{ title }}"
                "{% if others %} (" + _MORE % "others" + "){% endif %}"
                " passera à {{ amount }} par commande au lieu de {{ previous_amount }}, "
                "à partir du {{ first_due_time | date }}.",
                "{% if is_cheaper %}Vous n'avez rien à faire."
                "{% elif link_uri %}Pour suspendre ou résilier avant : {{ link_uri }}"
                "{% else %}Pour y renoncer, résiliez ou modifiez avant dans votre compte.{% endif %}",
            ),
        ),
        NoticeKind.PRICE_CHANGE_WITHDRAWN: KindWords(
            "Pas de nouveau prix : {{ product_title }}",
            (
                "Nous vous avions annoncé un nouveau prix pour {{ product_title }} dans {{ title }}"
                "{% if others %} (" + _MORE % "others" + "){% endif %}.",
                "C'est annulé : il reste à {{ previous_amount }} par commande.",
            ),
        ),
        NoticeKind.PRICE_PROTECTION_ENDING: KindWords(
            "Votre prix pour {{ title }} est garanti jusqu'au {{ first_due_time | date }}",
            (
                "Les prix que nous vous garantissons dans {{ title }} valent pour les commandes avant le "
                "{{ first_due_time | date }}.",
                "Ensuite vous payez le prix du jour. Nous vous préviendrons avant chaque commande.",
            ),
        ),
        NoticeKind.PROMOTION_ENDING: KindWords(
            "Votre promotion pour {{ title }} se termine",
            (
                "{{ promotion_title }} pour {{ title }} se termine avant votre commande du {{ first_due_time | date }}.",
                "{% if amount %}Celle-ci et les suivantes coûteront {{ amount }}{% if previous_amount %}"
                " au lieu de {{ previous_amount }}{% endif %}, aux prix d'aujourd'hui.{% else %}"
                "Dès celle-ci, plus rien n'est déduit.{% endif %}",
                "{% if link_uri %}Pour suspendre ou résilier avant : {{ link_uri }}{% else %}"
                "Vous pouvez la résilier ou la modifier avant dans votre compte.{% endif %}",
            ),
        ),
        NoticeKind.MONTHLY_SUMMARY: KindWords(
            "Bilan de {{ month | month }}",
            (
                "Bilan de {{ month | month }} : "
                "{% if totals %}{% for total in totals %}{% if total.order_count %}"
                "vous avez payé {{ total.paid_amount }} pour "
                '{{ total.order_count | plural(one="# commande", other="# commandes") }}'
                "{% if total.saved_amount %} (économisé : {{ total.saved_amount }}){% endif %}{% endif %}"
                "{% if total.refund_amount %}{% if total.order_count %} ; {% endif %}"
                "remboursé : {{ total.refund_amount }}{% endif %}{% if not loop.last %} ; {% endif %}"
                "{% endfor %}{% else %}rien n'a été payé{% endif %}.",
                "{% if skip_count %}Sautées : "
                '{{ skip_count | plural(one="# commande", other="# commandes") }}.{% endif %}',
                "{% if has_more %}Le reste est dans votre compte.{% endif %}",
                "{% if next_due_time %}Prochaine : {{ next_title }}, le {{ next_due_time | date }}"
                "{% if next_more %} (" + _MORE % "next_more" + "){% endif %}.{% endif %}",
            ),
        ),
        NoticeKind.REFUND: KindWords(
            "Remboursement : {{ title }}",
            (
                "Nous vous avons remboursé {% if is_part %}{{ refund_amount }} sur {% endif %}"
                "votre paiement de {{ paid_amount }} pour {{ title }}.",
                "{% if credit_is_all %}C'est désormais un avoir pour vos prochaines commandes."
                "{% else %}{% if credit %}Dont {{ credit }} sous forme d'avoir. {% endif %}"
                "Cela peut prendre quelques jours avant d'apparaître sur votre compte.{% endif %}",
            ),
        ),
        NoticeKind.DOCUMENT_ISSUED: KindWords(
            '{% if document_type == "INVOICE" %}Facture'
            '{% elif document_type == "RECEIPT" %}Reçu'
            '{% elif document_type == "CREDIT_NOTE" %}Avoir'
            '{% elif document_type == "DEBIT_NOTE" %}Note de débit{% else %}Document'
            "{% endif %}"
            " {{ number }}",
            (
                '{% if document_type == "INVOICE" %}Facture'
                '{% elif document_type == "RECEIPT" %}Reçu'
                '{% elif document_type == "CREDIT_NOTE" %}Avoir'
                '{% elif document_type == "DEBIT_NOTE" %}Note de débit{% else %}Document'
                "{% endif %}"
                " {{ number }} pour {{ title }} : {{ amount }}.",
                "{% if attached %}Vous trouverez le document en pièce jointe, au format PDF."
                "{% else %}Le fichier est trop volumineux pour un e-mail : vous le trouverez dans votre compte."
                "{% endif %}",
            ),
        ),
        NoticeKind.DISPUTE_OPENED: KindWords(
            "Vous contestez un paiement : {{ title }}",
            (
                "{% if inquiry %}Votre banque nous interroge sur "
                "{% else %}Votre banque nous signale que vous contestez {% endif %}"
                "{% if is_part %}{{ dispute_amount }} de {% endif %}"
                "votre paiement de {{ paid_amount }} pour {{ title }}.",
                "{% if paused %}D'ici la décision, nous ne débitons plus rien avec votre autorisation."
                "{% else %}Vos commandes continuent entre-temps.{% endif %}",
                "Si c'est une erreur, prévenez votre banque.",
            ),
        ),
        NoticeKind.DISPUTE_CLOSED: KindWords(
            "{% if won %}Votre paiement est maintenu{% elif late_failure %}Retourné par votre banque"
            "{% else %}Remboursé par votre banque{% endif %} : {{ title }}",
            (
                "{% if won %}Vous aviez contesté {% elif late_failure %}Votre banque vous a retourné "
                "{% else %}Votre banque vous a remboursé {% endif %}"
                "{% if is_part %}{{ dispute_amount }} de {% endif %}"
                "votre paiement de {{ paid_amount }} pour {{ title }}"
                "{% if won %}. C'est réglé et le paiement est maintenu."
                "{% elif late_failure %} : ce n'est pas payé. Contactez-nous."
                "{% else %}.{% endif %}",
                "{% if paused %}Nous ne débitons plus rien avec votre autorisation "
                "tant que vous ne le permettez pas de nouveau."
                "{% else %}Vos commandes continuent.{% endif %}",
            ),
        ),
    },
    reasons={
        "SKIPPED_BY_CUSTOMER": "vous avez demandé à la sauter",
        "PAUSED": "la commande régulière est en pause",
        "MISSED": "sa date est passée sans que nous puissions agir",
        "DATE_EXCLUDED": "vous avez exclu cette date",
        "PRODUCT_UNAVAILABLE": "un produit n'est plus vendu",
        "PRICE_UNAVAILABLE": "un produit n'a pas de prix",
        "OUT_OF_STOCK": "un produit est épuisé",
        "PHONE_NOT_BOUND": "votre téléphone n'est pas confirmé",
        "MANDATE_NOT_COVERING": "votre autorisation de débit ne la couvre pas",
        "NOTICE_UNDELIVERABLE": "nous n'avons pas pu vous l'annoncer",
        "PAYMENT_REFUSED": "le paiement n'était pas permis",
        "PAYMENT_DECLINED": "le paiement a été refusé",
        "PAYMENT_REQUEST_EXPIRED": "le paiement n'a pas été confirmé à temps",
        "STANDING_ORDER_CANCELLED": "la commande régulière est résiliée",
        "CONDITION_NOT_MET": "une condition que vous avez posée n'est pas remplie",
        "HOLD_EXPIRED": "ce qu'elle attendait n'a pas été réglé à temps",
        "PURCHASED_ELSEWHERE": "vous avez acheté un de ses produits ailleurs",
        "PREVIOUS_UNPAID": "la commande précédente n'est pas payée",
        "PAYMENT_NOT_MADE": "le paiement n'a pas pu être fait à temps",
        "PAYMENT_METHOD_BLOCKED": "sa carte a été refusée définitivement",
        "TAX_UNAVAILABLE": "ses taxes ne sont pas encore connues",
        "NO_SLOT": "aucun créneau n'est libre ce jour-là",
        "PAID_LATE": "elle a été payée après sa fin",
        "MANDATE_NOT_FOUND": "votre autorisation de débit est inconnue",
        "MANDATE_REVOKED": "votre autorisation de débit est retirée",
        "MANDATE_NOT_YET_VALID": "votre autorisation de débit n'est pas encore valable",
        "MANDATE_EXPIRED": "votre autorisation de débit a expiré",
        "ABOVE_CHARGE_CEILING": "elle dépasse ce que vous avez accepté pour un paiement",
        "ABOVE_MONTH_CEILING": "elle dépasse ce que vous avez accepté pour un mois",
        "CURRENCY_MISMATCH": "votre autorisation de débit est dans une autre monnaie",
        "MANDATE_LAPSED": "votre autorisation de débit n'a pas servi depuis trop longtemps",
        "MANDATE_WITHOUT_END": "votre autorisation de débit n'a pas de dernier jour, et il en faut un",
        "MANDATE_PENDING": "votre autorisation de débit n'est pas encore confirmée",
        "MANDATE_DISPUTED": "un paiement a été contesté auprès de votre banque",
        "MANDATE_PAUSED": "votre autorisation de débit est en pause",
        "INSUFFICIENT_FUNDS": "le solde n'était pas suffisant",
        "CARD_LIMIT_REACHED": "la carte a atteint son plafond",
        "CARD_EXPIRED": "la carte a expiré",
        "BANK_CONFIRMATION_NEEDED": "votre banque demande votre confirmation",
    },
    reason_unknown="votre compte dit pourquoi",
)
