"""Stands between clients and a broker, and misbehaves on command.

    with Relay(kafka) as relay:        # clients take relay.bootstrap; kafka names it as its own address
        relay.mode = "garbage"; relay.cut()

Modes: `pass` hands bytes on both ways; `garbage` answers what is no Kafka; `closed` hangs up at once.
With certificate = (certificate, key), two files, clients
must speak TLS. cut() ends the connections that are there. Threads of the test's process.
"""

import contextlib
import os
import socket
import ssl
import subprocess
import threading

GARBAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno\n"


class Relay:
    def __init__(self, kafka):
        self.mode = "pass"
        self.certificate = None
        self._target = kafka.relayed_port
        self.bootstrap = f"127.0.0.1:{kafka.relay_port}"
        self._open = set()
        self._listener = socket.create_server(("127.0.0.1", kafka.relay_port))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # close() alone would leave the thread in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self):
        for s in list(self._open):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        self._open.add(client)
        try:
            if self.certificate:
                self._open.discard(client)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self.certificate)
                client = context.wrap_socket(client, server_side=True)
                self._open.add(client)
            if self.mode == "garbage":
                client.recv(1000)
                client.sendall(GARBAGE)
                client.recv(1000)
            elif self.mode == "pass":
                self._hand_on(client)
        except OSError:  # ssl.SSLError is one
            pass
        finally:
            self._open.discard(client)
            client.close()

    def _hand_on(self, client):
        with socket.create_connection(("127.0.0.1", self._target)) as broker:
            self._open.add(broker)
            back = threading.Thread(target=self._copy, args=(broker, client), daemon=True)
            back.start()
            self._copy(client, broker)
            back.join()
            self._open.discard(broker)

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for s in (source, target):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


def make_certificate(folder, name, expired=False):
    """A certificate for 127.0.0.1 that nobody but itself vouches for: (certificate, key)."""
    at = os.path.join(folder, name)

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    with open(f"{at}.cnf", "w") as f:
        f.write("[ca]\ndefault_ca=it\n[it]\ndatabase=%s.db\nserial=%s.serial\nnew_certs_dir=.\n"
                "default_md=sha256\npolicy=any\nx509_extensions=more\n[any]\ncommonName=supplied\n"
                "[more]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=CA:true\n" % (name, name))
    open(f"{at}.db", "w").close()
    with open(f"{at}.serial", "w") as f:
        f.write("01\n")
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
            "-subj", f"/CN={name}")
    until = "20210101000000Z" if expired else "20990101000000Z"
    openssl("ca", "-batch", "-notext", "-selfsign", "-config", f"{name}.cnf", "-in", f"{name}.csr",
            "-keyfile", f"{name}.key", "-out", f"{name}.pem", "-startdate", "20200101000000Z",
            "-enddate", until)
    return f"{at}.pem", f"{at}.key"
