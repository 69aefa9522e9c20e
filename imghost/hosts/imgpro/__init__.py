"""img.pro, in both generations of its API.

Here are its own options, and what they and the run's settings add to each upload.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache, partial
from types import MappingProxyType
from typing import Final, Literal

from imghost.errors import SettingsError
from imghost.models import NamedTuple, Payload, dataclass
from imghost.settings import read_duration
from imghost.wording import nearest

NAME: Final = "img.pro"
APPS: Final = "https://img.pro/apps"
"""Where people make keys by hand."""
APP_KEY: Final = "img_sk_"
"""How an App's secret key begins, with which it acts for its own users."""
_LEAST: Final = timedelta(hours=1)
_FIELDS: Final = frozenset(
    {
        "file",
        "url",
        "name",
        "tags",
        "namespace",
        "public",
        "external_id",
        "date",
        "ttl",
        "caption",
        "labels",
        "metadata",
    }
)
"""The names of what an upload has beside metadata, in both generations."""
Generation = Literal["upload", "images"]
ANONYMOUS: Final = timedelta(days=30)
"""How long an image lives that was uploaded without a key, or with one that is not verified."""
GENERATIONS: Final[dict[str, Generation | None]] = {"auto": None, "upload": "upload", "images": "images"}
"""The option `api`'s values, and the generation that each forces."""
What = Payload | str
"""An image to store: its payload, or a public URL that the host fetches."""
_ID: Final = cache(partial(re.compile, r"[A-Za-z0-9_-]{1,128}"))


def is_id(text: str) -> bool:
    """Say whether a text can be an image's id, and stand in an address."""
    return _ID().fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ImgProOptions:
    """The host's own settings."""

    api_url: str = "https://api.img.pro/v1"
    api: str = "auto"
    """`upload` or `images` force one generation of the API."""
    namespace: str | None = None
    """Groups a project's images: 2 to 64 of `a-z`, `0-9` and `-`."""
    tags: tuple[str, ...] = ()
    public: bool | None = None
    ttl: str | None = None
    """How long the host shall keep an image, like `90d`; None = as long as it does."""
    url_hosts: tuple[str, ...] = ()
    metadata: Mapping[str, str] | None = None
    """What the host keeps beside each image, at most 20 short texts; never a function of one."""
    date: str | None = None
    """The day that the `upload` generation shows beside an image, like `2026-11-28`."""
    user: str | None = None
    """For whom an App uploads, with its secret key (`img_sk_live_…`): what its `X-Img-User` says."""
    svg: bool = False
    """Whether drawings go there, too: up to 10 MB, and only where the host serves them as drawings."""


class Fields(NamedTuple):
    """What the settings add to each upload."""

    namespace: str | None
    tags: tuple[str, ...]
    public: bool | None
    ttl: timedelta | None
    retention: timedelta | None
    metadata: Mapping[str, str] = MappingProxyType({})
    date: str = ""
    user: str = ""

    @property
    def is_long(self) -> bool:
        """Whether images shall live longer than those that are uploaded without a verified account."""
        return self.retention is None or self.retention > ANONYMOUS

    @property
    def project(self) -> str:
        """The label that all of a project's images share."""
        # No namespace may have an underscore, so that nobody's namespace names the images that have none.
        return self.namespace or "no_namespace"

    def key(self, payload: Payload, period: int) -> str:
        """Make the name under which the host knows this upload; other bytes or terms are another one."""
        return self._key(payload.sha256, period)

    def import_key(self, key: str, period: int) -> str:
        """Make the name of an import from the caller's; the same image for another project is another one."""
        return self._key(f"import\n{key}", period)

    def _key(self, subject: str, period: int) -> str:
        retention = "permanent" if self.retention is None else f"{int(self.retention.total_seconds())}s"
        terms = "\n".join([subject, self.namespace or "", retention, str(period)])
        return hashlib.sha256(terms.encode()).hexdigest()

    def shared(self) -> dict[str, bool | int]:
        """Give the fields that both generations have."""
        fields: dict[str, bool | int] = {}
        if self.public is not None:
            fields["public"] = self.public
        if self.ttl is not None:
            fields["ttl"] = int(self.ttl.total_seconds())
        return fields

    def grouped(self) -> dict[str, str]:
        """Give the fields that group images in the `upload` generation."""
        own = {"namespace": self.namespace or "", "tags": ",".join(self.tags), "date": self.date}
        fields = {**self.metadata, **own}
        return {name: text for name, text in fields.items() if text}

    def known(self) -> dict[str, object]:
        """Give what the settings say of each image and the host can change (`upload` generation), as JSON has it."""
        fields: dict[str, object] = {
            "tags": ",".join(self.tags),
            "namespace": self.namespace or "",
            "metadata": dict(self.metadata),
        }
        named = {name: told for name, told in fields.items() if told}
        return named if self.public is None else {**named, "public": self.public}

    def labelled(self, wanted: Mapping[str, str]) -> dict[str, Mapping[str, object]]:
        """Give the fields that group images in the `images` generation, with labels of the image's own."""
        fields: dict[str, Mapping[str, object]] = {"labels": {"imghost": self.project, **wanted}}
        if self.tags or self.metadata:
            fields["metadata"] = {**self.metadata, **({"tags": list(self.tags)} if self.tags else {})}
        return fields


def read_fields(options: ImgProOptions, retention: timedelta | None) -> Fields:
    """Read the options that are sent; raises SettingsError for those that the host would refuse."""
    if options.api not in GENERATIONS:
        raise SettingsError(f"host {NAME!r}: no api named {options.api!r:.80}; {nearest(options.api, GENERATIONS)}")
    if options.namespace is not None and not re.fullmatch(r"[a-z0-9-]{2,64}", options.namespace):
        raise SettingsError(
            f"host {NAME!r}: option 'namespace' should be 2 to 64 of a-z, 0-9 and -, not {options.namespace!r:.80}"
        )
    if len(options.tags) > 10 or not all(
        re.fullmatch(r"[^,]{1,50}", tag) and tag.isprintable() for tag in options.tags
    ):
        raise SettingsError(
            f"host {NAME!r}: option 'tags' should be at most 10 texts of at most 50 letters, without commas"
        )
    if options.date is not None and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", options.date):
        raise SettingsError(f"host {NAME!r}: option 'date' should be a day like 2026-11-28, not {options.date!r:.80}")
    if options.user is not None and not re.fullmatch(r"[\x21-\x7e]{1,128}", options.user):
        raise SettingsError(
            f"host {NAME!r}: option 'user' should be 1 to 128 visible ASCII letters, not {options.user!r:.80}"
        )
    metadata = _metadata(options.metadata or {})
    ttl = _ttl(options, retention)
    return Fields(
        options.namespace,
        options.tags,
        options.public,
        ttl,
        retention,
        metadata,
        options.date or "",
        options.user or "",
    )


def _metadata(texts: Mapping[str, str]) -> Mapping[str, str]:
    """Check what is kept beside each image: names that are no field of the request, and short texts."""
    for name, text in texts.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in _FIELDS or len(text) > 200 or len(texts) > 20:
            raise SettingsError(
                f"host {NAME!r}: option 'metadata' should have at most 20 names of a-z, 0-9 and _, none of them a "
                f"field of the host's, each with at most 200 letters, not {name!r:.80}"
            )
    return texts


def _ttl(options: ImgProOptions, retention: timedelta | None) -> timedelta | None:
    if options.ttl is None:
        return None
    try:
        ttl = read_duration(options.ttl)
    except ValueError as wrong:
        raise SettingsError(f"host {NAME!r}: option 'ttl' should be {wrong}, not {options.ttl!r:.80}") from None
    if ttl < _LEAST:
        raise SettingsError(f"host {NAME!r}: option 'ttl' should be an hour at least, which is the host's own limit")
    if retention is None or ttl < retention:
        raise SettingsError(
            f"host {NAME!r}: option 'ttl' ({options.ttl}) ends sooner than `retention` asks; "
            f"leave it out, or set retention: {options.ttl}"
        )
    return ttl
