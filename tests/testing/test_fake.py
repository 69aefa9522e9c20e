"""The fake host and its store: what they count, refuse, lose and let end; a site published there."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sites import image_urls, small_site

from imghost import settings
from imghost.errors import Action, HostError
from imghost.net import Client
from imghost.run.job import Job
from imghost.run.rehost import Result, rehost
from imghost.testing import FakeHost, FakeStore, a_payload, fake_host, write_entry
from imghost.testing.fake import KEY


class TestStore:
    """The store that the fake host uploads to."""

    def test_it_counts_and_refuses_by_digest(self, tmp_path: Path) -> None:
        good, bad = a_payload(tmp_path, 0), a_payload(tmp_path, 1)
        with FakeStore() as store, Client(5, environ={}) as client:
            store.refuse(bad.sha256)
            host = fake_host(store, client, tmp_path)
            host.upload(good)
            host.upload(good)
            with pytest.raises(HostError, match="fake refuses the image") as caught:
                host.upload(bad)
        assert (caught.value.action, dict(store.uploads), store.stored) == (Action.FILE, {good.sha256: 2}, 1)

    def test_it_stores_what_it_loses(self, tmp_path: Path) -> None:
        with FakeStore() as store, Client(5, environ={}) as client:
            store.lose()
            with pytest.raises(HostError) as caught:
                fake_host(store, client, tmp_path).upload(a_payload(tmp_path))
            assert (caught.value.is_ambiguous, store.stored) == (True, 1)

    def test_images_with_an_end_come_to_it(self, tmp_path: Path) -> None:
        with FakeStore(life=timedelta(days=3)) as store, Client(5, environ={}) as client:
            hosted = fake_host(store, client, tmp_path, days=3).upload(a_payload(tmp_path))
            assert hosted.expires is not None
            assert client.fetch(hosted.url).status == 200
            store.expire()
            assert client.fetch(hosted.url).status != 200

    def test_a_full_store_stops_uploads(self, tmp_path: Path) -> None:
        with FakeStore(quota=1) as store, Client(5, environ={}) as client:
            host = fake_host(store, client, tmp_path)
            assert host.ready().remaining == 1
            host.upload(a_payload(tmp_path, 0))
            with pytest.raises(HostError) as caught:
                host.upload(a_payload(tmp_path, 1))
            assert (caught.value.action, host.ready().remaining) == (Action.STOP, 0)

    def test_a_folder_outlives_the_store(self, tmp_path: Path) -> None:
        payload = a_payload(tmp_path)
        with FakeStore(tmp_path / "store") as store, Client(5, environ={}) as client:
            fake_host(store, client, tmp_path).upload(payload)
        with FakeStore(tmp_path / "store") as store, Client(5, environ={}) as client:
            found = FakeHost.find(fake_host(store, client, tmp_path), payload)  # type: ignore[arg-type]
            assert found is not None
            assert client.fetch(found.url).body == payload.file.read_bytes()
            assert store.stored == 1


class TestPublish:
    """A site on the fake host, by a whole run."""

    @pytest.fixture
    def site(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        write_entry(tmp_path / "entry", "fake", "imghost.testing:FakeHost")
        monkeypatch.syspath_prepend(str(tmp_path / "entry"))
        return small_site(tmp_path / "site")

    @staticmethod
    def run(store: FakeStore, site: Path, **more: Any) -> Result:
        raw = {"host": "fake", "options": {"api_url": store.url}, **more}
        return rehost(Job(site, settings.read(raw, site.parent), {"FAKE_HOST_KEY": KEY}))

    def test_each_image_is_stored_once_and_shown_from_there(self, site: Path) -> None:
        with FakeStore() as store, Client(5, environ={}) as reader:
            self.run(store, site)
            urls = image_urls((site / "index.html").read_bytes())
            assert [reader.fetch(url).status for url in urls] == [200] * 3
            asked = len(store.log)
            self.run(store, site)
            assert (len(store.log), set(store.uploads.values()), store.stored) == (asked, {1}, 3)

    def test_a_refused_image_stays_local(self, site: Path) -> None:
        with FakeStore() as store:
            store.refuse(hashlib.sha256((site / "images/1.png").read_bytes()).hexdigest())
            result = self.run(store, site)
            shown = image_urls((site / "index.html").read_bytes())
        assert [failure.path for failure in result.report.failures] == ["images/1.png"]
        assert (store.stored, [url for url in shown if "://" not in url]) == (2, ["images/1.png"])
