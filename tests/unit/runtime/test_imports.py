"""A process that serves imports what serving needs: each package costs megabytes in every replica."""

import subprocess
import sys

import pytest

# What the code of services is.
OURS = {"__main__", "buf", "recurring", "services"}
SERVING = {
    "annotated_types",
    "asyncpg",
    "cryptography",
    "dotenv",
    "google",
    "grpc",
    "grpc_health",
    "grpc_reflection",
    "grpc_status",
    "iso4217",
    "jwt",
    "nats",
    "opentelemetry",
    "orjson",
    "prometheus_client",
    "protobuf",
    "protobuf_ext",
    "protovalidate",
    "pycurl",
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "regex",
    "typing_extensions",
    "typing_inspection",
    "tzdata",
    "uvloop",
}
OF_ONE_SERVICE = {
    "catalog": set[str](),
    "scheduler": {"re2"},
    "payments": {"httptools"},
    "notify": {"aiosmtplib", "babel", "httptools", "jinja2", "markupsafe", "phonenumbers"},
}
# Small ones that others import if they are installed, as they are where tests run.
IF_INSTALLED = {"_distutils_hack", "grpc_tools", "psutil"}
# Without those of the interpreter's own start, of Cython, of cffi and of editable installations.
IMPORTED = """
import sys
at_start = set(sys.modules)
import services.{}.__main__
names = {{name.split(".")[0] for name in sys.modules.keys() - at_start}} - sys.stdlib_module_names
print(*(name for name in names if not name.startswith(("_c", "__e", "_o", "_sysc", "cython"))))
"""


@pytest.mark.parametrize("service", OF_ONE_SERVICE)
def test_a_service_imports_nothing_that_serving_does_not_need(service: str) -> None:
    imported = subprocess.run(
        [sys.executable, "-c", IMPORTED.format(service)], capture_output=True, text=True, check=True
    )
    packages = set(imported.stdout.split()) - OURS - IF_INSTALLED
    assert packages == SERVING | OF_ONE_SERVICE[service]
