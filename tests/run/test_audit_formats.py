"""An audit as people and other tools read it: lines, JSON, annotations of GitHub, SARIF."""

from __future__ import annotations

import json
import re

import pytest

from imghost.run.audit import (
    FAILING,
    KINDS_OF_FINDINGS,
    Audit,
    Finding,
    Place,
    as_github,
    as_mapping,
    as_sarif,
    fails,
    lines,
    total,
)

BROKEN = Finding(
    "broken",
    ("img/guide/setup-wizard.png",),
    "../../img/guide/setup-wizard.png is not in the site",
    "there is img/guide/setup-wizzard.png",
    (Place("guide/install/index.html", 212, "docs/guide/install.md", 40),),
)
ALT = Finding(
    "alt",
    ("img/guide/history.png",),
    "img/guide/history.png has none",
    'write what it shows, or alt="" for decoration',
    (Place("guide/dashboards/index.html", 88), Place("index.html", 3)),
)
LARGE = Finding("large", ("img/guide/overview.png",), "2,880 px wide, shown at 720 px in 2 pages", "2 times would do")
UNUSED = Finding("unused", ("img/old/overview-v3.png",), "1.7 MB, no page names it", "delete it")
AUDIT = Audit(43, 59, (UNUSED, LARGE, ALT, BROKEN), {})
CLEAN = Audit(43, 59, (), {})


def test_lines_stand_by_severity_and_lead_an_editor_to_the_place():
    assert [str(line) for line in lines(AUDIT)] == [
        "guide/install/index.html:212: broken ../../img/guide/setup-wizard.png is not in the site; there is img/guide/setup-wizzard.png",
        "guide/dashboards/index.html:88: alt img/guide/history.png has none (and in 1 more place)",
        "img/guide/overview.png: large 2,880 px wide, shown at 720 px in 2 pages",
        "img/old/overview-v3.png: unused 1.7 MB, no page names it",
    ]


@pytest.mark.parametrize(
    ("failing", "end"),
    [
        (FAILING, "; exit 1 for broken and alt"),
        (("alt",), "; exit 1 for alt"),
        (("broken", "alt", "unused"), "; exit 1 for broken, alt and unused"),
        (("expiring",), ""),
    ],
)
def test_total_says_what_fails(failing, end):
    assert total(AUDIT, failing) == f"4 findings: 1 broken, 1 alt, 1 large, 1 unused{end}"
    assert fails(AUDIT, failing) == bool(end)


def test_nothing_to_mend_is_said():
    assert total(CLEAN, FAILING) == "59 images in 43 pages: nothing to mend"
    assert total(Audit(1, 1, (), {}), FAILING) == "1 image in 1 page: nothing to mend"
    assert total(Audit(1, 1, (UNUSED,), {}), FAILING) == "1 finding: 1 unused"
    assert not fails(CLEAN, FAILING)


def test_json_has_every_place_and_source():
    read = json.loads(json.dumps(as_mapping(AUDIT)))
    assert read["imghost_audit"] == 1
    assert (read["pages"], read["images"]) == (43, 59)
    assert [finding["kind"] for finding in read["findings"]] == ["broken", "alt", "large", "unused"]
    assert read["findings"][0]["places"] == [
        {"page": "guide/install/index.html", "line": 212, "source": "docs/guide/install.md", "source_line": 40}
    ]
    assert read["findings"][1]["places"][1] == {"page": "index.html", "line": 3}


def test_github_gets_the_source_where_it_is_known_else_the_page():
    assert list(as_github(AUDIT, FAILING, "site/")) == [
        "::error file=docs/guide/install.md,line=40,title=imghost audit%3A broken::../../img/guide/setup-wizard.png is not in the site; there is img/guide/setup-wizzard.png",
        '::error file=site/guide/dashboards/index.html,line=88,title=imghost audit%3A alt::img/guide/history.png has none (and in 1 more place); write what it shows, or alt="" for decoration',
        "::warning file=site/img/guide/overview.png,title=imghost audit%3A large::2,880 px wide, shown at 720 px in 2 pages; 2 times would do",
        "::warning file=site/img/old/overview-v3.png,title=imghost audit%3A unused::1.7 MB, no page names it; delete it",
    ]


def test_no_name_can_end_a_command_or_begin_another():
    name = "a,b:c%\n::error::owned\x1b[2J.png"
    odd = Finding("alt", (name,), f"{name} has none", "", (Place(name, 1),))
    [line] = as_github(Audit(1, 1, (odd,), {}), FAILING, ".")
    assert re.fullmatch(r"::error file=[^:,\n\r]+,line=1,title=imghost audit%3A alt::(?:(?!::)[^\n\r\x1b])*", line)
    [said] = lines(Audit(1, 1, (odd,), {}))
    assert str(said).isprintable()


REQUIRED = {
    "": {"version", "runs"},
    "runs": {"tool"},
    "tool": {"driver"},
    "driver": {"name"},
    "rules": {"id"},
    "results": {"message"},
    "message": {"text"},
    "shortDescription": {"text"},
    "physicalLocation": {"artifactLocation"},
}
"""Members that each object has to have, by its place: SARIF 2.1.0, sections 3.13 to 3.49, and its schema."""


def objects(value, place=""):
    """Yield every object in a JSON value with the name of what it stands in."""
    if isinstance(value, dict):
        yield place, value
        for name, member in value.items():
            yield from objects(member, name)
    for member in value if isinstance(value, list) else ():
        yield from objects(member, place)


@pytest.mark.parametrize("audit", [AUDIT, CLEAN])
def test_sarif_has_what_its_schema_requires(audit):
    sarif = json.loads(json.dumps(as_sarif(audit, FAILING, ".", "0.2.0")))
    seen = set()
    for place, found in objects(sarif):
        seen.add(place)
        assert REQUIRED.get(place, set()) <= found.keys(), place
        assert "startLine" not in found or found["startLine"] >= 1
        assert found.get("level", "note") in {"none", "note", "warning", "error"}
        if "uri" in found:
            assert re.fullmatch(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/%?#]+", found["uri"])
    assert seen >= (REQUIRED.keys() if audit is AUDIT else {"", "runs", "tool", "driver", "rules"})


def test_sarif_names_rules_levels_and_places():
    sarif = json.loads(json.dumps(as_sarif(AUDIT, FAILING, "my site", "0.2.0")))
    assert sarif["version"] == "2.1.0"
    [run] = sarif["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("imghost", "0.2.0")
    assert [rule["id"] for rule in driver["rules"]] == list(KINDS_OF_FINDINGS)
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert [result["level"] for result in run["results"]] == ["error", "error", "warning", "warning"]
    assert run["results"][0]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "docs/guide/install.md"},
        "region": {"startLine": 40},
    }
    assert run["results"][3]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "my%20site/img/old/overview-v3.png"}
    }
