"""What a batch is: who shares its transaction, where it ends, as whom and with what it runs."""

import pytest

from wait import wait_until

COLUMNS = "id int, name text, at timestamptz"


@pytest.fixture
def clicks(db, kafka, topic):
    db.topic_table("clicks", COLUMNS, kafka, topic=topic)
    return topic


def numbered(first, last, **more):
    return [{"id": i, "name": f"n{i}", **more} for i in range(first, last)]


def test_views_share_a_transaction(db, clicks, produce):
    for view in "abc":
        db.view(view, "SELECT id FROM clicks")
    produce(clicks, numbered(0, 1))
    for view in "abc":
        db.wait_count(view, 1)
    produce(clicks, numbered(1, 2000))
    for view in "abc":
        db.wait_count(view, 2000)
    assert db.value("SELECT count(*) FROM a JOIN b USING (id) JOIN c USING (id) WHERE id > 0"
                    " AND (a.xmin <> b.xmin OR a.xmin <> c.xmin)") == 0
    read = db.value("SELECT sum(rows) FROM kafka.workers")
    assert read == 3 * 2000


def test_a_batch_ends_by_rows_or_bytes(db, clicks, produce):
    produce(clicks, numbered(0, 200, pad="x" * 5000))

    def taken(**limits):
        db.view("v", "SELECT id FROM clicks", **limits)
        db.wait_count("v", 200)
        batches = [n for n, in db.rows("SELECT count(*) FROM v GROUP BY xmin::text")]
        db.execute("DROP MATERIALIZED VIEW v")
        return batches

    assert max(taken(batch_rows=5)) < 10  # what the end of a fetch left below the limit is stored with what follows
    assert len(taken(batch_bytes="64kB")) >= 8
    assert len(taken()) < 8


def test_what_full_batches_leave_at_the_end_waits_for_nothing(db, clicks, produce):
    produce(clicks, numbered(0, 5000))
    db.view("v", "SELECT id FROM clicks", batch_rows=1000, flush_interval="1min")
    db.wait_count("v", 5000, timeout=20)


def test_the_strictest_limit_of_those_who_share(db, clicks, produce):
    db.view("large", "SELECT id FROM clicks", paused=True)
    db.view("few", "SELECT id FROM clicks", batch_rows=10, paused=True)
    produce(clicks, numbered(0, 200))
    db.execute("SELECT kafka.resume('large'), kafka.resume('few')")
    db.wait_count("large", 200)
    db.wait_count("few", 200)
    assert db.value("SELECT count(DISTINCT xmin::text) FROM few") >= 10


def test_a_comma_list_of_topics(db, kafka, new_topic, produce):
    one, two = new_topic(), new_topic(partitions=2)
    db.topic_table("pair", f"{COLUMNS}, _topic text", kafka, topic=f"{one}, {two}")
    db.view("v", "SELECT id, _topic AS t FROM pair")
    produce(one, numbered(0, 10))
    produce(two, numbered(10, 30))
    db.wait_count("v", 30)
    assert dict(db.rows("SELECT t, count(*) FROM v GROUP BY t")) == {one: 10, two: 20}


def test_settings_of_the_session_hold(db, clicks, produce):
    db.execute("SET TimeZone = 'Asia/Tokyo'")
    db.execute("SET DateStyle = 'German'")
    db.view("v", "SELECT id, at::text AS at FROM clicks")
    db.execute("RESET TimeZone")
    db.execute("RESET DateStyle")
    produce(clicks, numbered(0, 1, at="2026-03-01T12:00:00Z"))
    db.wait_count("v", 1)
    assert db.value("SELECT at FROM v") == "01.03.2026 21:00:00 JST"


def test_a_safe_search_path(db, clicks, produce):
    db.execute("CREATE FUNCTION public.path() RETURNS text LANGUAGE sql"
               " AS $$SELECT current_setting('search_path')$$")
    db.view("v", "SELECT id, public.path() AS path FROM clicks")
    produce(clicks, numbered(0, 1))
    db.wait_count("v", 1)
    assert db.value("SELECT path FROM v") == "pg_catalog, pg_temp"


@pytest.mark.parametrize("act", ["EXECUTE 'SET ROLE pg_monitor'", "CREATE TEMP TABLE mine (n int)"])
def test_the_query_cannot_leave_its_owner(db, clicks, produce, act):
    db.execute(f"CREATE FUNCTION public.leave(n int) RETURNS int LANGUAGE plpgsql"
               f" AS $$BEGIN {act}; RETURN n; END$$")
    db.view("v", "SELECT public.leave(id) AS id FROM clicks", on_error="stop")
    produce(clicks, numbered(0, 1))
    _, _, error = db.wait_state("v", ("stopped", "retrying"))
    assert "security-restricted operation" in error
    assert db.value("SELECT count(*) FROM v") == 0


def test_a_stale_belief_is_fenced_off(db, clicks, produce):
    """Somebody else moved the position: the batch is given up, and read again from there."""
    db.view("v", "SELECT id FROM clicks")
    produce(clicks, numbered(0, 10))
    db.wait_count("v", 10)
    db.execute("UPDATE kafka.progress SET next_offset = 15")
    produce(clicks, numbered(10, 20))
    db.wait_count("v", 15)
    assert db.column("SELECT id FROM v WHERE id >= 10 ORDER BY 1") == list(range(15, 20))


def test_another_cluster_stops_the_view(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks", on_gap="earliest")
    produce(clicks, numbered(0, 10))
    db.wait_count("v", 10)
    db.execute("SELECT kafka.pause('v')")
    wait_until(lambda: not db.rows("SELECT 1 FROM kafka.workers"), 30, "no worker has the view in mind")
    db.execute("UPDATE kafka.registry SET cluster_id = 'another'")
    produce(clicks, numbered(10, 20))
    db.execute("SELECT kafka.resume('v')")
    _, reason, _ = db.wait_state("v", "stopped")
    assert "cluster" in reason
    assert db.value("SELECT count(*) FROM v") == 10


def test_lag_of_a_paused_view(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks")
    produce(clicks, numbered(0, 10))
    db.wait_count("v", 10)
    db.execute("SELECT kafka.pause('v')")
    produce(clicks, numbered(10, 30))
    wait_until(lambda: db.value("SELECT records_behind FROM kafka.lag") == 20, 30,
               lambda: f"20 behind; {db.rows('SELECT * FROM kafka.lag')}")
    behind = wait_until(lambda: db.value("SELECT seconds_behind FROM kafka.lag"), 30,
                        lambda: f"seconds behind; {db.rows('SELECT * FROM kafka.lag')}")
    assert 0 < behind < 120
