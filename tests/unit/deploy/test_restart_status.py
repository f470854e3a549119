"""The supervisor, which imports no service, knows by which status a service asks to be restarted."""

from deploy.embedded import supervisor
from services.runtime.app import bootstrap


def test_a_supervisor_restarts_at_the_status_that_a_service_ends_with() -> None:
    assert supervisor.EXIT_RESTART == bootstrap.EXIT_RESTART
