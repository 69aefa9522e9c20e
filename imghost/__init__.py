"""Documentation images that live on an image host: upload a site's local images once, rewrite its pages."""

from imghost.environment import version
from imghost.errors import ImghostError, LockError, SettingsError
from imghost.run.job import Job, Notice
from imghost.run.rehost import Result, rehost
from imghost.settings import Settings

__all__ = ["ImghostError", "Job", "LockError", "Notice", "Result", "Settings", "SettingsError", "rehost", "version"]
