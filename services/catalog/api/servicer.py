"""The RPCs of catalog: request, use case, response; each method's contract is in its proto."""

from recurring.catalog.v1 import catalog_pb2_grpc

from services.catalog.api.methods.audit import AuditMethods
from services.catalog.api.methods.internal import InternalMethods
from services.catalog.api.methods.price_protection import PriceProtectionMethods
from services.catalog.api.methods.prices import PriceMethods
from services.catalog.api.methods.products import ProductMethods
from services.catalog.api.methods.promotions import PromotionMethods
from services.catalog.api.methods.rule_packs import RulePackMethods
from services.catalog.api.methods.stock import StockMethods
from services.catalog.api.methods.taxes import TaxMethods


class Servicer(
    ProductMethods,
    PriceMethods,
    PromotionMethods,
    PriceProtectionMethods,
    StockMethods,
    RulePackMethods,
    TaxMethods,
    AuditMethods,
    InternalMethods,
    catalog_pb2_grpc.CatalogServiceServicer,
):
    """Answers recurring.catalog.v1.CatalogService."""
