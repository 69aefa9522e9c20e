"""The Sphinx extension `sphinx_imghost`: options in, report out. What decides is in `imghost`."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sphinx.errors import ConfigError, ExtensionError, SphinxError
from sphinx.util import logging
from sphinx.util.display import status_iterator

# What works on the site is asked of `imghost` where it is needed: a name there is loaded when it is first asked for.
import imghost
from imghost import ImghostError, Settings, is_serving, is_watched, one_line, options, read_settings, version

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.environment import BuildEnvironment

log = logging.getLogger(__name__)

_BUILDERS = frozenset({"html", "dirhtml"})
"""Builders by name; others, like singlehtml and epub, must stay self-contained."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Declare the options and connect the events."""
    for option in options():
        app.add_config_value(f"imghost_{option.name}", None, "", (), option.metadata["about"])
    app.connect("config-inited", _check)
    app.connect("env-get-outdated", _outdated)
    app.connect("build-finished", _finish, priority=900)
    return {"version": version(), "parallel_read_safe": True, "parallel_write_safe": True}


def _settings(app: Sphinx) -> Settings:
    written = (name for name in getattr(app.config, "_raw_config", {}) if name.startswith("imghost_"))
    raw = {name.removeprefix("imghost_"): None for name in written}
    raw |= {option.name: app.config[f"imghost_{option.name}"] for option in options()}
    if raw["site_url"] is None:
        raw["site_url"] = app.config.html_baseurl or None
    try:
        return read_settings(raw, Path(app.confdir), "conf.py")
    except ImghostError as wrong:
        _refuse(ConfigError(one_line(_prefixed(str(wrong)))))


def _refuse(wrong: SphinxError) -> NoReturn:
    """End the build over a user's mistake: as one line where sphinx-build would print a traceback with it."""
    if Path(sys.argv[0]).stem in {"sphinx-build", "__main__"}:
        log.error("%s", wrong, type="imghost", subtype="settings")
        raise SystemExit(2)
    raise wrong


def _prefixed(text: str) -> str:
    """Name options as conf.py does."""
    for named in ("conf.py: option '", "did you mean '", "put it under '"):
        text = text.replace(named, f"{named}imghost_", 1)
    return text


def _check(app: Sphinx, _: Config) -> None:
    """Refuse what is wrong with the options before anything is built, also names that are not declared."""
    _settings(app)


def _page_map(app: Sphinx) -> Path:
    return imghost.page_map_location(Path(app.doctreedir), Path(app.outdir))


def _outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> Iterable[str]:
    """Have every page written again where it is not known what was rewritten in it."""
    if app.builder.name not in _BUILDERS or _page_map(app).exists():
        return ()
    if is_serving(os.environ) and not _settings(app).serve:
        return ()  # this build rewrites nothing, and leaves the question to the next one that does
    return sorted(env.found_docs - added - changed - removed)


def _finish(app: Sphinx, exception: Exception | None) -> None:
    """Rehost the finished site."""
    if exception is not None or app.builder.name not in _BUILDERS:
        return
    chosen = _settings(app)
    if is_serving(os.environ) and not chosen.serve:
        return
    try:
        job = _job(app, chosen)
        told = imghost.repeat(job) or imghost.rehost(job).told
    except ImghostError as wrong:
        _refuse(ExtensionError(one_line(wrong)))
    _tell(app, told)
    if told.error:
        _refuse(ExtensionError(one_line(told.error)))


def _job(app: Sphinx, chosen: Settings) -> imghost.Job:
    folder = Path(app.confdir)
    roots = (imghost.git_top(folder) or folder, Path(app.srcdir), Path(app.doctreedir), *chosen.sources)
    return imghost.Job(
        site=Path(app.outdir).absolute(),
        settings=chosen,
        environ=dict(os.environ),
        origins=imghost.Origins(roots=roots, sources=dict(_sources(app)), packages=tuple(_theme_folders(app))),
        page_map=_page_map(app),
        writes_again=True,
        is_serving=is_serving(os.environ),
        say=lambda line: log.info("imghost: %s", one_line(line)),
        receipt=partial(_give_receipt, app),
        detail=lambda line: log.verbose("imghost: %s", one_line(line)),
        progress=partial(_progress, app.verbosity) if is_watched(sys.stdout, os.environ) else None,
    )


@contextmanager
def _progress(verbosity: int, total: int, _: int) -> Iterator[Callable[[str, int], None]]:
    """Show uploads as Sphinx shows all that it does one by one."""
    paths: deque[str] = deque()
    shown = status_iterator(iter(paths.popleft, ""), "imghost: uploading... ", "darkgreen", total, verbosity)

    def step(path: str, _: int) -> None:
        paths.append(one_line(path))
        next(shown)

    try:
        yield step
    finally:
        paths.append("")
        next(shown, None)


def _sources(app: Sphinx) -> Iterator[tuple[str, Path]]:
    """List which file was copied where; of several for one place the last one wins, as in Sphinx."""
    source, config, folder = Path(app.srcdir), app.config, Path(app.confdir)
    images = getattr(app.builder, "imagedir", "_images")
    for name, (_, copied) in app.env.images.items():
        yield f"{images}/{copied}", source / name
    for file, (_, copy) in app.env.dlfiles.items():
        yield f"_downloads/{copy}", source / file
    for theme in reversed(list(_theme_folders(app))):
        yield from _copied(theme / "static", "_static/")
    for entry in config.html_static_path:
        yield from _copied(folder / entry, "_static/")
    for entry in config.html_extra_path:
        yield from _copied(folder / entry, "")
    for named in (config.html_logo, config.html_favicon):
        if named and "://" not in named:
            yield f"_static/{Path(named).name}", folder / named


def _copied(entry: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """List the files that Sphinx copies for one entry: a file, or what is below a folder, links followed."""
    if entry.is_file():
        yield prefix + entry.name, entry
        return
    for folder, _, names in os.walk(entry, followlinks=True):
        for name in names:
            file = Path(folder, name)
            yield prefix + file.relative_to(entry).as_posix(), file


def _theme_folders(app: Sphinx) -> Iterable[Path]:
    theme = getattr(app.builder, "theme", None)
    return (Path(folder) for folder in theme.get_theme_dirs()) if theme else ()


def _give_receipt(app: Sphinx, line: str) -> None:
    """Print a receipt like any line, and past Sphinx where it prints none: `-q` is no reason to lose money."""
    if app.quiet and sys.stderr:
        sys.stderr.write(f"imghost: {one_line(line)}\n")
    else:
        log.info("imghost: %s", one_line(line))


def _tell(app: Sphinx, told: imghost.Told) -> None:
    for line in told.lines:
        log.info("imghost: %s", line)
    for code, text in told.notices:
        log.warning("%s", one_line(text), type="imghost", subtype=code)
    if told.new_lines and app.quiet and sys.stderr:
        sys.stderr.write(told.new_lines)
    elif told.new_lines:
        log.info(told.new_lines, nonl=True)
