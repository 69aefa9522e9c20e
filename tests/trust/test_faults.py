"""Each fault that a build has to outlive, by its number in the model of faults, with the tests that show it does."""

from __future__ import annotations

import pytest
from trust.test_threats import names

ALL_HOSTS = (
    "hosts/test_conformance_faults.py::test_every_fault_is_outlived_and_leaves_no_more_copies_than_it_must",
    "net/test_wire_faults.py::test_a_fault_ends_in_time_as_an_ambiguous_retry_and_the_next_request_succeeds",
)
OLDER = "hosts/test_imgpro_errors.py::test_each_error_of_the_older_generation_has_its_action"
NEWER = "hosts/test_imgpro_errors.py::test_each_error_of_the_newer_generation_has_its_action"
UPLOADER = "hosts/test_imageupload_errors.py::test_each_status_has_its_action"
IMG402 = "hosts/test_img402.py::test_every_documented_error_is_classified"
BARE = "hosts/test_imgpro_errors.py::test_without_a_code_the_status_decides"
EVERY_STATUS = (OLDER, NEWER, BARE, UPLOADER, IMG402)
PAID = "hosts/test_img402_paid.py::"
COPIES = "hosts/test_imgpro_copies.py::"
BOUNDS = "trust/test_bounds.py::"
CONFIRM = "trust/test_confirm.py::"
THREADED = "trust/test_threaded_kills.py::"
INCREMENTAL = "builds/test_incremental_builds.py::"
DISKS = "trust/test_disks.py::"
TROUBLE = "trust/test_trouble.py::"
MEANWHILE = "trust/test_meanwhile.py::"
MONEY = "trust/test_money_faults.py::"

FAULTS: dict[str, tuple[str, ...]] = {
    "F1 nobody listens": (
        BOUNDS + "test_a_host_that_is_not_there_ends_the_build_in_time",
        "net/test_wire_faults.py::test_a_refused_connection_is_retried_and_not_ambiguous",
        "run/test_rehost.py::test_dead_host_ends_soon_and_leaves_the_site",
    ),
    "F2 no such name": ("net/test_wire_faults.py::test_a_name_that_does_not_resolve_is_retried_and_not_ambiguous",),
    "F3 a bad certificate": ("net/test_wire_tls.py::test_a_bad_certificate_stops_before_anything_is_sent",),
    "F4 a reset before or in the body": (
        *ALL_HOSTS,
        "hosts/test_conformance_faults.py::test_a_fault_before_the_body_is_a_value_too",
    ),
    "F5 an answer that is lost after the store": (
        *ALL_HOSTS,
        COPIES + "test_an_answer_lost_after_the_store_leaves_one_copy",
        "hosts/test_imageupload_runs.py::test_every_answer_lost_leaves_one_copy_of_each_image",
        PAID + "test_whatever_reply_is_lost_the_image_is_uploaded_and_paid_once",
        "trust/test_weather.py::test_a_site_is_published_in_bad_weather_and_completed_in_good",
    ),
    "F6 no answer after the store": ALL_HOSTS,
    "F7 an answer that drips": (
        *ALL_HOSTS,
        BOUNDS + "test_a_host_that_never_ends_its_answers_takes_neither_time_nor_memory",
    ),
    "F8 a refusal before the body is sent": (
        "net/test_wire_faults.py::test_an_answer_that_comes_before_the_body_is_sent_is_read",
        "hosts/test_conformance_faults.py::test_a_fault_before_the_body_is_a_value_too",
    ),
    "F9 a bad parameter or no file": EVERY_STATUS,
    "F10 a file that is too large": (
        *EVERY_STATUS,
        "hosts/test_imgpro_errors.py::test_a_read_only_key_and_an_empty_quota_stop",
    ),
    "F11 a refused key": (
        *EVERY_STATUS,
        "hosts/test_imageupload_account.py::test_a_refused_key_stops_before_the_first_upload",
    ),
    "F12 a second 402": (
        PAID + "test_a_second_402_after_the_settlement_is_never_signed_again_in_the_run",
        PAID + "test_a_402_at_the_upload_asks_for_the_token_once_more_and_never_pays",
    ),
    "F13 forbidden for one of three reasons": (
        "hosts/test_imageupload_errors.py::test_one_forbidden_image_stays_local_and_its_remedy_names_the_three_causes",
        "hosts/test_imageupload_errors.py::test_two_forbidden_images_in_a_row_stop_the_host",
    ),
    "F14 an upload address that is gone": EVERY_STATUS,
    "F15 too early, or too slow": EVERY_STATUS,
    "F16 a duplicate": (
        COPIES + "test_the_existing_media_is_found_wherever_a_409_has_it",
        COPIES + "test_a_duplicate_of_another_size_is_not_taken_for_the_image",
    ),
    "F17 a conflict of keys": (
        COPIES + "test_a_key_conflict_is_answered_with_a_new_key_once",
        COPIES + "test_a_key_in_progress_is_waited_for",
    ),
    "F18 a type or a content that is not taken": EVERY_STATUS,
    "F19 too many requests": (
        "hosts/test_answers.py::test_a_waiting_time_is_read_against_the_hosts_clock",
        "hosts/test_imgpro_errors.py::test_the_longest_wait_that_makes_sense_counts",
        "hosts/test_imageupload_errors.py::test_a_rate_limit_waits_as_told",
        "trust/test_threats.py::test_no_waiting_time_holds_a_build_up",
    ),
    "F20 a quota that is used up": (
        "front_ends/test_cli.py::test_used_up_quota_is_one_warning_with_the_link",
        "hosts/test_imageupload_errors.py::test_the_months_quota_stops_with_a_whole_link",
    ),
    "F21 an error of the host's own": (
        *EVERY_STATUS,
        "hosts/test_imgpro_errors.py::test_a_503_that_names_a_time_is_waited_for",
        PAID + "test_an_error_after_the_settlement_is_retried_with_the_same_payment",
    ),
    "F22 a page in place of an answer": (
        *ALL_HOSTS,
        "hosts/test_imgpro_errors.py::test_a_success_without_an_image_may_have_stored_it",
    ),
    "F23 an answer that is cut, or lacks the URL": (
        *ALL_HOSTS,
        "hosts/test_img402.py::test_a_success_that_makes_no_sense_is_retried_as_ambiguous",
        "hosts/test_imageupload_errors.py::test_a_success_that_makes_no_sense_is_retried_as_ambiguous",
        "hosts/test_mutated_answers.py::test_a_mutated_answer_ends_as_an_image_of_the_host_or_as_one_printable_line",
    ),
    "F24 an image that ends sooner than asked": (
        "hosts/test_imgpro_retention.py::test_an_image_that_ends_sooner_than_asked_stops_the_rest",
        "hosts/test_img402.py::test_an_image_that_ends_sooner_than_asked_is_an_error_that_names_the_remedy",
        "hosts/test_imageupload_errors.py::test_an_image_that_ends_sooner_than_asked_stops_with_what_the_host_allows",
    ),
    "F25 an image that is still worked on": (
        "hosts/test_imgpro.py::test_an_image_that_is_still_worked_on_has_no_size_yet",
        "run/test_rehost.py::test_store_that_never_confirms_keeps_the_image_local_and_uploads_once",
    ),
    "F26 another status of success": (
        "hosts/test_img402.py::test_any_success_status_will_do",
        "hosts/test_imageupload.py::test_any_success_status_will_do",
    ),
    "F27 an image that is served a moment later": (
        "trust/test_confirm.py::test_an_image_that_is_served_a_moment_later_is_waited_for",
        "run/test_rehost.py::test_store_that_never_confirms_keeps_the_image_local_and_uploads_once",
    ),
    "F28 a URL that serves something else": (
        CONFIRM + "test_a_url_that_serves_no_such_image_stays_out_of_pages_and_the_next_build_asks_again",
    ),
    "F29 a token that ran out": (PAID + "test_a_token_that_ran_out_is_asked_for_again_with_the_same_payment",),
    "F30 a settled payment whose token is lost": (
        PAID + "test_whatever_reply_is_lost_the_image_is_uploaded_and_paid_once",
        PAID + "test_an_image_that_the_payment_bought_already_is_taken",
    ),
    "F31 a payment that is refused": (
        PAID + "test_a_wallet_without_the_money_is_named_and_stops_the_build",
        PAID + "test_any_other_refusal_of_a_payment_stops_the_signing",
        PAID + "test_a_settled_payment_that_the_host_forgot_is_paid_once_and_ends_as_lost",
    ),
    "F32 a budget that is reached": (
        "run/test_publish_paid.py::test_build_over_max_cost_sends_nothing_and_names_the_line_to_change",
        "hosts/test_img402_pay_once.py::test_a_budget_for_one_image_holds_between_processes",
    ),
    "F33 a quota that runs out in the middle": (
        "run/test_plan_expiry.py::test_quota_for_seven_of_ten_hosts_seven_and_the_rest_next_month",
    ),
    "F34 a proxy that does not lead on": (
        "net/test_wire_tls.py::test_a_proxy_that_does_not_lead_on_stops_and_is_named_without_its_password",
    ),
    "F35 a wrong clock": (
        "run/test_plan_expiry.py::test_wrong_clock_renews_nothing",
        PAID + "test_nothing_is_signed_with_a_wrong_clock",
    ),
    "F36 a clock that jumps": (
        BOUNDS + "test_a_clock_that_jumps_hurries_nothing_and_holds_nothing_up",
        BOUNDS + "test_a_clock_that_jumps_ahead_while_images_go_up_renews_nothing",
    ),
    "F37 no room for an intent": (
        DISKS + "test_where_an_upload_cannot_be_noted_none_is_made",
        "hosts/test_img402_journal.py::test_a_full_disk_signs_nothing_and_keeps_what_was_there",
    ),
    "F38 no room for a record or the lock": (
        DISKS + "test_where_a_record_cannot_be_kept_no_more_is_sent_and_nothing_is_stored_twice",
        DISKS + "test_a_lock_on_a_full_disk_costs_no_image_and_its_lines_are_printed",
        PAID + "test_a_journal_that_fails_after_the_upload_tells_the_url_and_the_next_build_finds_it",
    ),
    "F39 no room for a page": (DISKS + "test_a_page_that_the_disk_has_no_room_for_stays_and_smaller_ones_move",),
    "F40 a write or a sync that fails": (
        "trust/test_errno.py::test_a_build_in_which_any_call_fails_ends_in_order_and_the_next_completes_it",
        MONEY + "test_a_build_that_pays_and_in_which_any_call_fails_pays_once_with_the_next",
        MONEY + "test_a_write_that_is_cut_in_the_middle_loses_no_payment",
        "records/test_cache.py::test_a_full_disk_stops_the_upload_before_it_begins",
        "test_files_whole.py::test_a_full_disk_leaves_the_old_file_and_nothing_else",
    ),
    "F41 a store that another build holds": (
        BOUNDS + "test_a_store_that_another_build_holds_is_waited_for_and_then_left_alone",
        BOUNDS + "test_a_build_that_gets_the_store_in_time_goes_by_what_the_other_has_written",
    ),
    "F42 a broken store": (
        "records/test_cache.py::test_a_poisoned_store_goes_aside_and_a_new_one_takes_its_place",
        "records/test_cache.py::test_whatever_bytes_a_store_holds_it_loads_and_the_next_record_is_kept",
    ),
    "F43 a store that is read-only": (
        DISKS + "test_a_read_only_store_is_read_and_nothing_is_uploaded",
        DISKS + "test_a_store_that_is_read_only_from_the_beginning_hinders_no_page",
        DISKS + "test_mkdocs_goes_by_the_lock_where_the_store_is_read_only",
    ),
    "F44 a site or a page that is read-only": (
        DISKS + "test_a_site_that_is_read_only_stays_as_it_is_and_each_page_is_told",
        DISKS + "test_a_read_only_site_takes_no_copies_either",
        DISKS + "test_a_read_only_page_stays_and_the_others_move",
    ),
    "F45 a lock that was merged badly": (
        "front_ends/test_cli.py::test_broken_line_is_named_before_any_request",
        "records/test_lock.py::test_a_hostile_line_is_one_error_that_names_the_line",
    ),
    "F46 a signal to end": (
        TROUBLE + "test_a_build_that_is_told_to_end_says_so_and_keeps_what_it_earned",
        TROUBLE + "test_an_interrupted_build_waits_five_seconds_at_most_and_the_second_time_not_at_all",
        TROUBLE + "test_a_build_may_be_told_to_end_at_any_step",
    ),
    "F47 a kill": (
        "trust/test_kills.py::test_a_build_killed_at_any_call_is_completed_by_the_next_without_a_second_copy",
        THREADED + "test_builds_killed_at_random_with_eight_threads_are_completed_without_a_second_copy",
        "trust/test_money_kills.py::test_builds_that_are_killed_and_lose_what_they_know_pay_for_each_image_once",
    ),
    "F48 a loss of power": (
        "trust/test_power.py::test_no_record_is_lost_with_the_power",
        "trust/test_power.py::test_the_build_after_a_loss_of_power_completes_the_site",
        "hosts/test_img402_journal.py::test_a_write_is_synced_with_its_folder",
    ),
    "F49 two builds on one machine": (
        "trust/test_concurrency.py::test_eight_builds_on_one_cache_and_lock_store_each_image_once",
        "hosts/test_img402_pay_once.py::test_eight_processes_that_want_one_image_pay_once",
    ),
    "F50 two builds on two machines": (
        "trust/test_concurrency.py::test_two_machines_at_once_store_each_image_once",
        "hosts/test_img402_pay_once.py::test_a_build_on_another_machine_pays_nothing_for_what_was_paid",
        MONEY + "test_where_files_cannot_be_locked_nothing_is_paid_and_one_line_says_why",
    ),
    "F51 a holder of the store that was killed": (
        "records/test_cache.py::test_one_build_at_a_time_and_a_killed_one_holds_nothing",
    ),
    "F52 a site that is half rewritten": (
        TROUBLE + "test_a_half_rewritten_site_ends_as_a_clean_build_would",
        INCREMENTAL + "test_build_after_one_that_was_killed_among_its_pages_leaves_what_a_clean_one_leaves",
    ),
    "F53 files that a killed build left": (
        TROUBLE + "test_what_a_killed_build_left_half_written_is_swept",
        "test_files_whole.py::test_sweeping_deletes_only_old_files_of_our_own_making",
        "test_files_folders.py::test_the_payloads_of_a_killed_build_are_swept_by_the_next",
        "test_files_folders.py::test_the_payloads_of_a_build_that_runs_are_not_swept_by_another",
    ),
    "F54 an image that changes meanwhile": (
        MEANWHILE + "test_an_image_that_changes_while_others_are_sent_stays_local",
        "image/test_payload.py::test_a_file_changed_while_it_is_read_is_sent_whole_or_not_at_all",
    ),
    "F55 an image that goes meanwhile": (
        MEANWHILE + "test_an_image_that_goes_before_it_is_sent_leaves_its_references_as_they_were",
        MEANWHILE + "test_an_image_that_goes_once_it_is_hosted_is_shown_from_the_host",
    ),
    "F56 a parallel build": (
        "front_ends/test_sphinx.py::test_parallel_build_is_the_same",
        "builds/test_layouts.py::test_parallel_sphinx_build_writes_what_a_serial_one_writes",
    ),
    "F57 no memory, no descriptors": (
        BOUNDS + "test_a_build_that_runs_out_of_memory_says_so_and_leaves_a_site_that_works",
        TROUBLE + "test_a_limit_that_is_reached_leaves_a_site_that_works",
        MONEY + "test_a_build_that_pays_in_too_little_memory_says_so_and_pays_once_with_the_next",
        MONEY + "test_a_build_that_the_kernel_kills_for_its_memory_pays_once_with_the_next",
        BOUNDS + "test_a_hundred_thousand_files_beside_the_pages_are_listed_and_no_more",
    ),
    "F58 an output that is closed": (
        TROUBLE + "test_a_closed_or_full_output_leaves_no_page_undone",
        TROUBLE + "test_an_output_that_nobody_reads_leaves_no_page_undone",
    ),
    "F59 strange names and locales": (
        TROUBLE + "test_names_and_pages_that_are_no_text_and_a_plain_locale_are_no_trouble",
        "test_urls.py::test_a_page_in_a_folder_with_a_percent_sign_refers_from_that_folder",
    ),
    "F60 a host that is gone for ever": ("run/test_care.py::test_restore_puts_the_local_references_back",),
}


def test_every_fault_has_its_number() -> None:
    assert [fault.partition(" ")[0] for fault in FAULTS] == [f"F{number}" for number in range(1, 61)]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faults_tests_are_there(fault: str) -> None:
    missing = [test for test in FAULTS[fault] if test.partition("::")[2] not in names(test.partition("::")[0])]
    assert FAULTS[fault]
    assert missing == []
