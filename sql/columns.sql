-- Roles of columns and the types that roles and formats take: checked by CREATE and ALTER of foreign
-- tables. No broker needed.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA columns_test;
SET search_path = columns_test;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');

-- every role by its name
CREATE FOREIGN TABLE all_roles (
    a bigint, _topic text, _partition int, _offset bigint, _timestamp timestamptz,
    _timestamp_type text, _leader_epoch int, _key bytea, _headers jsonb, _raw bytea,
    _tombstone boolean, _error text
) SERVER s OPTIONS (topic 't');

-- a wrong type for each
CREATE FOREIGN TABLE t (_topic varchar) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE t (_partition bigint) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE t (_offset text) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE t (_timestamp timestamp) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE t (_timestamp_type int) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE t (_leader_epoch numeric(5,0)) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE t (_key int) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE t (_headers text) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE t (_raw text) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE t (_tombstone text) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE t (_error varchar(10)) SERVER s OPTIONS (topic 't');

-- roles by option
CREATE FOREIGN TABLE t (o bigint OPTIONS (metadata 'offset'), h text OPTIONS (metadata 'header.x'),
    b bytea OPTIONS (metadata 'header.y.z')) SERVER s OPTIONS (topic 't');
ALTER FOREIGN TABLE t ADD COLUMN p text OPTIONS (metadata 'partition');
ALTER FOREIGN TABLE t ADD COLUMN h2 int OPTIONS (metadata 'header.x');
ALTER FOREIGN TABLE t ALTER COLUMN o TYPE text;
ALTER TABLE t ALTER COLUMN o TYPE int;
ALTER FOREIGN TABLE t ALTER COLUMN o OPTIONS (SET metadata 'topic');
ALTER FOREIGN TABLE t RENAME COLUMN h TO _offset;
ALTER FOREIGN TABLE t ALTER COLUMN _offset OPTIONS (DROP metadata);
-- a name's role gives way to an option
CREATE FOREIGN TABLE named (_offset text OPTIONS (path '$._offset')) SERVER s OPTIONS (topic 't');
ALTER FOREIGN TABLE named ALTER COLUMN _offset OPTIONS (DROP path);
ALTER FOREIGN TABLE named RENAME COLUMN _offset TO plain;
ALTER FOREIGN TABLE named RENAME COLUMN plain TO _offset;
ALTER FOREIGN TABLE named RENAME COLUMN _offset TO plain;
ALTER FOREIGN TABLE named ALTER COLUMN plain OPTIONS (DROP path);
ALTER FOREIGN TABLE named RENAME COLUMN plain TO _offset;

-- dropped columns are no columns
CREATE FOREIGN TABLE dropped (x text, y text, _offset bigint) SERVER s
    OPTIONS (topic 't', format 'json');
ALTER FOREIGN TABLE dropped DROP COLUMN y;
ALTER FOREIGN TABLE dropped OPTIONS (SET format 'text');

-- what formats take
CREATE FOREIGN TABLE f (a text, b text) SERVER s OPTIONS (topic 't', format 'text');
CREATE FOREIGN TABLE f (a int) SERVER s OPTIONS (topic 't', format 'raw');
CREATE FOREIGN TABLE anything (a int) SERVER s OPTIONS (topic 't', format 'text');
CREATE FOREIGN TABLE f (a bytea, _offset bigint) SERVER s OPTIONS (topic 't', format 'raw');
ALTER FOREIGN TABLE f ADD COLUMN b bytea;
ALTER FOREIGN TABLE f OPTIONS (SET format 'text');
ALTER FOREIGN TABLE f OPTIONS (SET format 'json');

-- the key
CREATE FOREIGN TABLE k (a int, id bigint OPTIONS (source 'key')) SERVER s OPTIONS (topic 't');
CREATE FOREIGN TABLE k (a int, id bigint OPTIONS (source 'key'), b int OPTIONS (source 'key'))
    SERVER s OPTIONS (topic 't', key_format 'text');
CREATE FOREIGN TABLE k (a int, id bigint OPTIONS (source 'key'), _key text) SERVER s
    OPTIONS (topic 't', key_format 'json');
ALTER FOREIGN TABLE k OPTIONS (DROP key_format);

-- types of every kind go with json
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE TYPE pair AS (a int, b positive);
CREATE FOREIGN TABLE types (a mood, b positive[], c pair, d pair[], e int4range, f point, g xml,
    h inet, i jsonb, j numeric(40, 10), k "char", l interval) SERVER s OPTIONS (topic 't');

-- through a parent
CREATE TABLE parent (a int) PARTITION BY LIST (a);
CREATE FOREIGN TABLE child PARTITION OF parent DEFAULT SERVER s OPTIONS (topic 't', format 'json');
ALTER TABLE parent ADD COLUMN _offset text;
ALTER TABLE parent ADD COLUMN _offset bigint;
ALTER TABLE parent RENAME COLUMN a TO _error;
CREATE FOREIGN TABLE other (a int, _offset bigint) SERVER s OPTIONS (topic 't', format 'json');
ALTER TABLE parent DETACH PARTITION child;
ALTER TABLE parent ATTACH PARTITION other DEFAULT;

-- other wrappers' tables, and all else, are left alone
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER n FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE alien (_offset text) SERVER n;
ALTER FOREIGN TABLE alien ADD COLUMN _error int;
CREATE TABLE plain (_offset text);
ALTER TABLE plain ADD COLUMN _error int;

-- a dump gives columns their options later; it says so by check_function_bodies
SET check_function_bodies = off;
CREATE FOREIGN TABLE restored (a bytea, o text) SERVER s OPTIONS (topic 't', format 'raw');
RESET check_function_bodies;
SELECT * FROM kafka.decode(NULL::restored, 'x');

SELECT kafka.check_columns();

DROP SCHEMA columns_test CASCADE;
DROP SERVER s CASCADE;
DROP FOREIGN DATA WRAPPER nothing CASCADE;
