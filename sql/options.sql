-- Options of servers, user mappings and topic tables: checked when their DDL runs. No broker needed.
-- Every error stands with its SQLSTATE, detail and hint.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA options_test;
SET search_path = options_test;
CREATE FUNCTION tried(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    m text; d text; h text;
BEGIN
    EXECUTE statement;
    RETURN NEXT 'done';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
    RETURN NEXT SQLSTATE || ': ' || m;
    IF d <> '' THEN RETURN NEXT '  detail: ' || d; END IF;
    IF h <> '' THEN RETURN NEXT '  hint: ' || h; END IF;
END $$;
\pset format unaligned
\pset tuples_only on

-- the wrapper itself
SELECT tried($$ALTER FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'x')$$);

-- servers
SELECT tried($$CREATE SERVER s FOREIGN DATA WRAPPER kafka$$);
SELECT tried($$CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers '')$$);
SELECT tried($$CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'a:1, :2')$$);
SELECT tried($$CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'a:kafka')$$);
SELECT tried($$CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'a:70000')$$);
SELECT tried($$CREATE SERVER t FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'ssl://a:1,b,[::1]:9092')$$);
DROP SERVER t;
CREATE SERVER s FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');
SELECT tried($$ALTER SERVER s OPTIONS (DROP bootstrap_servers)$$);
SELECT tried($$ALTER SERVER s OPTIONS (ADD fetch_max_bytes '1000000', ADD security_protocol 'ssl')$$);
SELECT tried($$ALTER SERVER s OPTIONS (SET fetch_max_bytes '2000000', DROP security_protocol)$$);
SELECT tried($$ALTER SERVER s OPTIONS (fetch_max_byte '1')$$);
SELECT tried($$ALTER SERVER s OPTIONS (conect_timeout '1s')$$);
SELECT tried($$ALTER SERVER s OPTIONS ("fetch.min.bytes" '1')$$);
SELECT tried($$ALTER SERVER s OPTIONS (qqqqqqqqqqqq '1')$$);
SELECT tried($$ALTER SERVER s OPTIONS (topic 'x')$$);
SELECT tried($$ALTER SERVER s OPTIONS (fetch_min_bytes 'many')$$);
SELECT tried($$ALTER SERVER s OPTIONS (security_protocol 'carrier_pigeon')$$);
SELECT tried($$ALTER SERVER s OPTIONS (group_id 'g')$$);
SELECT tried($$ALTER SERVER s OPTIONS (enable_auto_commit 'true')$$);
SELECT tried($$ALTER SERVER s OPTIONS (isolation_level 'read_uncommitted')$$);
-- times as in postgresql.conf
SELECT tried($$ALTER SERVER s OPTIONS (connect_timeout '1.5s')$$);
SELECT tried($$ALTER SERVER s OPTIONS (SET connect_timeout '2min')$$);
SELECT tried($$ALTER SERVER s OPTIONS (SET connect_timeout '250')$$);
SELECT tried($$ALTER SERVER s OPTIONS (SET connect_timeout '10 parsecs')$$);
SELECT tried($$ALTER SERVER s OPTIONS (SET connect_timeout '0')$$);
SELECT tried($$ALTER SERVER s OPTIONS (SET connect_timeout '-1s')$$);
SELECT tried($$ALTER SERVER s OPTIONS (SET connect_timeout '2d')$$);

-- values that would not fit onto the library's stack
SELECT tried(format('ALTER SERVER s OPTIONS (client_id %L)', repeat('x', 70000)));
SELECT tried(format('ALTER SERVER s OPTIONS (SET bootstrap_servers %L)', repeat('a:1,', 20000) || 'b'));

-- secrets: in user mappings only, and never repeated
SELECT tried($$ALTER SERVER s OPTIONS (sasl_password 'hush')$$);
SELECT tried($$ALTER SERVER s OPTIONS (sasl_password_file '/hush')$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic 't', sasl_password 'hush')$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int OPTIONS (ssl_key_password 'hush')) SERVER s OPTIONS (topic 't')$$);
SELECT tried($$CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (sasl_username 'u', sasl_password 'p')$$);
SELECT tried($$ALTER USER MAPPING FOR PUBLIC SERVER s OPTIONS (SET sasl_password 'q')$$);
SELECT tried($$ALTER USER MAPPING FOR PUBLIC SERVER s OPTIONS (sasl_pasword 'hush')$$);
SELECT tried($$ALTER USER MAPPING FOR PUBLIC SERVER s OPTIONS (bootstrap_servers 'elsewhere')$$);
SELECT tried($$ALTER USER MAPPING FOR PUBLIC SERVER s OPTIONS (fetch_max_bytes '1000')$$);
SELECT tried($$ALTER USER MAPPING FOR PUBLIC SERVER s OPTIONS (sasl_password_file '/hush')$$);
SELECT tried($$ALTER USER MAPPING FOR PUBLIC SERVER s OPTIONS (DROP sasl_password, sasl_password_file 'hush')$$);
SELECT tried($$ALTER USER MAPPING FOR PUBLIC SERVER s OPTIONS (DROP sasl_password, sasl_password_file '/hush')$$);
SELECT tried($$ALTER USER MAPPING FOR PUBLIC SERVER s OPTIONS (sasl_username_file '/hush')$$);

-- what reaches the server's host: superusers
SELECT tried($$ALTER SERVER s OPTIONS (ssl_ca_location '/etc/ssl/certs')$$);
SELECT tried($$ALTER SERVER s OPTIONS (DROP ssl_ca_location)$$);
CREATE ROLE options_user;
GRANT CREATE, USAGE ON SCHEMA options_test TO options_user;
GRANT USAGE ON FOREIGN SERVER s TO options_user;
GRANT USAGE ON FOREIGN DATA WRAPPER kafka TO options_user;
SET SESSION AUTHORIZATION options_user;
CREATE SERVER mine FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'localhost:1');
SELECT tried($$ALTER SERVER mine OPTIONS (ssl_ca_location '/etc/passwd')$$);
SELECT tried($$ALTER SERVER mine OPTIONS (plugin_library_paths '/tmp/evil')$$);
SELECT tried($$ALTER SERVER mine OPTIONS (sasl_kerberos_kinit_cmd 'touch /tmp/evil')$$);
SELECT tried($$ALTER SERVER mine OPTIONS (debug 'all')$$);
SELECT tried($$ALTER SERVER mine OPTIONS (sasl_mechanism 'GSSAPI')$$);
SELECT tried($$ALTER SERVER mine OPTIONS (sasl_mechanism 'PLAIN')$$);
SELECT tried($$CREATE USER MAPPING FOR options_user SERVER mine OPTIONS (sasl_password_file '/etc/passwd')$$);
SELECT tried($$CREATE USER MAPPING FOR options_user SERVER mine OPTIONS (ssl_key_location '/etc/passwd')$$);
SELECT tried($$CREATE USER MAPPING FOR options_user SERVER mine OPTIONS (sasl_username 'u', sasl_password 'p')$$);
-- rights to ask a broker
SELECT tried($$SELECT kafka.check('s')$$) LIKE 'done%' AS may_ask;
RESET SESSION AUTHORIZATION;
REVOKE USAGE ON FOREIGN SERVER s FROM options_user;
CREATE FOREIGN TABLE rights (a int) SERVER s OPTIONS (topic 't');
SET SESSION AUTHORIZATION options_user;
SELECT tried($$SELECT kafka.check('s')$$);
SELECT tried($$SELECT kafka.partitions('rights')$$);
RESET SESSION AUTHORIZATION;
GRANT SELECT ON rights TO options_user;
SET SESSION AUTHORIZATION options_user;
SELECT tried($$SELECT kafka.partitions('rights')$$);
RESET SESSION AUTHORIZATION;
SELECT tried($$SELECT kafka.check('nowhere')$$);
SELECT tried($$SELECT kafka.partitions('pg_class')$$);
-- a secret's file is read when it is needed
SELECT connected, reason FROM kafka.check('s');
DROP USER MAPPING FOR PUBLIC SERVER s;
ALTER SERVER s OPTIONS (SET connect_timeout '300ms');
SELECT connected, reason LIKE 'could not reach Kafka at "localhost:1"%' FROM kafka.check('s');
SELECT tried($$SELECT kafka.partitions('rights')$$) LIKE 'HV00N: could not reach%' LIMIT 1;

-- topic tables
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic 'a', topic_pattern 'b.*')$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic 'a b')$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic '')$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic 'a, b, a')$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic_pattern 'a(')$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic 't', format 'jsn')$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic 't', formt 'json')$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic 't', fetch_max_bytes '1000')$$);
SELECT tried($$CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic 't', xyzzy '1')$$);
CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (topic 'a, b', format 'json');
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (DROP topic)$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (DROP topic, topic_pattern 'orders[.].*')$$);
SELECT tried(format('ALTER FOREIGN TABLE t OPTIONS (SET topic_pattern %L)', repeat('(', 100000) || repeat(')', 100000)));
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET topic_pattern '((a{1,255}){1,255}){1,255}')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (timestamp_unit 'ms')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET timestamp_unit 'weeks')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (DROP timestamp_unit, partitions '0-3,8')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET partitions '3-0')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET partitions '1;2')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (consumers '2')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET consumers '0')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET consumers 'two')$$);
-- defaults of its views
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (start 'latest')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET start '2026-11-01 00:00+00')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET start '0:100,1:250')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET start 'orders/0:100, invoices/0:7')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET start '0:100,0:250')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET start 'erliest')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET start 'infinity')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (on_gap 'earliest', on_error 'skip')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET on_gap 'cross')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET on_error 'ignore')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (batch_rows '1000', batch_bytes '1MB', flush_interval '5ms')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET batch_rows '0')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET batch_bytes '1 horse')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET batch_bytes '4GB')$$);
SELECT tried($$ALTER FOREIGN TABLE t OPTIONS (SET flush_interval 'soon')$$);

-- columns
SELECT tried($$ALTER FOREIGN TABLE t ALTER a OPTIONS (path '$.x.y[0]')$$);
SELECT tried($$ALTER FOREIGN TABLE t ALTER a OPTIONS (SET path 'x..y')$$);
SELECT tried($$ALTER FOREIGN TABLE t ALTER a OPTIONS (source 'header')$$);
SELECT tried($$ALTER FOREIGN TABLE t ALTER a OPTIONS (metadata 'offset')$$);
SELECT tried($$ALTER FOREIGN TABLE t ALTER a OPTIONS (DROP path, metadata 'ofset')$$);
SELECT tried($$ALTER FOREIGN TABLE t ALTER a OPTIONS (DROP path, metadata 'header.')$$);
SELECT tried($$ALTER FOREIGN TABLE t ALTER a OPTIONS (pth '$.x')$$);

-- a schema registry: its address on the server, its login in the user mapping
SELECT tried($$CREATE SERVER r FOREIGN DATA WRAPPER kafka OPTIONS (bootstrap_servers 'x:1', schema_registry_url 'http://a:8081/, https://b/apis/ccompat/v7')$$);
SELECT tried($$ALTER SERVER r OPTIONS (SET schema_registry_url 'ftp://a')$$);
SELECT tried($$ALTER SERVER r OPTIONS (SET schema_registry_url 'http://me:hush@a')$$);
SELECT tried($$ALTER SERVER r OPTIONS (schema_registry_password 'hush')$$);
SELECT tried($$ALTER SERVER r OPTIONS (schema_registry_timeout 'soon')$$);
SELECT tried($$CREATE USER MAPPING FOR PUBLIC SERVER r OPTIONS (schema_registry_url 'http://a')$$);
SELECT tried($$CREATE USER MAPPING FOR PUBLIC SERVER r OPTIONS (schema_registry_token E'hu\nsh')$$);
SELECT tried($$CREATE USER MAPPING FOR PUBLIC SERVER r OPTIONS (schema_registry_password 'hush', schema_registry_password_file '/hush')$$);
CREATE ROLE options_test_stranger;
GRANT USAGE ON FOREIGN SERVER r TO options_test_stranger;
GRANT ALL ON SCHEMA options_test TO options_test_stranger;
SET ROLE options_test_stranger;
SELECT tried($$CREATE USER MAPPING FOR CURRENT_USER SERVER r OPTIONS (schema_registry_token_file '/etc/passwd')$$);
SELECT tried($$CREATE USER MAPPING FOR CURRENT_USER SERVER r OPTIONS (schema_registry_username 'a:b')$$);
SELECT tried($$CREATE USER MAPPING FOR CURRENT_USER SERVER r OPTIONS (schema_registry_username 'a', schema_registry_password 'hush')$$);
RESET ROLE;
DROP SERVER r CASCADE;
REVOKE ALL ON SCHEMA options_test FROM options_test_stranger;
DROP ROLE options_test_stranger;

DROP SCHEMA options_test CASCADE;
DROP SERVER s CASCADE;
DROP SERVER mine CASCADE;
REVOKE ALL ON FOREIGN DATA WRAPPER kafka FROM options_user;
DROP ROLE options_user;
