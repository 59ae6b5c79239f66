"""Records that come all the while."""

import threading


class Producing:
    """While its block runs: batches of step records, made by make(first, last), number after number. An
    error of the producer is raised at the block's end."""

    def __init__(self, produce, topic, make, first=0, step=20):
        self._ended = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(produce, topic, make, first, step))

    def _run(self, produce, topic, make, first, step):
        try:
            while not self._ended.is_set():
                produce(topic, make(first, first + step))
                first += step
        except Exception as e:  # noqa: BLE001  (whatever it is, it is the test's)
            self._error = e

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()
        if self._error:
            raise self._error
