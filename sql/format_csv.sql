-- csv and tsv through kafka.decode and kafka.encode: COPY's lines and options (test/flow/test_copy.py asks COPY itself).
\set VERBOSITY default
SET client_min_messages = warning;
CREATE SCHEMA format_csv;
SET search_path = format_csv;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');

CREATE FOREIGN TABLE c (id int, name text, at date, _offset bigint) SERVER s
    OPTIONS (topic 't', format 'csv');
SELECT * FROM kafka.decode(NULL::c, E'1,"a, ""b""",2026-11-21\n2,,\n');
SELECT * FROM kafka.decode(NULL::c, E'1,a\n');
SELECT * FROM kafka.decode(NULL::c, E'1,a,2026-11-21,x');
SELECT * FROM kafka.decode(NULL::c, E'x,a,2026-11-21');
SELECT * FROM kafka.decode(NULL::c, E'1,a,2026-11-31');
SELECT * FROM kafka.decode(NULL::c, E'1,"a');
SELECT * FROM kafka.decode(NULL::c, '');
-- a column that is not used counts, and is not judged
SELECT name FROM kafka.decode(NULL::c, E'1,a,2026-11-21\n');

CREATE FOREIGN TABLE h (a text, b text, k int OPTIONS (source 'key')) SERVER s
    OPTIONS (topic 't', format 'csv', delimiter ';', quote '''', escape '\', "null" '-', header 'match',
             key_format 'tsv', key_header 'false');
SELECT * FROM kafka.decode(NULL::h, convert_to(E'a;b\n''x\\''y'';-\n-;''-''', 'UTF8'), '7');
SELECT * FROM kafka.decode(NULL::h, E'a;c\nx;y', '7');

CREATE FOREIGN TABLE t (a text, b int) SERVER s OPTIONS (topic 't', format 'tsv');
SELECT a, b FROM kafka.decode(NULL::t, convert_to(E'x\\ty\\\\z\t1\n\\N\t\\N\n\\.\n', 'UTF8'));

-- the way back: what is written is read as the same row
SELECT convert_from(kafka.encode(c), 'UTF8') AS payload,
    (SELECT again::text = c::text FROM kafka.decode(NULL::c, kafka.encode(c)) again) AS same
FROM kafka.decode(NULL::c, E'1,"a, ""b""\nx",2026-11-21\n2,,\n') c;
SELECT convert_from(kafka.encode(t), 'UTF8') AS payload,
    (SELECT again::text = t::text FROM kafka.decode(NULL::t, kafka.encode(t)) again) AS same
FROM kafka.decode(NULL::t, convert_to(E'x\\ty\\\\z\t1\n\\N\t\\N\n', 'UTF8')) t;

-- options are checked by the DDL
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'csv', delimiter 'ab');
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'csv', delimiter ';', quote ';');
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'csv', header 'yes');
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'tsv', quote '"');
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'tsv', delimiter 'n');
CREATE FOREIGN TABLE x (a int) SERVER s OPTIONS (topic 't', format 'csv', key_quote '"');
CREATE FOREIGN TABLE x (a int, k int OPTIONS (source 'key')) SERVER s
    OPTIONS (topic 't', format 'json', key_format 'csv', key_delimiter '||');
CREATE FOREIGN TABLE x (a int OPTIONS (path '$.a')) SERVER s OPTIONS (topic 't', format 'csv');

DROP SCHEMA format_csv CASCADE;
DROP SERVER s CASCADE;
