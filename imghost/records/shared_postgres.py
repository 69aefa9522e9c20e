"""Shared records in PostgreSQL: one row an entry, a tag from a sequence, so that no tag ever comes back."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from imghost.errors import SettingsError, StoreError
from imghost.records.shared import Entry
from imghost.threads import LOOK, Worker

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

WIDTH: Final = 4
"""Connections at most: a server takes a hundred by default, and two dozen builds may be at work."""
_PAUSE: Final = 0.2
"""Seconds between two tries at a server that takes no more connections."""

_BATCH: Final = 1000
_OPTIONS: Final = frozenset({"schema", "sslmode", "sslrootcert", "application_name"})
_SCHEMA: Final = re.compile("[a-z_][a-z0-9_]{0,62}")
_AGE: Final = "greatest(0, extract(epoch from clock_timestamp() - written))::float8"
_LOOPBACK: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})


class PostgresStore:
    """Keeps entries as rows of the table `imghost_shared`."""

    def __init__(self, url: str, environ: Mapping[str, str], timeout: float) -> None:
        self._parameters, schema = _read(url, environ)
        host, name = self._parameters.get("host", ""), self._parameters.get("dbname", "")
        port = f":{self._parameters['port']}" if "port" in self._parameters else ""
        self.address = f"postgresql://{host}{port}/{name}" + (f"?schema={schema}" if schema else "")
        self._table = f'"{schema}".imghost_shared' if schema else "imghost_shared"
        self._sequence = f"{self._table}_tag"
        self._timeout = timeout
        # The last one that was used comes first: who asks one after the other needs one connection.
        self._free: LifoQueue[Connection[Any] | None] = LifoQueue()
        for _ in range(WIDTH):
            self._free.put(None)

    def get(self, key: str) -> Entry | None:
        """Read a row."""
        return self.get_all([key]).get(key)

    def get_all(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """Read many rows with one question."""
        query = f"SELECT key, text, tag, {_AGE} FROM {self._table} WHERE key = ANY(%s)"  # noqa: S608 - our own table
        rows = self._asked("read", query, [list(keys)])
        return {key: Entry(text, str(tag), age) for key, text, tag, age in rows}

    def put(self, key: str, text: str, tag: str | None) -> str | None:
        """Write a row on its condition."""
        number = f"nextval('{self._sequence}')"
        if tag is None:
            query = (
                f"INSERT INTO {self._table} (key, text, tag, written) "  # noqa: S608 - our own table
                f"VALUES (%s, %s, {number}, clock_timestamp()) ON CONFLICT (key) DO NOTHING RETURNING tag"
            )
            rows = self._asked("write", query, [key, text], is_making=True)
        else:
            query = (
                f"UPDATE {self._table} SET text = %s, tag = {number}, written = clock_timestamp() "  # noqa: S608
                "WHERE key = %s AND tag = %s RETURNING tag"
            )
            rows = self._asked("write", query, [text, key, int(tag)])
        return str(rows[0][0]) if rows else None

    def listed(self, prefix: str) -> Iterator[str]:
        """List the keys that begin with a prefix, a batch at a time."""
        last, limit = "", f"starts_with(key, %s) ORDER BY key LIMIT {_BATCH}"
        query = f"SELECT key FROM {self._table} WHERE key > %s AND {limit}"  # noqa: S608 - our own table
        while rows := self._asked("list", query, [max(last, prefix), prefix]):
            yield from (key for (key,) in rows)
            last = rows[-1][0]

    def close(self) -> None:
        """Close the connections; all are free once nobody asks any more."""
        for connection in [self._free.get() for _ in range(WIDTH)]:
            if connection:
                connection.close()
            self._free.put(None)

    def _asked(self, verb: str, query: str, values: Sequence[object], *, is_making: bool = False) -> list[Any]:
        """Ask on a connection of its own, within the time; a table that is not there is empty, or made."""
        psycopg = _library()
        try:
            with self._connected() as connection, self._deadline(connection), connection.cursor() as cursor:
                try:
                    return list(cursor.execute(query, values).fetchall())
                except psycopg.errors.UndefinedTable:
                    if not is_making:
                        return []
                    self._make(cursor)
                    return list(cursor.execute(query, values).fetchall())
        except psycopg.Error as broken:
            problem = self._explained(broken, verb)
        raise problem

    @contextmanager
    def _connected(self) -> Iterator[Connection[Any]]:
        """Take a connection that is free, or a new one; one that broke is not used again."""
        connection = self._free.get()
        try:
            if not _is_usable(connection):
                connection = self._opened()
            assert connection is not None
            yield connection
        finally:
            self._free.put(connection)

    def _opened(self) -> Connection[Any]:
        """Open a connection; where the server takes no more, wait for one, within the time, or for one of ours."""
        psycopg = _library()
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return psycopg.connect(  # type: ignore[no-any-return]
                    **self._parameters,
                    autocommit=True,
                    connect_timeout=max(2, int(self._timeout)),  # it takes several answers of a server far away
                    fallback_application_name="imghost",
                    prepare_threshold=None,  # behind PgBouncer a prepared statement may be on another connection
                )
            except psycopg.OperationalError as refusal:
                if not _is_full(refusal) or time.monotonic() > deadline:
                    raise
            if (ours := self._given_back()) is not None:
                return ours
            time.sleep(_PAUSE)

    def _given_back(self) -> Connection[Any] | None:
        """Take a connection that another thread has given back, for a place without one."""
        with suppress(Empty):
            connection = self._free.get_nowait()
            if _is_usable(connection):
                self._free.put(None)
                return connection
            self._free.put(connection)
        return None

    @contextmanager
    def _deadline(self, connection: Connection[Any]) -> Iterator[None]:
        """Break the connection when the time is over: a server that stands still would be waited for, for ever."""
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            answered = threading.Event()

            def cut() -> None:
                if not answered.wait(self._timeout):
                    with suppress(OSError):
                        line.shutdown(socket.SHUT_RDWR)

            timer = Worker(cut)
            with suppress(RuntimeError):  # without a thread, the server's own patience has to do
                timer.start()
            try:
                yield
            finally:
                answered.set()
                while not timer.join(LOOK):  # it must not cut a line that has another one's number
                    pass

    def _make(self, cursor: Cursor[Any]) -> None:
        """Make the table, one build after the other: `IF NOT EXISTS` alone fails where two look at once."""
        # Several statements in one question are one transaction, and one round trip.
        cursor.execute(
            f"SELECT pg_advisory_xact_lock(hashtext('{self._table}')); "
            f"CREATE SEQUENCE IF NOT EXISTS {self._sequence}; "
            f'CREATE TABLE IF NOT EXISTS {self._table} (key text COLLATE "C" PRIMARY KEY, text text NOT NULL, '
            "tag bigint NOT NULL, written timestamptz NOT NULL)"
        )

    def _explained(self, broken: Exception, verb: str) -> StoreError:
        """Say what a failure means by its SQLSTATE; the server's own words may repeat a row."""
        state = getattr(broken, "sqlstate", None) or ""
        reason = f"the store {self.address} cannot {verb}"
        # A refused connection has no SQLSTATE, and tells by its words alone.
        words = "" if state else str(broken)
        if state.startswith("28") or state == "3D000" or "password" in words or "does not exist" in words:
            return StoreError(
                f"{reason}: it refuses user, password or database", "check PGUSER, PGPASSWORD and the URL"
            )
        if _is_full(broken):
            why = "takes no more connections"
            return StoreError(f"the store {self.address} {why}", "raise max_connections", is_passing=True)
        if state in {"42501", "25006"}:
            why = "is read-only" if state == "25006" else "forbids this"
            return StoreError(f"the store {self.address} {why}", "grant SELECT, INSERT and UPDATE on imghost_shared")
        if state in {"3F000", "42P01"}:
            return StoreError(f"{reason}: its schema is not there", "create it, or correct the option 'shared'")
        if state.startswith("53") and state != "53300":
            return StoreError(f"the store {self.address} has no room left", "make room on its disk")
        is_passing = not state or state[:2] in {"08", "40", "55", "57"}
        return StoreError(
            f"{reason}: {f'SQLSTATE {state}' if state else 'it does not answer'}",
            "check the network, or build again later",
            is_passing=is_passing,
            is_ambiguous=is_passing,
        )


def _is_usable(connection: Connection[Any] | None) -> bool:
    return connection is not None and not connection.closed and not connection.broken


def _is_full(broken: Exception) -> bool:
    """Say whether a server takes no more connections; a refused one has no SQLSTATE, and tells by its words alone."""
    state = getattr(broken, "sqlstate", None) or ""
    words = "" if state else str(broken)
    return state == "53300" or "too many clients" in words or "connection slots" in words


def _library() -> Any:
    try:
        import psycopg
    except ImportError:
        text = (
            "option 'shared' needs psycopg for postgresql://, which is not installed; pip install \"imghost[postgres]\""
        )
        raise SettingsError(text, "shared") from None
    return psycopg


def _read(url: str, environ: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Read the connection's parameters and the schema; raises SettingsError.

    A pull request can change the URL, so that the environment's password goes only where the environment says.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    schema = options.pop("schema", "")
    try:
        port = parts.port
    except ValueError:
        port = 0
    is_sound = options.keys() <= _OPTIONS and not parts.fragment and port != 0 and len(parts.path) > 1
    if not is_sound or (schema and not _SCHEMA.fullmatch(schema)) or parts.password is not None:
        text = "postgresql://host/db, with no more than user, port, schema and sslmode; the password is PGPASSWORD's"
        raise SettingsError(f"option 'shared' should be like {text}", "shared")
    host = unquote(parts.hostname or "")
    known = {*_LOOPBACK, environ.get("PGHOST", ""), environ.get("PGHOSTADDR", "")}
    if environ.get("PGPASSWORD") and host not in known and f"postgresql://{host}" not in _allowed(environ):
        raise SettingsError(
            f"option 'shared' would send PGPASSWORD to {host}; if that is right, name it in the environment: "
            f"PGHOST={host}, or IMGHOST_ALLOW_API_URL=postgresql://{host}",
            "shared",
        )
    named = {
        "host": host,
        "port": str(port or ""),
        "user": unquote(parts.username or ""),
        "dbname": unquote(parts.path[1:]),
    }
    return options | {name: text for name, text in named.items() if text}, schema


def _allowed(environ: Mapping[str, str]) -> set[str]:
    return {address.rstrip("/") for address in re.split(r"[\s,]+", environ.get("IMGHOST_ALLOW_API_URL", ""))}
