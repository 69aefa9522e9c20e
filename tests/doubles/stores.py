"""Engines for shared records, as real processes on loopback: PostgreSQL, and two S3 servers of different make.

Each is ended with its test, keeps its files in a temporary folder, and is counted by itself or by what stands in
front of it, never by our own report.
"""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

_DEBIAN = Path("/usr/lib/postgresql")
_WAIT = 60.0
NOTHING = {
    "AWS_CONFIG_FILE": "/nonexistent/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What keeps the machine's own credentials out of a test."""
_LOADED = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"


def free_ports(count: int) -> list[int]:
    """Find ports that are free, each another one."""
    with ExitStack() as held:
        lines = [held.enter_context(socket.socket()) for _ in range(count)]
        for line in lines:
            line.bind(("127.0.0.1", 0))
        return [int(line.getsockname()[1]) for line in lines]


def postgres_programs() -> Path | None:
    """Find the newest PostgreSQL server of Debian's packages."""
    return next(
        (folder for folder in sorted(_DEBIAN.glob("*/bin"), reverse=True) if (folder / "initdb").exists()), None
    )


def weed_program() -> Path | None:
    """Find SeaweedFS's server, which comes as a wheel."""
    beside = Path(sys.executable).with_name("weed")
    return beside if beside.exists() else None


class Postgres:
    """A PostgreSQL server of this test's own; each schema in it is a store of its own."""

    environ: Mapping[str, str] = {}

    def __init__(self) -> None:
        programs = postgres_programs()
        assert programs is not None
        self._programs = programs
        (self.port,) = free_ports(1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = Path(tempfile.mkdtemp(prefix="imghost-postgres-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._as = {"user": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(folder, "postgres")
        files = folder / "files"
        self._log = folder / "log"
        initialized = [
            self._programs / "initdb",
            "-D",
            files,
            "-A",
            "trust",
            "-U",
            "imghost",
            "--no-sync",
            "--locale=C",
            "-E",
            "UTF8",
        ]
        subprocess.run(initialized, check=True, capture_output=True, cwd=folder, **self._as)
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": folder, "fsync": "off",
            "log_statement": "all", "logging_collector": "off",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", files, *options], stdout=log, stderr=log, cwd=folder, **self._as
            )
        self._stack.callback(self._end)
        _until(lambda: self.sql("SELECT 1"), self._server, self._log)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"postgresql://imghost@127.0.0.1:{self.port}/postgres"

    def fresh(self) -> str:
        """Make a schema, and give its URL."""
        schema = f"s{secrets.token_hex(8)}"
        self.sql(f"CREATE SCHEMA {schema}")
        return f"{self.url}?schema={schema}"

    def sql(self, *statements: str, user: str = "imghost") -> list[Any]:
        """Run statements as a user; gives the last one's rows."""
        import psycopg

        with psycopg.connect(host="127.0.0.1", port=self.port, user=user, dbname="postgres", autocommit=True) as line:
            for statement in statements:
                cursor = line.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def requests(self) -> int:
        """Count the statements about records so far, by the server's own log."""
        return sum(
            1
            for line in self._log.read_text("utf-8", "replace").splitlines()
            if "imghost_shared" in line and ("execute" in line or "statement:" in line)
        )

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let the server stand still: connections are taken by the kernel, and nobody answers."""
        pids = [self._server.pid, *_children(self._server.pid)]
        _tell(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _tell(pids, signal.SIGCONT)

    def _end(self) -> None:
        children = _children(self._server.pid)
        self._server.send_signal(signal.SIGQUIT)
        try:
            self._server.wait(timeout=10)
        except subprocess.TimeoutExpired:  # now and then one that stood still waits for a child for ever
            _tell((self._server.pid, *children), signal.SIGKILL)
            self._server.wait(timeout=_WAIT)


class _S3:
    """An S3 server with one bucket, reached through a front that counts, delays and refuses."""

    bucket = "records"
    variables: Mapping[str, str] = {"AWS_ACCESS_KEY_ID": "double", "AWS_SECRET_ACCESS_KEY": "doubledouble"}

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        import boto3

        self._folder = Path(tempfile.mkdtemp(prefix="imghost-s3-"))
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        ports = free_ports(8)
        port = ports[0]
        log_file = self._folder / "log"
        with log_file.open("wb") as log:
            server = subprocess.Popen(
                self.command(*ports), stdout=log, stderr=log, cwd=self._folder, env=os.environ | NOTHING
            )
        self._stack.callback(_ended, server)
        self.client = boto3.client(
            "s3", "us-east-1", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id="double",
            aws_secret_access_key="doubledouble",
        )  # fmt: skip
        self._stack.callback(self.client.close)
        _until(lambda: self.client.create_bucket(Bucket=self.bucket), server, log_file)
        self.front = self._stack.enter_context(Front(port))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def command(self, port: int, *more: int) -> list[str | Path]:
        raise NotImplementedError

    @property
    def environ(self) -> dict[str, str]:
        """What the environment has for this store."""
        return {**NOTHING, **self.variables, "AWS_ENDPOINT_URL_S3": self.front.url}

    def fresh(self) -> str:
        """Give the URL of a store of its own: a prefix."""
        return f"s3://{self.bucket}/{secrets.token_hex(8)}"

    def requests(self) -> int:
        """Count the requests so far."""
        return len(self.front.log)


class Moto(_S3):
    """moto's server; its conditional puts are only right one at a time."""

    def __enter__(self) -> Self:
        super().__enter__()
        self.front.is_single = True
        return self

    def command(self, port: int, *more: int) -> list[str | Path]:
        return [sys.executable, "-W", "ignore", "-c", _LOADED, str(port)]


class Weed(_S3):
    """SeaweedFS."""

    def command(self, port: int, *more: int) -> list[str | Path]:
        program = weed_program()
        assert program is not None
        keys = '{"accessKey": "double", "secretKey": "doubledouble"}'
        rights = '"Admin", "Read", "List", "Write"'
        (self._folder / "s3.json").write_text(
            f'{{"identities": [{{"name": "t", "credentials": [{keys}], "actions": [{rights}]}}]}}'
        )
        # By default gRPC's ports are 10,000 further, where there may be no room.
        names = (
            "s3.port.grpc",
            *(f"{part}.port{kind}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")),
        )
        own = [f"-{name}={number}" for name, number in zip(names, more, strict=True)]
        return [
            program, "-logtostderr=true", "server", f"-dir={self._folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64", "-volume.max=20", f"-s3.localSocket={self._folder}/s3.sock", f"-filer.localSocket={self._folder}/filer.sock", "-s3", f"-s3.port={port}", "-s3.config=s3.json", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0", *own,
        ]  # fmt: skip


class Front:
    """Stands before an S3 server: counts requests, answers late, refuses, or loses answers, on demand."""

    def __init__(self, port: int) -> None:
        front = self
        self.log: list[tuple[str, str]] = []
        self.delay = 0.0
        self.is_single = False
        self.refusals: deque[tuple[int, str]] = deque()
        self.refused: tuple[int, str, str] | None = None
        """Method, status and code of what is refused until this is None again; the method may be `*`."""
        self.when: Callable[[], bool] = lambda: True
        """Whether it is refused by now."""
        self._guard = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = 65536

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with front._guard:
                    front.log.append((self.command, self.path))
                if front.delay:
                    time.sleep(front.delay)
                if refusal := front._refusal(self.command):
                    self._say(
                        refusal[0],
                        [("Content-Type", "application/xml")],
                        f"<Error><Code>{refusal[1]}</Code></Error>".encode(),
                    )
                    return
                with ExitStack() as held:
                    if front.is_single:
                        held.enter_context(front._guard)
                    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                    line.request(self.command, self.path, body, dict(self.headers.items()))
                    answer = line.getresponse()
                    content = answer.read()
                    line.close()
                dropped = {"transfer-encoding", "connection", "content-length"}
                self._say(
                    answer.status,
                    [pair for pair in answer.getheaders() if pair[0].lower() not in dropped],
                    content,
                    answer.getheader("Content-Length"),
                )

            def _say(
                self, status: int, headers: list[tuple[str, str]], content: bytes, length: str | None = None
            ) -> None:
                self.send_response_only(status)
                for name, text in headers:
                    self.send_header(name, text)
                self.send_header("Content-Length", (length if self.command == "HEAD" else None) or str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
                self.wfile.flush()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _refusal(self, method: str) -> tuple[int, str] | None:
        if self.refused and self.refused[0] in {"*", method} and self.when():
            return int(self.refused[1]), self.refused[2]
        with self._guard:
            return self.refusals.popleft() if self.refusals else None


class Line:
    """A TCP line to a server on loopback that is as slow as a network: each way takes half the round trip."""

    def __init__(self, port: int, round_trip: float) -> None:
        self._port = port
        self._half = round_trip / 2
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._open = [self._listener]

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._open:
            with suppress(OSError):  # an end may be gone by itself
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open += [near, far]
            for line in (near, far):
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        """Take parts as they come, each to be there so much later: one does not wait for another."""
        parts: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        threading.Thread(target=self._deliver, args=(parts, target), daemon=True).start()
        with suppress(OSError):
            while part := source.recv(1 << 16):
                parts.put((time.monotonic() + self._half, part))
        parts.put((0.0, b""))

    def _deliver(self, parts: SimpleQueue[tuple[float, bytes]], target: socket.socket) -> None:
        with suppress(OSError):
            while True:
                due, part = parts.get()
                if not part:
                    target.shutdown(socket.SHUT_WR)
                    return
                time.sleep(max(0.0, due - time.monotonic()))
                target.sendall(part)


def _until(answers: Any, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + _WAIT
    while True:
        try:
            answers()
        except Exception:
            if server.poll() is not None or time.monotonic() > end:
                raise AssertionError(
                    f"the server does not start: {log.read_text('utf-8', 'replace')[-2000:]}"
                ) from None
            time.sleep(0.05)
        else:
            return


def _ended(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait(timeout=_WAIT)


def _tell(pids: Iterable[int], what: signal.Signals) -> None:
    """Send a signal to those that are there still: a server's children come and go."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
