"""Documentation images that live on an image host: upload a site's local images once, rewrite its pages.

What a front end needs is named here and nothing else is public, but `imghost.hosts` and `imghost.testing` for those
who write a host. Each name is loaded when it is asked for, so that an adapter of one host, or a test of one room,
does not load the run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imghost.environment import is_serving, is_watched, version
    from imghost.errors import ImghostError, LockError, SettingsError
    from imghost.files import git_top
    from imghost.hosts.directory import KeptOverCleanup
    from imghost.run.early import Early
    from imghost.run.early import begin as begin_early
    from imghost.run.job import Job, Notice, read_settings
    from imghost.run.rehost import Result, rehost
    from imghost.run.repeat import Told, repeat
    from imghost.run.report import bar as uploads_bar
    from imghost.run.report import summary
    from imghost.run.rewrite import LockedImages, read_lock, rewrite_text
    from imghost.settings import Settings, options
    from imghost.site.images import Origins
    from imghost.site.page_map import location as page_map_location
    from imghost.site.page_map import retire as retire_page_map
    from imghost.wording import nearest, one_line

_HOMES = {
    "begin_early": "run.early:begin",
    "Early": "run.early",
    "git_top": "files",
    "ImghostError": "errors",
    "is_serving": "environment",
    "is_watched": "environment",
    "Job": "run.job",
    "KeptOverCleanup": "hosts.directory",
    "LockedImages": "run.rewrite",
    "LockError": "errors",
    "nearest": "wording",
    "Notice": "run.job",
    "one_line": "wording",
    "options": "settings",
    "Origins": "site.images",
    "page_map_location": "site.page_map:location",
    "read_lock": "run.rewrite",
    "read_settings": "run.job",
    "rehost": "run.rehost",
    "repeat": "run.repeat",
    "Result": "run.rehost",
    "retire_page_map": "site.page_map:retire",
    "rewrite_text": "run.rewrite",
    "Settings": "settings",
    "SettingsError": "errors",
    "summary": "run.report",
    "Told": "run.repeat",
    "uploads_bar": "run.report:bar",
    "version": "environment",
}
"""Name -> the room that has it, and what it is called there if that is another word."""

__all__ = [
    "Early",
    "ImghostError",
    "Job",
    "KeptOverCleanup",
    "LockError",
    "LockedImages",
    "Notice",
    "Origins",
    "Result",
    "Settings",
    "SettingsError",
    "Told",
    "begin_early",
    "git_top",
    "is_serving",
    "is_watched",
    "nearest",
    "one_line",
    "options",
    "page_map_location",
    "read_lock",
    "read_settings",
    "rehost",
    "repeat",
    "retire_page_map",
    "rewrite_text",
    "summary",
    "uploads_bar",
    "version",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room, _, word = _HOMES[name].partition(":")
    value = getattr(import_module(f"imghost.{room}"), word or name)
    globals()[name] = value  # found like any other name from now on
    return value
