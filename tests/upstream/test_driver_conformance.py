"""The conformance suite for drivers: a sound driver passes all of it, and each defect is found by what it is."""

from __future__ import annotations

import shutil

import pytest

from tests.upstream.asking import Worker

SUITE = "driver_suite.py"
EXTENDED = "test_a_clone_holds_the_image_and_has_the_size_of_the_new_volume[2]"
FIRST = "test_the_first_volume_makes_a_template_and_is_its_clone"
SHARED = "test_an_image_volume_and_its_clone_do_not_share_what_is_written"
NOTHING_LEFT = "test_if_every_clone_fails_nothing_is_left[RuntimeError]"
CONVERTED = "test_an_image_in_another_format_becomes_a_template_too"
OPTIONS = "test_the_options_of_the_mixin_are_in_the_section_of_the_backend"
DEFECTS = {
    "BehindTheBase": (OPTIONS, EXTENDED, FIRST),
    "OptionsOfItsOwn": (OPTIONS,),
    "Raising": ("test_any_location_is_answered_without_an_error[None]", FIRST),
    "OldStyle": (EXTENDED, NOTHING_LEFT),
    "NeverExtends": (EXTENDED, FIRST),
    "SharedStorage": (SHARED, "test_a_template_does_not_change_with_its_clones"),
    "KeepsHalfClones": (NOTHING_LEFT, "test_if_a_clone_fails_the_next_image_volume_is_tried[RuntimeError]"),
    "LosesWrites": (EXTENDED, FIRST),
}


@pytest.mark.long  # test_driver_page.py has another driver pass the whole suite
def test_a_sound_driver_passes_all_of_it(driver_suite: Worker) -> None:
    outcomes = driver_suite.ask("run", suite=f"{SUITE}::TestTemplatingFileDriver", names=[])
    skipped = {} if shutil.which("qemu-img") else {CONVERTED: "Skipped: qemu-img is not installed"}
    assert {name: ended for name, ended in outcomes.items() if ended != "passed"} == skipped
    assert {name for names in DEFECTS.values() for name in names} <= set(outcomes)


def test_what_others_have_left_on_the_storage_is_no_part_of_a_template(driver_suite: Worker) -> None:
    outcomes = driver_suite.ask("run", suite=f"{SUITE}::TestUsedStorage", names=[FIRST])
    assert outcomes == {FIRST: "passed"}


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
@pytest.mark.parametrize("name", [FIRST, pytest.param(CONVERTED, marks=pytest.mark.long)])
def test_with_a_device_that_no_program_can_open_images_of_every_format_become_templates(
    driver_suite: Worker, name: str
) -> None:
    outcomes = driver_suite.ask("run", suite=f"{SUITE}::TestDeviceOfItsOwn", names=[name])
    assert outcomes == {name: "passed"}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found(driver_suite: Worker, defect: str) -> None:
    names = DEFECTS[defect]
    outcomes = driver_suite.ask("run", suite=f"{SUITE}::Test{defect}", names=names)
    assert outcomes.keys() == set(names)
    assert [name for name, ended in outcomes.items() if ended == "passed"] == []
