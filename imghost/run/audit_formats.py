"""What an audit found, as people and other tools read it: lines, JSON, GitHub's annotations, SARIF. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from imghost.run.audit import KINDS_OF_FINDINGS, Audit, Finding, Place
from imghost.wording import many, printable


class Line(NamedTuple):
    """One finding as a line: an editor jumps to `where`."""

    where: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind} {self.text}"


def lines(audit: Audit) -> list[Line]:
    """Write the findings as lines, the gravest first, then by path."""
    return [
        Line(printable(_where(finding)), finding.kind, printable(_sentence(finding))) for finding in in_order(audit)
    ]


def in_order(audit: Audit) -> list[Finding]:
    """Sort the findings: the gravest kind first, then by the path."""
    rank = {kind: at for at, kind in enumerate(KINDS_OF_FINDINGS)}
    return sorted(audit.findings, key=lambda finding: (rank[finding.kind], _where(finding), finding.paths))


def _where(finding: Finding) -> str:
    """Say where to look: at the page for what stands in one, else at the file."""
    if finding.kind in {"broken", "alt"} and finding.places:
        return f"{finding.places[0].page}:{finding.places[0].line}"
    return finding.paths[0]


def _sentence(finding: Finding) -> str:
    remedy = f"; {finding.remedy}" if finding.kind == "broken" and finding.remedy.startswith("there is") else ""
    more = len(finding.places) - 1 if finding.kind in {"broken", "alt"} else 0
    others = f" (and in {many(more, 'more place')})" if more > 0 else ""
    return f"{finding.text}{remedy}{others}"


def total(audit: Audit, failing: Collection[str]) -> str:
    """Say in one line what was found, and what of it fails."""
    counts = Counter(finding.kind for finding in audit.findings)
    if not counts:
        return f"{many(audit.images, 'image')} in {many(audit.pages, 'page')}: nothing to mend"
    count = counts.total()
    kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS_OF_FINDINGS if counts[kind])
    fatal = [kind for kind in KINDS_OF_FINDINGS if counts[kind] and kind in failing]
    end = f"; exit 1 for {' and '.join(filter(None, [', '.join(fatal[:-1]), fatal[-1]]))}" if fatal else ""
    return f"{many(count, 'finding')}: {kinds}{end}"


def fails(audit: Audit, failing: Collection[str]) -> bool:
    """Say whether there is a finding of a kind that fails."""
    return any(finding.kind in failing for finding in audit.findings)


def as_mapping(audit: Audit) -> dict[str, Any]:
    """Give the audit as plain values, by the names that other tools read."""
    return {
        "imghost_audit": 1,
        "pages": audit.pages,
        "images": audit.images,
        "findings": [finding_mapping(finding) for finding in in_order(audit)],
        "remarks": list(audit.remarks),
    }


def finding_mapping(finding: Finding) -> dict[str, Any]:
    """Give one finding as plain values."""
    return {
        "kind": finding.kind,
        "paths": list(finding.paths),
        "text": finding.text,
        "remedy": finding.remedy,
        "places": [_place_mapping(place) for place in finding.places],
    }


def _place_mapping(place: Place) -> dict[str, Any]:
    source = {"source": place.source, "source_line": place.source_line} if place.source else {}
    return {"page": place.page, "line": place.line} | source


def as_github(audit: Audit, failing: Collection[str], site: str) -> Iterator[str]:
    """Write workflow commands that GitHub shows beside the lines of a pull request.

    GitHub's documentation has the form: https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """
    for finding in in_order(audit):
        level = "error" if finding.kind in failing else "warning"
        file, line = _file_of(finding, site)
        place = f"file={_property(file)}" + (f",line={line}" if line else "")
        text = _sentence(finding) + _told_remedy(finding)
        yield f"::{level} {place},title={_property(f'imghost audit: {finding.kind}')}::{_escaped(printable(text))}"


def _told_remedy(finding: Finding) -> str:
    is_told = finding.kind == "broken" and finding.remedy.startswith("there is")
    return f"; {finding.remedy}" if finding.remedy and not is_told else ""


def _file_of(finding: Finding, site: str) -> tuple[str, int]:
    """Name the file to show a finding at, and its line: the source where it is known, else what the site has."""
    if finding.places:
        place = finding.places[0]
        return (place.source, place.source_line) if place.source else (_in_site(place.page, site), place.line)
    return _in_site(finding.paths[0], site), 0


def _in_site(path: str, site: str) -> str:
    folder = site.replace("\\", "/").rstrip("/")
    return f"{folder}/{path}" if folder not in {"", "."} else path


def _escaped(text: str) -> str:
    """Escape a command's text, as GitHub's toolkit does."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(printable(text)).replace(":", "%3A").replace(",", "%2C")


_SARIF: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def as_sarif(audit: Audit, failing: Collection[str], site: str, version: str) -> dict[str, Any]:
    """Give the audit as SARIF 2.1.0 (OASIS), which code scanners collect."""
    kinds = list(KINDS_OF_FINDINGS)
    rules = [{"id": kind, "shortDescription": {"text": KINDS_OF_FINDINGS[kind]}} for kind in kinds]
    results = [
        {
            "ruleId": finding.kind,
            "ruleIndex": kinds.index(finding.kind),
            "level": "error" if finding.kind in failing else "warning",
            "message": {"text": printable(_sentence(finding) + _told_remedy(finding))},
            "locations": [_location(*_file_of(finding, site))],
        }
        for finding in in_order(audit)
    ]
    driver = {"name": "imghost", "version": version, "rules": rules}
    return {"$schema": _SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _location(file: str, line: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(file)}}
    return {"physicalLocation": place | ({"region": {"startLine": line}} if line else {})}
