"""Topics filled once, cases measured in turns, tables written."""

import multiprocessing
import os
import statistics
import threading
import time
import uuid

import plot

RECORDS = int(os.environ.get("BENCH_RECORDS", "1000000"))
TURNS = int(os.environ.get("BENCH_TURNS", "5"))
TICK = os.sysconf("SC_CLK_TCK")


def fresh(prefix):
    return f"{prefix}_{uuid.uuid4().hex[:8]}"


def cpu_seconds(pid):
    """What a process has used, all its threads."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def private_mb(pid):
    """Resident memory that is the process's own: not the server's shared buffers."""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon")) / 1024


class Peak:
    """The most private memory that one of a server's processes has while this lives."""

    def __init__(self, cluster):
        self.most, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, args=[cluster])
        self._thread.start()

    def _watch(self, cluster):
        while not self._over.wait(0.05):
            for pid in cluster.processes():
                try:
                    self.most = max(self.most, private_mb(pid))
                except (OSError, StopIteration):  # it has just ended
                    pass

    def end(self):
        self._over.set()
        self._thread.join()
        return self.most


def median_row(rows):
    """Of each column alone."""
    return [statistics.median(column) for column in zip(*rows)]


class Case:
    """prepare and clean are not measured. run gives the process that worked, or None, and the CPU
    seconds that it had used before."""

    def __init__(self, name, run, prepare=None, clean=None, rows=None):
        self.name, self.run = name, run
        self.prepare, self.clean = prepare or (lambda: None), clean or (lambda: None)
        self.rows = rows or RECORDS
        self.seconds, self.cpu, self.memory = [], [], []

    def once(self, cluster, keep):
        self.prepare()
        peak = Peak(cluster)
        begin = time.monotonic()
        pid, used = self.run()
        spent = time.monotonic() - begin
        most = peak.end()
        if keep:
            self.seconds.append(spent)
            if pid:
                self.cpu.append(cpu_seconds(pid) - used)
                if pid in cluster.processes():
                    self.memory.append(most)
        self.clean()

    @property
    def median(self):
        return statistics.median(self.seconds)

    @property
    def rate(self):
        return self.rows / self.median


class Bench:
    def __init__(self, cluster, broker, machine, out):
        self.cluster, self.broker, self.machine, self.out = cluster, broker, machine, out

    def fill(self, records, partitions, value, **topic):
        """A new topic with value(n) for each of so many records."""
        name = self.broker.create_topic(fresh("bench"), partitions)

        def produce(first, step):
            producer = self.broker.producer(linger_ms=20, batch_num_messages=20000,
                                            queue_buffering_max_messages=500000, **topic)
            for n in range(first, records, step):
                while True:
                    try:
                        producer.produce(name, value(n), partition=n % partitions)
                        break
                    except BufferError:
                        producer.poll(0.05)
            assert producer.flush(300) == 0

        # Each partition is one process's, so that its records ascend.
        several = min(2, partitions)
        fillers = [multiprocessing.get_context("fork").Process(target=produce, args=(k, several)) for k in range(several)]
        for f in fillers:
            f.start()
        for f in fillers:
            f.join()
        assert all(f.exitcode == 0 for f in fillers)
        return name

    def turns(self, db, cases, turns=TURNS):
        """All cases once, not counted; then every case once in each turn."""
        for turn in range(turns + 1):
            for case in cases:
                db.execute("CHECKPOINT")
                case.once(self.cluster, keep=turn > 0)

    def table(self, slug, title, cases, against=()):
        """Prints and writes the table, and draws it; each name in against is a column of ratios of rows/s."""
        by_name = {c.name: c for c in cases}
        head = ["case", "seconds (least, most)", "rows/s", "CPU s", "peak MB"] + \
               [f"x {name}" for name in against]
        lines = [[c.name, f"{c.median:.2f} ({min(c.seconds):.2f}, {max(c.seconds):.2f})",
                  f"{c.rate:,.0f}",
                  f"{statistics.median(c.cpu):.2f}" if c.cpu else "",
                  f"{max(c.memory):.0f}" if c.memory else ""] +
                 [f"{c.rate / by_name[name].rate:.2f}" for name in against] for c in cases]
        self.write(slug, title, head, lines)
        plot.bars(os.path.join(self.out, slug + ".svg"), title,
                  [(c.name, c.rate) for c in cases], "rows/s")

    def write(self, slug, title, head, lines):
        widths = [max(len(str(line[i])) for line in [head] + lines) for i in range(len(head))]

        def row(cells, fill=" "):
            return "| " + " | ".join(str(c).ljust(w, fill) for c, w in zip(cells, widths)) + " |"
        text = "\n".join([f"**{title}**", "", row(head), row(["---"] * len(head), "-")] +
                         [row(line) for line in lines]) + "\n"
        print("\n" + text, flush=True)
        with open(os.path.join(self.out, slug + ".md"), "w") as f:
            f.write(self.machine + "\n\n" + text)
