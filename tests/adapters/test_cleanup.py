"""Cleaning up: always done, and what fails in it is named."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from imagevol_adapters.cleanup import leftovers, released, undone_on_failure
from imagevol_core import DeviceFailed, ServiceFailed

Cleanup = Callable[[str, Callable[[], object]], AbstractContextManager[None]]
BOTH = pytest.mark.parametrize("cleanup", [released, undone_on_failure])


class Undo:
    """Counts its calls, and may fail."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.error:
            raise self.error


def test_after_success_a_resource_is_released_and_not_undone() -> None:
    release, undo = Undo(), Undo()
    with released("the volume", release), undone_on_failure("the image", undo):
        pass
    assert (release.calls, undo.calls) == (1, 0)


@BOTH
@pytest.mark.parametrize("kind", [DeviceFailed, ZeroDivisionError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_after_a_failure_a_resource_is_undone_once_and_the_error_is_raised(
    cleanup: Cleanup, kind: type[BaseException]
) -> None:
    error, undo = kind("no power"), Undo()
    with pytest.raises(kind) as caught, cleanup("the volume", undo):
        raise error
    assert (caught.value, undo.calls) == (error, 1)
    assert str(caught.value) == "no power"


@BOTH
@pytest.mark.parametrize("failure", [ServiceFailed("stuck"), ZeroDivisionError("stuck")])
def test_the_first_error_goes_on_and_names_what_could_not_be_cleaned_up(cleanup: Cleanup, failure: Exception) -> None:
    undo = Undo(failure)
    with pytest.raises(DeviceFailed) as caught, cleanup("volume 7", undo), cleanup("image 8", undo):
        raise DeviceFailed("no power")
    assert caught.value.leftovers == ("image 8 (stuck)", "volume 7 (stuck)")
    assert str(caught.value) == "no power; left behind: image 8 (stuck), volume 7 (stuck)"
    assert undo.calls == 2


@BOTH
def test_an_error_that_is_not_ours_names_it_in_a_note(cleanup: Cleanup) -> None:
    with pytest.raises(KeyboardInterrupt) as caught, cleanup("volume 7", Undo(ServiceFailed("stuck"))):
        raise KeyboardInterrupt
    assert caught.value.__notes__ == ["left behind: volume 7 (stuck)"]


@BOTH
@pytest.mark.parametrize("kind", [DeviceFailed, ZeroDivisionError, GeneratorExit])
def test_what_was_left_behind_is_read_from_any_error_and_no_other_note_is(
    cleanup: Cleanup, kind: type[BaseException]
) -> None:
    error = kind("no power")
    assert leftovers(error) == ()
    error.add_note("somebody's own")
    with pytest.raises(kind), cleanup("volume 7", Undo(ServiceFailed("stuck"))):
        raise error
    assert leftovers(error) == ("volume 7 (stuck)",)


@pytest.mark.parametrize("kind", [ServiceFailed, ZeroDivisionError, KeyboardInterrupt])
def test_a_release_that_fails_after_all_went_well_is_an_error_that_names_it(kind: type[BaseException]) -> None:
    with pytest.raises(kind) as caught, released("volume 7", Undo(kind("stuck"))):
        pass
    named = getattr(caught.value, "leftovers", ()) or tuple(caught.value.__notes__)
    assert named in (("volume 7",), ("left behind: volume 7",))


@BOTH
def test_an_interrupt_of_the_cleanup_skips_one_step_which_is_named(cleanup: Cleanup) -> None:
    undo = Undo()
    with (
        pytest.raises(DeviceFailed) as caught,
        cleanup("image 8", undo),
        cleanup("volume 7", Undo(KeyboardInterrupt())),
    ):
        raise DeviceFailed("no power")
    assert caught.value.leftovers == ("volume 7 (KeyboardInterrupt)",)
    assert undo.calls == 1
