-- What deploy/postgres/roles.sql makes by psql, for an operator that runs it once, in the new database, as
-- the superuser. Passwords, and who may log in, are given to the roles by the Cluster's own list.
DO $$
DECLARE
    service  text := current_database();
    owner    text := current_database() || '_owner';
    migrator text := current_database() || '_migrator';
    workers  text := current_database() || '_workers';
    readonly text := current_database() || '_readonly';
    auditor  text := current_database() || '_auditor';
    limited  text;
BEGIN
    EXECUTE format('CREATE ROLE %I NOLOGIN BYPASSRLS', workers);
    EXECUTE format('CREATE ROLE %I NOLOGIN', service);
    EXECUTE format('CREATE ROLE %I NOLOGIN', migrator);
    EXECUTE format('CREATE ROLE %I NOLOGIN BYPASSRLS', readonly);
    EXECUTE format('CREATE ROLE %I NOLOGIN', auditor);
    EXECUTE format('GRANT %I TO %I', owner, migrator);
    EXECUTE format('ALTER ROLE %I SET role = %L', migrator, owner);
    EXECUTE format('ALTER ROLE %I SET default_transaction_read_only = on', readonly);
    EXECUTE format('ALTER ROLE %I SET default_transaction_read_only = on', auditor);
    FOREACH limited IN ARRAY ARRAY[service, readonly] LOOP
        EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', limited, '15s');
        EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', limited, '5s');
        EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', limited, '15s');
    END LOOP;
    EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', auditor, '15min');
    EXECUTE format('ALTER ROLE %I SET lock_timeout = %L', auditor, '5s');
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', auditor, '15min');
    EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', workers, service);
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', service);
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I, %I, %I, %I',
                   service, service, migrator, readonly, auditor);
    EXECUTE format('ALTER SCHEMA public OWNER TO %I', owner);
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I, %I, %I', service, workers, readonly);
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA public '
                   'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I, %I', owner, service, workers);
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA public '
                   'GRANT SELECT ON TABLES TO %I', owner, readonly);
    EXECUTE format('CREATE SCHEMA audit_v1 AUTHORIZATION %I', owner);
    EXECUTE format('GRANT USAGE ON SCHEMA audit_v1 TO %I', auditor);
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA audit_v1 '
                   'GRANT SELECT ON TABLES TO %I', owner, auditor);
END
$$;
