"""Builds that write only what changed leave what a build from nothing leaves, whatever happened in between."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from generator import CSS, NAMES, PAGES, SNIPPETS, Generator, naming
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trust.place import counted

SEEDS = st.integers(0, 5)


class Steps(RuleBasedStateMachine):
    """Edits of pages, images, settings, lock, clock and state, each followed by both kinds of build."""

    def __init__(self) -> None:
        super().__init__()
        self.made = Generator(Path(tempfile.mkdtemp(prefix="imghost-steps-")))

    def teardown(self) -> None:
        shutil.rmtree(self.made.folder)

    @initialize()
    def start(self) -> None:
        self.made.images = {name: number for number, name in enumerate(NAMES)}
        self.made.texts = {page: self.text(page, SNIPPETS) for page in PAGES} | {"style.css": CSS}

    def text(self, page: str, snippets: tuple[str, ...]) -> str:
        up = "../" * page.count("/")
        return "<!doctype html>\r\n" + "\n".join(snippets).replace("{up}", up)

    @rule(page=st.sampled_from(PAGES), snippets=st.lists(st.sampled_from(SNIPPETS), max_size=4))
    def page_is_edited(self, page: str, snippets: list[str]) -> None:
        self.made.texts[page] = self.text(page, tuple(snippets))

    @rule(page=st.sampled_from(PAGES))
    def page_is_deleted(self, page: str) -> None:
        self.made.texts.pop(page, None)

    @rule(page=st.sampled_from(PAGES))
    def page_is_written_again(self, page: str) -> None:
        self.made.written.pop(page, None)

    @rule(name=st.sampled_from(NAMES), seed=SEEDS)
    def image_is_edited(self, name: str, seed: int) -> None:
        self.made.images[name] = seed

    @rule(name=st.sampled_from(NAMES))
    def image_is_deleted(self, name: str) -> None:
        self.made.images.pop(name, None)

    @rule(seed=SEEDS)
    def image_is_drawn_anew(self, seed: int) -> None:
        self.made.drawn = seed

    @rule(name=st.sampled_from(NAMES), is_named=st.booleans())
    def script_names_an_image(self, name: str, is_named: bool) -> None:
        self.made.texts["search.json"] = naming(name) if is_named else "{}"

    @rule(kinds=st.sampled_from([None, ["img"], ["img", "css", "object"], ["link", "style", "meta"]]))
    def kinds_are_chosen(self, kinds: list[str] | None) -> None:
        self.made.raw["references"] = kinds

    @rule(globs=st.sampled_from([[], ["one.png"], ["img/*"]]))
    def images_are_excluded(self, globs: list[str]) -> None:
        self.made.raw["exclude"] = globs

    @rule(
        choice=st.sampled_from(
            [
                {"host": "directory", "options": {}},
                {"host": "directory", "options": {"path": "pictures"}},
                {"host": "directory", "options": {"path": "kept", "base_url": "https://cdn.test/"}},
                {"host": "img402", "options": {}, "frozen": True},
                {"host": "auto", "frozen": True},
            ]
        )
    )
    def host_is_chosen(self, choice: dict[str, object]) -> None:
        for name in ("host", "options", "frozen"):
            self.made.raw[name] = choice.get(name)

    @rule(site_url=st.sampled_from(["https://x.test/small/", "https://other.test/", None]))
    def site_moves(self, site_url: str | None) -> None:
        self.made.raw["site_url"] = site_url

    @precondition(lambda self: not self.made.is_command)  # what it deleted only a whole build brings back
    @rule(is_on=st.booleans())
    def copies_may_go(self, is_on: bool) -> None:
        self.made.raw["remove_local"] = is_on
        if is_on:
            self.made.raw["fallback"] = False

    @rule(option=st.sampled_from(["dimensions", "lazy", "fallback"]), is_on=st.booleans())
    def page_may_be_improved(self, option: str, is_on: bool) -> None:
        self.made.raw[option] = is_on
        if option == "fallback" and is_on:
            self.made.raw["remove_local"] = False

    @rule(seed=SEEDS, days=st.sampled_from([None, 5, 50]))
    def record_comes(self, seed: int, days: int | None) -> None:
        self.made.records[seed] = timedelta(days=days) if days else None

    @rule(seed=SEEDS)
    def record_goes(self, seed: int) -> None:
        self.made.records.pop(seed, None)

    @rule(days=st.integers(1, 40))
    def time_passes(self, days: int) -> None:
        self.made.now += timedelta(days=days)

    @rule()
    def map_is_lost(self) -> None:
        self.made.map.unlink(missing_ok=True)

    @precondition(lambda self: self.made.map.exists())
    @rule(name=st.sampled_from(NAMES), seed=SEEDS)
    def run_is_killed_before_it_tells_of_its_pages(self, name: str, seed: int) -> None:
        before = self.made.map.read_bytes()
        self.made.images[name] = seed
        self.made.step()
        self.made.map.rename(self.made.map.with_suffix(".unfinished")).write_bytes(before)

    @rule()
    def store_is_lost(self) -> None:
        shutil.rmtree(self.made.folder / "cache", ignore_errors=True)

    @precondition(lambda self: self.made.site.exists())
    @rule()
    def output_is_lost(self) -> None:
        shutil.rmtree(self.made.site)
        self.made.site.mkdir()
        self.made.written.clear()

    @invariant()
    def both_builds_leave_the_same_bytes(self) -> None:
        if not self.made.texts and not self.made.images:
            return
        self.made.site.mkdir(exist_ok=True)
        step = self.made.step()
        clean, result = self.made.clean()
        assert step == clean
        assert [notice.code for notice in self.made.result.notices] == [notice.code for notice in result.notices]
        again = self.made.step()
        assert again == step


class CommandSteps(Steps):
    """The same with the command line, for which the site itself is the source."""

    def __init__(self) -> None:
        super().__init__()
        self.made.is_command = True


def bounded(machine: type[Steps], examples: int) -> type:
    """Make the tests of a machine; a failure is told after it was made small, which takes a while."""
    chosen = settings(
        max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
    )
    machine.TestCase.settings = chosen
    return pytest.mark.more_in_all(pytest.mark.timeout(600)(machine.TestCase))


TestSteps = bounded(Steps, counted("MAP_ORDERS", 3, of_all=9))
TestCommandSteps = bounded(CommandSteps, counted("MAP_ORDERS", 2, of_all=4))


@pytest.mark.parametrize(
    ("base_url", "left"), [("https://cdn.test/", 0), ("https://cdn.test/a/b/", 0), ("https://cdn.test/_imghost/", 2)]
)
def test_the_embedded_copies_go_when_the_same_names_are_served_from_elsewhere(base_url: str, left: int) -> None:
    """A page that names a file at `base_url` does not name the one in the site, unless its path stands there whole."""
    steps = Steps()
    try:
        steps.start()
        assert sum(path.startswith("_imghost/") for path in steps.made.step()) == 2
        steps.host_is_chosen({"host": "directory", "options": {"path": "kept", "base_url": base_url}})
        assert sum(path.startswith("_imghost/") for path in steps.made.step()) == left
    finally:
        steps.teardown()
