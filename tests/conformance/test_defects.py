"""The suites find defects: each is planted in a port in memory, and the test that is for it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = Path(__file__).with_name("defective.py")

ANSWERS = "test_each_volume_that_is_asked_about_has_an_answer"
RESERVED = "test_a_reserved_volume_is_neither_deleted_nor_attached[AccessMode.READ]"
TAKEN_AWAY = "test_metadata_is_taken_away_and_the_rest_stays"
GIVEN_BACK = "test_a_reservation_is_given_back_by_its_id_alone_and_more_than_once"
NO_RESERVATION = "test_an_attachment_is_no_reservation_and_keeps_one_from_being_made"
PROJECTS = "test_an_administrator_lists_the_volumes_of_each_project_and_sees_where_they_are"
FILTER = "test_only_those_that_have_all_of_the_metadata_are_listed"
NO_ADMINISTRATOR = "test_a_user_who_is_no_administrator_cannot_list_even_the_own_project"
SHOWN = "test_a_list_shows_locations_as_they_are_saved_and_showing_the_image_migrates_them"
ADDED = "test_an_added_location_is_of_the_store_of_its_volume_whatever_it_says"
REFUSED = "test_a_change_that_is_refused_changes_nothing"
REMOVED = "test_a_removed_location_takes_its_volume_with_it_also_if_another_location_names_it"
DEACTIVATED = "test_an_active_image_is_deactivated_and_once_more_is_no_error"
CHANGED = "test_those_that_changed_since_a_time_are_listed_with_their_locations"
EXTENTS = "test_its_extents_are_the_whole_range_in_order_and_its_holes_read_as_zeros"
DEFECTS = {
    "HoldingOmitsMissing": ANSWERS,
    "HoldingCannotTellMissing": "test_a_text_that_cannot_be_the_id_of_a_volume_is_not_found",
    "HoldingFindsInItsOwnOrder": "test_the_volumes_that_exist_are_found_in_the_order_asked_for",
    "HoldingReplacesMetadata": TAKEN_AWAY,
    "HoldingRefusesMissingKeys": TAKEN_AWAY,
    "HoldingReservesNothing": RESERVED,
    "HoldingDeletesWhatIsReserved": RESERVED,
    "HoldingCountsAttachments": NO_RESERVATION,
    "HoldingCountsOthers": NO_RESERVATION,
    "HoldingGivesBackOnce": GIVEN_BACK,
    "HoldingGivesBackByVolume": GIVEN_BACK,
    "HoldingCallsErrorsBusy": "test_a_volume_that_has_failed_is_not_reserved_however_long_it_is_asked_for",
    "HoldingCallsBusyErrors": RESERVED,
    "HoldingSparesReadOnly": "test_a_read_only_volume_is_reserved_as_any_other",
    "HoldingLocksReserved": "test_the_metadata_of_a_reserved_volume_can_be_changed",
    "TemplatingListsAll": PROJECTS,
    "TemplatingListsItsOwn": PROJECTS,
    "TemplatingAnyMetadata": FILTER,
    "TemplatingKeysOnly": FILTER,
    "TemplatingHidesHosts": PROJECTS,
    "TemplatingOnlyAvailable": "test_a_volume_is_listed_from_its_beginning_and_not_after_its_end",
    "TemplatingGivesUsersNothing": NO_ADMINISTRATOR,
    "TemplatingShowsUsersAll": NO_ADMINISTRATOR,
    "LocatingListsMigrated": f"{SHOWN}[from one store]",
    "LocatingNeverMigrates": f"{SHOWN}[of a store that was renamed]",
    "LocatingShowsAndForgets": f"{SHOWN}[from one store]",
    "LocatingRepairsAll": f"{SHOWN}[the URL names another store than the metadata]",
    "LocatingKeepsTheDate": f"{SHOWN}[from one store]",
    "LocatingPrefersTheUrl": f"{SHOWN}[retyped, without a store]",
    "LocatingIgnoresIds": "test_all_images_are_listed_or_those_of_the_given_ids_that_exist",
    "LocatingTakesAsSent": ADDED,
    "LocatingLosesMetadata": ADDED,
    "LocatingRemembersPositions": "test_a_location_that_is_added_in_front_comes_last",
    "LocatingTakesWhatIsNotThere": REFUSED,
    "LocatingLeavesQueued": "test_a_queued_image_becomes_active_with_its_first_location",
    "LocatingDeletesNothing": REMOVED,
    "LocatingRemovesTheLast": "test_the_last_location_is_not_removed",
    "LocatingForgetsWhatItCannotDelete": ("test_the_volume_of_a_location_that_is_reserved_stays_and_the_location_too"),
    "LocatingDeletesWhatIsHeld": "test_the_driver_of_this_library_deletes_no_volume_that_is_held",
    "LocatingShowsAnyway": "test_a_glance_that_shows_no_locations_lists_none_and_changes_none",
    "LocatingInventsImages": "test_an_image_that_does_not_exist_is_not_found",
    "RepairingStaysActive": DEACTIVATED,
    "RepairingDeactivatesOnce": DEACTIVATED,
    "RepairingDeactivatesQueued": "test_an_image_without_data_is_not_deactivated",
    "RepairingStaysListed": "test_an_image_that_is_deleted_is_not_listed_any_more",
    "RepairingDeletesAnything": "test_what_does_not_exist_is_neither_deactivated_nor_deleted",
    "RepairingListsAllTimes": CHANGED,
    "RepairingListsNoChange": CHANGED,
    "UsingWritesWhenReading": "test_nothing_is_written_through_a_device_opened_for_reading",
    "UsingTakesNothingAtItsEnd": "test_nothing_is_written_after_its_end",
    "UsingMovesData": "test_what_was_written_and_flushed_is_read_back_and_nothing_else_has_changed[3-7]",
    "UsingReadsAfterItsEnd": "test_it_is_read_up_to_its_end_and_no_further",
    "UsingClearsNothing": "test_a_cleared_range_reads_as_zeros_and_its_neighbors_do_not",
    "UsingIsAlwaysTrusted": "test_a_device_that_is_distrusted_often_enough_clears_nothing",
    "UsingHasNoData": f"{EXTENTS}[0-None]",
    "UsingForgetsTheRest": f"{EXTENTS}[0-None]",
    "UsingClearsLittle": "test_its_attributes_have_values_that_the_engine_can_use",
    "UsingBelongsToAThread": "test_another_thread_than_the_one_that_opened_it_can_use_it",
}


class Failures:
    """The tests that failed, and all that ran."""

    def __init__(self) -> None:
        self.ran: set[str] = set()
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.ran.add(report.nodeid.partition("::")[2])
            if report.failed:
                self.failed.add(report.nodeid.partition("::")[2])


def test_each_planted_defect_of_a_port_is_found_by_its_test() -> None:
    failures = Failures()
    planted = {f"{name}::{test}" for name, test in DEFECTS.items()}
    plain = ["-c", os.devnull, f"--rootdir={ROOT}", "--import-mode=importlib", "-W=ignore", "-pno:cacheprovider"]
    plain += [
        "-pno:randomly",
        "-o",
        "python_classes=Holding* Templating* Locating* Repairing* Using*",
        "--quiet",
        "--no-summary",
    ]
    pytest.main([*plain, *(f"{SUITE}::{each}" for each in planted)], [failures])
    assert failures.ran == planted
    assert failures.failed == planted
