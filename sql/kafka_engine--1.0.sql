\echo Use "CREATE EXTENSION kafka_engine" to load this file. \quit

CREATE SCHEMA kafka;
GRANT USAGE ON SCHEMA kafka TO PUBLIC;

-- ---------------------------------------------------------------- foreign data wrapper (topic/)

CREATE FUNCTION kafka.fdw_handler() RETURNS fdw_handler
    AS 'MODULE_PATHNAME', 'kafka_engine_fdw_handler' LANGUAGE C STRICT;
CREATE FUNCTION kafka.fdw_validator(options text[], catalog oid) RETURNS void
    AS 'MODULE_PATHNAME', 'kafka_engine_fdw_validator' LANGUAGE C STRICT;
CREATE FOREIGN DATA WRAPPER kafka HANDLER kafka.fdw_handler VALIDATOR kafka.fdw_validator;

-- Types of columns against their roles and formats, whenever a foreign table is made or changed.
CREATE FUNCTION kafka.check_columns() RETURNS event_trigger
    AS 'MODULE_PATHNAME', 'kafka_engine_check_columns' LANGUAGE C;
CREATE EVENT TRIGGER kafka_engine_columns ON ddl_command_end
    WHEN TAG IN ('CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE', 'ALTER TABLE',
                 'IMPORT FOREIGN SCHEMA')
    EXECUTE FUNCTION kafka.check_columns();

-- Whether a server's brokers can be reached with the caller's login, or why not. Needs USAGE on it.
CREATE FUNCTION kafka.check(server name, OUT connected boolean, OUT reason text,
                            OUT cluster_id text, OUT brokers text[], OUT controller int,
                            OUT latency_ms float8, OUT librdkafka text) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'kafka_engine_check' LANGUAGE C STRICT ROWS 1;

-- ---------------------------------------------------------------- catalogs (stream/)

-- One row per continuous view. Texts that can hold data are shown by kafka.views to owners only.
CREATE TABLE kafka.registry (
    view        regclass PRIMARY KEY,           -- the relation the user sees
    query       regclass NOT NULL UNIQUE,       -- hidden view that holds the query
    topic_table regclass NOT NULL,
    target      regclass NOT NULL,              -- the table fed: view itself unless kafka.into
    state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'stopped')),
    since       timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason      text,                           -- why paused or stopped
    error       text,                           -- newest error, kept after recovery
    error_at    timestamptz,
    start       text NOT NULL,                  -- as given; resolved offsets are in progress
    options     jsonb NOT NULL DEFAULT '{}',    -- as given, without the prefix kafka.
    settings    jsonb NOT NULL DEFAULT '{}',    -- TimeZone, DateStyle, IntervalStyle of the creator
    cluster_id  text,                           -- of the cluster the positions belong to
    target_columns int2[] NOT NULL,             -- column i of query feeds this attribute of target
    database    oid NOT NULL                    -- where registered; differs after a template copy
);

-- Truth about what has been read: the next offset, in the transaction of the rows it covers.
CREATE TABLE kafka.progress (
    view         regclass NOT NULL,
    topic        text NOT NULL,
    partition    int NOT NULL,
    next_offset  bigint NOT NULL,
    leader_epoch int,
    rows         bigint NOT NULL DEFAULT 0,     -- stored by batches (counted on their first partition)
    skipped      bigint NOT NULL DEFAULT 0,     -- records rejected under on_error = skip
    PRIMARY KEY (view, topic, partition)
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.0);

CREATE TABLE kafka.gap_log (
    view          regclass NOT NULL,
    topic         text NOT NULL,
    partition     int NOT NULL,
    first_missing bigint NOT NULL,
    last_missing  bigint NOT NULL,
    reason        text NOT NULL,
    crossed       boolean NOT NULL,
    noticed_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON kafka.gap_log (view);

CREATE TABLE kafka.state_log (
    view   regclass NOT NULL,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    state  text NOT NULL,
    reason text,
    by     text NOT NULL                        -- role, or 'worker', 'supervisor'
);
CREATE INDEX ON kafka.state_log (view, at);

SELECT pg_catalog.pg_extension_config_dump('kafka.registry', '');
SELECT pg_catalog.pg_extension_config_dump('kafka.progress', '');
SELECT pg_catalog.pg_extension_config_dump('kafka.gap_log', '');
SELECT pg_catalog.pg_extension_config_dump('kafka.state_log', '');

CREATE VIEW kafka.positions AS
    SELECT view, topic, partition, next_offset, leader_epoch FROM kafka.progress;
GRANT SELECT ON kafka.positions TO PUBLIC;

-- ---------------------------------------------------------------- continuous views: ddl (stream/)

-- ---------------------------------------------------------------- running: views, lag, workers (stream/)
