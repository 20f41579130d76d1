"""Which snapshot an image's property `block_device_mapping` names, if it names one: any text is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import Image
from imagevol_core.creation import BootMapping, boot_mapping

BOOT = {"source_type": "snapshot", "boot_index": 0, "snapshot_id": "5f0a"}
DATA = {"source_type": "snapshot", "boot_index": 1, "snapshot_id": "1111"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 1) | st.floats() | st.sampled_from(["", "snapshot", "5f0a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["source_type", "boot_index", "snapshot_id"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def read(text: str) -> BootMapping:
    return boot_mapping(Image(id="i", properties={"block_device_mapping": text}))


@pytest.mark.parametrize("devices", [[BOOT], [DATA, BOOT], [BOOT, DATA], [BOOT, {**BOOT, "snapshot_id": "other"}]])
def test_the_first_snapshot_at_boot_index_0_is_named(devices: list[Any]) -> None:
    assert read(json.dumps(devices)) == BootMapping(
        snapshot_id="5f0a", text="block_device_mapping has snapshot 5f0a at boot index 0"
    )


@pytest.mark.parametrize(
    "devices, text",
    [
        ([DATA], "block_device_mapping has no snapshot at boot index 0"),
        ([{**BOOT, "source_type": "volume"}], "block_device_mapping has no snapshot at boot index 0"),
        ([{**BOOT, "boot_index": "0"}], "block_device_mapping has no snapshot at boot index 0"),
        ([{**BOOT, "boot_index": None}], "block_device_mapping has no snapshot at boot index 0"),
        ([{}], "block_device_mapping has no snapshot at boot index 0"),
        ([], "block_device_mapping is empty"),
        (None, "block_device_mapping is empty"),
        ({}, "block_device_mapping is empty"),
        ("", "block_device_mapping is empty"),
    ],
)
def test_without_such_a_snapshot_the_images_data_counts(devices: Any, text: str) -> None:
    assert read(json.dumps(devices)) == BootMapping(text=text)


def test_most_images_have_no_mapping() -> None:
    assert boot_mapping(Image(id="i")) == BootMapping(text="the image has no block_device_mapping")


@pytest.mark.parametrize(
    "text, status, what",
    [
        ("", 500, "is not JSON"),
        ("lots", 500, "is not JSON"),
        ("[" * 100_000, 500, "is not JSON"),
        ("{" * 3, 500, "is not JSON"),
        ("9" * 5000, 500, "is not JSON"),
        ("7", 500, "is not a list of objects"),
        ("true", 500, "is not a list of objects"),
        ('"text"', 500, "is not a list of objects"),
        (json.dumps(BOOT), 500, "is not a list of objects"),
        (json.dumps([BOOT, None]), 500, "is not a list of objects"),
        (json.dumps([{**BOOT, "snapshot_id": []}]), 500, "has a snapshot whose id is no text at boot index 0"),
        (json.dumps([{**BOOT, "snapshot_id": {}}]), 500, "has a snapshot whose id is no text at boot index 0"),
        (json.dumps([{**BOOT, "snapshot_id": None}]), 404, "has a snapshot without an id at boot index 0"),
        (json.dumps([{**BOOT, "snapshot_id": 7}]), 404, "has a snapshot without an id at boot index 0"),
        (json.dumps([{**BOOT, "snapshot_id": ""}]), 404, "has a snapshot without an id at boot index 0"),
        (
            json.dumps([{"source_type": "snapshot", "boot_index": 0}]),
            404,
            "has a snapshot without an id at boot index 0",
        ),
    ],
)
def test_a_mapping_that_cannot_be_read_is_a_fault_with_the_answer_of_cinder(text: str, status: int, what: str) -> None:
    fault = f"Cinder answers {status}: the property block_device_mapping {what}"
    assert read(text) == BootMapping(fault=fault, text=fault)


def test_what_a_user_wrote_does_not_reach_the_terminal() -> None:
    assert read(json.dumps([{**BOOT, "snapshot_id": "\x1b[2J"}])).text.isprintable()


@given(st.text() | JSON.map(json.dumps))
def test_any_text_of_a_mapping_is_answered(text: str) -> None:
    mapping = read(text)
    assert mapping.text
    assert not (mapping.snapshot_id and mapping.fault)
