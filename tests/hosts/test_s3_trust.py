"""S3-compatible storage: whose key is used, where it may go, and which URLs and options are taken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from doubles.s3 import VARIABLES, Storage
from doubles.stores import NOTHING
from hosts.s3_setup import CDN, DIGEST, a_payload, offline, opened, refused
from hypothesis import given
from hypothesis import strategies as st

from imghost.errors import Action, HostError, SettingsError
from imghost.hosts import Host
from imghost.hosts.registry import chosen, limits_of, open_host
from imghost.net import Client
from imghost.settings import read


@pytest.mark.usefixtures("credential")
class TestCredentials:
    """Whose key is used, and where it may go."""

    def test_without_any_there_are_records_only(self) -> None:
        assert offline({}).lacks_credential
        assert not offline().lacks_credential
        assert not offline({"AWS_PROFILE": "x"}).lacks_credential

    def test_the_shared_file_is_one(self, tmp_path: Path) -> None:
        file = tmp_path / "credentials"
        assert offline({"AWS_SHARED_CREDENTIALS_FILE": str(file)}).lacks_credential
        file.write_text("[default]\naws_access_key_id = x\naws_secret_access_key = y\n")
        assert not offline({"AWS_SHARED_CREDENTIALS_FILE": str(file)}).lacks_credential

    @pytest.mark.parametrize(
        "variables",
        [{}, {"AWS_PROFILE": "no such canary profile"}, {"AWS_ACCESS_KEY_ID": "canary"}],
    )
    def test_one_that_cannot_be_used_stops_before_any_request(
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
    ) -> None:
        for name in VARIABLES:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with opened(storage) as host, pytest.raises(HostError) as caught:
            host.ready()
        assert caught.value.action is Action.STOP
        assert "canary" not in str(caught.value)
        assert storage.log == []

    @pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
    @pytest.mark.parametrize("wrong", ["canary\n", "canary\r\nX-Evil: 1", "canary é"])
    def test_one_that_is_copied_wrongly_is_not_shown(
        self, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, wrong: str
    ) -> None:
        monkeypatch.setenv(name, wrong)
        with opened(storage) as host:
            assert refused(host, a_payload(tmp_path)).action is Action.STOP

    def test_it_does_not_choose_the_host(self) -> None:
        environ = NOTHING | VARIABLES | {"AWS_PROFILE": "x"}
        assert chosen(read({}, Path()), environ, None) is None
        assert chosen(read({}, Path()), environ, "s3") == "s3"
        assert chosen(read({"host": "s3"}, Path()), environ, None) == "s3"
        assert chosen(read({}, Path()), environ | {"IMGPRO_API_KEY": "k" * 9}, None) == "img.pro"

    @pytest.mark.parametrize("profile", ["a", "my team", "équipe"])
    def test_a_profile_may_be_called_anything(self, tmp_path: Path, profile: str) -> None:
        assert not by_settings(tmp_path, {"AWS_PROFILE": profile}).lacks_credential

    @pytest.mark.parametrize(
        "url",
        [
            "https://evil.example",
            "https://evil.s3.amazonaws.com",
            "https://s3.amazonaws.com.evil.example",
            "https://s3-evil.amazonaws.com",
            "https://s3.evil.elb.amazonaws.com",
            "https://x.execute-api.us-east-1.amazonaws.com",
            "https://s3.amazonaws.com:8443",
        ],
    )
    def test_it_goes_to_the_named_storage_only(self, tmp_path: Path, url: str) -> None:
        file = tmp_path / "credentials"
        file.write_text("[default]\n")
        for environ in (VARIABLES, {"AWS_SHARED_CREDENTIALS_FILE": str(file)}):
            with pytest.raises(SettingsError, match="IMGHOST_ALLOW_API_URL") as caught:
                by_settings(tmp_path, environ, endpoint_url=url)
            assert "'endpoint_url'" in str(caught.value)
            assert by_settings(tmp_path, environ | {"IMGHOST_ALLOW_API_URL": url}, endpoint_url=url).name == "s3"
        assert by_settings(tmp_path, {}, endpoint_url=url).lacks_credential

    @pytest.mark.parametrize(
        "url",
        [
            "https://s3.amazonaws.com",
            "https://s3.eu-central-1.amazonaws.com",
            "https://s3-fips.dualstack.us-gov-west-1.amazonaws.com",
            "https://s3-us-west-2.amazonaws.com/",
            "https://s3.cn-north-1.amazonaws.com.cn",
            "http://127.0.0.1:9000",
        ],
    )
    def test_it_may_go_to_amazon_and_to_this_machine(self, tmp_path: Path, url: str) -> None:
        assert by_settings(tmp_path, VARIABLES, endpoint_url=url).name == "s3"

    def test_an_address_without_tls_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="https"):
            by_settings(tmp_path, {}, endpoint_url="http://storage.example")


def by_settings(folder: Path, environ: dict[str, str], **more: str) -> Host:
    """Open the host as a run does."""
    options = {"bucket": "images", "base_url": CDN, **more}
    settings = read({"host": "s3", "options": options}, folder)
    with Client(environ={}) as client:
        found = open_host("s3", settings, NOTHING | environ, client, folder / "site")
        assert client.requests == 0
    return found


@pytest.mark.usefixtures("credential")
class TestOptions:
    """What can work together."""

    @pytest.mark.parametrize("lacking", ["bucket", "base_url"])
    def test_bucket_and_base_url_are_needed(self, lacking: str) -> None:
        with pytest.raises(SettingsError, match=f"{lacking!r} is needed"):
            offline(None, **{lacking: ""})

    @pytest.mark.parametrize(
        ("option", "values"),
        [
            ("bucket", ["a", "a b", "../x", "arn:aws:s3:::x", "x/y", "x" * 64, "é" * 5, "abc\n"]),
            ("region", ["", "eu central", "evil.example/", "x@evil", "EU-WEST-1", "a-", "eu-west-1\n"]),
            ("prefix", ["..", "a/../b", "a//b", "a b", "a?b", "a%2fb", "é", "a\n", "./a", "x" * 600]),
            ("url_hosts", [("*",), ("https://a.example",), ("a.example/x",)]),
            (
                "base_url",
                [
                    *("cdn", "http://cdn.example.org", "https://", "https://u@cdn.example/", "https://cdn.example/?x"),
                    *(
                        "https://cdn.example/a/../b",
                        "https://cdn.example/a//b",
                        "javascript:1",
                        "https://cdn.example/\n",
                    ),
                ],
            ),
        ],
    )
    def test_a_value_of_another_shape_is_one_line(self, option: str, values: list[Any]) -> None:
        for value in values:
            with pytest.raises(SettingsError, match=f"'{option}'") as caught:
                offline(**{option: value})
            assert str(caught.value).isprintable()

    def test_a_url_is_accepted_under_base_url_and_the_prefix_alone(self) -> None:
        host = offline(prefix="/docs/", base_url="https://cdn.example.org/b")
        assert host.accepts(f"https://cdn.example.org/b/docs/{DIGEST}.png")
        for url in (
            f"https://cdn.example.org/b/{DIGEST}.png",
            f"https://cdn.example.org/b/docs/x/{DIGEST}.png",
            f"https://cdn.example.org/b/docs/../docs/{DIGEST}.png",
            f"https://cdnXexample.org/b/docs/{DIGEST}.png",
            f"http://cdn.example.org/b/docs/{DIGEST}.png",
            f"https://cdn.example.org/b/docs/{DIGEST[1:]}.png",
            f"https://cdn.example.org/b/docs/{DIGEST}.html",
            f"https://cdn.example.org/b/docs/{DIGEST}.png\n",
            f"https://cdn.example.org/b/docs/{DIGEST}.png?x",
        ):
            assert not host.accepts(url), url
        assert host.origins == ("https://cdn.example.org",)

    def test_a_former_host_of_the_bucket_can_be_named(self) -> None:
        host = offline(url_hosts=("old.example.org",))
        assert host.accepts(f"https://old.example.org/any/where/{DIGEST}.svg")
        assert not host.accepts(f"https://old.example.org/any/../{DIGEST}.svg")
        assert not host.accepts(f"http://old.example.org/{DIGEST}.svg")
        assert host.origins == ("https://cdn.example.org", "https://old.example.org")

    @given(st.text())
    def test_no_other_text_is_an_images_url(self, text: str) -> None:
        host = offline()
        assert not host.accepts(text)
        assert not host.accepts(f"{CDN}{DIGEST}.png{text or ' '}")

    def test_the_limits_are_told_without_options(self) -> None:
        limits = limits_of("s3", NOTHING)
        assert limits is not None
        assert "image/svg+xml" in limits.formats

    def test_opening_the_host_loads_no_library(self) -> None:
        code = (
            "import sys; from pathlib import Path; from imghost.net import Client; from imghost.settings import read;"
            "from imghost.hosts.registry import open_host;"
            f"settings = read({{'host': 's3', 'options': {{'bucket': 'images', 'base_url': {CDN!r}}}}}, Path());"
            f"host = open_host('s3', settings, {VARIABLES!r}, Client(), Path('site'));"
            f"assert host.accepts('{CDN}{DIGEST}.png');"
            "sys.exit(any(name in sys.modules for name in ('boto3', 'botocore', 'httpx')))"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
