-- Which queries a continuous view may have, and what is said of the others.
CREATE SCHEMA shapes;
SET search_path = shapes;
CREATE SERVER shapes_broker FOREIGN DATA WRAPPER kafka
    OPTIONS (bootstrap_servers '127.0.0.1:1', connect_timeout '100ms');
CREATE FOREIGN TABLE clicks (user_id bigint, url text, n int, _partition int, _offset bigint)
    SERVER shapes_broker OPTIONS (topic 'clicks', format 'json');
CREATE FOREIGN TABLE orders (id bigint) SERVER shapes_broker OPTIONS (topic 'orders', format 'json');
CREATE TABLE users (id bigint PRIMARY KEY, name text, boss bigint);
CREATE VIEW plain AS SELECT user_id, url FROM clicks WHERE n > 0;
CREATE VIEW counted AS SELECT user_id, count(*) AS n FROM clicks GROUP BY user_id;
CREATE VIEW top_users AS SELECT * FROM users ORDER BY id LIMIT 10;
CREATE VIEW locking AS SELECT * FROM clicks FOR UPDATE;

-- Each of these is taken; nothing stays, and no worker starts.
CREATE PROCEDURE taken(query text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'CREATE MATERIALIZED VIEW v WITH (kafka.continuous, kafka.paused) AS ' || query;
    DROP MATERIALIZED VIEW v;
END $$;
CALL taken('SELECT * FROM clicks');
CALL taken('SELECT user_id + 1 AS u, upper(url) AS url FROM clicks WHERE n > 3');
CALL taken('SELECT c.url, u.name FROM clicks c JOIN users u ON u.id = c.user_id');
CALL taken('SELECT c.url, u.name FROM clicks c, users u WHERE u.id = c.user_id');
CALL taken('SELECT c.url, u.name FROM clicks c LEFT JOIN users u ON u.id = c.user_id');
CALL taken('SELECT c.url, u.name FROM users u RIGHT JOIN clicks c ON u.id = c.user_id');
CALL taken('SELECT c.url, a.name, b.name AS boss FROM clicks c JOIN (users a LEFT JOIN users b ON b.id = a.boss) ON a.id = c.user_id');
CALL taken('SELECT s.url FROM (SELECT url, n FROM clicks WHERE n > 1) s WHERE s.n < 9');
CALL taken('SELECT s.url FROM (SELECT url, n FROM clicks ORDER BY n) s');
CALL taken('WITH c AS (SELECT * FROM clicks) SELECT c.url FROM c');
CALL taken('WITH c AS MATERIALIZED (SELECT * FROM clicks), d AS (SELECT url FROM c) SELECT * FROM d');
CALL taken('WITH unused AS (SELECT count(*) FROM clicks) SELECT url FROM clicks');
CALL taken('SELECT * FROM plain');
CALL taken('SELECT c.url, t.name FROM clicks c JOIN top_users t ON t.id = c.user_id');
CALL taken('SELECT c.url, l.n FROM clicks c, LATERAL (SELECT count(*) AS n FROM users WHERE boss = c.user_id) l');
CALL taken('SELECT c.url, g FROM clicks c, generate_series(1, c.n) g');
CALL taken('SELECT url, generate_series(1, n) AS g FROM clicks');
CALL taken('SELECT url FROM clicks c WHERE EXISTS (SELECT FROM users WHERE id = c.user_id)');
CALL taken('SELECT url FROM clicks WHERE user_id NOT IN (SELECT id FROM users)');
CALL taken('SELECT url, (SELECT max(id) FROM users) AS m FROM clicks');
CALL taken('SELECT c.url, r.id FROM clicks c JOIN (WITH RECURSIVE r AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM r WHERE id < 3) SELECT id FROM r) r ON r.id = c.n');
CALL taken('SELECT c.url, x.n FROM clicks c JOIN (SELECT 1 AS n UNION SELECT 2) x ON x.n = c.n');

CALL taken('SELECT count(*) AS n FROM clicks');
CALL taken('SELECT url, sum(n) AS n FROM clicks GROUP BY url');
CALL taken('SELECT url FROM clicks GROUP BY url HAVING url > ''a''');

-- No topic, or too many.
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT * FROM users;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT c.url FROM clicks c JOIN orders o ON o.id = c.user_id;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT a.url FROM clicks a JOIN clicks b USING (user_id);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT c.url FROM clicks c WHERE user_id IN (SELECT id FROM orders);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT c.url FROM clicks c JOIN plain p USING (user_id);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT user_id FROM clicks UNION ALL SELECT id FROM orders;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT count(*) FROM (SELECT user_id FROM clicks EXCEPT SELECT id FROM orders) s;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS WITH c AS (SELECT * FROM clicks) SELECT a.url FROM c a JOIN c b USING (user_id);

-- Aggregates and the like, at the top and below it.
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url, count(*) AS n FROM clicks GROUP BY ROLLUP (url);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url, n, count(*) FROM clicks GROUP BY GROUPING SETS ((url), (n));
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url, n, count(*) FROM clicks GROUP BY CUBE (url, n);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT s.n FROM (SELECT count(*) AS n FROM clicks) s;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS WITH c AS (SELECT max(n) AS n FROM clicks) SELECT n FROM c;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT * FROM counted;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT DISTINCT url FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT DISTINCT ON (url) url, n FROM clicks ORDER BY url, n;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url, row_number() OVER () AS r FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url FROM clicks ORDER BY url;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url FROM clicks LIMIT 5;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url FROM clicks OFFSET 5;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT s.url FROM (SELECT url FROM clicks LIMIT 5) s;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url FROM clicks UNION ALL SELECT name FROM users;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT s.url FROM (SELECT url FROM clicks EXCEPT SELECT name FROM users) s;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url FROM clicks FOR UPDATE;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT c.url FROM clicks c JOIN users u ON u.id = c.user_id FOR SHARE OF u;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url FROM locking;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS WITH d AS (DELETE FROM users RETURNING id) SELECT c.url FROM clicks c JOIN d ON d.id = c.user_id;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS WITH RECURSIVE r AS (SELECT user_id AS id FROM clicks UNION ALL SELECT u.boss FROM r JOIN users u USING (id)) SELECT id FROM r;

-- Joins and subqueries that take the topic out of reach.
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT u.name, c.url FROM users u LEFT JOIN clicks c ON u.id = c.user_id;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT u.name, c.url FROM clicks c RIGHT JOIN users u ON u.id = c.user_id;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT u.name, c.url FROM users u FULL JOIN clicks c ON u.id = c.user_id;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT a.name, c.url FROM users a LEFT JOIN (users b JOIN clicks c ON b.id = c.user_id) ON a.id = b.boss;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT name FROM users u WHERE EXISTS (SELECT FROM clicks WHERE user_id = u.id);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT name FROM users u WHERE id IN (SELECT user_id FROM clicks);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT name FROM users u WHERE id > ALL (SELECT user_id FROM plain);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT name, (SELECT url FROM clicks WHERE user_id = u.id) AS url FROM users u;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT name, ARRAY(SELECT url FROM clicks WHERE user_id = u.id) AS urls FROM users u;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS WITH c AS (SELECT * FROM clicks) SELECT name FROM users WHERE id IN (SELECT user_id FROM c);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT f.n FROM generate_series(1, (SELECT max(n) FROM clicks)) AS f (n);

-- A topic as a partition of something else.
CREATE TABLE parts (id bigint) PARTITION BY RANGE (id);
CREATE FOREIGN TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (10) SERVER shapes_broker OPTIONS (topic 'part', format 'json');
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT id FROM parts;

-- What PostgreSQL itself says.
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT nothing FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url, url FROM clicks;
CREATE MATERIALIZED VIEW v (a, b) WITH (kafka.continuous) AS SELECT url FROM clicks;
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT FROM clicks;
CREATE TEMP TABLE mine (id bigint);
CREATE MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url FROM clicks JOIN mine ON id = user_id;
CREATE UNLOGGED MATERIALIZED VIEW v WITH (kafka.continuous) AS SELECT url FROM clicks;
CREATE MATERIALIZED VIEW pg_temp.v WITH (kafka.continuous) AS SELECT url FROM clicks;

SET client_min_messages = warning;
DROP SCHEMA shapes CASCADE;
DROP SERVER shapes_broker CASCADE;
