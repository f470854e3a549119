-- The database of one service and its roles. An administrator runs it with psql; run again, it only sets
-- the passwords:
--
--   psql -v ON_ERROR_STOP=1 -v name=recurring_catalog -v app_password=… -v migrator_password=…
--        -v readonly_password=… -v auditor_password=… -f roles.sql
--
--   <name>_owner     owns the database and all in it; nobody can log in as this role
--   <name>_migrator  acts as the owner: for `python -m services.<service> migrate` alone
--   <name>           the service: reads and writes rows, sees one merchant at a time, changes no schema
--   <name>_workers   the service's workers and consumers: they see every merchant
--   <name>_readonly  for operators: sees every merchant, changes nothing
--   <name>_auditor   for proofs: reads the views of schema audit_v1, and nothing else

SELECT format('CREATE ROLE %I NOLOGIN', :'name' || suffix) FROM unnest('{_owner,_workers}'::text[]) suffix
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name' || suffix) \gexec
SELECT format('CREATE ROLE %I LOGIN', :'name' || suffix)
FROM unnest(ARRAY['', '_migrator', '_readonly', '_auditor']) suffix
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name' || suffix) \gexec

SELECT :'name' || '_owner' AS owner, :'name' || '_migrator' AS migrator, :'name' || '_workers' AS workers,
       :'name' || '_readonly' AS readonly, :'name' || '_auditor' AS auditor \gset
ALTER ROLE :"name" PASSWORD :'app_password' NOBYPASSRLS;
ALTER ROLE :"migrator" PASSWORD :'migrator_password';
ALTER ROLE :"readonly" PASSWORD :'readonly_password' BYPASSRLS;
ALTER ROLE :"readonly" SET default_transaction_read_only = on;
ALTER ROLE :"auditor" PASSWORD :'auditor_password' NOBYPASSRLS;
ALTER ROLE :"auditor" SET default_transaction_read_only = on;
ALTER ROLE :"workers" BYPASSRLS;
-- The service sets these itself; any other client with its password, or an operator's, begins with the same.
SELECT format('ALTER ROLE %I SET %s = %L', role, setting, value)
FROM unnest(ARRAY[:'name', :'readonly']) role,
     (VALUES ('statement_timeout', '15s'), ('lock_timeout', '5s'),
             ('idle_in_transaction_session_timeout', '15s')) limits (setting, value) \gexec
-- A proof of a large book reads for minutes, and holds its snapshot while it reads the other databases.
SELECT format('ALTER ROLE %I SET %s = %L', :'auditor', setting, value)
FROM (VALUES ('statement_timeout', '15min'), ('lock_timeout', '5s'),
             ('idle_in_transaction_session_timeout', '15min')) limits (setting, value) \gexec
GRANT :"owner" TO :"migrator";
ALTER ROLE :"migrator" SET role = :'owner';
-- The service takes this role with SET ROLE; otherwise it has none of its rights.
GRANT :"workers" TO :"name" WITH INHERIT FALSE, SET TRUE;

SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"name" TO :"name", :"migrator", :"readonly", :"auditor";

\connect :"name"
ALTER SCHEMA public OWNER TO :"owner";
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO :"name", :"workers", :"readonly";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"name", :"workers";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT ON TABLES TO :"readonly";
-- The views that proofs read show every merchant, so the service's own roles have no access to them.
CREATE SCHEMA IF NOT EXISTS audit_v1 AUTHORIZATION :"owner";
GRANT USAGE ON SCHEMA audit_v1 TO :"auditor";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA audit_v1 GRANT SELECT ON TABLES TO :"auditor";
