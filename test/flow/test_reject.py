"""Records that cannot be decoded or stored: stop, skip, and whose fault it is."""

import pytest

from wait import wait_until

COLUMNS = "id int, name text, _offset bigint"


@pytest.fixture
def clicks(db, kafka, topic):
    db.topic_table("clicks", COLUMNS, kafka, topic=topic)
    return topic


def good(*ids):
    return [{"id": i, "name": f"n{i}"} for i in ids]


def positions(db, view="v"):
    return db.column("SELECT next_offset FROM kafka.positions WHERE view = %s::regclass", [view])


def stops(db):
    return db.value("SELECT count(*) FROM kafka.history WHERE state = 'stopped' AND by = 'worker'")


def test_stop_before_a_record_that_does_not_decode(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks", on_error="stop")
    produce(clicks, good(0, 1) + [{"id": "x"}] + good(3))
    state, reason, error = db.wait_state("v", "stopped")
    assert clicks in reason and "partition 0" in reason and "offset 2" in reason
    assert '"id"' in reason and "integer" in error
    assert db.column("SELECT id FROM v ORDER BY 1") == [0, 1]
    assert positions(db) == [2]
    # Still bad after a resume; beyond it after a seek.
    db.execute("SELECT kafka.resume('v')")
    wait_until(lambda: stops(db) == 2, 30, "it stops again")
    db.execute("SELECT kafka.seek('v', '0:3')")
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 3)
    assert stops(db) == 2


def test_skip_counts(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks", on_error="skip")
    produce(clicks, good(0) + ["{", {"id": 1.5}, ""] + good(4))
    db.wait_count("v", 2)
    assert db.row("SELECT rows, rejects FROM kafka.views WHERE view = 'v'::regclass") == (2, 3)
    assert positions(db) == [5]


def test_a_column_that_a_view_does_not_use_is_not_judged(db, clicks, produce):
    db.view("a", "SELECT id FROM clicks", on_error="stop")
    db.view("b", "SELECT name FROM clicks")
    db.view("c", "SELECT _offset AS o FROM clicks")
    produce(clicks, good(0) + [{"id": "x", "name": "kept"}] + good(2))
    db.wait_state("a", "stopped")
    db.wait_count("b", 3)
    db.wait_count("c", 3)


@pytest.mark.parametrize("bad_at", [0, 17, 499])
def test_the_target_refuses_one(db, clicks, produce, bad_at):
    db.view("v", "SELECT id, name FROM clicks", on_error="skip")
    db.view("w", "SELECT id FROM clicks")
    db.execute(f"ALTER TABLE v ADD CHECK (id <> {bad_at})")
    produce(clicks, good(*range(500)))
    db.wait_count("v", 499)
    db.wait_count("w", 500)
    assert db.value("SELECT rejects FROM kafka.views WHERE view = 'v'::regclass") == 1


def test_many_bad_ones_in_a_batch(db, clicks, produce):
    db.view("v", "SELECT id, name FROM clicks", on_error="skip")
    db.execute("ALTER TABLE v ADD CHECK (id % 50 <> 0)")
    produce(clicks, good(*range(2000)))
    db.wait_count("v", 1960)


def test_a_foreign_key_is_checked_within_the_batch(db, clicks, produce):
    db.execute("CREATE TABLE known (id int PRIMARY KEY)")
    db.execute("INSERT INTO known SELECT generate_series(0, 99)")
    db.view("v", "SELECT id FROM clicks", on_error="skip")
    db.execute("ALTER TABLE v ADD FOREIGN KEY (id) REFERENCES known DEFERRABLE INITIALLY DEFERRED")
    produce(clicks, good(*range(90, 110)))
    db.wait_count("v", 10)
    assert db.value("SELECT rejects FROM kafka.views WHERE view = 'v'::regclass") == 10


def test_an_error_in_the_query(db, clicks, produce):
    db.view("v", "SELECT 100 / (id - 5) AS x FROM clicks", on_error="stop")
    produce(clicks, good(*range(10)))
    _, reason, error = db.wait_state("v", "stopped")
    assert "offset 5" in reason and "division by zero" in error
    assert db.value("SELECT count(*) FROM v") == 5
    assert positions(db) == [5]


def test_rows_of_one_message_fall_together(db, clicks, produce):
    db.view("v", "SELECT id FROM clicks", on_error="skip")
    db.execute("ALTER TABLE v ADD UNIQUE (id)")
    produce(clicks, [[{"id": 1}, {"id": 2}], [{"id": 3}, {"id": 2}], [{"id": 4}, {"id": "x"}],
                     [{"id": 5}, {"id": 6}]])
    db.wait_count("v", 4)
    assert db.column("SELECT id FROM v ORDER BY 1") == [1, 2, 5, 6]


def test_what_every_record_meets_is_no_records_fault(db, clicks, produce):
    """A trigger on a table that is gone: the view stops, and skips nothing."""
    db.view("v", "SELECT id FROM clicks", on_error="skip")
    db.execute("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
               " $$ BEGIN INSERT INTO public.gone VALUES (1); RETURN NEW; END $$")
    db.execute("CREATE TRIGGER t BEFORE INSERT ON v FOR EACH ROW EXECUTE FUNCTION note()")
    produce(clicks, good(0, 1, 2))
    state, reason, error = db.wait_state("v", "stopped")
    assert "gone" in reason
    assert db.value("SELECT rejects FROM kafka.views WHERE view = 'v'::regclass") == 0
    db.execute("CREATE TABLE gone (n int)")
    db.execute("SELECT kafka.resume('v')")
    db.wait_count("v", 3)
    # And again, now that there is a record before these.
    db.execute("DROP TABLE gone")
    produce(clicks, good(3, 4, 5))
    db.wait_state("v", "stopped")
    db.execute("SELECT kafka.resume('v')")
    db.wait_state("v", "stopped")
    assert db.value("SELECT rejects FROM kafka.views WHERE view = 'v'::regclass") == 0


def test_transient_errors_are_tried_again(db, clicks, produce):
    db.execute("CREATE TABLE moods (bad boolean)")
    db.execute("INSERT INTO moods VALUES (true)")
    db.execute("CREATE FUNCTION sulk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
               " IF (SELECT bad FROM public.moods) THEN RAISE SQLSTATE '40001'"
               " USING MESSAGE = 'not now'; END IF; RETURN NEW; END $$")
    db.view("v", "SELECT id FROM clicks", on_error="skip")
    db.execute("CREATE TRIGGER t BEFORE INSERT ON v FOR EACH ROW EXECUTE FUNCTION sulk()")
    produce(clicks, good(0, 1, 2))
    assert db.wait_state("v", "retrying")[1] == "not now"
    db.execute("UPDATE moods SET bad = false")
    db.wait_count("v", 3)
    db.wait_state("v", "running")
    assert db.value("SELECT rejects FROM kafka.views WHERE view = 'v'::regclass") == 0
