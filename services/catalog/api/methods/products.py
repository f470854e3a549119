"""The methods about products."""

from collections.abc import AsyncIterator

from recurring.catalog.v1 import catalog_pb2

from services.catalog.api import import_messages, requests, responses
from services.catalog.api.methods.base import Methods
from services.catalog.application import imports, products
from services.catalog.names import MERCHANT, PRODUCT
from services.catalog.store import products as product_store
from services.runtime.mutations import run_mutation
from services.runtime.rpc.names import read_name
from services.runtime.rpc.paging import read_page


class ProductMethods(Methods):
    """Methods about products."""

    async def CreateProduct(
        self, request: catalog_pb2.CreateProductRequest, _context: object
    ) -> catalog_pb2.Product:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Product,
            responses.product_message,
            lambda tx: products.create(tx, requests.read_new_product(request, self._clock.now())),
        )

    async def GetProduct(
        self, request: catalog_pb2.GetProductRequest, _context: object
    ) -> catalog_pb2.Product:
        key = read_name(PRODUCT, request.name)
        async with self._database.read() as connection:
            return responses.product_message(await products.existing(connection, key))

    async def ListProducts(
        self, request: catalog_pb2.ListProductsRequest, _context: object
    ) -> catalog_pb2.ListProductsResponse:
        merchant = read_name(MERCHANT, request.parent)
        page = read_page(request, keys=1)
        after = page.after[0] if page.after else ""
        async with self._database.read() as connection:
            listed = await product_store.products_of_merchant(
                connection, merchant, after, page.limit
            )
        shown, token = page.cut(
            listed, responses.product_message, lambda product: (product.product,)
        )
        return catalog_pb2.ListProductsResponse(products=shown, next_page_token=token)

    async def UpdateProduct(
        self, request: catalog_pb2.UpdateProductRequest, _context: object
    ) -> catalog_pb2.Product:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Product,
            responses.product_message,
            lambda tx: products.change(
                tx,
                requests.read_product_name(request),
                request.product.etag,
                requests.read_product_change(request),
                self._clock.now(),
            ),
        )

    async def ImportProducts(
        self, requests: AsyncIterator[catalog_pb2.ImportProductsRequest], _context: object
    ) -> catalog_pb2.ImportProductsResponse:
        return await self._import(requests, import_messages.PRODUCTS, imports.store_products)

    async def DiscontinueProduct(
        self, request: catalog_pb2.DiscontinueProductRequest, _context: object
    ) -> catalog_pb2.Product:
        return await run_mutation(
            self._database,
            request,
            catalog_pb2.Product,
            responses.product_message,
            lambda tx: products.discontinue(
                tx, read_name(PRODUCT, request.name), request.etag, self._clock.now()
            ),
        )
