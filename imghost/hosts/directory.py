"""The embedded default: content-addressed files in the site itself, kept over a generator's clean-up."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path
from typing import Final

from imghost.errors import Action, HostError, SettingsError
from imghost.files import ASIDE
from imghost.hosts import HostBase, Setup, Terms
from imghost.models import IMPORT, MEDIA_TYPES, Facts, Hosted, Image, Limits, NamedTuple, Payload, dataclass
from imghost.settings import Settings

_CHANGE: Final = rf"(?:{IMPORT}|strip|edge[0-9]{{1,9}}|width[0-9]{{1,9}}|fit[0-9]{{1,10}}|(?:webp|avif)[0-9]{{0,3}})"
_NAME: Final = rf"[0-9a-f]{{32}}(?:-{_CHANGE}){{0,5}}\.(?:{'|'.join(MEDIA_TYPES.values())})"
_BASE: Final = (
    r"https?://(?:[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,4}|:[1-5][0-9]{4})?"
    r"/(?:[A-Za-z0-9._~\-]+/)*"
)
_DEFAULT: Final = "_imghost"
_BEGINNING: Final = 1 << 16
"""Bytes of a file within which its size stands."""


@dataclass(frozen=True, slots=True)
class DirectoryOptions:
    """The directory host's settings."""

    path: str = _DEFAULT
    """The folder; relative to the configuration, or in the site."""
    base_url: str | None = None
    """Where the folder is served; None = as a part of the site."""


class Directory(HostBase):
    """Stores images as files whose names follow from their bytes, so that machines agree on them."""

    name = "directory"
    Options = DirectoryOptions
    limits = Limits(frozenset(MEDIA_TYPES))
    terms = Terms("as long as the folder", "none")
    is_idempotent = True

    def __init__(self, options: DirectoryOptions, setup: Setup) -> None:
        self.folder = _folder(options, setup)
        self.base = _base(options.base_url)
        self.origins = (self.base[: self.base.index("/", len("https://"))],) if self.base else ()
        self.place = "machine" if self.base else "site"
        self._prefix = self.base or self.folder.relative_to(setup.site).as_posix() + "/"
        self._accepted = re.compile(re.escape(self._prefix) + _NAME)

    def accepts(self, url: str) -> bool:
        """Say whether a URL, or without `base_url` a path in the site, is one of this folder's images."""
        return self._accepted.fullmatch(url) is not None

    def stored(self, image: Image, variant: str) -> Hosted | None:
        """Find the image's file, if the folder has it already; an unchanged one has the image's size, too."""
        if variant == IMPORT:
            files = sorted(self.folder.glob(f"{image.sha256[:32]}-{IMPORT}.*"))
            return Hosted(self._prefix + files[0].name, files[0].name, is_new=False) if files else None
        for media_type in _media_types(image, variant):
            name = _name(image.sha256, variant, media_type)
            try:
                found = os.lstat(f"{self.folder}{os.sep}{name}")
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and found.st_size and (variant or found.st_size == image.bytes):
                facts = _facts(self.folder / name, media_type) if _is_remade(variant) else None
                return Hosted(self._prefix + name, name, is_new=False, facts=facts, bytes=found.st_size)
        return None

    def upload(self, payload: Payload) -> Hosted:
        """Copy the payload into the folder, whole or not at all."""
        name = _name(payload.image, payload.variant, payload.media_type)
        try:
            self._copy(payload.file, name)
        except OSError as problem:
            raise HostError(
                Action.STOP,
                f"the folder {self.folder} cannot be written: {problem.strerror or problem}",
                remedy="make room or change the option 'path'",
            ) from None
        return Hosted(self._prefix + name, name)

    def _copy(self, source: Path, name: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f".imghost-{name}-{os.getpid()}.tmp"
        try:
            shutil.copyfile(source, unfinished)
            unfinished.replace(self.folder / name)
        finally:
            unfinished.unlink(missing_ok=True)


def _name(sha256: str, variant: str, media_type: str) -> str:
    """Name a file by the image's digest and what was done to it, so that it is known without making it."""
    return "-".join([sha256[:32], *filter(None, variant.split("+"))]) + f".{MEDIA_TYPES[media_type]}"


def _is_remade(variant: str) -> bool:
    return variant not in {"", "strip"}


def _media_types(image: Image, variant: str) -> tuple[str, ...]:
    """Say what a file with this variant may be: the format that was asked for, or the image's own."""
    if not variant.endswith(("webp", "avif")) and not variant[-1:].isdigit():
        return (image.facts.media_type,)
    asked = next((kind for kind in ("image/webp", "image/avif") if re.search(rf"\b{kind[6:]}\d*\Z", variant)), "")
    return tuple(dict.fromkeys(filter(None, (asked, image.facts.media_type))))


def _facts(file: Path, media_type: str) -> Facts | None:
    """Read from a file's beginning how large it is; None where it does not say."""
    from imghost.image.inspect import dimensions

    try:
        with file.open("rb") as opened:
            size = dimensions(opened.read(_BEGINNING))
    except OSError:
        return None
    return Facts(media_type, *size) if size else None


def _folder(options: DirectoryOptions, setup: Setup) -> Path:
    """Find the folder: the option's path from the configuration, or, to be served by the site, in the site."""
    configured = Path(os.path.normpath(setup.folder / options.path))
    if options.base_url is not None and options.path != _DEFAULT:
        return configured
    if configured.is_relative_to(setup.site) and configured != setup.site:
        return configured
    inside = Path(os.path.normpath(setup.site / options.path))
    if not inside.is_relative_to(setup.site) or inside == setup.site:
        raise SettingsError(
            f"host 'directory': option 'path' leads out of the site ({options.path!r}); "
            "name a folder in the site, or set 'base_url' to where that folder is served"
        )
    if inside.is_symlink() or not inside.resolve().is_relative_to(setup.site.resolve()):
        raise SettingsError(
            f"host 'directory': the folder {options.path!r} of the site is a link, or leads through one; "
            "take the link away"
        )
    return inside


def _base(base_url: str | None) -> str:
    if base_url is None:
        return ""
    base = base_url.rstrip("/") + "/"
    if not re.fullmatch(_BASE, base):
        raise SettingsError(f"host 'directory': option 'base_url' should be an http or https URL, not {base_url!r:.80}")
    return base


class KeptOverCleanup(NamedTuple):
    """Where the images were, and where they wait."""

    folder: Path
    waiting: Path

    @classmethod
    def take(cls, site: Path, settings: Settings) -> KeptOverCleanup | None:
        """Move the embedded directory aside, if the settings have one in the site.

        It waits in a hidden folder, since generators leave those where they are.
        """
        path = str(settings.options.get("path") or _DEFAULT)
        is_elsewhere = settings.host != "directory" or bool(settings.options.get("base_url"))
        if is_elsewhere or "/" in path or "\\" in path or path.startswith("."):
            shutil.rmtree(site / ASIDE, ignore_errors=True)  # a build that was killed left it
            return None
        folder = site / path
        kept = cls(folder, site / ASIDE)
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(kept.waiting, ignore_errors=True)
            folder.rename(kept.waiting)
        return kept

    def bring_back(self) -> None:
        """Move the images back; what else was in the folder was the generator's, which writes what it still has."""
        if not self.waiting.is_dir():
            return
        ours = [file for file in self.waiting.iterdir() if re.fullmatch(_NAME, file.name) and not file.is_symlink()]
        if ours:
            self.folder.mkdir(parents=True, exist_ok=True)
        for file in ours:
            if not (self.folder / file.name).exists():
                file.rename(self.folder / file.name)
        shutil.rmtree(self.waiting, ignore_errors=True)
