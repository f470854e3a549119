"""Builds the gRPC server of a process from its settings."""

from contextlib import AsyncExitStack

from services.runtime.app.components import Components, Runtime, S
from services.runtime.app.settings import Environment, RuntimeSettings
from services.runtime.auth.authenticator import Authenticator
from services.runtime.auth.key_sets import KeyFile, KeySet, KeyUrl
from services.runtime.rpc.health import Health
from services.runtime.rpc.limits import RateLimit
from services.runtime.rpc.server import Addresses, Server


async def build_server(
    service: str, runtime: Runtime[S], components: Components, health: Health
) -> Server:
    """The server with the service's methods, not started. Raises if the key set cannot be read."""
    settings = runtime.settings
    methods = {
        f"/{components.grpc_service}/{name}": access for name, access in components.access.items()
    }
    server = Server(
        service,
        Authenticator(
            await _key_set(settings, runtime.resources),
            settings.auth_issuer,
            settings.auth_audience,
            methods,
            settings.auth_algorithms.split(),
            runtime.real_clock.now,
        ),
        Addresses(
            platforms=settings.grpc_address,
            peers=settings.peer_address,
            plaintext=settings.grpc_plaintext,
            behind_proxy=settings.behind_proxy,
        ),
        runtime.identity,
        health,
        RateLimit(
            settings.caller_calls_per_second,
            settings.caller_burst_calls,
            settings.caller_calls_at_once,
        ),
    )
    server.add(components.register, components.servicer)
    if settings.reflection_enabled:
        server.reflect([components.grpc_service])
    return server


async def _key_set(settings: RuntimeSettings, resources: AsyncExitStack) -> KeySet:
    production = settings.environment is Environment.PRODUCTION
    if settings.auth_jwks_file is not None:
        return KeyFile(settings.auth_jwks_file, production=production)
    async with AsyncExitStack() as opened:
        keys = KeyUrl(settings.auth_jwks_url, production=production)
        opened.push_async_callback(keys.close)
        await keys.fetch()
        resources.push_async_exit(opened.pop_all())
    return keys
