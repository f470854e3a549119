"""CloudNativePG's database has the roles and rights that `deploy/postgres/roles.sql` gives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded.databases import Databases, Passwords
from deploy.embedded.postgres import EmbeddedPostgres
from tests.manifests.cluster import SERVICES, Cluster

SCRIPT = Path("deploy/components/cloudnative-pg/roles.sql")
PASSWORD = "only-for-tests-on-this-machine"
# By psql as everywhere else, and as the operator does it.
BY_SCRIPT, BY_OPERATOR = "roles_by_script", "roles_by_operator"
SUFFIXES = ("", "_owner", "_migrator", "_workers", "_readonly", "_auditor")

# Whatever has an order of its own is put into one that both have.
RIGHTS = """
SELECT rolname, rolbypassrls, rolsuper, rolcreatedb, rolcreaterole,
       array(SELECT unnest(rolconfig) ORDER BY 1),
       array(SELECT granted.rolname || inherit_option || set_option FROM pg_auth_members
             JOIN pg_roles granted ON granted.oid = roleid WHERE member = role.oid ORDER BY 1)
FROM pg_roles role WHERE rolname LIKE '{name}%' ORDER BY 1;
SELECT array(SELECT unnest(datacl)::text ORDER BY 1), pg_get_userbyid(datdba)
FROM pg_database WHERE datname = '{name}';
\\connect {name}
SELECT array(SELECT unnest(nspacl)::text ORDER BY 1), pg_get_userbyid(nspowner)
FROM pg_namespace WHERE nspname = 'public';
SELECT defaclobjtype, array(SELECT unnest(defaclacl)::text ORDER BY 1), pg_get_userbyid(defaclrole)
FROM pg_default_acl ORDER BY 1;
"""


@pytest.fixture
def databases(postgres: EmbeddedPostgres) -> Iterator[Databases]:
    databases = postgres.databases
    yield databases
    for name in (BY_SCRIPT, BY_OPERATOR):
        databases.drop(name)
        for suffix in SUFFIXES:
            databases.execute(f"DROP ROLE IF EXISTS {name}{suffix}")


def test_the_operators_roles_have_the_same_rights(databases: Databases) -> None:
    databases.ensure(BY_SCRIPT, Passwords(*[PASSWORD] * 4))
    # What the operator does of itself: the owner, its database, and then the script, once.
    databases.execute(
        f"CREATE ROLE {BY_OPERATOR}_owner;"
        f"CREATE DATABASE {BY_OPERATOR} OWNER {BY_OPERATOR}_owner;\n"
        f"\\connect {BY_OPERATOR}\n{SCRIPT.read_text()}"
    )
    by_script, by_operator = (
        databases.execute(RIGHTS.format(name=name)).replace(name, "<name>")
        for name in (BY_SCRIPT, BY_OPERATOR)
    )
    assert "<name>_workers" in by_script
    assert by_operator == by_script


@pytest.mark.parametrize("service", SERVICES)
def test_the_operator_has_the_same_roles(prod: Cluster, service: str) -> None:
    cluster = prod.named("Cluster", f"{service}-db")["spec"]
    name = f"recurring_{service}"
    assert cluster["bootstrap"]["initdb"]["database"] == name
    assert cluster["bootstrap"]["initdb"]["owner"] == f"{name}_owner"
    roles = {role["name"].removeprefix(name): role for role in cluster["managed"]["roles"]}
    assert set(roles) == set(SUFFIXES)
    assert {suffix for suffix, role in roles.items() if role["login"]} == {
        "",
        "_migrator",
        "_readonly",
        "_auditor",
    }
    assert {suffix for suffix, role in roles.items() if role.get("bypassrls")} == {
        "_workers",
        "_readonly",
    }
    assert roles[""]["inRoles"] == [f"{name}_workers"]
    assert roles["_migrator"]["inRoles"] == [f"{name}_owner"]
    database = prod.named("Database", service)["spec"]
    assert (database["name"], database["owner"]) == (name, f"{name}_owner")


def test_every_cluster_is_backed_up(prod: Cluster) -> None:
    backed_up = {manifest["spec"]["cluster"]["name"] for manifest in prod.all("ScheduledBackup")}
    assert backed_up == {manifest["metadata"]["name"] for manifest in prod.all("Cluster")}
    for manifest in prod.all("Cluster"):
        (plugin,) = manifest["spec"]["plugins"]
        prod.named("ObjectStore", plugin["parameters"]["barmanObjectName"])
