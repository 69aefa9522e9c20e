"""Keeps credentials out of configurations, which are committed and read by everybody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from imghost.errors import SettingsError

_SHAPES: Final = re.compile(
    r"img_(?:sk_)?live_\w{6,}|iu_live_\w{6,}|(?<![0-9a-fA-F])0[xX][0-9a-fA-F]{64}(?![0-9a-fA-F])"
)
_NAMES: Final = re.compile(r"(?:^|_)(?:api_?key|private_?key|secret|password|access_?token|token)(?:_|$)", re.I)


def refuse_credentials(raw: Mapping[Any, Any], origin: str) -> None:
    """Refuse a credential anywhere in a configuration, without showing it; raises SettingsError."""
    try:
        _look(raw, origin, "")
    except RecursionError:
        raise SettingsError(f"{origin}: the options are nested too deeply; take what holds itself out") from None


def _look(raw: Any, origin: str, name: str) -> None:
    if isinstance(raw, Mapping):
        for key, value in raw.items():
            _refuse(key, origin, "")
            _look(value, origin, str(key))
    elif isinstance(raw, (list, tuple, set, frozenset)):
        for value in raw:
            _look(value, origin, name)
    else:
        _refuse(raw, origin, name)


def _refuse(raw: Any, origin: str, name: str) -> None:
    # YAML and TOML read an unquoted 0x… as a number.
    is_key = raw.bit_length() > 192 if isinstance(raw, int) else bool(_SHAPES.search(str(raw)))
    is_named = isinstance(raw, (str, int)) and raw and not isinstance(raw, bool) and _NAMES.search(name)
    if is_key or is_named:
        where = f"option {name!r:.80}" if name else "an option's name"
        raise SettingsError(
            f"{origin}: {where} holds a credential (not shown); take it out, make a new one, "
            "and put that in the environment"
        )
