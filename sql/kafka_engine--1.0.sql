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

-- The rows of a topic table that a record would make: kafka.decode(NULL::clicks, payload). Not
-- parallel: values of tables that declare _error are judged in subtransactions.
CREATE FUNCTION kafka.decode(row_type anyelement, payload bytea, key bytea DEFAULT NULL,
                             headers jsonb DEFAULT NULL) RETURNS SETOF anyelement
    AS 'MODULE_PATHNAME', 'kafka_engine_decode' LANGUAGE C STABLE ROWS 1;
-- The way back: the payload, and the key (null where all its columns are), of a row of a topic table.
CREATE FUNCTION kafka.encode(topic_row anyelement) RETURNS bytea
    AS 'MODULE_PATHNAME', 'kafka_engine_encode' LANGUAGE C STABLE STRICT;
CREATE FUNCTION kafka.encode_key(topic_row anyelement) RETURNS bytea
    AS 'MODULE_PATHNAME', 'kafka_engine_encode_key' LANGUAGE C STABLE STRICT;

-- Partitions as the broker tells them. Needs SELECT on the table and USAGE on its server.
CREATE FUNCTION kafka.partitions(topic_table regclass, OUT topic text, OUT partition int,
                                 OUT leader int, OUT low bigint, OUT high bigint,
                                 OUT last_stable bigint) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'kafka_engine_partitions' LANGUAGE C STRICT;

-- Whether a server's brokers can be reached with the caller's login, or why not. Needs USAGE on it.
CREATE FUNCTION kafka.check(server name, OUT connected boolean, OUT reason text,
                            OUT cluster_id text, OUT brokers text[], OUT controller int,
                            OUT latency_ms float8, OUT librdkafka text) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'kafka_engine_check' LANGUAGE C STRICT ROWS 1;

-- ---------------------------------------------------------------- what is in a topic

-- Whether a value that looks like one of this type is one: there is no 2026-02-31.
CREATE FUNCTION kafka.sample_fits(v text, type text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF type = 'bigint' THEN -- of a whole number
        RETURN v::numeric BETWEEN -9223372036854775808 AND 9223372036854775807;
    END IF;
    RETURN CASE type WHEN 'date' THEN v::date IS NOT NULL WHEN 'timestamp' THEN v::timestamp IS NOT NULL
        WHEN 'timestamptz' THEN v::timestamptz IS NOT NULL WHEN 'numeric' THEN v::numeric IS NOT NULL
        WHEN 'double precision' THEN v::float8 IS NOT NULL END;
EXCEPTION WHEN data_exception THEN
    RETURN false;
END $$;

-- What a value would be as a column; of_text: in a format whose values are all text.
-- 'huge numeric' is a numeric that is none of double precision.
CREATE FUNCTION kafka.sample_kind(v json, of_text boolean) RETURNS text LANGUAGE sql STABLE
RETURN CASE json_typeof(v)
    WHEN 'null' THEN NULL
    WHEN 'object' THEN 'jsonb'
    WHEN 'array' THEN '[]'
    WHEN 'boolean' THEN 'boolean'
    WHEN 'number' THEN CASE WHEN v::text ~ '^-?\d{1,19}$' AND kafka.sample_fits(v::text, 'bigint') THEN 'bigint'
                            WHEN v::text !~ '[eE]' AND length(v::text) < 300 THEN 'numeric'
                            WHEN NOT kafka.sample_fits(v::text, 'double precision') THEN
                                CASE WHEN kafka.sample_fits(v::text, 'numeric') THEN 'huge numeric' ELSE 'text' END
                            WHEN v::text ~ '[eE]' THEN 'double precision'
                            WHEN kafka.sample_fits(v::text, 'numeric') THEN 'numeric' ELSE 'text' END
    ELSE CASE
        WHEN of_text AND v#>>'{}' ~ '^-?(0|[1-9]\d{0,18})$' AND kafka.sample_fits(v#>>'{}', 'bigint') THEN 'bigint'
        WHEN of_text AND v#>>'{}' ~ '^-?(0|[1-9]\d*)(\.\d+)?$' THEN
            CASE WHEN length(v#>>'{}') < 300 OR kafka.sample_fits(v#>>'{}', 'numeric') THEN 'numeric' ELSE 'text' END
        WHEN of_text AND v#>>'{}' IN ('t', 'f', 'true', 'false') THEN 'boolean'
        WHEN v#>>'{}' ~ '^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$' THEN
            CASE WHEN kafka.sample_fits(v#>>'{}', 'date') THEN 'date' ELSE 'text' END
        WHEN v#>>'{}' ~ '^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?$'
            THEN CASE WHEN kafka.sample_fits(v#>>'{}', 'timestamp') THEN 'timestamp' ELSE 'text' END
        WHEN v#>>'{}' ~ ('^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?'
                         '(Z|[-+]\d\d(:?\d\d)?)$')
            THEN CASE WHEN kafka.sample_fits(v#>>'{}', 'timestamptz') THEN 'timestamptz' ELSE 'text' END
        WHEN v#>>'{}' ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN 'uuid'
        ELSE 'text' END
    END;

-- The narrowest type that takes values of all these kinds.
CREATE FUNCTION kafka.sample_widest(kinds text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN cardinality(array_remove(kinds, NULL)) = 0 THEN 'text'
    WHEN 'jsonb' = ANY (kinds) OR '[]' = ANY (kinds) THEN 'jsonb'
    WHEN 'huge numeric' = ANY (kinds) AND kinds <@ '{bigint,numeric,"double precision","huge numeric"}' THEN 'numeric'
    WHEN cardinality(kinds) = 1 THEN kinds[1]
    WHEN kinds <@ '{bigint,numeric}' THEN 'numeric'
    WHEN kinds <@ '{bigint,numeric,"double precision"}' THEN 'double precision'
    WHEN kinds <@ '{date,timestamp}' THEN 'timestamp'
    ELSE 'text' END;

-- The path of a member.
CREATE FUNCTION kafka.sample_path(member text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '$["' || regexp_replace(member, '(["\\])', '\\\1', 'g') || '"]';

-- Which of these paths lead to bytes: read as bytea they are what JSON has in base64, where text is itself. Of
-- arrays the first element is asked for. given: the options of the topic's table.
CREATE FUNCTION kafka.sample_bytes(server name, given text, paths text[], n bigint) RETURNS SETOF text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most constant int := 500; -- in one table, each as two columns
    found boolean[]; asked text[];
BEGIN
    FOR at IN 1..coalesce(cardinality(paths), 0) BY most LOOP
        asked := paths[at:at + most - 1];
        EXECUTE (SELECT format('CREATE FOREIGN TABLE pg_temp.kafka_sample (%s, _error text) SERVER %I OPTIONS (%s)',
                     string_agg(format('b%1$s bytea OPTIONS (path %2$L), j%1$s json OPTIONS (path %2$L)', p.i, p.path), ', '),
                     server, given) FROM unnest(asked) WITH ORDINALITY p (path, i));
        EXECUTE (SELECT format('SELECT ARRAY[%s] FROM (SELECT * FROM pg_temp.kafka_sample LIMIT %s) s WHERE s._error IS NULL',
                     string_agg(format($q$bool_%s(s.j%2$s::text = '"' || translate(encode(s.b%2$s, 'base64'), E'\n', '') || '"')
                                          FILTER (WHERE s.b%2$s <> '')$q$, CASE WHEN p.path LIKE '%[0]' THEN 'and' ELSE 'or' END,
                                       p.i), ', ' ORDER BY p.i), n) FROM unnest(asked) WITH ORDINALITY p (path, i)) INTO found;
        DROP FOREIGN TABLE pg_temp.kafka_sample;
        RETURN QUERY SELECT p.path FROM unnest(asked, found) p (path, is_bytes) WHERE p.is_bytes;
    END LOOP;
END $$;

-- The type of a column by a field of Connect's schema, where that says more than the values do.
CREATE FUNCTION kafka.sample_declared(field json) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN field->>'name' ~ '^(io\.debezium\.time\.(Iso)?|org\.apache\.kafka\.connect\.data\.)Date$' THEN 'date'
    WHEN field->>'name' ~ '^(io\.debezium\.time\.(Micro|Nano|Iso)?|org\.apache\.kafka\.connect\.data\.)Time$' THEN 'time'
    WHEN field->>'name' ~ '^(io\.debezium\.time\.(Micro|Nano|Iso)?|org\.apache\.kafka\.connect\.data\.)Timestamp$'
        THEN 'timestamp'
    WHEN field->>'name' ~ '^io\.debezium\.time\.((Micro|Nano)Duration|Interval)$' THEN 'interval'
    WHEN field->>'name' IN ('org.apache.kafka.connect.data.Decimal', 'io.debezium.data.VariableScaleDecimal') THEN 'numeric'
    WHEN field->>'name' = 'io.debezium.time.ZonedTimestamp' THEN 'timestamptz'
    WHEN field->>'name' = 'io.debezium.time.ZonedTime' THEN 'timetz'
    WHEN field->>'name' = 'io.debezium.data.Bits' THEN 'bit varying'
    WHEN field->>'name' = 'io.debezium.data.Json' THEN 'jsonb'
    WHEN field->>'name' = 'io.debezium.data.Uuid' THEN 'uuid'
    WHEN field->>'type' IN ('int8', 'int16') THEN 'smallint'
    WHEN field->>'type' = 'int32' THEN 'integer'
    WHEN field->>'type' = 'int64' THEN 'bigint'
    WHEN field->>'type' = 'float' THEN 'real'
    WHEN field->>'type' = 'double' THEN 'double precision'
    WHEN field->>'type' = 'boolean' THEN 'boolean'
    WHEN field->>'type' = 'bytes' THEN 'bytea'
    WHEN field->>'type' IN ('struct', 'map') THEN 'jsonb'
    WHEN field->>'type' = 'array' AND field->'items'->>'name' IS NULL THEN
        CASE field->'items'->>'type' WHEN 'int8' THEN 'smallint[]' WHEN 'int16' THEN 'smallint[]' WHEN 'int32' THEN 'integer[]'
             WHEN 'int64' THEN 'bigint[]' WHEN 'float' THEN 'real[]' WHEN 'double' THEN 'double precision[]'
             WHEN 'boolean' THEN 'boolean[]' WHEN 'bytes' THEN 'bytea[]' END
    END;

-- What Connect's schema, which a change event in JSON may bring, says of the row's columns: types by their names.
CREATE FUNCTION kafka.sample_schema(raw bytea) RETURNS jsonb LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    fields json;
BEGIN
    fields := convert_from(raw, 'UTF8')::json->'schema'->'fields';
    IF EXISTS (SELECT FROM json_array_elements(fields) f WHERE f->>'field' = 'after') THEN
        fields := (SELECT f->'fields' FROM json_array_elements(fields) f WHERE f->>'field' = 'after' LIMIT 1);
    END IF;
    RETURN (SELECT jsonb_object_agg(f->>'field', kafka.sample_declared(f)) FROM json_array_elements(fields) f
            WHERE f->>'field' IS NOT NULL);
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

-- Columns for a topic, by its first n records: their names and types, in how many of the documents each was seen,
-- and in how many of these it was null. A NOTICE has the statement that makes the topic table. Needs USAGE on the
-- server and TEMPORARY on the database.
CREATE FUNCTION kafka.sample(server name, topic text, format text, n int DEFAULT 1000, options jsonb DEFAULT '{}',
                             OUT column_name text, OUT type text, OUT seen bigint, OUT nulls bigint)
    RETURNS SETOF record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = notice AS $$
DECLARE
    given text := format('topic %L, format %L', topic, format) ||
        coalesce((SELECT string_agg(format(', %I %L', key, value), '' ORDER BY key) FROM jsonb_each_text(options)), '');
    lines boolean := format IN ('csv', 'tsv');
    single boolean := format IN ('raw', 'text');
    names text[]; named text[]; quoted text[]; first text; ddl text; documents bigint; bad bigint; odd record; stem text; called text; row_at tid;
    field text; -- what is quoted, as a regular expression
    -- What a member's column cannot be called: as the server's own columns, or as metadata, which it would be then.
    taken text[] := '{ctid,tableoid,xmin,xmax,cmin,cmax,_topic,_partition,_offset,_timestamp,_timestamp_type,'
        '_leader_epoch,_key,_headers,_raw,_tombstone,_error}'::text[] ||
        CASE format WHEN 'debezium' THEN '{_op,_ts,_source,_before,_after,_unavailable}'::text[] END;
    delimiter text := coalesce(options->>'delimiter', CASE format WHEN 'tsv' THEN E'\t' ELSE ',' END);
    columns text := 'doc json OPTIONS (path ''$'')';
BEGIN
    IF n < 1 THEN
        RAISE 'the number of records to sample must be positive' USING ERRCODE = '22023';
    END IF;
    IF lines THEN -- as many columns as the first line has fields, by their names where it is a header
        EXECUTE format('CREATE FOREIGN TABLE pg_temp.kafka_sample (doc text) SERVER %I OPTIONS (topic %L, format ''text'')',
                       server, topic);
        SELECT s.doc INTO first FROM pg_temp.kafka_sample s WHERE s.doc <> '' LIMIT 1;
        DROP FOREIGN TABLE pg_temp.kafka_sample;
        IF format = 'csv' THEN -- what is quoted may hold delimiters and line breaks
            stem := coalesce(options->>'quote', '"');
            SELECT CASE WHEN e = q THEN format('%1$s[^%1$s]*%1$s', q) ELSE format('%1$s(?:%2$s.|[^%1$s%2$s])*%1$s', q, e) END
                INTO field FROM regexp_replace(stem, '(\W)', '\\\1') q,
                                regexp_replace(coalesce(options->>'escape', stem), '(\W)', '\\\1') e;
            quoted := ARRAY(SELECT m[1] FROM regexp_matches(first, format('(%s)', field), 'g') m);
            first := regexp_replace(first, field, E'\x01', 'g');
        END IF;
        names := string_to_array(rtrim(split_part(first, E'\n', 1), E'\r'), delimiter);
        IF lower(options->>'header') IN ('match', 'true', 'on', '1', 'yes') THEN
            named := ARRAY(SELECT CASE WHEN f.name = E'\x01' THEN trim(quoted[count(*) FILTER (WHERE f.name = E'\x01')
                                                                             OVER (ORDER BY f.n)], stem)
                                       ELSE f.name END FROM unnest(names) WITH ORDINALITY f (name, n) ORDER BY f.n);
            IF NOT EXISTS (SELECT FROM unnest(named) f (name) GROUP BY f.name HAVING count(*) > 1 OR f.name = '' OR
                               f.name = ANY (taken) OR f.name <> f.name::name::text OR f.name LIKE E'%\x01%') THEN
                columns := (SELECT string_agg(quote_ident(f.name) || ' text', ', ' ORDER BY f.n)
                            FROM unnest(named) WITH ORDINALITY f (name, n));
                names := NULL;
            END IF;
        END IF;
        IF names IS NOT NULL OR first IS NULL THEN
            SELECT string_agg('c' || i || ' text', ', ' ORDER BY i) INTO columns
                FROM generate_series(1, greatest(cardinality(names), 1)) i;
        END IF;
    ELSIF single THEN
        columns := CASE format WHEN 'raw' THEN 'payload bytea' ELSE 'payload text' END;
    ELSIF format = 'debezium' THEN
        columns := '_after json, _before json, _raw bytea';
    END IF;
    EXECUTE format('CREATE FOREIGN TABLE pg_temp.kafka_sample (%s, _error text) SERVER %I OPTIONS (%s)',
                   columns, server, given);
    EXECUTE format('CREATE TEMPORARY TABLE kafka_sample_documents AS SELECT %s AS doc, s._error AS error, %s AS types'
                   ' FROM pg_temp.kafka_sample s LIMIT %s',
                   CASE WHEN lines OR single THEN 'to_json(s)' WHEN format = 'debezium' THEN 'coalesce(s._after, s._before)'
                        ELSE 's.doc' END,
                   CASE WHEN format = 'debezium' AND options->>'encoding' IS DISTINCT FROM 'avro'
                        THEN 'kafka.sample_schema(s._raw)' ELSE 'NULL::jsonb' END, n);
    DROP FOREIGN TABLE pg_temp.kafka_sample;
    -- What no text can hold, such as \u0000, is looked for one by one.
    FOR row_at IN SELECT d.ctid FROM pg_temp.kafka_sample_documents d WHERE d.doc::text LIKE '%\\u%' LOOP
        BEGIN
            PERFORM d.doc#>'{}' FROM pg_temp.kafka_sample_documents d WHERE d.ctid = row_at;
        EXCEPTION WHEN data_exception THEN
            UPDATE pg_temp.kafka_sample_documents d SET error = SQLERRM WHERE d.ctid = row_at;
        END;
    END LOOP;
    UPDATE pg_temp.kafka_sample_documents d SET doc = (d.doc#>>'{}')::json
        WHERE json_typeof(d.doc) = 'string' AND format = 'debezium';
    SELECT count(*) FILTER (WHERE d.error IS NULL), count(d.error) INTO documents, bad
        FROM pg_temp.kafka_sample_documents d;
    CREATE TEMPORARY TABLE kafka_sample_columns AS
        WITH objects AS (
            SELECT d.doc FROM pg_temp.kafka_sample_documents d WHERE d.error IS NULL AND json_typeof(d.doc) = 'object'
            UNION ALL SELECT e.* FROM pg_temp.kafka_sample_documents d, json_array_elements(d.doc) e
            WHERE d.error IS NULL AND json_typeof(d.doc) = 'array' AND json_typeof(e.value) = 'object'),
        members AS (
            SELECT f.key AS name, NULL AS path, f.value, f.ordinality AS place FROM objects o,
                json_each(o.doc) WITH ORDINALITY f
                WHERE format <> 'influx' AND NOT ((lines OR single) AND f.key = '_error')
            UNION ALL SELECT f.key, NULL, f.value, 0 FROM objects o, json_each(o.doc) f
                WHERE format = 'influx' AND f.key IN ('measurement', 'time')
            UNION ALL SELECT f.key, p || '.' || f.key, f.value, 1 FROM objects o, unnest('{tag,field}'::text[]) p,
                json_each(CASE WHEN json_typeof(o.doc->(p || 's')) = 'object' THEN o.doc->(p || 's') END) f
                WHERE format = 'influx'),
        kinds AS (
            SELECT m.name, m.path, m.place, kafka.sample_kind(m.value, lines) AS kind,
                CASE json_typeof(m.value) WHEN 'array' THEN (SELECT array_agg(DISTINCT kafka.sample_kind(e, lines))
                    FROM json_array_elements(m.value) e) END AS inside FROM members m)
        SELECT k.name, k.path, count(*) AS seen, count(*) - count(k.kind) AS nulls, min(k.place) AS place,
            CASE WHEN k.name <> ALL (taken) AND k.name = k.name::name::text AND k.name <> '' AND
                      NOT (format = 'debezium' AND starts_with(k.name, '_source_')) AND
                      row_number() OVER (PARTITION BY k.name ORDER BY min(k.place), k.path DESC) = 1
                 THEN k.name END AS label,
            array_remove(array_agg(DISTINCT k.kind), NULL) AS kinds,
            (SELECT array_remove(array_agg(DISTINCT i), NULL) FROM kinds x, unnest(x.inside) i
             WHERE x.name = k.name AND x.path IS NOT DISTINCT FROM k.path) AS inside
        FROM kinds k GROUP BY k.name, k.path;
    ALTER TABLE pg_temp.kafka_sample_columns ADD COLUMN made text;
    UPDATE pg_temp.kafka_sample_columns c SET made = CASE
        WHEN format = 'influx' AND c.name = 'time' AND c.path IS NULL THEN 'timestamptz'
        WHEN format = 'raw' THEN 'bytea'
        WHEN c.kinds = '{[]}' AND kafka.sample_widest(c.inside) <> 'jsonb' THEN kafka.sample_widest(c.inside) || '[]'
        ELSE kafka.sample_widest(c.kinds) END;
    IF format IN ('avro', 'cbor', 'msgpack', 'protobuf') THEN
        WITH texts AS (
            SELECT c.name, kafka.sample_path(c.name) || CASE c.made WHEN 'text[]' THEN '[0]' ELSE '' END AS path
            FROM pg_temp.kafka_sample_columns c WHERE c.kinds = '{text}' OR (c.kinds = '{[]}' AND c.inside = '{text}'))
        UPDATE pg_temp.kafka_sample_columns c SET made = replace(c.made, 'text', 'bytea') FROM texts t
            WHERE t.name = c.name AND t.path IN (SELECT b FROM kafka.sample_bytes(server, given,
                (SELECT array_agg(x.path) FROM texts x), (SELECT sum(CASE json_typeof(d.doc) WHEN 'array'
                    THEN json_array_length(d.doc) ELSE 1 END) FROM pg_temp.kafka_sample_documents d)) b);
    ELSIF format = 'debezium' THEN -- what its schemas agree upon
        UPDATE pg_temp.kafka_sample_columns c SET made = t.type FROM (
                SELECT f.key AS name, min(f.value) AS type FROM pg_temp.kafka_sample_documents d, jsonb_each_text(d.types) f
                WHERE d.error IS NULL GROUP BY f.key HAVING count(DISTINCT f.value) = 1) t
            WHERE t.name = c.name;
        DELETE FROM pg_temp.kafka_sample_columns c WHERE c.label IS NULL; -- there are no paths
    END IF;
    FOR odd IN SELECT c.name, c.path FROM pg_temp.kafka_sample_columns c WHERE c.label IS NULL
               ORDER BY c.place, c.name, c.path LOOP
        FOR i IN 1..2147483647 LOOP
            stem := odd.name::name;
            LOOP
                called := stem || '_' || CASE WHEN i > 1 THEN i::text ELSE '' END;
                EXIT WHEN octet_length(called) < 64;
                stem := left(stem, -1);
            END LOOP;
            EXIT WHEN NOT EXISTS (SELECT FROM pg_temp.kafka_sample_columns c WHERE c.label = called);
        END LOOP;
        UPDATE pg_temp.kafka_sample_columns c SET label = called,
            path = coalesce(c.path, kafka.sample_path(c.name))
            WHERE c.name = odd.name AND c.path IS NOT DISTINCT FROM odd.path;
    END LOOP;
    SELECT format(E'CREATE FOREIGN TABLE %I (\n    %s\n) SERVER %I OPTIONS (%s);', topic,
               string_agg(quote_ident(c.label) || ' ' || c.made || CASE WHEN c.path IS NULL THEN ''
                              ELSE format(' OPTIONS (path %L)', c.path) END, E',\n    ' ORDER BY c.place, c.name) ||
               CASE format WHEN 'debezium' THEN E',\n    _op text,\n    _unavailable text[]' ELSE '' END, server, given)
        INTO ddl FROM pg_temp.kafka_sample_columns c HAVING count(*) > 0;
    IF ddl IS NULL THEN
        RAISE NOTICE 'topic "%" holds no document to learn from', topic
            USING DETAIL = format('%s records, %s of them bad.', documents + bad, bad);
    ELSE
        RAISE NOTICE '%', ddl USING DETAIL = format('By %s records, and %s bad ones.', documents, bad);
    END IF;
    RETURN QUERY SELECT c.label, c.made, c.seen, c.nulls FROM pg_temp.kafka_sample_columns c ORDER BY c.place, c.name;
    DROP TABLE pg_temp.kafka_sample_documents, pg_temp.kafka_sample_columns;
END $$;

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
    target_names name[] NOT NULL,               -- their names: no dump keeps numbers
    database    oid NOT NULL,                   -- where registered; differs after a template copy
    body        name                            -- of a stream: the procedure in this schema that holds
                                                -- its statements; view = query = target, a view that
                                                -- stands for it
);

-- Truth about what has been read: the next offset, in the transaction of the rows it covers.
CREATE TABLE kafka.progress (
    view         regclass NOT NULL,
    topic        text NOT NULL,
    partition    int NOT NULL,
    next_offset  bigint NOT NULL,
    leader_epoch int,
    mark_offset  bigint,                        -- the last record applied: met again, or the topic
    mark_time    bigint,                        -- was made anew
    mark_size    int,
    rows         bigint NOT NULL DEFAULT 0,     -- stored by batches (counted on their first partition)
    skipped      bigint NOT NULL DEFAULT 0,     -- records refused (kept or counted, by on_error)
    PRIMARY KEY (view, topic, partition)
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.0);

-- Where a view began to read each partition: what REFRESH has to read again. The earliest of all times.
CREATE TABLE kafka.begun (
    view         regclass NOT NULL,
    topic        text NOT NULL,
    partition    int NOT NULL,
    first_offset bigint NOT NULL,
    PRIMARY KEY (view, topic, partition)
);

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

-- Records that could not be stored (on_error = dead_letter), in the transaction of their good
-- neighbours. time_type and leader_epoch are for kafka.retry.
CREATE TABLE kafka.dead_letter_log (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    view          regclass NOT NULL,
    topic         text NOT NULL,
    partition     int NOT NULL,
    record_offset bigint NOT NULL,
    record_time   timestamptz,
    time_type     text,
    leader_epoch  int,
    key           bytea,
    value         bytea,
    headers       jsonb,                        -- as the column _headers
    sqlstate      text NOT NULL,
    message       text NOT NULL,
    detail        text,
    column_name   text,
    failed_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts      int NOT NULL DEFAULT 1,
    to_topic      text,                         -- still to be produced there (dead_letter_topic);
    stage         text                          -- its header of this name
);
CREATE INDEX ON kafka.dead_letter_log (view, topic, partition, record_offset);
CREATE INDEX ON kafka.dead_letter_log (view, id) WHERE to_topic IS NOT NULL;

-- Records that were not kept (on_error = skip), by reason.
CREATE TABLE kafka.skip_log (
    view        regclass NOT NULL,
    topic       text NOT NULL,
    partition   int NOT NULL,
    sqlstate    text NOT NULL,
    column_name text NOT NULL,                  -- '': none
    records     bigint NOT NULL,
    message     text NOT NULL,                  -- of the newest
    last_offset bigint NOT NULL,
    last_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (view, topic, partition, sqlstate, column_name)
);

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
SELECT pg_catalog.pg_extension_config_dump('kafka.begun', '');
SELECT pg_catalog.pg_extension_config_dump('kafka.gap_log', '');
SELECT pg_catalog.pg_extension_config_dump('kafka.state_log', '');
SELECT pg_catalog.pg_extension_config_dump('kafka.dead_letter_log', '');
SELECT pg_catalog.pg_extension_config_dump('kafka.dead_letter_log_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('kafka.skip_log', '');

CREATE VIEW kafka.positions AS
    SELECT view, topic, partition, next_offset, leader_epoch FROM kafka.progress;
GRANT SELECT ON kafka.positions TO PUBLIC;

-- ---------------------------------------------------------------- aggregates, batch by batch (stream/)

-- Finishes what is kept as n and sum, or as n, sum and sum of squares. In the queries of views.
CREATE FUNCTION kafka.mean(n bigint, total bigint) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN total::numeric / n::numeric;
CREATE FUNCTION kafka.mean(n bigint, total numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN total / n::numeric;
CREATE FUNCTION kafka.mean(n bigint, total float8) RETURNS float8
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN total / n::float8;
CREATE FUNCTION kafka.mean(n bigint, total interval) RETURNS interval
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN total / n::float8;
CREATE FUNCTION kafka.variance(n bigint, total numeric, squares numeric, sample boolean, root boolean)
    RETURNS numeric
    AS 'MODULE_PATHNAME', 'kafka_engine_variance' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

-- The state of an aggregate, any: made by kafka.partial over a batch, merged by kafka.combine, finished
-- by kafka.final. What its bytes say is believed: only superusers make one from text, as a restore does.
CREATE TYPE kafka.state;
CREATE FUNCTION kafka.state_in(cstring) RETURNS kafka.state
    AS 'MODULE_PATHNAME', 'kafka_engine_state_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION kafka.state_out(kafka.state) RETURNS cstring
    AS 'MODULE_PATHNAME', 'kafka_engine_state_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE TYPE kafka.state (INPUT = kafka.state_in, OUTPUT = kafka.state_out, STORAGE = extended);

CREATE FUNCTION kafka.partial_step(internal, aggregate regprocedure, VARIADIC "any") RETURNS internal
    AS 'MODULE_PATHNAME', 'kafka_engine_partial_step' LANGUAGE C PARALLEL SAFE;
CREATE FUNCTION kafka.partial_end(internal) RETURNS kafka.state
    AS 'MODULE_PATHNAME', 'kafka_engine_partial_end' LANGUAGE C PARALLEL SAFE;
CREATE AGGREGATE kafka.partial(aggregate regprocedure, VARIADIC "any") (
    SFUNC = kafka.partial_step, STYPE = internal, FINALFUNC = kafka.partial_end, PARALLEL = SAFE);
CREATE FUNCTION kafka.combine(aggregate regprocedure, kafka.state, kafka.state) RETURNS kafka.state
    AS 'MODULE_PATHNAME', 'kafka_engine_combine' LANGUAGE C STABLE PARALLEL SAFE;
CREATE FUNCTION kafka.final(aggregate regprocedure, kafka.state, result anyelement) RETURNS anyelement
    AS 'MODULE_PATHNAME', 'kafka_engine_final' LANGUAGE C STABLE PARALLEL SAFE;

-- Of a key's changes in one batch: the newest value that is known.
CREATE FUNCTION kafka.newest_step(anyelement, anyelement, boolean) RETURNS anyelement
    AS 'MODULE_PATHNAME', 'kafka_engine_newest_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE AGGREGATE kafka.newest(anyelement, boolean) (SFUNC = kafka.newest_step, STYPE = anyelement);

-- ---------------------------------------------------------------- continuous views: ddl (stream/)

-- Transactional, for the view's owner. to: the forms of the option kafka.start.
CREATE FUNCTION kafka.pause(view regclass) RETURNS void
    AS 'MODULE_PATHNAME', 'kafka_engine_pause' LANGUAGE C STRICT;
CREATE FUNCTION kafka.resume(view regclass) RETURNS void
    AS 'MODULE_PATHNAME', 'kafka_engine_resume' LANGUAGE C STRICT;
CREATE FUNCTION kafka.seek(view regclass, "to" text) RETURNS void
    AS 'MODULE_PATHNAME', 'kafka_engine_seek' LANGUAGE C STRICT;
-- CREATE MATERIALIZED VIEW name WITH (kafka.continuous, kafka.option = value ...) AS query
CREATE FUNCTION kafka.create_view(name text, query text, options jsonb DEFAULT '{}') RETURNS void
    AS 'MODULE_PATHNAME', 'kafka_engine_create_view' LANGUAGE C STRICT;

-- Another query with the same columns, or other statements of a stream, from the next record on.
CREATE FUNCTION kafka.replace_query(view regclass, query text) RETURNS void
    AS 'MODULE_PATHNAME', 'kafka_engine_replace_query' LANGUAGE C STRICT;

-- Views and streams of the caller's that came by pg_restore or with a copied database, and hold still,
-- go on where they stood; how many.
CREATE FUNCTION kafka.resume_restored() RETURNS bigint
    AS 'MODULE_PATHNAME', 'kafka_engine_resume_restored' LANGUAGE C;

-- A stream: statements that run once per batch of a topic, with the same positions and errors as a view.
CREATE FUNCTION kafka.create_stream(name text, topic_table regclass, statement text,
                                    options jsonb DEFAULT '{}') RETURNS void
    AS 'MODULE_PATHNAME', 'kafka_engine_create_stream' LANGUAGE C STRICT;
CREATE FUNCTION kafka.drop_stream(name text) RETURNS void
    AS 'MODULE_PATHNAME', 'kafka_engine_drop_stream' LANGUAGE C STRICT;

-- Foreign keys of a view's table, for the rows that REFRESH gathers beside it. Tells whether keys are in tables
-- of anybody's: REFRESH makes its triggers.
CREATE FUNCTION kafka.check_references() RETURNS trigger
    AS 'MODULE_PATHNAME', 'kafka_engine_check_references' LANGUAGE C;
REVOKE ALL ON FUNCTION kafka.check_references() FROM PUBLIC;

CREATE FUNCTION kafka.on_ddl_start() RETURNS event_trigger
    AS 'MODULE_PATHNAME', 'kafka_engine_on_ddl_start' LANGUAGE C;
CREATE FUNCTION kafka.on_ddl_end() RETURNS event_trigger
    AS 'MODULE_PATHNAME', 'kafka_engine_on_ddl_end' LANGUAGE C;
CREATE FUNCTION kafka.on_drop() RETURNS event_trigger
    AS 'MODULE_PATHNAME', 'kafka_engine_on_drop' LANGUAGE C;

-- Without preload: says what to set. Otherwise the utility hook has the statement.
CREATE EVENT TRIGGER kafka_engine_ddl_start ON ddl_command_start
    WHEN TAG IN ('CREATE MATERIALIZED VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER TABLE', 'ALTER VIEW')
    EXECUTE FUNCTION kafka.on_ddl_start();
-- What views are made of has changed: looked at again, and workers told.
CREATE EVENT TRIGGER kafka_engine_ddl_end ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE',
                 'CREATE TABLE', 'CREATE FOREIGN TABLE', 'ALTER SERVER', 'ALTER SCHEMA',
                 'CREATE USER MAPPING', 'ALTER USER MAPPING', 'DROP USER MAPPING',
                 'ALTER FOREIGN DATA WRAPPER', 'ALTER TYPE', 'ALTER DOMAIN', 'GRANT', 'REVOKE')
    EXECUTE FUNCTION kafka.on_ddl_end();
CREATE EVENT TRIGGER kafka_engine_drop ON sql_drop EXECUTE FUNCTION kafka.on_drop();

-- ---------------------------------------------------------------- running: views, lag, workers (stream/)

-- What shared memory knows; texts that can hold data are NULL for those who may not read them.
CREATE FUNCTION kafka.absence(OUT state text, OUT reason text) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'kafka_engine_absence' LANGUAGE C PARALLEL RESTRICTED ROWS 1;
CREATE FUNCTION kafka.live_views(OUT view regclass, OUT state text, OUT since timestamptz,
                                 OUT reason text, OUT error text, OUT error_at timestamptz)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'kafka_engine_live_views' LANGUAGE C PARALLEL RESTRICTED ROWS 10;
CREATE FUNCTION kafka.workers_of(topic_table regclass) RETURNS int
    AS 'MODULE_PATHNAME', 'kafka_engine_workers_of' LANGUAGE C STRICT PARALLEL RESTRICTED;
CREATE FUNCTION kafka.ends(topic_table regclass, OUT topic text, OUT partition int, OUT low bigint,
                           OUT end_offset bigint, OUT as_of timestamptz) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'kafka_engine_ends' LANGUAGE C STRICT PARALLEL RESTRICTED ROWS 10;
CREATE FUNCTION kafka.progress_of(view regclass, topic_table regclass, topic text, partition int,
                                  next_offset bigint, OUT "position" bigint,
                                  OUT seconds_behind float8, OUT catch_up_time interval)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'kafka_engine_progress_of' LANGUAGE C STRICT PARALLEL RESTRICTED ROWS 1;
CREATE FUNCTION kafka.running_workers(OUT pid int, OUT topics int, OUT partitions int,
        OUT rows bigint, OUT bytes bigint, OUT batches bigint, OUT rejects bigint,
        OUT last_batch_at timestamptz, OUT fetch_time interval, OUT decode_time interval,
        OUT ring_time interval, OUT apply_time interval, OUT commit_time interval, OUT wal_bytes bigint,
        OUT librdkafka jsonb)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'kafka_engine_workers' LANGUAGE C PARALLEL RESTRICTED ROWS 4;

-- Behind is counted to the last stable offset. A view that has not begun has no position yet.
CREATE VIEW kafka.lag AS
    SELECT r.view, x.topic, x.partition, l."position", x.end_offset,
           greatest(x.end_offset - coalesce(l."position", x.low), 0) AS records_behind,
           l.seconds_behind, l.catch_up_time, x.as_of
    FROM kafka.registry r
    CROSS JOIN LATERAL (
        SELECT coalesce(p.topic, e.topic) AS topic, coalesce(p.partition, e.partition) AS partition,
               p.next_offset, e.low, e.end_offset, e.as_of
        FROM (SELECT topic, partition, next_offset FROM kafka.progress WHERE view = r.view) p
        FULL JOIN kafka.ends(r.topic_table) e ON e.topic = p.topic AND e.partition = p.partition) x
    LEFT JOIN LATERAL kafka.progress_of(r.view, r.topic_table, x.topic, x.partition, x.next_offset) l
        ON true;
GRANT SELECT ON kafka.lag TO PUBLIC;

-- The persisted state wins: paused and stopped hold though no worker says so. The estimate of the
-- time left stands in for the reason while a view catches up.
CREATE VIEW kafka.views AS
    SELECT r.view, r.topic_table, s.state,
           CASE WHEN k.state = 'active' THEN greatest(l.since, r.since) ELSE r.since END AS since,
           CASE WHEN s.state = 'catching up' AND l.reason IS NULL THEN
                    'about ' || (SELECT date_trunc('second', max(g.catch_up_time)) FROM kafka.lag g
                                 WHERE g.view = r.view)::text || ' left'
                WHEN k.copied THEN 'restored'
                WHEN k.state = 'active' THEN CASE WHEN l.view IS NULL THEN a.reason ELSE l.reason END
                WHEN pg_has_role(c.relowner, 'USAGE') THEN r.reason
           END AS reason,
           CASE WHEN NOT pg_has_role(c.relowner, 'USAGE') THEN NULL
                WHEN l.error_at > r.error_at OR r.error_at IS NULL THEN l.error
                ELSE r.error END AS error,
           greatest(l.error_at, r.error_at) AS error_at,
           coalesce(p.rows, 0) AS rows, coalesce(p.rejects, 0) AS rejects,
           CASE WHEN k.state = 'active' THEN kafka.workers_of(r.topic_table) ELSE 0 END AS workers,
           r.start, r.options,
           CASE WHEN r.body IS NULL THEN pg_get_viewdef(r.query)
                ELSE coalesce(pg_get_function_sqlbody(b.oid), b.prosrc) END AS definition
    FROM kafka.registry r
    JOIN pg_class c ON c.oid = r.view
    LEFT JOIN pg_proc b ON b.proname = r.body AND b.pronamespace = 'kafka'::regnamespace
    CROSS JOIN kafka.absence() a
    LEFT JOIN kafka.live_views() l ON l.view = r.view
    LEFT JOIN (SELECT view, sum(rows)::bigint AS rows, sum(skipped)::bigint AS rejects
               FROM kafka.progress GROUP BY view) p ON p.view = r.view
    CROSS JOIN LATERAL (SELECT d.oid <> r.database AND r.state = 'active' AS copied,
                               CASE WHEN d.oid <> r.database AND r.state = 'active' THEN 'paused'
                                    ELSE r.state END AS state
                        FROM pg_database d WHERE d.datname = current_database()) k
    CROSS JOIN LATERAL (SELECT CASE WHEN k.state <> 'active' THEN k.state
                                    WHEN l.state IN ('paused', 'stopped') THEN 'starting'
                                    ELSE coalesce(l.state, a.state) END AS state) s;
GRANT SELECT ON kafka.views TO PUBLIC;

CREATE VIEW kafka.workers AS SELECT * FROM kafka.running_workers();
GRANT SELECT ON kafka.workers TO PUBLIC;

CREATE VIEW kafka.gaps AS
    SELECT g.view, g.topic, g.partition, g.first_missing, g.last_missing,
           g.last_missing - g.first_missing + 1 AS records,
           CASE WHEN pg_has_role(c.relowner, 'USAGE') THEN g.reason END AS reason,
           g.crossed, g.noticed_at
    FROM kafka.gap_log g LEFT JOIN pg_class c ON c.oid = g.view;
GRANT SELECT ON kafka.gaps TO PUBLIC;

-- For the view's owner, roles that inherit from it, and superusers.
CREATE VIEW kafka.dead_letters WITH (security_barrier) AS
    SELECT d.id, d.view, d.topic, d.partition, d.record_offset, d.record_time, d.key, d.value,
           d.headers, d.sqlstate, d.message, d.detail, d.column_name, d.failed_at, d.attempts,
           d.to_topic
    FROM kafka.dead_letter_log d JOIN pg_class c ON c.oid = d.view
    WHERE pg_has_role(c.relowner, 'USAGE');
GRANT SELECT ON kafka.dead_letters TO PUBLIC;

CREATE VIEW kafka.skipped WITH (security_barrier) AS
    SELECT s.view, s.topic, s.partition, s.sqlstate, nullif(s.column_name, '') AS column_name,
           s.records, s.message, s.last_offset, s.last_at
    FROM kafka.skip_log s JOIN pg_class c ON c.oid = s.view
    WHERE pg_has_role(c.relowner, 'USAGE');
GRANT SELECT ON kafka.skipped TO PUBLIC;

-- Decodes dead letters again and moves what now passes into the view; all or nothing. condition: SQL
-- over the columns of kafka.dead_letters, run as the view's owner.
CREATE FUNCTION kafka.retry(view regclass, condition text DEFAULT NULL, OUT retried bigint,
                            OUT stored bigint, OUT kept bigint) RETURNS record
    AS 'MODULE_PATHNAME', 'kafka_engine_retry' LANGUAGE C;
CREATE FUNCTION kafka.discard(view regclass, condition text DEFAULT NULL) RETURNS bigint
    AS 'MODULE_PATHNAME', 'kafka_engine_discard' LANGUAGE C;

CREATE VIEW kafka.history AS
    SELECT h.view, h.at, h.state,
           CASE WHEN pg_has_role(c.relowner, 'USAGE') THEN h.reason END AS reason, h.by
    FROM kafka.state_log h LEFT JOIN pg_class c ON c.oid = h.view;
GRANT SELECT ON kafka.history TO PUBLIC;

-- True once every record below the ends of the call's moment has been committed into the view, or
-- one producer's record; false at the time-out.
CREATE FUNCTION kafka.wait(view regclass, timeout interval DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'kafka_engine_wait' LANGUAGE C PARALLEL UNSAFE;
CREATE FUNCTION kafka.wait(view regclass, topic text, partition int, record_offset bigint,
                           timeout interval DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'kafka_engine_wait_record' LANGUAGE C PARALLEL UNSAFE;
