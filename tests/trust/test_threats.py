"""Each threat of the threat model, by its number, with the tests that show it is met."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

import pytest
from doubles.imgpro import ImgPro
from doubles.server import Reply
from sites import picture, tree, write
from trust.place import Project, built_site, crawl, references

from imghost.errors import SettingsError
from imghost.wording import printable

TESTS = Path(__file__).parents[1]
HERE = "trust/test_threats.py::"

THREATS: dict[str, tuple[str, ...]] = {
    "T1 a path that leads out of the site": (
        "test_files.py::test_no_path_leads_to_the_secret",
        "test_files.py::test_a_path_that_is_not_plain_is_refused",
        HERE + "test_no_path_out_of_the_site_is_uploaded",
    ),
    "T2 an absolute path": (HERE + "test_no_path_out_of_the_site_is_uploaded",),
    "T3 other schemes": ("test_urls.py::test_what_is_no_file_of_the_site_belongs_to_somebody_else",),
    "T4 a link that the generator copied": (
        "site/test_images.py::test_a_link_to_a_file_outside_stays",
        "site/test_images.py::test_a_chain_of_links_is_followed_to_its_end",
        "front_ends/test_mkdocs.py::test_link_out_of_the_project_is_not_uploaded",
        "front_ends/test_sphinx.py::test_image_from_outside_the_project_is_not_uploaded",
    ),
    "T5 a file swapped between check and read": ("test_files.py::test_a_path_swapped_meanwhile_never_leaks",),
    "T6 a pipe or a device": (
        "test_files.py::test_what_is_no_regular_file_is_refused_at_once",
        "trust/test_trouble.py::test_a_pipe_or_a_socket_named_as_a_page_or_an_image_holds_nothing_up",
    ),
    "T7 a secret named as an image": (
        "image/test_inspect.py::test_a_secret_named_as_an_image_is_not_read_as_one",
        "front_ends/test_mkdocs.py::test_text_named_png_is_not_uploaded",
    ),
    "T8 two formats in one file": (
        "image/test_inspect.py::test_what_follows_the_end_goes",
        "image/test_inspect.py::test_a_gif_and_script_at_once_loses_its_tail",
    ),
    "T9 a drawing with a script": (
        "image/test_inspect.py::test_a_hostile_drawing_is_refused",
        "image/test_inspect.py::test_a_hostile_document_is_refused",
    ),
    "T10 a bomb of pixels": ("image/test_inspect.py::test_a_bomb_is_refused_from_its_header",),
    "T11 a malformed image": (
        "image/test_inspect.py::test_any_mutation_gives_facts_or_a_verdict",
        "image/test_payload.py::test_a_picture_that_pillow_cannot_decode_is_one_error",
        "fuzz/test_corpus.py::test_every_mutation_has_a_value_or_a_verdict",
    ),
    "T12 metadata": (
        "image/test_inspect.py::test_metadata_goes_and_every_pixel_stays",
        "image/test_payload.py::test_a_stripped_payload_has_the_same_pixels",
    ),
    "T13 a page that takes quadratic time": ("html/test_tokenizer.py::test_hostile_pages_take_linear_time",),
    "T14 a page that breaks a parser": (
        "html/test_tokenizer.py::test_no_markup_raises",
        "html/test_tokenizer.py::test_no_text_raises_and_every_span_lies_in_it",
        "fuzz/test_corpus.py::test_every_input_of_the_corpus_has_a_value_or_a_verdict",
    ),
    "T15 an image that is only shown as text": ("html/test_scan.py::test_a_trap_is_read_as_browsers_do",),
    "T16 more images than are wanted": (
        "run/test_publish_budget.py::test_a_plan_over_max_uploads_is_refused_as_a_whole",
        "front_ends/test_cli.py::test_over_max_uploads_nothing_at_all_is_uploaded",
    ),
    "T17 a configuration that redirects the key": (
        "net/test_download_addresses.py::test_a_foreign_address_is_refused_before_a_connection_is_made",
        "net/test_download_addresses.py::test_the_configuration_cannot_allow_an_address",
        HERE + "test_files_of_a_configuration_stay_in_the_project",
    ),
    "T18 a lock that names another image": (
        "run/test_care.py::test_verify_tells_the_living_from_the_dead",
        HERE + "test_verify_finds_an_image_of_another_size",
    ),
    "T19 a hostile lock": (
        "records/test_lock.py::test_a_hostile_line_is_one_error_that_names_the_line",
        "front_ends/test_cli.py::test_broken_line_is_named_before_any_request",
        "front_ends/test_cli.py::test_record_of_another_origin_is_not_used",
    ),
    "T20 a lock whose lines are taken out": (
        "run/test_rehost.py::test_lost_records_leave_one_copy",
        "hosts/test_img402_pay_once.py::test_a_site_whose_lock_and_cache_are_lost_is_not_paid_for_again",
    ),
    "T21 a cache that holds code": (
        "records/test_cache.py::test_a_poisoned_store_goes_aside_and_a_new_one_takes_its_place",
        "records/test_cache.py::test_plain_diskcache_would_have_executed_the_poison",
    ),
    "T22 a cache that names files": (
        "records/test_cache.py::test_a_file_that_a_row_names_is_neither_deleted_nor_written",
        "site/test_page_map.py::test_a_map_copies_nothing_out_of_the_site_and_no_page_into_it",
        "site/test_page_map.py::test_a_map_puts_nothing_into_a_page_but_urls_where_urls_are",
        "site/test_page_map.py::test_restoring_copies_only_the_image_that_was_removed",
    ),
    "T23 a cache with settings and triggers": (
        "records/test_cache.py::test_settings_in_the_database_do_not_reach_the_disk",
        "records/test_cache.py::test_whatever_bytes_a_store_holds_it_loads_and_the_next_record_is_kept",
    ),
    "T24 a cache that contradicts the lock": (
        HERE + "test_a_record_of_the_cache_alone_is_confirmed_and_the_lock_wins",
    ),
    "T25 a hostile URL": (
        "hosts/test_imgpro_trust.py::test_no_hostile_url_is_accepted",
        "hosts/test_imageupload_trust.py::test_no_hostile_url_is_accepted",
        "hosts/test_img402.py::test_no_hostile_url_is_accepted",
        "hosts/test_s3_trust.py::test_no_other_text_is_an_images_url",
    ),
    "T26 a page in place of an image": ("hosts/test_imgpro_trust.py::test_a_page_about_the_image_is_refused",),
    "T27 a redirect": (
        "net/test_client.py::test_a_redirect_is_an_answer_and_no_secret_reaches_its_target",
        "hosts/test_imgpro_trust.py::test_a_redirect_never_takes_the_key_along",
        "hosts/test_imageupload_trust.py::test_a_redirect_never_takes_the_key_along",
        "hosts/test_img402_paid.py::test_neither_payment_nor_token_follows_a_redirect",
        "hosts/test_s3_errors.py::test_a_redirect_is_not_followed",
    ),
    "T28 a payment other than agreed": (
        "hosts/test_img402_x402.py::test_ten_thousand_mutated_challenges_are_all_refused",
        "hosts/test_img402_paid.py::test_mutated_challenges_over_http_get_no_signature",
    ),
    "T29 a payment that is asked for twice": (
        "hosts/test_img402_pay_once.py::test_a_build_that_is_killed_at_a_step_uploads_and_pays_once_with_the_next",
        "hosts/test_img402_pay_once.py::test_a_build_on_another_machine_pays_nothing_for_what_was_paid",
        "hosts/test_img402_pay_once_hostile.py::test_however_a_till_cheats_and_whoever_asks_again_one_payment_settles",
        "hosts/test_img402_paid.py::test_a_second_402_after_the_settlement_is_never_signed_again_in_the_run",
    ),
    "T30 a payment that is valid too long": (
        "hosts/test_img402_x402.py::test_a_payment_is_valid_for_ten_minutes_at_most",
        "hosts/test_img402_x402.py::test_an_offer_that_fails_one_check_is_refused",
    ),
    "T31 words that a log obeys": (
        HERE + "test_no_text_of_a_stranger_commands_a_log",
        "hosts/test_imageupload_trust.py::test_words_of_the_host_are_printed_on_one_harmless_line",
    ),
    "T32 an answer without an end": (
        "hosts/test_mutated_answers.py::test_a_mutated_answer_ends_as_an_image_of_the_host_or_as_one_printable_line",
        "net/test_wire_faults.py::test_a_fault_ends_in_time_as_an_ambiguous_retry_and_the_next_request_succeeds",
        "hosts/test_answers.py::test_json_that_readers_disagree_on_is_refused",
    ),
    "T33 a wait without an end": (
        "hosts/test_answers.py::test_a_waiting_time_is_read_against_the_hosts_clock",
        HERE + "test_no_waiting_time_holds_a_build_up",
    ),
    "T34 an answer that drips": (
        "net/test_wire_faults.py::test_the_last_wait_ends_at_the_deadline_too",
        "trust/test_bounds.py::test_a_host_that_never_ends_its_answers_takes_neither_time_nor_memory",
    ),
    "T35 one URL for two images": (HERE + "test_a_url_that_stands_for_another_image_is_refused",),
    "T36 cookies": ("net/test_client.py::test_a_cookie_is_not_sent_back",),
    "T37 a bad certificate": (
        "net/test_wire_tls.py::test_a_bad_certificate_stops_before_anything_is_sent",
        "net/test_wire_tls.py::test_https_goes_through_the_proxy_and_http_does_not",
    ),
    "T38 a .netrc": ("net/test_client.py::test_the_environment_of_the_process_and_netrc_change_nothing",),
    "T39 a key in a traceback or a log": (
        "net/test_client_hidden.py::test_what_a_host_repeats_of_a_request_is_hidden_before_anybody_reads_it",
        "trust/test_secrets.py::test_a_credential_is_nowhere_though_the_host_repeats_it_and_every_logger_is_on",
        "trust/test_secrets.py::test_a_credential_of_a_wrong_shape_is_refused_and_not_shown",
    ),
    "T40 secrets that follow from the key": (
        "hosts/test_img402_paid.py::test_github_is_asked_to_hide_the_payment_and_the_token_before_they_are_used",
    ),
    "T41 a journal in the cache": (
        "hosts/test_img402_journal.py::test_a_place_that_git_commits_or_ci_caches_is_refused_unless_it_is_named",
        "hosts/test_img402_journal.py::test_file_and_folder_are_the_users_alone",
    ),
    "T42 a build of a pull request": (
        "test_environment.py::test_each_services_own_variable_tells_a_pull_request",
        "run/test_rehost.py::test_pull_request_sends_nothing_though_a_key_is_there",
    ),
    "T43 a page that forbids the host": (
        "html/test_policy.py::test_a_policy_without_the_host_blocks_it",
        "html/test_scan.py::test_what_asks_for_cors_is_known",
    ),
    "T44 names and bytes that are only alike": (
        "run/test_plan.py::test_the_same_bytes_are_uploaded_once_whatever_their_paths",
        "run/test_plan.py::test_other_bytes_are_another_upload_whatever_their_name",
        "test_urls.py::test_letters_are_neither_folded_nor_normalised",
    ),
}


@cache
def names(file: str) -> frozenset[str]:
    """List the tests that a file has, also those in classes."""
    parsed = ast.parse((TESTS / file).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(parsed) if isinstance(node, ast.FunctionDef))


def test_every_threat_has_its_number() -> None:
    assert [threat.partition(" ")[0] for threat in THREATS] == [f"T{number}" for number in range(1, 45)]


@pytest.mark.parametrize("threat", THREATS)
def test_a_threats_tests_are_there(threat: str) -> None:
    missing = [test for test in THREATS[threat] if test.partition("::")[2] not in names(test.partition("::")[0])]
    assert THREATS[threat]
    assert missing == []


@pytest.fixture
def project(tmp_path: Path):
    with ImgPro("images") as host:
        yield Project(tmp_path / "project", host)


WAYS = (
    *("../secret.png", "../../secret.png", "..%2fsecret.png", "%2e%2e/secret.png", "%252e%252e/secret.png"),
    *("..\\secret.png", "..%5csecret.png", "images/../../secret.png", "./.././secret.png", "//secret.png"),
    *("{root}/secret.png", "file://{root}/secret.png", "/../secret.png", "images/%00/../../secret.png"),
    *(
        "images/link.png",
        "images/linked/secret.png",
        "images/chain.png",
        "....//secret.png",
        "\\\\localhost\\secret.png",
    ),
)


def test_no_path_out_of_the_site_is_uploaded(project: Project) -> None:
    """The secret is a good image, so that only where it lies can keep it."""
    root = project.root
    written = "".join(f'<img src="{way.format(root=root)}">' for way in WAYS)
    write(root, {"secret.png": picture(99), "site/index.html": written, "site/images/own.png": picture(1)})
    images = project.site / "images"
    (images / "link.png").symlink_to(root / "secret.png")
    (images / "linked").symlink_to(root)
    (images / "chain.png").symlink_to(images / "link.png")
    result = project.build()
    assert project.host.copies == {}
    assert (project.site / "index.html").read_text() == written
    assert {notice.code for notice in result.notices} == {"origin"}


@pytest.mark.parametrize("option", ["lock", "cache_dir", "report"])
@pytest.mark.parametrize("place", ["/etc/imghost.json", "/usr/x.json", "../../../../../../etc/x.json"])
def test_files_of_a_configuration_stay_in_the_project(project: Project, option: str, place: str) -> None:
    built_site(project.site)
    with pytest.raises(SettingsError, match="leads out of the project"):
        project.build(**{option: place})
    assert project.host.server.log == []


def test_verify_finds_an_image_of_another_size(project: Project) -> None:
    """A pull request may put another image of the same host in the lock."""
    built_site(project.site)
    project.build()
    write(project.root, {"other/index.html": '<img src="a.png">', "other/a.png": picture(7, (64, 64))})
    other = Project(project.root, project.host, name="other")
    other.build(lock="other.lock")
    lock = project.root / "imghost.lock"
    theirs = next(iter(copy for copy in project.host.copies.values() if copy.width == 64))
    ours = next(iter(copy for copy in project.host.copies.values() if copy.width == 40))
    lock.write_text(lock.read_text().replace(f"/t/{ours.id}.", f"/t/{theirs.id}."))
    done = project.run()
    assert done.returncode == 0
    verified = [word if word != "rehost" else "verify" for word in project.command() if word != project.name]
    found = subprocess.run(verified, cwd=project.root, env=project.environ(), capture_output=True, text=True)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "64 x 64" in found.stdout + found.stderr


def test_a_record_of_the_cache_alone_is_confirmed_and_the_lock_wins(project: Project) -> None:
    before = tree(built_site(project.site))
    project.build()
    lock = project.root / "imghost.lock"
    kept = lock.read_text()
    # The cache is right, the lock lost: its URLs are fetched before they count.
    lock.unlink()
    built_site(project.site)
    stored = len(project.host.uploads)
    project.build()
    assert len(project.host.uploads) == stored
    assert lock.read_text() == kept
    # The cache's URLs are dead: they do not count.
    lock.unlink()
    project.host.copies.clear()
    built_site(project.site)
    project.build()
    crawl(project.site, before, project.host)
    assert len(project.host.copies) == 3


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "text", ["\n::stop-commands::x\x1b[2J", "::add-mask::a", "a\r\n##[error]b", "\u202e\x9b31m", "x" * 9999]
)
def test_no_text_of_a_stranger_commands_a_log(project: Project, text: str) -> None:
    assert printable(text).isprintable()
    assert not printable(text).startswith("::")
    built_site(project.site)
    refusal = Reply.json({"error": {"code": "validation_error", "type": "validation_error", "message": text}}, 422)
    project.host.answer_next(*[refusal] * 12)
    done = project.run()
    lines = done.stderr.splitlines() + done.stdout.splitlines()
    assert not [line for line in lines if line.startswith("::") or "\x1b" in line or "\x9b" in line or len(line) > 900]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("seconds", ["999999999", "-5", "1e9", "nan", "Wed, 21 Oct 9999 07:28:00 GMT", "61"])
def test_no_waiting_time_holds_a_build_up(project: Project, seconds: str) -> None:
    before = tree(built_site(project.site))
    refusal = Reply.json({"error": {"code": "rate_limited", "type": "quota_error", "message": "slow"}}, 429)
    project.host.answer_next(*[Reply(429, refusal.body, (*refusal.headers, ("Retry-After", seconds)))] * 40)
    done = project.run(timeout=100)  # a minute where the host does not say how long
    assert done.returncode == 0, done.stderr
    crawl(project.site, before, project.host)


def test_a_url_that_stands_for_another_image_is_refused(project: Project) -> None:
    before = tree(built_site(project.site))
    url = f"{project.host.server.url}/t/constant.png"
    media = {"id": "constant", "object": "image", "url": url, "width": 40, "height": 30}
    project.host.answer_next(*[Reply.json(media, 201)] * 12)
    result = project.build(verify=False, concurrency=1)
    assert (
        len([failure for failure in result.report.failures if "already belongs to another image" in failure.reason])
        == 2
    )
    after = tree(project.site)
    pages = ("index.html", "below/index.html")
    pairs = [pair for page in pages for pair in zip(references(before[page]), references(after[page]), strict=True)]
    assert {was.rpartition("/")[2] for was, now in pairs if was != now} in [{"0.png", "copy.png"}, {"1.png"}, {"2.png"}]
