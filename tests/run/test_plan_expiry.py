"""Images that do not live for ever: renewed in time, never because a clock is wrong, and quotas that run out."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doubles.img402 import Img402
from doubles.imgpro import VERIFIED, ImgPro
from sites import image_urls, small_site

from imghost import settings
from imghost.cli.main import main
from imghost.run.job import Job
from imghost.run.rehost import Result, rehost
from imghost.site.images import Origins

NOW = datetime.now(UTC)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return small_site(tmp_path / "site").parent


def run(project: Path, api_url: str, now: datetime, **environ: str) -> Result:
    """Rehost the site on img402's free tier as of a moment."""
    raw = {"host": "img402", "retention": "7d", "options": {"tier": "free", "api_url": api_url}}
    chosen = settings.read(raw, project, "test")
    site = project / "site"
    return rehost(
        Job(site, chosen, environ, Origins(is_own_source=True), project / ".cache/imghost/map.json", now=lambda: now)
    )


def ahead(host: Img402, now: datetime) -> None:
    """Let the host's clock go with ours."""
    host.ahead = now - NOW
    host.server.route = _dated(host.server.route, now)


def _dated(route, now: datetime):
    from dataclasses import replace
    from email.utils import format_datetime

    def routed(request):
        reply = route(request)
        return replace(reply, headers=(*reply.headers, ("Date", format_datetime(now, usegmt=True))))

    return routed


def test_record_is_renewed_when_a_quarter_of_its_life_is_left_and_not_before(project):
    with Img402() as host:
        run(project, host.url, NOW)
        before = image_urls((project / "site/index.html").read_bytes())
        assert run(project, host.url, NOW + timedelta(days=5)).report.counts.uploaded == 0
        later = NOW + timedelta(days=6)
        ahead(host, later)
        result = run(project, host.url, later)
        assert result.report.counts.uploaded == 3
        after = image_urls((project / "site/index.html").read_bytes())
        assert set(before).isdisjoint(after)


def test_record_that_cannot_be_renewed_counts_until_it_expires(project):
    with Img402() as host:
        run(project, host.url, NOW)
        before = (project / "site/index.html").read_bytes()
    pull_request = {"GITHUB_EVENT_NAME": "pull_request"}
    result = run(project, host.url, NOW + timedelta(days=6, hours=20), **pull_request)
    assert result.notices == ()
    assert (project / "site/index.html").read_bytes() == before
    result = run(project, host.url, NOW + timedelta(days=8), **pull_request)
    assert result.report.counts.kept == 4
    assert b"images/0.png" in (project / "site/index.html").read_bytes()


def test_wrong_clock_renews_nothing(project):
    with Img402() as host:
        run(project, host.url, NOW)
        before = (project / "site/index.html").read_bytes()
        uploads = len(host.server.requests("POST"))
        result = run(project, host.url, NOW + timedelta(days=30))
        assert [notice.code for notice in result.notices] == ["clock"]
        assert len(host.server.requests("POST")) == uploads
        assert (project / "site/index.html").read_bytes() == before


def test_renewals_are_shown_in_plan_and_status(project, capsys):
    with Img402() as host:
        flags = ["--host", "img402", "--retention", "7d", "--option", "tier=free", "--option", f"api_url={host.url}"]
        run(project, host.url, NOW - timedelta(days=6))
        lock = (project / "imghost.lock").read_text().splitlines()
        aged = [lock[0]]
        for line in lock[1:]:
            record = json.loads(line)
            expires = datetime.fromisoformat(record["expires"]) - timedelta(days=6)
            aged.append(json.dumps(record | {"expires": expires.isoformat().replace("+00:00", "Z")}))
        (project / "imghost.lock").write_text("\n".join(aged) + "\n")
        capsys.readouterr()
        assert main(["plan", "site", "--json", *flags]) == 0
        assert all(upload["renews"] for upload in json.loads(capsys.readouterr().out)["uploads"])
        assert main(["status", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["hosts"][0]["expiring"] == 3


@pytest.mark.parametrize("generation", ["upload", "images"])
def test_quota_for_seven_of_ten_hosts_seven_and_the_rest_next_month(project, capsys, monkeypatch, generation):
    small_site(project / "site", count=10)
    monkeypatch.setenv("IMGPRO_API_KEY", VERIFIED)
    with ImgPro(generation, quota=7) as host:
        flags = ["--option", f"api_url={host.api_url}"]
        capsys.readouterr()
        assert main(["rehost", "site", "--json", *flags]) == 0
        printed = capsys.readouterr()
        report = json.loads(printed.out)
        assert len(host.copies) == 7
        assert report["images"]["uploaded"] == 7
        # Whichever three the host was asked for last, which `copy.png` has the bytes of one of, or not.
        assert len({image["path"] for image in report["kept"]} - {"images/copy.png"}) == 3
        assert printed.err.count("imghost: warning:") == 1
        assert "https://img.pro/" in printed.err
        assert main(["rehost", "site", "--strict", *flags]) == 1
        host.quota = 17
        assert main(["rehost", "site", "--strict", *flags]) == 0
        assert len(host.copies) == 10
    assert b"images/9.png" not in (project / "site/index.html").read_bytes()
