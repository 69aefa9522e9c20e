"""Each row of the security policy is held by tests, and these are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from trust.test_threats import names

TEXT = (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")
HELD: dict[str, tuple[str, ...]] = {
    "files of the build machine": (
        "site/test_images.py::test_a_copy_of_a_file_outside_the_project_stays_with_a_warning",
        "site/test_images.py::test_a_chain_of_links_is_followed_to_its_end",
        "test_files.py::test_a_path_swapped_meanwhile_never_leaks",
        "trust/test_threats.py::test_no_path_out_of_the_site_is_uploaded",
        "image/test_payload.py::test_a_file_changed_while_it_is_read_is_sent_whole_or_not_at_all",
    ),
    "a secret named `.png`": (
        "image/test_inspect.py::test_what_is_no_image_is_refused",
        "image/test_inspect.py::test_a_secret_named_as_an_image_is_not_read_as_one",
        "image/test_inspect.py::test_a_hostile_drawing_is_refused",
    ),
    "what hides in an image": (
        "image/test_inspect.py::test_metadata_goes_and_every_pixel_stays",
        "image/test_inspect.py::test_what_follows_the_end_goes",
    ),
    "a redirected key": (
        "test_settings_credentials.py::test_a_credential_is_refused_and_not_shown",
        "net/test_download_addresses.py::test_a_foreign_address_is_refused_before_a_connection_is_made",
        "net/test_download_addresses.py::test_the_configuration_cannot_allow_an_address",
    ),
    "builds of pull requests": (
        "trust/test_guards.py::test_no_command_asks_the_host_in_a_pull_request_or_a_frozen_build",
        "test_environment.py::test_each_services_own_variable_tells_a_pull_request",
    ),
    "a hostile host": (
        "net/test_client.py::test_a_redirect_is_an_answer_and_no_secret_reaches_its_target",
        "net/test_client.py::test_fetch_follows_redirects_on_the_same_origin_only",
        "trust/test_bounds.py::test_a_host_that_never_ends_its_answers_takes_neither_time_nor_memory",
        "trust/test_threats.py::test_no_waiting_time_holds_a_build_up",
        "hosts/test_mutated_answers.py::test_a_mutated_answer_ends_as_an_image_of_the_host_or_as_one_printable_line",
        "trust/test_threats.py::test_a_url_that_stands_for_another_image_is_refused",
        "run/test_derived.py::test_answer_counts_only_if_a_browser_would_show_the_image",
        "trust/test_confirm.py::test_a_url_that_serves_no_such_image_stays_out_of_pages_and_the_next_build_asks_again",
    ),
    "somebody on the network": (
        "net/test_wire_tls.py::test_a_bad_certificate_stops_before_anything_is_sent",
        "net/test_download.py::test_the_address_that_was_checked_is_the_one_that_is_connected_to",
        "net/test_download.py::test_every_kind_of_redirect_is_checked",
        "trust/test_guards.py::test_no_address_of_this_network_is_given_to_a_host_to_fetch",
    ),
    "text that commands a CI or a terminal": (
        "front_ends/test_printed_lines.py::test_no_command_prints_a_command_about_five_thousand_files",
        "front_ends/test_printed_lines.py::test_no_line_about_a_rude_hosts_refusals_is_a_command",
        "front_ends/test_printed_lines.py::test_no_plugin_logs_a_command_about_names_and_answers",
    ),
    "a till that cheats": (
        "hosts/test_img402_x402.py::test_an_offer_that_fails_one_check_is_refused",
        "hosts/test_img402_x402.py::test_an_amount_over_the_cap_names_both_and_a_smaller_one_is_paid",
        "hosts/test_img402_paid.py::test_the_payment_is_sent_as_the_same_bytes_each_time",
        "hosts/test_img402_pay_once.py::test_a_build_that_is_killed_at_a_step_uploads_and_pays_once_with_the_next",
        "hosts/test_img402_pay_once_hostile.py::test_however_a_till_cheats_and_whoever_asks_again_one_payment_settles",
    ),
    "paying twice": (
        "hosts/test_img402_identity.py::test_two_changes_while_a_payment_is_open_pay_once",
        "hosts/test_img402_identity.py::test_a_change_after_the_uploads_reply_was_lost_pays_once",
        "hosts/test_img402_paid.py::test_a_renewal_is_due_by_what_the_host_said_and_not_by_what_a_lock_says",
        "hosts/test_img402_journal.py::test_only_the_user_can_allow_another_attempt",
        "trust/test_money_kills.py::test_builds_that_are_killed_and_lose_what_they_know_pay_for_each_image_once",
    ),
    "spending more than allowed": (
        "hosts/test_img402_journal.py::test_a_build_cannot_spend_more_than_its_budget",
        "hosts/test_img402_journal.py::test_a_clock_that_steps_back_frees_no_budget",
        "hosts/test_img402_journal.py::test_what_another_lock_has_open_counts_and_what_it_finished_does_not",
        "hosts/test_img402_pay_once.py::test_a_budget_for_one_image_holds_between_processes",
    ),
    "a poisoned cache": (
        "records/test_cache.py::test_a_poisoned_store_goes_aside_and_a_new_one_takes_its_place",
        "trust/test_guards.py::test_a_strangers_store_is_opened_with_every_fence_up",
        "trust/test_threats.py::test_a_record_of_the_cache_alone_is_confirmed_and_the_lock_wins",
        "site/test_page_map.py::test_a_map_puts_nothing_into_a_page_but_urls_where_urls_are",
        "site/test_page_map.py::test_a_map_has_nothing_deleted_but_images_of_the_site",
        "run/test_repeat.py::test_a_map_that_a_stranger_has_changed_puts_nothing_into_a_page",
    ),
    "a broken lock": (
        "records/test_lock.py::test_a_hostile_line_is_one_error_that_names_the_line",
        "run/test_reviewed_lock.py::test_a_record_from_the_future_is_an_error_that_names_the_line",
        "front_ends/test_cli.py::test_broken_line_is_named_before_any_request",
        "front_ends/test_cli.py::test_record_of_another_origin_is_not_used",
    ),
    "a swapped line of the lock": (
        "run/test_reviewed_lock.py::test_a_pull_requests_changes_alone_are_fetched",
        "run/test_reviewed_lock.py::test_a_host_is_held_to_what_it_served_at_first",
        "run/test_reviewed_lock.py::test_a_swap_that_takes_the_served_digest_along_is_told_by_its_line",
    ),
    "a stranger in a shared store": (
        "run/test_sharing_trouble.py::test_an_entry_that_is_not_ours",
        "run/test_sharing_trouble.py::test_a_record_whose_url_is_not_the_hosts_is_not_used_and_its_project_named",
        "run/test_sharing_trouble.py::test_a_record_of_another_size_is_not_used",
    ),
    "files that are not ours": (
        "trust/test_overwriting.py::test_a_report_overwrites_no_file_of_somebody_elses",
        "trust/test_overwriting.py::test_a_link_in_the_directorys_place_leads_nowhere",
        "trust/test_overwriting.py::test_a_page_that_is_a_link_out_of_the_site_leaves_its_target_alone",
        "trust/test_threats.py::test_files_of_a_configuration_stay_in_the_project",
    ),
    "a machine that fails": (
        "trust/test_kills.py::test_a_build_killed_at_any_call_is_completed_by_the_next_without_a_second_copy",
        "trust/test_kills_in_place.py::test_no_half_written_page_survives_the_next_build",
        "trust/test_money_faults.py::test_a_build_that_the_kernel_kills_for_its_memory_pays_once_with_the_next",
        "trust/test_money_faults.py::test_a_build_that_pays_and_in_which_any_call_fails_pays_once_with_the_next",
        "trust/test_disks.py::test_a_disk_that_fills_up_at_any_step_loses_nothing",
        "trust/test_power.py::test_no_record_is_lost_with_the_power",
        "trust/test_power.py::test_what_a_call_has_written_for_good_is_there_after_a_loss_of_power",
        "hosts/test_img402_journal.py::test_a_write_is_synced_with_its_folder",
    ),
    "secrets in logs": (
        "trust/test_secrets.py::test_a_credential_is_nowhere_though_the_host_repeats_it_and_every_logger_is_on",
        "trust/test_secrets.py::test_a_credential_of_a_wrong_shape_is_refused_and_not_shown",
        "trust/test_canaries.py::test_what_leaks_fails_and_what_does_not_passes",
    ),
    "a changed release": (
        "project/test_supply_chain.py::test_every_action_is_pinned_by_its_commit_and_names_its_version",
        "project/test_supply_chain.py::test_what_publishes_runs_nothing_of_ours_and_takes_what_was_built_apart_from_the_tests",
        "project/check_wheel.py::check_same",
    ),
}
"""What the policy's rows begin with -> the tests that fail where it does not hold."""


def test_every_row_of_the_policy_is_held() -> None:
    assert re.findall(r"^\| \*\*(.+?)\*\* \| .+ \|$", TEXT, re.M) == list(HELD)


@pytest.mark.parametrize("row", HELD)
def test_a_rows_tests_are_there(row: str) -> None:
    assert [test for test in HELD[row] if test.partition("::")[2] not in names(test.partition("::")[0])] == []
