"""Shelf, a host for imghost."""

from __future__ import annotations

from dataclasses import dataclass

from imghost.hosts import (
    Action,
    Answer,
    FilePart,
    HostBase,
    Hosted,
    HostError,
    Limits,
    Payload,
    Rule,
    Setup,
    extra_origins,
    image_urls,
    moment,
    read_object,
    refusal,
    unclear,
)

# What the host's refusals mean, by its codes; what they have in common with others', imghost knows.
CODES = {
    "too_large": Rule(Action.FILE, "refuses the image: it is too large", "make it smaller", is_final=True),
    "shelf_full": Rule(Action.STOP, "has no room left", "remove images, or choose another plan"),
}
FILE = r"/img/[0-9a-f]{16}\.(?:png|jpg|webp)"


@dataclass(frozen=True, slots=True)
class ShelfOptions:
    """The host's own settings."""

    api_url: str = "https://shelf.example"
    board: str = "docs"


class Shelf(HostBase):
    """Uploads images to a Shelf server."""

    name = "shelf"
    credentials = ("SHELF_TOKEN",)
    origin = "https://shelf.example"
    Options = ShelfOptions
    limits = Limits(frozenset({"image/png", "image/jpeg", "image/webp"}), max_bytes=8_000_000)
    is_idempotent = True

    def __init__(self, options: ShelfOptions, setup: Setup) -> None:
        self.lacks_credential = setup.credential is None
        self.origins = (self.origin, *extra_origins(options.api_url, self.origin, ()))
        self._urls = image_urls(r"https://shelf\.example" + FILE, FILE, options.api_url, self.origin, ())
        self._options = options
        self._setup = setup

    def accepts(self, url: str) -> bool:
        """Say whether a URL is one of this host's images."""
        return self._urls.fullmatch(url) is not None

    def upload(self, payload: Payload) -> Hosted:
        """Try once to store the payload; with the same key it is the same image there."""
        answer = self._sent(payload)
        if not 200 <= answer.status < 300:
            raise refusal(self.name, answer, CODES)
        found = read_object(self.name, answer)
        url, name = found.get("url"), found.get("id")
        if not isinstance(url, str) or not isinstance(name, str):
            raise unclear(self.name, "has no `url` and `id`")
        if not self.accepts(url):
            raise HostError(Action.FILE, f"{self.name} gave a URL that is not one of its images")
        try:
            return Hosted(url, name, moment(found.get("expires")))
        except ValueError:
            raise unclear(self.name, "does not say how long the image lives") from None

    def _sent(self, payload: Payload) -> Answer:
        token = self._setup.credential.reveal() if self._setup.credential else ""
        key = f"{self._options.board}-{payload.sha256}-{payload.period}"
        return self._setup.client.send(
            "POST",
            f"{self._options.api_url.rstrip('/')}/upload",
            headers={"Shelf-Token": token, "Shelf-Key": key},
            form={"board": self._options.board},
            file=FilePart("image", payload.name, payload.media_type, payload.file),
        )
