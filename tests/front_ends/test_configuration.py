"""The command line reads what the generators' own configurations hold, as the plugins read it."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from mkdocs.config import load_config
from sites import small_site, write
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

import sphinx_imghost
from imghost import settings
from imghost.cli.main import find, main
from imghost.errors import SettingsError
from imghost.settings import Settings
from mkdocs_imghost import ImghostPlugin

EMOJI = "markdown_extensions:\n  - pymdownx.emoji: {emoji_index: !!python/name:material.extensions.emoji.twemoji }\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"docs/index.md": "# Home\n"})
    return tmp_path


def read(here: Path, named: str | None = None, **environ: str) -> Settings:
    return find(here, named, os.environ | environ).read()


def of_plugin(path: Path) -> Settings:
    """Read a configuration by MkDocs itself; gives what the plugin goes by."""
    config = load_config(str(path))
    plugin = config.plugins["imghost"]
    assert isinstance(plugin, ImghostPlugin)
    chosen = plugin._settings
    return replace(chosen, site_url=chosen.site_url or config.site_url or None)


MKDOCS = {
    "a list": "plugins: [search, imghost: {host: img.pro, retention: 30d}]\n",
    "a name alone": "plugins: [imghost]\n",
    "a mapping": "plugins:\n  search: {}\n  imghost:\n    host: directory\n    options: {path: pictures}\n",
    "nothing set": "plugins:\n  - imghost:\n",
    "nulls": "plugins:\n  - imghost: {host: null, exclude: [a/*, b.png], frozen: yes}\n",
    "the site's URL": "site_url: https://x.test/small/\nplugins: [imghost]\n",
    "its own URL": "site_url: https://x.test/\nplugins: [imghost: {site_url: 'https://y.test/'}]\n",
    "an empty URL": "site_url: ''\nplugins: [imghost]\n",
    "paths": "plugins: [imghost: {lock: data/images.lock, cache_dir: tmp/c, report: out/r.html, sources: [../more]}]\n",
    "a variable": "plugins: [imghost: {host: !ENV IMAGES_AT, max_cost: !ENV [NOT_SET, COST, 3]}]\n",
    "a default": "site_url: !ENV [NOT_SET, 'https://z.test/']\nplugins: [imghost: {timeout: !ENV [NOT_SET, 7]}]\n",
    "a variable that is not set": "plugins: [imghost: {host: !ENV NOT_SET}]\n",
    "an anchor": "extra: {o: &o {host: s3, options: {bucket: b}}}\nplugins: [imghost: {<<: *o, lazy: true}]\n",
    "what it inherits": "INHERIT: base/all.yml\nplugins: {imghost: {options: {path: mine}}}\n",
    "other tags": f"plugins: [imghost: {{host: directory}}]\n{EMOJI}",
}
BASE = {
    "base/all.yml": "INHERIT: ../root.yml\nsite_url: https://base.test/\nplugins: {imghost: {host: directory}}\n",
    "root.yml": "plugins: {search: {}, imghost: {lazy: true, host: s3, lock: all.lock, options: {base_url: 'https://i/'}}}\n",
}


@pytest.mark.parametrize("name", MKDOCS)
def test_mkdocs_yml_is_read_as_the_plugin_reads_it(here, monkeypatch, name):
    monkeypatch.setenv("IMAGES_AT", "directory")
    monkeypatch.setenv("COST", "2.50")
    monkeypatch.delenv("NOT_SET", raising=False)
    write(here, BASE | {"mkdocs.yml": f"site_name: x\n{MKDOCS[name]}"})
    assert read(here) == of_plugin(here / "mkdocs.yml")


@pytest.mark.parametrize("name", ["properdocs.yml", "mkdocs.yaml"])
def test_other_names_of_it_are_read_too(here, name):
    write(here, {name: MKDOCS["a list"]})
    assert read(here).host == "img.pro"


def test_zensical_toml_has_a_place_for_what_zensical_drops(here):
    text = '[project]\nsite_url = "https://x.test/"\n[project.plugins.imghost]\nhost = "directory"\nlock = "i.lock"\n'
    write(here, {"zensical.toml": text})
    chosen = read(here)
    assert (chosen.host, chosen.site_url, chosen.lock) == ("directory", "https://x.test/", here / "i.lock")


CONF = {
    "literals": "imghost_host = 'img.pro'\nimghost_options = {'namespace': 'docs', 'public': False}\n",
    "a type beside it": "imghost_exclude: list[str] = ['a/*', 'b']\nimghost_max_cost = 1.5\nimghost_max_edge = None\n",
    "the site's URL": "html_baseurl = 'https://x.test/'\n",
    "the last one counts": "imghost_host = 's3'\nimghost_host = 'directory'\n",
    "one value for two names": "imghost_lazy = imghost_dimensions = True\n",
    "nothing set": "",
    "paths": "imghost_lock = '../images.lock'\nimghost_cache_dir = 'c'\n",
    "code beside it": "import os\nos.environ['X'] = '1'\nif os.sep:\n    templates_path = []\n",
}


@pytest.mark.parametrize("folder", ["", "docs", "doc", "source", "docs/source"])
@pytest.mark.parametrize("name", CONF)
def test_conf_py_is_read_as_the_extension_reads_it(here, name, folder):
    place = write(here / folder, {"conf.py": f"extensions = ['sphinx_imghost']\n{CONF[name]}", "index.rst": "x\n=\n"})
    with docutils_namespace():
        app = Sphinx(place, place, here / "out", here / "trees", "html", status=None, warning=None)
        assert read(here) == sphinx_imghost._settings(app)


def test_conf_py_is_not_run(here):
    write(here, {"conf.py": "open('ran', 'w')\nimghost_host = 's3'\nraise SystemExit(3)\n"})
    assert read(here).host == "s3"
    assert not (here / "ran").exists()


def test_url_that_only_running_would_tell_is_left_open_and_said(here):
    write(here, {"conf.py": "import os\nimghost_host = 's3'\nhtml_baseurl = os.environ.get('URL', '')\n"})
    found = find(here, None, {})
    assert found.read().site_url is None
    assert found.remarks == (
        "html_baseurl in conf.py is no literal and was not read; --site-url says where the site will live",
    )


NO_LITERALS = [
    "imghost_host = os.environ['HOST']",
    "imghost_exclude = ['a'] + more",
    "imghost_frozen = True\nif CI:\n    imghost_frozen = False",
    "imghost_exclude = []\nimghost_exclude.append('a')",
    "imghost_options = {}\nimghost_options['tier'] = 'free'",
    "imghost_host, imghost_lock = 's3', 'a.lock'",
    "imghost_host += 'x'",
    "for imghost_host in ['s3']:\n    pass",
    "imghost_lock = f'{name}.lock'",
]


@pytest.mark.parametrize("text", NO_LITERALS)
def test_option_that_is_no_literal_is_an_error_that_asks_for_config(here, capsys, text):
    write(here, {"docs/conf.py": text})
    assert main(["status"]) == 2
    err = capsys.readouterr().err
    assert "docs/conf.py: line " in err
    assert "imghost_" in err
    assert "--config" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("files", "arguments", "said"),
    [
        (
            {"mkdocs.yml": "plugins: [imghost: {hots: s3}]"},
            [],
            "mkdocs.yml: option 'hots' is unknown; did you mean 'host'?",
        ),
        (
            {"docs/conf.py": "imghost_hots = 's3'"},
            [],
            "docs/conf.py: option 'imghost_hots' is unknown; did you mean 'imghost_host'?",
        ),
        ({"conf.py": "imghost_timeout = 'soon'"}, [], "conf.py: option 'imghost_timeout' should be"),
        ({"conf.py": "imghost_host = ("}, [], "conf.py is not valid Python"),
        ({"mkdocs.yml": "imghost: [\n"}, [], "mkdocs.yml is not valid YAML"),
        ({"mkdocs.yml": "INHERIT: mkdocs.yml"}, [], "inherits from itself"),
        ({"mkdocs.yml": "INHERIT: none.yml"}, [], "none.yml cannot be read"),
        ({"mkdocs.yml": "INHERIT: [a]"}, [], "INHERIT should be a path"),
        ({"mkdocs.yml": "plugins: [imghost: 3]"}, [], "should be a mapping"),
        ({"mkdocs.yml": "plugins: [imghost: {host: !!python/name:os.sep }]"}, [], "!!python/name"),
        ({"mkdocs.yml": "plugins: [imghost: {options: {a: [!relative x]}}]"}, [], "the tag !relative"),
        ({"mkdocs.yml": "plugins: [search]"}, ["--config", "mkdocs.yml"], "mkdocs.yml has no options for imghost"),
        ({"conf.py": "project = 'x'"}, ["--config", "conf.py"], "conf.py has no options for imghost"),
        ({"pyproject.toml": ""}, ["--config", "pyproject.toml"], "[tool.imghost]"),
        ({"zensical.toml": "[project]"}, ["--config", "zensical.toml"], "[project.plugins.imghost]"),
        ({}, ["--config", "none.yml"], "none.yml cannot be read"),
        ({"mkdocs.yml": "plugins: [imghost: {options: {api_key: abcdefgh}}]"}, [], "holds a credential"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line(here, capsys, files, arguments, said):
    write(here, files)
    assert main(["status", *arguments]) == 2
    err = capsys.readouterr().err
    assert said.replace("!!python/name", "python/name") in err
    assert err.count("\n") == 1


PAIRS = {
    "imghost.toml": 'host = "s3"\n',
    "pyproject.toml": '[tool.imghost]\nhost = "s3"\n',
    "mkdocs.yml": "plugins: [imghost: {host: s3}]\n",
    "properdocs.yml": "plugins: [imghost: {host: s3}]\n",
    "zensical.toml": '[project.plugins.imghost]\nhost = "s3"\n',
    "conf.py": "imghost_host = 's3'\n",
}


@pytest.mark.parametrize("other", [name for name in PAIRS if name != "mkdocs.yml"])
def test_two_files_that_differ_are_an_error_and_the_named_one_counts(here, capsys, other):
    write(here, PAIRS)
    assert read(here).host == "s3"
    for name in PAIRS.keys() - {"mkdocs.yml", other}:
        (here / name).unlink()
    write(here, {other: PAIRS[other].replace("s3", "directory")})
    assert main(["status"]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in ("mkdocs.yml", other, "differ in 'host'", "--config"))
    assert read(here, "mkdocs.yml").host == "s3"
    assert read(here, other).host == "directory"


def test_same_options_in_another_folder_differ_by_their_paths(here):
    write(here, {"mkdocs.yml": PAIRS["mkdocs.yml"], "docs/conf.py": PAIRS["conf.py"]})
    with pytest.raises(SettingsError, match="differ in 'lock'"):
        read(here)


def test_generators_without_imghost_do_not_count(here):
    write(
        here, {"mkdocs.yml": "plugins: [search]\n", "docs/conf.py": "project = 'x'\n", "pyproject.toml": "[project]\n"}
    )
    assert find(here, None, {}).name == ""
    assert read(here) == settings.read({}, here)


def test_one_line_says_which_file_was_read_and_its_paths_are_its_own(here, capsys):
    write(here, {"docs/conf.py": "imghost_host = 'directory'\nimghost_cache_dir = 'kept'\n"})
    small_site(here / "site")
    assert main(["rehost", "site", "--report", "r.json"]) == 0
    assert capsys.readouterr().err.splitlines() == ["imghost: the options are those of docs/conf.py"]
    assert (here / "docs/kept").is_dir()
    assert (here / "r.json").is_file()


def test_a_flag_over_a_configuration_in_a_folder_leaves_its_paths_alone(here, capsys, monkeypatch):
    """Seen from the current folder, the lock beside docs/ would lead out of the project."""
    elsewhere = here / "elsewhere"
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    monkeypatch.setenv("HOME", str(elsewhere))
    place = write(here / "project", {"docs/conf.py": "imghost_host = 'directory'\nimghost_lock = '../i.lock'\n"})
    write(place, {".git/HEAD": "ref: refs/heads/main\n"})
    monkeypatch.chdir(place)
    assert main(["status", "--renew-before", "3d", "--json"]) == 0
    assert Path(json.loads(capsys.readouterr().out)["lock"]).resolve() == place / "i.lock"


def test_options_that_exclude_each_other_do_so_from_two_places(here, capsys):
    write(here, {"imghost.toml": "fallback = true\n"})
    assert main(["status", "--remove-local"]) == 2
    assert "error: 'fallback' shows local copies, and 'remove_local' deletes them" in capsys.readouterr().err


def test_another_host_that_is_typed_does_not_get_the_configured_ones_options(here, capsys):
    write(here, {"imghost.toml": 'host = "img.pro"\n[options]\nnamespace = "docs"\n'})
    small_site(here / "site")
    assert main(["rehost", "site", "--host", "directory", "--option", "path=pictures"]) == 0
    assert (here / "site/pictures").is_dir()
    assert main(["plan", "site", "--host", "img.pro", "--option", "public=perhaps"]) == 2
    assert "option 'public' should be" in capsys.readouterr().err
    assert main(["plan", "site", "--option", "namespase=x"]) == 2
    write(here, {"imghost.toml": '[options]\nnamespace = "docs"\n'})
    assert main(["plan", "site", "--host", "img.pro"]) == 0
