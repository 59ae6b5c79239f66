"""A real schema registry: Apicurio's, which speaks Confluent's API under /apis/ccompat/v7. One process of Java
with its data in memory, up within some six seconds; its jars are fetched by Maven once (109 MB).

    with Apicurio() as r:
        number = r.register("orders-value", {"type": "record", ...})
        r.url                       # for schema_registry_url
"""

import contextlib
import glob
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from maven import NotFetched, fetched
from process import die_with_parent, free_port, remove_scratch, scratch
from wait import wait_until

VERSION = "3.0.9"  # the last that runs on Java 17


class Unavailable(Exception):
    """Java, Maven or the jars are not to be had here."""


def jars():
    """The folder with the program and its jars."""
    if not shutil.which("java"):
        raise Unavailable("no java")
    try:
        return fetched(f"apicurio-{VERSION}", "dependency:unpack", "-Dproject.basedir={work}",
                       f"-Dartifact=io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all",
                       "-DoutputDirectory={out}", "-DmarkersDirectory={work}/markers")
    except NotFetched as e:
        raise Unavailable(str(e)) from None


class Apicurio:
    def __enter__(self):
        runner, = glob.glob(os.path.join(jars(), "*-runner.jar"))
        self.directory = scratch("apicurio")
        self.output = os.path.join(self.directory, "output")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(
                ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
                 f"-Dquarkus.http.port={port}", "-Dquarkus.http.host=127.0.0.1",
                 "-Dquarkus.log.level=WARN", "-jar", runner], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, cwd=self.directory, start_new_session=True, preexec_fn=die_with_parent)
        wait_until(self._answers, 180, "the registry answers")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        remove_scratch(self.directory)

    def _answers(self):
        if self.process.poll() is not None:
            with open(self.output) as f:
                raise RuntimeError(f"the registry did not start: {f.read()[-2000:]}")
        with contextlib.suppress(OSError):
            return self.ask("/subjects") is not None
        return False

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data,
                                         {"Content-Type": "application/vnd.schemaregistry.v1+json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def register(self, subject, schema, type="AVRO", references=()):
        """The schema's number. references: (name, subject, version)."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        return self.ask(f"/subjects/{urllib.parse.quote(subject, '')}/versions", {
            "schema": text, "schemaType": type,
            "references": [dict(zip(("name", "subject", "version"), r)) for r in references]})["id"]
