"""What a host that means harm puts in place of an image's URL."""

from __future__ import annotations

from typing import Final

_AFTER: Final = (
    "\n",
    " ",
    "\t",
    "\x00",
    "\u202e",
    "\\",
    '" onerror="alert(1)',
    "' onerror='alert(1)",
    "><script>alert(1)</script>",
    ", https://evil.example/b.png 2x",
    '?"><script>',
    "#onload",
    "/",
    "/../a",
    ".html",
    ".js",
)
_WHOLE: Final = (
    "",
    " ",
    "javascript:alert(1)",
    "data:image/svg+xml,<svg onload=alert(1)>",
    "blob:https://evil.example/a.png",
    "file:///etc/passwd",
    "/etc/passwd",
    "../../etc/passwd",
    "//evil.example/a.png",
    "https://evil.example/a.png",
    "https://evil.example",
    "https://169.254.169.254/a.png",
    "https://[::1]/a.png",
    "https://" + "a" * 5_000 + ".example/a.png",
)


def hostile_urls(good: str) -> tuple[str, ...]:
    """List URLs that a host must not accept, made of one that it accepts."""
    changed = [good + ending for ending in _AFTER] + [" " + good, "\n" + good, "javascript:alert(1)//" + good]
    scheme, _, rest = good.partition("://")
    if not rest:
        return (*_WHOLE, *changed, f"../{good}", f"/{good}", f"x/../../{good}")
    host, _, path = rest.partition("/")
    changed += [f"{other}://{rest}" for other in ("ftp", "javascript", "ws", scheme.upper())]
    changed += [f"{scheme}:{rest}", f"{scheme}:/{rest}", f"//{rest}", rest, f"{scheme}:\\\\{host}\\{path}"]
    places = [
        f"user@{host}",
        f"user:password@{host}",
        "evil.example",
        f"{host}.evil.example",
        f"{host}@evil.example",
        f"evil.example#{host}",
        f"evil.example?{host}",
        f"evil.example/{host}",
        f"evil.example\\@{host}",
        f"{host}\\@evil.example",
        f"{host}%2f@evil.example",
        f"x{host}",
        f"{host}.",
        f"{host}:",
        f"{host}:1" if ":" not in host else f"{host[:-1]}{(int(host[-1]) + 1) % 10}",
    ]
    changed += [f"{scheme}://{place}/{path}" for place in places]
    paths = [f"../{path}", f"a/../{path}", f"%2e%2e/{path}", f"/{path}", "", "a b.png", "a" * 5_000 + ".png"]
    return (*_WHOLE, *changed, *(f"{scheme}://{host}/{wrong}" for wrong in paths))
