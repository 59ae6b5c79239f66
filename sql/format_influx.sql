-- influx through kafka.decode and kafka.encode.
\set VERBOSITY default
SET client_min_messages = warning;
SET bytea_output = hex;
SET timezone = 'UTC';
SET datestyle = 'ISO';
CREATE SCHEMA format_influx;
SET search_path = format_influx;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');

CREATE FOREIGN TABLE i (measurement text, host text OPTIONS (path 'tag.host'), load real, n int,
    time timestamptz, tags jsonb OPTIONS (path '$.tags')) SERVER s OPTIONS (topic 't', format 'influx');
SELECT * FROM kafka.decode(NULL::i,
    E'cpu,host=a\\\\,b,dc=x load=0.5,n=3i 1500000000123456789\n# none\nmem load=2,host="field"');
SELECT * FROM kafka.decode(NULL::i, 'cpu n=3000000000i');
SELECT * FROM kafka.decode(NULL::i, 'cpu n=');

-- the way back: what is written is read as the same row
CREATE FOREIGN TABLE w (measurement text, host text OPTIONS (path 'tag.host'), load double precision, n int, ok boolean,
    msg text, time timestamptz) SERVER s OPTIONS (topic 't', format 'influx');
SELECT convert_from(kafka.encode(w), 'UTF8') AS payload,
    (SELECT again::text = w::text FROM kafka.decode(NULL::w, kafka.encode(w)) again) AS same
FROM kafka.decode(NULL::w, convert_to(E'cpu\\,x,host=a\\ b load=0.5,n=3i,ok=t,msg="x\\"y" 1500000000123456000\nmem n=-1i',
    'UTF8')) w;

DROP SCHEMA format_influx CASCADE;
DROP SERVER s CASCADE;
