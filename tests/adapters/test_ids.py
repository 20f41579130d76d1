"""What cannot be an id is never put into the URL of a request: nothing has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests_mock import Mocker

from imagevol_adapters.cinder.volumes import CinderVolumes
from imagevol_adapters.glance.images import GlanceImages
from imagevol_adapters.ids import can_be_id
from imagevol_adapters.ports import AccessMode, Attachment
from imagevol_core import NotFound, ResourceNotFound
from tests.adapters.rest import CINDER, GLANCE, asked, offer_cinder, offer_glance, session

ID = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
NO_IDS = [
    *(
        "",
        ".",
        "..",
        "detail",
        "summary",
        "manageable_volumes",
        "/",
        "../types",
        f"{ID}/metadata",
        f"{ID}?x=1",
        f"{ID}#x",
    ),
    *(f"{ID}/", f"{ID}/../{ID}", f" {ID}", f"{ID}\n", f"{ID}\0", "%2e%2e", "a b", "\x1b[2J", "ä1", "1" * 256, "٣"),
]
OF_VOLUMES: dict[str, Callable[[CinderVolumes, str], Any]] = {
    "get": lambda volumes, id_: volumes.get(id_),
    "clone": lambda volumes, id_: volumes.clone(id_, name="x", metadata={}),
    "base_image_id": lambda volumes, id_: volumes.base_image_id(id_),
    "wait": lambda volumes, id_: volumes.wait(id_),
    "extend": lambda volumes, id_: volumes.extend(id_, size_gib=2),
    "set_readonly": lambda volumes, id_: volumes.set_readonly(id_, readonly=True),
    "set_metadata": lambda volumes, id_: volumes.set_metadata(id_, {"a": "b"}),
    "unset_metadata": lambda volumes, id_: volumes.unset_metadata(id_, ["a"]),
    "delete": lambda volumes, id_: volumes.delete(id_),
    "attach": lambda volumes, id_: volumes.attach(id_, connector={}, mode=AccessMode.READ),
    "reserve": lambda volumes, id_: volumes.reserve(id_, mode=AccessMode.READ),
    "holders": lambda volumes, id_: volumes.holders(id_),
    "attachment": lambda volumes, id_: volumes.attachment(id_),
    "complete": lambda volumes, id_: volumes.complete(Attachment(id=id_, volume_id=ID, connection={})),
}
OF_IMAGES: dict[str, Callable[[GlanceImages, str], Any]] = {
    "get": lambda images, id_: images.get(id_),
    "change_locations": lambda images, id_: images.change_locations(id_, []),
    "wait": lambda images, id_: images.wait(id_),
    "protect": lambda images, id_: images.protect(id_, protected=True),
    "add_location": lambda images, id_: images.add_location(id_, "cinder://x", store=None, digest=None),
    "upload": lambda images, id_: images.upload(id_, [b"data"], size_bytes=4),
    "read": lambda images, id_: list(images.read(id_)),
    "delete": lambda images, id_: images.delete(id_),
}


@pytest.fixture
def http() -> Any:
    with Mocker() as mocker:
        offer_cinder(mocker)
        offer_glance(mocker)
        yield mocker


@pytest.mark.parametrize("id_", NO_IDS)
@pytest.mark.parametrize("call", OF_VOLUMES)
def test_cinder_is_asked_for_nothing_by_what_is_no_id(http: Mocker, call: str, id_: str) -> None:
    volumes = CinderVolumes(session=session(CINDER))
    with pytest.raises(ResourceNotFound) as caught:
        OF_VOLUMES[call](volumes, id_)
    assert asked(http) == []
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("id_", NO_IDS)
@pytest.mark.parametrize("call", OF_IMAGES)
def test_glance_is_asked_for_nothing_by_what_is_no_id(http: Mocker, call: str, id_: str) -> None:
    images = GlanceImages(session=session(GLANCE))
    with pytest.raises(ResourceNotFound) as caught:
        OF_IMAGES[call](images, id_)
    assert asked(http) == []
    assert str(caught.value).isprintable()


def test_a_list_is_not_asked_for_what_nothing_has(http: Mocker) -> None:
    volumes, images = CinderVolumes(session=session(CINDER)), GlanceImages(session=session(GLANCE))
    assert volumes.find(NO_IDS) == ()
    assert volumes.types_of(NO_IDS) == dict.fromkeys(NO_IDS, NotFound())
    assert list(images.listed(NO_IDS)) == []
    assert asked(http) == []


@pytest.mark.parametrize("id_", [ID, ID.upper(), ID.replace("-", ""), "vol-0000001", "7"])
def test_what_a_cloud_may_have_given_is_an_id(id_: str) -> None:
    assert can_be_id(id_)


@given(st.text(max_size=40))
def test_an_id_is_one_segment_of_a_url_and_no_word(text: str) -> None:
    if can_be_id(text):
        assert text.isascii()
        assert not set(text) & set("/?#%.&=+ ")
        assert any(map(str.isdigit, text))
