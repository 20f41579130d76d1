"""What a user's type checker must make of the public names; pytest only shows that the code runs.

mypy reads this file against the installed wheel.  Where it must refuse, an ignore stands: one that
is not needed is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_type

import pytest

from imagevol_core import (
    Backend,
    CallerError,
    CinderLocation,
    CloneDecision,
    CloneSettings,
    Digest,
    Image,
    ImagevolError,
    ImageVolumeMetadata,
    InvalidLocation,
    Verdict,
    Volume,
    decide_clone,
    gib_for,
    image_fits,
    next_size_gib,
    parse_location,
)

IMAGE = Image(id="i", size_bytes=5)


def test_a_decision_has_the_type_that_its_name_promises() -> None:
    target = Volume(id="t", size_gib=1)
    decision = decide_clone(IMAGE, target=target, volumes=[], backend=Backend(), settings=CloneSettings())
    assert_type(decision, CloneDecision)
    assert_type(decision.eligible, bool)
    assert_type(decision.sources, tuple[Volume, ...])
    assert_type(decision.verdicts, tuple[Verdict, ...])
    assert_type(decision.extend_to_gib, int | None)


def test_sizes_are_whole_numbers() -> None:
    assert_type(gib_for(5), int)
    assert_type(next_size_gib(5, current_gib=1), int)
    assert_type(image_fits(IMAGE, size_gib=1), Verdict)


def test_a_location_may_have_no_store_and_has_a_volume() -> None:
    location = parse_location("cinder://9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1")
    assert_type(location, CinderLocation)
    assert_type(location.store, str | None)
    assert_type(location.volume_id, str)


def test_an_error_is_ours_and_the_fitting_builtin_too() -> None:
    as_ours: type[ImagevolError] = InvalidLocation
    as_builtin: type[ValueError] = InvalidLocation
    whose_fault: type[CallerError] = InvalidLocation
    assert [as_ours, as_builtin, whose_fault] == [InvalidLocation] * 3


def test_metadata_go_to_a_volume_and_come_back() -> None:
    written = ImageVolumeMetadata(image_id="i").to_volume()
    assert_type(written, dict[str, str])
    assert_type(ImageVolumeMetadata.from_volume(written), ImageVolumeMetadata)
    assert_type(IMAGE.properties, Mapping[str, str])
    assert_type(IMAGE.digest, Digest | None)


def test_what_would_be_wrong_at_run_time_is_wrong_to_the_type_checker() -> None:
    with pytest.raises(TypeError):
        gib_for("5")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        next_size_gib(5, 1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Volume(id="t")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        IMAGE.id = "j"  # type: ignore[misc]
