"""What all methods of the service work with."""

from services.payments.clients.providers import Providers
from services.payments.clients.rendering.process import DocumentRenderer
from services.payments.clients.rule_packs import RulePacks
from services.payments.clients.stock import Stock
from services.runtime.db.pool import Database
from services.runtime.workers.clock import Clock


class Methods:
    """What parts of the servicer have in common."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        providers: Providers,
        renderer: DocumentRenderer,
        rule_packs: RulePacks | None = None,
        stock: Stock | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._providers = providers
        self._renderer = renderer
        self._rule_packs = rule_packs
        self._stock = stock
