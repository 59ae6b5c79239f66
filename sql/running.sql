-- What runs, and how far it is: the relations of the schema, who sees what, kafka.wait's refusals.
SELECT c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', '
                             ORDER BY a.attnum) AS columns,
       has_table_privilege('public', c.oid, 'SELECT') AS anyone
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'kafka'::regnamespace
  AND c.relname IN ('views', 'lag', 'positions', 'workers', 'gaps', 'history')
GROUP BY c.oid, c.relname ORDER BY c.relname \gx

-- Nothing there: nothing shown.
SELECT * FROM kafka.views;
SELECT * FROM kafka.lag;
SELECT * FROM kafka.gaps;
SELECT * FROM kafka.history;

CREATE TABLE running_plain (a int);
SELECT kafka.wait('running_plain');
SELECT kafka.wait('running_plain', 't', 0, 5, '1s');
SELECT kafka.wait(NULL) IS NULL AS unknown;
SELECT kafka.wait(1::oid::regclass);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT kafka.wait('running_plain', '1s');
ROLLBACK;

-- Who may not read the table may not wait for it either.
CREATE ROLE running_other;
SET ROLE running_other;
SELECT kafka.wait('running_plain', '1s');
SELECT count(*) FROM kafka.views;
SELECT * FROM kafka.registry;
RESET ROLE;
DROP ROLE running_other;
DROP TABLE running_plain;
