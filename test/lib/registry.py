"""A schema registry of the tests' own: the calls that readers and writers make of Confluent's API, with
logins, TLS and faults on demand. It runs in threads of the test.

    with Registry(user="me", password="secret") as r:
        number = r.register("orders-value", {"type": "record", ...})
        r.frame(number, payload)        # as serializers do it
        r.answers = 503                 # every request, until it is None again
"""

import base64
import http.server
import json
import re
import ssl
import subprocess
import threading
import urllib.parse
import uuid


class Registry:
    def __init__(self, user=None, password=None, token=None, tls=None):
        """tls: a directory with cert.pem, key.pem, and ca.pem that clients' certificates are checked by."""
        self.login = (user, password) if user else None
        self.token = token
        self.answers = None  # a status for all requests
        self.hangs = threading.Event()  # requests wait until it is set
        self.hangs.set()
        self.asked = []  # paths, in order
        self._schemas = {}  # id: {schema, schemaType, references}
        self._subjects = {}  # subject: [id]
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        scheme = "http"
        if tls:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(f"{tls}/cert.pem", f"{tls}/key.pem")
            context.load_verify_locations(f"{tls}/ca.pem")
            context.verify_mode = ssl.CERT_REQUIRED
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.hangs.set()
        self._server.shutdown()
        self._server.server_close()

    # ------------------------------------------------------------------------------ what it holds

    def register(self, subject, schema, type="AVRO", references=(), number=None):
        """The schema's number; the same one for the same schema. references: (name, subject, version)."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        entry = {"schema": text, "schemaType": type,
                 "references": [dict(zip(("name", "subject", "version"), r)) for r in references]}
        with self._lock:
            for n, old in self._schemas.items():
                if old == entry and number is None:
                    break
            else:
                n = number or max(self._schemas, default=0) + 1
                self._schemas[n] = entry
            versions = self._subjects.setdefault(subject, [])
            if n not in versions:
                versions.append(n)
            return n

    @staticmethod
    def guid(number):
        return uuid.uuid5(uuid.NAMESPACE_OID, str(number))

    @staticmethod
    def frame(number, payload, indexes=b""):
        return b"\0" + number.to_bytes(4, "big") + indexes + payload

    def header(self, number, of="value", indexes=b""):
        return f"__{of}_schema_id", b"\1" + self.guid(number).bytes + indexes

    # ------------------------------------------------------------------------------ what it answers

    def _answer(self, path):
        """(status, body)."""
        missing = {"id": 40403, "subject": 40401, "version": 40402}

        def none(what):
            return 404, {"error_code": missing[what], "message": f"{what.title()} not found."}

        with self._lock:
            if found := re.fullmatch(r"/schemas/ids/(\d+)", path):
                return self._schema(int(found[1])) or none("id")
            if found := re.fullmatch(r"/schemas/guids/([0-9a-f-]{36})", path):
                numbers = [n for n in self._schemas if str(self.guid(n)) == found[1]]
                return self._schema(numbers[0]) if numbers else none("id")
            if path == "/subjects":
                return 200, sorted(self._subjects)
            if found := re.fullmatch(r"/subjects/([^/]+)/versions(?:/(\d+|latest))?", path):
                subject = urllib.parse.unquote(found[1])
                versions = self._subjects.get(subject)
                if versions is None:
                    return none("subject")
                if not found[2]:
                    return 200, list(range(1, len(versions) + 1))
                version = len(versions) if found[2] == "latest" else int(found[2])
                if not 1 <= version <= len(versions):
                    return none("version")
                number = versions[version - 1]
                return 200, {"subject": subject, "version": version, "id": number,
                             **self._schema(number)[1]}
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _schema(self, number):
        if number not in self._schemas:
            return None
        entry = dict(self._schemas[number])
        if entry["schemaType"] == "AVRO":
            del entry["schemaType"]  # as the original does
        if not entry["references"]:
            del entry["references"]
        return 200, entry

    def _refuses(self, given):
        if self.login:
            expected = base64.b64encode(":".join(self.login).encode()).decode()
            return given != f"Basic {expected}"
        return bool(self.token) and given != f"Bearer {self.token}"

    def _handler(self):
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes: 40 ms between them else

            def do_GET(self):
                registry.asked.append(self.path)
                registry.hangs.wait(60)
                if registry._refuses(self.headers.get("Authorization")):
                    return self.reply(401, {"error_code": 401, "message": "Unauthorized"})
                if registry.answers:
                    return self.reply(registry.answers, {"error_code": 50001, "message": "Out of order."})
                self.reply(*registry._answer(self.path))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                subject = urllib.parse.unquote(self.path.split("/")[2])
                references = [(r["name"], r["subject"], r["version"]) for r in body.get("references", [])]
                self.reply(200, {"id": registry.register(
                    subject, body["schema"], body.get("schemaType", "AVRO"), references)})

            def reply(self, status, body):
                text = json.dumps(body).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:
                    pass  # the asker went away

            def log_message(self, *_):
                pass

        return Handler


def make_certificates(directory):
    """ca.pem, cert.pem and key.pem of localhost, client.pem and client.key, in the directory."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, cwd=directory, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=tests", "-days", "2")
    for name, subject in ("cert", "/CN=localhost"), ("client", "/CN=client"):
        key = "key.pem" if name == "cert" else "client.key"
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", f"{name}.csr",
                "-subj", subject, "-addext", "subjectAltName=DNS:localhost")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-copy_extensions", "copy")
    return directory
