"""Good answers made bad, at random but by a seed: JSON of another shape, other bytes, other headers, another status."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from doubles.hostile import HOSTILE_URLS
from doubles.messages import Reply, Request

DOMAINS = ("src.img.pro", "i.img402.dev", "imageupload.io", "shelf.example")


@dataclass(frozen=True)
class Wire(Reply):
    """An answer as its bytes, whatever they are; the connection closes after it."""

    wire: bytes = b""

    def head(self) -> bytes:
        return self.wire

    def last(self) -> Reply:
        return self


def wire_of(reply: Reply) -> bytes:
    return reply.last().head() + reply.body


def closed(wire: bytes) -> Wire:
    return Wire(length=0, wire=wire)


@dataclass(frozen=True)
class Token:
    """JSON's text for a value that Python's writer would not write."""

    text: str


class Twice(dict[str, Any]):
    """An object that repeats one of its keys, with another value."""

    repeated: tuple[str, object] = ("", None)


def written(value: object) -> str:
    """Write JSON, also what is none."""
    if isinstance(value, Token):
        return value.text
    if isinstance(value, dict):
        members = [*value.items(), *([value.repeated] if isinstance(value, Twice) else [])]
        return "{" + ", ".join(f"{json.dumps(key)}: {written(inner)}" for key, inner in members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def nested(depth: int) -> Token:
    return Token('{"a": [' * depth + "1" + "]}" * depth)


PLAIN: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 1.5, 9.6, 1e308, -0.0, 2**31, 2**53 + 1, 10**18, -(10**30), [], {}, [None], {"": {}}),
    *("", " ", "0", "1", "true", "null", "None", "[]", "a" * 200, "é" * 60, "\u202egnp.a", "\x00", "\x7f", "\x9b31m"),
    *("\n::stop-commands::x\x1b[2J", "::add-mask::a", "%0A::error::x", "\ud800", "\udfff" * 9, "%s%n{0}", "$(id)", "a\r\nb"),
    *("2026-02-30", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "1970-01-01", "2099-01-01T00:00:00Z"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-11-21T00:00:00.123456789Z", "20260101T000000"),
    *(253_402_300_799, 253_402_300_800, -62_135_596_801, -62_135_596_800, 1e20, 4_102_444_800, 4_102_444_800.5),
    *("failed", "processing", "burn", "views", "forever", "1d", "image", "image/gif", "x" * 3000, "y" * 20_000),
)  # fmt: skip
ODD: tuple[Token, ...] = (
    *(Token("NaN"), Token("Infinity"), Token("-Infinity"), Token("1e999"), Token("-1e999"), Token("1e-999")),
    *(Token("9" * 400), Token("9" * 4299), Token("9" * 5000), Token("-" + "1" * 4000), Token("0x10"), Token("01")),
    *(Token("1" * 20 + ".5"), Token("+1"), Token("'a'"), Token("undefined"), Token('"\\ud800"'), Token('"\\u0000"')),
    *(nested(40), nested(99), nested(120), nested(2000), Token("[" * 50), Token('"' + "z" * 70_000 + '"')),
)
NAMES = (
    *("url", "src", "id", "expires_at", "expiresAt", "width", "height", "object", "page_url", "link", "data", "media"),
    *("status", "error", "code", "message", "action", "slug", "direct_url", "expiration", "view_limit", "quota", "ok"),
    *("password_protected", "token", "sizeBytes", "contentType", "labels", "size", "success", "images", "result"),
)


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List where values stand in JSON, as the keys and numbers that lead there."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for number in range(len(value)):
            yield from places(value[number], (*path, number))


class Mutator:
    """Makes bad answers of good ones; `secrets` are what a request may hold, which a host may repeat."""

    def __init__(self, chance: Random, secrets: tuple[str, ...] = ()) -> None:
        self._chance = chance
        self._secrets = secrets

    def changed(self, reply: Reply) -> Reply:
        """Change an answer in one way, or in several."""
        ways: tuple[Callable[[Reply], Reply], ...]
        ways = (
            self._shape,
            self._shape,
            self._shape,
            self._shape,
            self._bytes,
            self._headers,
            self._status,
            self._line,
        )
        for _ in range(self._chance.choice((1, 1, 1, 2, 3))):
            reply = self._chance.choice(ways)(reply)
            if isinstance(reply, Wire):
                break
        return reply

    def garbled(self, reply: Reply) -> Reply:
        """Change an answer in its bytes, its headers or its first line, and not in what its JSON says."""
        return self._chance.choice((self._bytes, self._headers, self._line))(reply)

    def _value(self) -> object:
        """Choose what to put in a value's place."""
        pick = self._chance.random()
        if pick < 0.45:
            return self._chance.choice(PLAIN)
        if pick < 0.6:
            return self._chance.choice(ODD)
        if pick < 0.7 and self._secrets:
            secret = self._chance.choice(self._secrets)
            return self._chance.choice(
                (secret, f"bad key {secret}!", f"https://{DOMAINS[0]}/{secret}.png", {secret: secret})
            )
        url = self._chance.choice(HOSTILE_URLS)
        return url.replace("i.img402.dev", self._chance.choice(DOMAINS)) if isinstance(url, str) else url

    def _shape(self, reply: Reply) -> Reply:
        """Change the JSON's values and keys; an answer without JSON gets some."""
        try:
            value = json.loads(reply.body)
        except (ValueError, RecursionError):
            value = self._value()
        for _ in range(self._chance.choice((1, 1, 2, 4))):
            value = self.reshaped(value)
        body = written(value).encode("utf-8", "surrogatepass")
        return replace(reply, body=body, length=None)

    def reshaped(self, value: Any) -> Any:
        """Change JSON in one place, and give what it is then."""
        path = self._chance.choice(list(places(value)))
        if not path:
            return self._chance.choice((value, value, [value], {"data": value}, {"media": value}, self._value()))
        inner = value
        for step in path[:-1]:
            inner = inner[step]
        key = path[-1]
        if isinstance(inner, list) or self._chance.random() < 0.5:
            inner[key] = self._value()
        else:
            self._member(inner, key)
        return self._repeated(value) if self._chance.random() < 0.04 else value

    def _member(self, inner: dict[str, Any], key: str) -> None:
        """Drop, add, rename, exchange or turn a member of an object."""
        old = inner[key]
        turned = {str: lambda: len(old), int: lambda: str(old), float: lambda: [old], type(None): lambda: "null"}
        act = self._chance.randrange(6)
        if act == 0:
            del inner[key]
        elif act == 1:
            inner[self._chance.choice((key.upper(), key + " ", "_" + key))] = inner.pop(key)
        elif act == 2:
            inner[self._chance.choice(NAMES)] = self._value()
        elif act == 3:
            other = self._chance.choice(list(inner))
            inner[key], inner[other] = inner[other], old
        elif act == 4:
            inner[key] = self._chance.choice(([old], {"url": old}, {"value": old}, [old, old]))
        else:
            inner[key] = turned.get(type(old), lambda: written(old))()

    def _repeated(self, value: Any) -> Any:
        if not isinstance(value, dict) or not value:
            return value
        made = Twice(value)
        made.repeated = (self._chance.choice(list(value)), self._value())
        return made

    def _bytes(self, reply: Reply) -> Reply:
        body, chance = bytearray(reply.body), self._chance
        at, end = sorted((chance.randrange(len(body) + 1), chance.randrange(len(body) + 1)))
        kind = chance.randrange(14)
        if kind < 4:
            for _ in range(chance.randint(1, 5)):
                if body:
                    body[chance.randrange(len(body))] = chance.randrange(256)
            return replace(reply, body=bytes(body), length=None)
        whole: tuple[bytes, ...] = (
            bytes(body[:at]),
            bytes(body[:at] + body[end:]),
            bytes(body[:at] + body[at:end] * 2 + body[end:]),
            bytes(body) + b'\n{"url": 1}',
            b"\xef\xbb\xbf" + bytes(body),
            bytes(body).decode("latin-1").encode(chance.choice(("utf-16", "utf-32", "utf-7"))),
            gzip.compress(bytes(body)),
            b" " * chance.choice((1, 65_536 - len(body) if len(body) < 65_536 else 1, 65_537, 200_000)) + bytes(body),
            b"<!doctype html><title>502</title><h1>Bad Gateway</h1>",
            b"[" * 100_000,
        )
        return replace(reply, body=whole[kind - 4], length=None)

    def _headers(self, reply: Reply) -> Reply:
        """Put a header in, in place of those of its name, or beside them."""
        name, text = self._chance.choice(HEADERS)
        kept = tuple(
            (one, old) for one, old in reply.headers if one.lower() != name.lower() or self._chance.random() < 0.2
        )
        text = text.replace("SECRET", self._chance.choice(self._secrets or ("none",)))
        if self._chance.random() < 0.1:
            kept = kept[1:]
        return replace(reply, headers=(*kept, (name, text)))

    def _status(self, reply: Reply) -> Reply:
        status = self._chance.choice((*STATUSES, self._chance.randint(200, 599)))
        if self._chance.random() < 0.5:
            return replace(reply, status=status)
        said: object = self._chance.choice(
            ("rate_limited", "quota_exceeded", "duplicate", "oops", "idempotency_key_conflict")
        )
        error = self._chance.choice((said, {"code": said, "type": said, "message": said, "action": {"seconds": 1}}))
        body = {"error": error, "message": said, "quota": {}, "retry_after": 1}
        for _ in range(self._chance.randint(0, 3)):
            body = self.reshaped(body)
        return replace(reply, status=status, body=written(body).encode("utf-8", "surrogatepass"), length=None)

    def _line(self, reply: Reply) -> Reply:
        """Break HTTP itself."""
        whole, chance = wire_of(reply), self._chance
        head, _, body = whole.partition(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        other = chance.choice(LINES)
        field = chance.choice(FIELDS)
        broken: tuple[bytes, ...] = (
            other + b"\r\n" + fields + b"\r\n\r\n" + body,
            line + b"\r\n" + field + b"\r\n" + fields + b"\r\n\r\n" + body,
            line + b"\n" + fields.replace(b"\r\n", b"\n") + b"\n\n" + body,
            b"HTTP/1.1 100 Continue\r\n\r\n" * chance.choice((1, 40)) + whole,
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + whole,
            whole[: chance.randrange(len(whole))],
            whole.replace(b"Content-Length", b"X-Length"),
            whole + b"HTTP/1.1 200 OK\r\n\r\n",
            b"\r\n" * chance.choice((1, 9)) + whole,
            line
            + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chance.choice((b"zz\r\n", b"5\r\n12345", b"0\r\n\r\n", b"-1\r\n")),
            b"",
            bytes(chance.randrange(256) for _ in range(chance.randint(1, 60))),
        )
        return closed(chance.choice(broken))


STATUSES = (
    *(200, 201, 202, 204, 206, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 408, 409, 410),
    *(412, 413, 415, 416, 418, 422, 423, 425, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 507, 520, 529, 599),
)
HEADERS = (
    ("Content-Type", "text/html"),
    ("Content-Type", "application/json; charset=utf-16"),
    ("Content-Type", "text/event-stream"),
    ("Content-Encoding", "gzip"),
    ("Content-Encoding", "identity, br"),
    ("Retry-After", "999999999"),
    ("Retry-After", "-5"),
    ("Retry-After", "1"),
    ("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ("Retry-After", "\x1b[2J"),
    ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Date", "Fri, 31 Dec 9999 23:59:59 -2359"),
    ("Date", "Mon, 99 Foo 99999 99:99:99 GMT"),
    ("Date", ""),
    ("Location", "https://evil.example/"),
    ("Location", "//evil.example"),
    ("Set-Cookie", "a=SECRET; Domain=.example"),
    ("X-Echo", "SECRET"),
    ("X-Quota-Remaining", "0"),
    ("X-Quota-Limit", "-1"),
    ("X-Quota-Used", "9" * 400),
    ("PAYMENT-RESPONSE", "e30="),
    ("PAYMENT-RESPONSE", "SECRET"),
    ("PAYMENT-RESPONSE", "eyJlcnJvclJlYXNvbiI6Ilx1MDAxYlsySiJ9"),
    ("PAYMENT-REQUIRED", "%%%"),
    ("ETag", ""),
    ("ETag", '"\x00"'),
    ("x-amz-checksum-sha256", "AAAA"),
    ("x-amz-meta-a", "\xff"),
    ("x-amz-bucket-region", "../../evil"),
    ("Content-Range", "bytes 0-1/9"),
    ("Strict-Transport-Security", "max-age=1"),
    ("X-Long", "x" * 20_000),
)
LINES = (
    *(
        b"HTTP/1.1 200",
        b"HTTP/0.9 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 099 No",
        b"HTTP/1.1 1000 No",
    ),
    *(
        b"HTTP/1.1 abc OK",
        b"HTTP/1.1 -200 OK",
        b"HTTP/1.1 200 \x1b[2J",
        b"http/1.1 200 OK",
        b"200 OK",
        b"HTTP/1.1  200 OK",
    ),
    *(
        b"HTTP/1.1 101 Switching Protocols",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 200 " + b"x" * 70_000,
        b"\x16\x03\x01",
    ),
)
FIELDS = (
    *(b"no colon", b" folded: x", b"a\x00b: c", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: x"),
    *(b"Content-Length: 99999999999999999999", b": empty", b"x: \x01", b"x : y", b"Transfer-Encoding: gzip, chunked"),
    *(b"Transfer-Encoding: chunked", b"\r\nx: y", b"Connection: upgrade\r\nUpgrade: websocket", b"y: " + b"\xff" * 30),
    *(b"\r\n".join(b"x%d: y" % number for number in range(400)), b"x: " + b"y" * 17_000, b"Content-Length: 0"),
)


def repeats(request: Request) -> tuple[str, ...]:
    """List the credentials that a request holds, which a host might send back."""
    names = ("authorization", "x-upload-token", "payment-signature", "x-payment", "x-amz-security-token")
    texts = (request.headers.get(name, "").rpartition(" ")[2] for name in names)
    return tuple(text for text in texts if text)
