"""The plugin's events. What decides is in `imghost`; this translates."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mkdocs.config import config_options
from mkdocs.config.base import ConfigErrors, ConfigWarnings, LegacyConfig, ValidationError
from mkdocs.exceptions import PluginError
from mkdocs.plugins import BasePlugin, CombinedEvent, event_priority, get_plugin_logger

# What works on the site is asked of `imghost` where it is needed: a name there is loaded when it is first asked for.
import imghost
from imghost import ImghostError, Settings, SettingsError, is_serving, is_watched, one_line, options, read_settings

if TYPE_CHECKING:
    from jinja2 import Environment
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

log = get_plugin_logger("imghost")

_LEAVING_IMAGES = frozenset(
    {
        "autorefs", "awesome-nav", "awesome-pages", "blog", "glightbox", "i18n", "imghost", "include-markdown", "info",
        "literate-nav", "macros", "meta", "minify", "mkdocstrings", "offline", "privacy", "redirects", "rss", "search",
        "section-index", "social", "table-reader", "tags",
    }
)  # fmt: skip
"""Plugins that are known to leave image files as they were copied; others may rewrite them."""


_REWRITTEN = (".html", ".htm", ".xhtml", ".css")


class ImghostPlugin(BasePlugin[LegacyConfig]):  # type: ignore[no-untyped-call]  # MkDocs leaves that hook untyped
    """Brings a site's images to a host once the site is built."""

    config_scheme = tuple((option.name, config_options.Type(object)) for option in options())

    def __init__(self) -> None:
        self._settings = Settings()
        self._is_serving = False
        self._is_dirty = False
        self._has_map = True
        self._must_write_again = False
        self._depth = 0
        self._sources: dict[str, Path] = {}
        self._generated: set[Path] = set()
        self._kept: imghost.KeptOverCleanup | None = None
        self._preview: Path | None = None
        self._early: imghost.Early | None = None

    def load_config(
        self, options: dict[str, Any], config_file_path: str | None = None
    ) -> tuple[ConfigErrors, ConfigWarnings]:
        """Read the options; what is wrong with them is an error of MkDocs' configuration."""
        self.config = LegacyConfig(self.config_scheme, config_file_path=config_file_path)
        path = Path(config_file_path).absolute() if config_file_path else Path.cwd() / "mkdocs.yml"
        try:
            self._settings = read_settings(options, path.parent, path.name)
        except SettingsError as wrong:
            return [(wrong.option or "options", ValidationError(one_line(wrong)))], []
        self.config.load_dict(options)
        return [], []

    def on_startup(self, *, command: Literal["build", "gh-deploy", "serve"], dirty: bool) -> None:
        """Remember what MkDocs was called for."""
        self._is_serving = command == "serve" or is_serving(os.environ)
        self._is_dirty = dirty

    @event_priority(-1000)
    def on_pre_build(self, *, config: MkDocsConfig) -> None:
        """Count builds within builds, and save what MkDocs' clean-up would delete for nothing."""
        self._depth += 1
        if self._depth > 1:
            return
        if self._is_idle():
            self._leave_nothing_hosted(config)
            return
        self._sources.clear()
        self._generated.clear()
        self._early = None
        known = self._page_map(config)
        self._must_write_again = self._is_dirty and not known.exists()
        if not self._is_dirty:
            self._has_map = imghost.retire_page_map(known)
            if self._settings.host == "directory":  # else there is nothing of it, and no host need be loaded yet
                self._kept = imghost.KeptOverCleanup.take(Path(config.site_dir), self._settings)

    def _leave_nothing_hosted(self, config: MkDocsConfig) -> None:
        """Have the pages written again that a preview with `serve: true` pointed at the host, once that is off."""
        known = self._page_map(config)
        self._must_write_again = self._is_dirty and known.exists()
        known.unlink(missing_ok=True)

    @event_priority(100)
    def _on_files_first(self, files: Files, *, config: MkDocsConfig) -> None:
        """Note where each file comes from, before another plugin takes it out."""
        self._note(files, config)

    @event_priority(-1000)
    def _on_files_last(self, files: Files, *, config: MkDocsConfig) -> None:  # noqa: ARG002 - MkDocs' names
        """Have MkDocs write the pages again that it would take for unchanged, where it is not known what is in them.

        Their old age is what tells it; nothing else in the site is touched, which may be others'.
        """
        for file in files if self._must_write_again else ():
            if file.dest_uri.lower().endswith(_REWRITTEN):
                with suppress(OSError):  # one that is not there yet is written anyway
                    os.utime(file.abs_dest_path, (0, 0))

    on_files = CombinedEvent(_on_files_first, _on_files_last)

    @event_priority(100)
    def on_env(self, env: Environment, *, config: MkDocsConfig, files: Files) -> None:  # noqa: ARG002 - MkDocs' names
        """Note the files that plugins have added since; then pages are rendered, and uploads may begin."""
        self._note(files, config)
        # A build that has a lock, and a preview, load nothing for this.
        if not (self._depth > 1 or self._is_dirty or self._is_serving or self._settings.lock.exists()):
            self._early = imghost.begin_early(self._job(config))

    @event_priority(-1000)
    def on_post_page(self, output: str, *, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG002 - MkDocs' names
        """Have a page's images uploaded while the next ones are rendered; the page stays as it is."""
        if self._early and self._depth == 1:
            self._early.look(page.file.dest_uri, output)
        return output

    @event_priority(-1000)
    def on_post_build(self, *, config: MkDocsConfig) -> None:
        """Rehost the finished site, after every other plugin and the builds within this one."""
        self._depth -= 1
        if self._depth > 0 or self._is_idle():
            return
        if self._kept:
            self._kept.bring_back()
        if "material/privacy" in config.plugins or "privacy" in config.plugins:
            log.info("readers' browsers will ask the image host for images, which the privacy plugin does not change")
        try:
            job = self._job(config)
            told = (None if self._early else imghost.repeat(job)) or imghost.rehost(job, self._early).told
        except ImghostError as wrong:
            raise PluginError(one_line(wrong)) from None
        self._tell(told, is_strict=config.strict)

    def on_build_error(self, *, error: Exception) -> None:  # noqa: ARG002 - MkDocs' names
        """Start the next build of a live preview from nothing; what is being uploaded may finish."""
        self._depth = 0
        if self._early:
            self._early.close()
            self._early = None

    def _is_idle(self) -> bool:
        return self._is_serving and not self._settings.serve

    def _page_map(self, config: MkDocsConfig) -> Path:
        """Say where the map lives: that of a live preview, whose site is gone at its end, where nobody watches."""
        if not self._is_serving:
            return imghost.page_map_location(self._settings.cache_dir, Path(config.site_dir))
        if self._preview is None:
            self._preview = Path(tempfile.mkdtemp(prefix="imghost-preview-"))
            weakref.finalize(self, shutil.rmtree, self._preview, ignore_errors=True)
        return imghost.page_map_location(self._preview, Path(config.site_dir))

    def _note(self, files: Files, config: MkDocsConfig) -> None:
        folders: set[str | None] = set()
        for file in files:
            source = file.abs_src_path
            if source is None or file.dest_uri.endswith(".html"):  # a page is no image's copy
                continue
            if str(self._sources.get(file.dest_uri)) != source:  # this runs twice, and paths are slow to make
                self._sources[file.dest_uri] = Path(source)
            folders.add(file.src_dir)
        for folder in folders - {config.docs_dir}:
            if folder and Path(folder).is_relative_to(tempfile.gettempdir()):
                self._generated.add(Path(folder))

    def _job(self, config: MkDocsConfig) -> imghost.Job:
        chosen = self._settings
        if chosen.site_url is None and config.site_url:
            chosen = replace(chosen, site_url=config.site_url)
        return imghost.Job(
            site=Path(config.site_dir).absolute(),
            settings=chosen,
            environ=dict(os.environ),
            origins=imghost.Origins(
                roots=tuple(self._roots(config)),
                sources=self._sources,
                packages=tuple(Path(path) for path in config.theme.dirs if path != config.theme.custom_dir),
                stands_for_copy={name.rpartition("/")[2] for name in config.plugins} <= _LEAVING_IMAGES,
            ),
            page_map=self._page_map(config) if self._has_map else None,
            writes_again=True,
            is_serving=self._is_serving,
            say=lambda line: log.info(one_line(line)),
            receipt=_give_receipt,
            detail=lambda line: log.debug(one_line(line)),
            progress=_uploads_bar if log.isEnabledFor(logging.INFO) and is_watched(sys.stderr, os.environ) else None,
        )

    def _roots(self, config: MkDocsConfig) -> Iterable[Path]:
        """List the folders that images may come from."""
        folder = self._settings.folder
        return (imghost.git_top(folder) or folder, Path(config.docs_dir), *self._settings.sources, *self._generated)

    def _tell(self, told: imghost.Told, *, is_strict: bool) -> None:
        for line in told.lines:
            log.info(line)
        for _, text in told.notices:
            log.warning(one_line(text))
        if sys.stderr:
            sys.stderr.write(told.new_lines)  # a log would wrap them
        if told.error:
            raise PluginError(f"imghost: {one_line(told.error)}")
        if is_strict and told.notices:
            # MkDocs' own count misses warnings under --quiet.
            count, first = len(told.notices), one_line(told.notices[0][1])
            warnings = "1 warning" if count == 1 else f"{count:,} warnings"
            raise PluginError(f"imghost: {warnings} in strict mode, like: {first}")


def _uploads_bar(images: int, total: int) -> AbstractContextManager[Callable[[str, int], None]]:
    """Draw how far the uploads are; what draws is loaded where there are some."""
    return imghost.uploads_bar(sys.stderr, images, total)


def _give_receipt(line: str) -> None:
    """Print a receipt like any line, and past the log where that prints none: `-q` is no reason to lose money."""
    if log.isEnabledFor(logging.INFO):
        log.info(one_line(line))
    elif sys.stderr:
        sys.stderr.write(f"imghost: {one_line(line)}\n")
