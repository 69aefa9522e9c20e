"""What a run came to before its pages change: which images have a URL now, which have not, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from imghost.environment import Leave
from imghost.models import Failure, Record
from imghost.provenance import Stay
from imghost.run.plan import Notice, Prospect

if TYPE_CHECKING:  # what uploads need is imported where one begins: most builds have none
    from imghost.work import Outcome

NOT_UPLOADED: Final = "was not uploaded: "


class Published(NamedTuple):
    """What has a URL now, and what has not."""

    prospect: Prospect
    records: Mapping[str, Record]
    """Path in the site -> the record whose URL pages may point to."""
    kept: Mapping[str, Stay]
    outcomes: tuple[Outcome, ...] = ()
    failures: tuple[Failure, ...] = ()
    notices: tuple[Notice, ...] = ()
    is_refused: bool = False


def without_uploads(prospect: Prospect, leave: Leave) -> Published:
    """Leave what would have been uploaded where it is, except what an older record still serves."""
    stay = Stay(leave.reason, code=leave.code)
    plan = prospect.plan
    kept = {path: stay for upload in plan.uploads for path in upload.paths if path not in plan.reused}
    return Published(prospect, plan.reused, dict(plan.kept) | kept)


def refused(prospect: Prospect, code: str, why: str, *, is_refused: bool = False) -> Published:
    """Leave everything where it is, with one warning."""
    left = without_uploads(prospect, Leave(may_upload=False, reason=why))
    return left._replace(notices=(Notice(code, why),), is_refused=is_refused)
