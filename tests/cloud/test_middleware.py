"""What Cinder uploads lands in the stores of its base image, through the filter in a real Glance."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from cinderclient.client import Client as CinderClient
from cinderclient.exceptions import NotFound
from glanceclient.v2.client import Client as GlanceClient
from keystoneauth1.session import Session

from imagevol_adapters.middleware import CHOICE_HEADER
from tests.cloud.bringup import running
from tests.cloud.configuration import SHIPPED
from tests.cloud.conftest import shares_clouds
from tests.cloud.ports import PATIENCE_SECONDS, nothing_left, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import BACKENDS, FILTERED_PIPELINE, REGION, Settings, with_filter

KIB = 1 << 10
DATA = b"data" * KIB
ENDPOINT = {"service_type": "image", "interface": "public", "region_name": REGION}
DETAIL = "/v2/info/stores/detail"

OWNERS_MAY_COPY = '"copy_image": "role:admin or (role:member and project_id:%(project_id)s)"\n'


@attrs.frozen
class User:
    """Cinder and Glance as one user sees them; what is made goes with the test."""

    session: Session
    cinder: Any
    glance: Any
    undo: ExitStack

    def image(self, *stores: str, **wishes: Any) -> str:
        """An image that is in these stores; only an administrator may have it in several."""
        image_id: str = self.glance.images.create(disk_format="raw", container_format="bare", **wishes)["id"]
        self.undo.callback(self.delete_image, image_id)
        self.glance.images.upload(image_id, io.BytesIO(DATA), backend=stores[0])
        if stores[1:]:
            self.glance.images.image_import(image_id, method="copy-image", stores=list(stores[1:]))
        assert self.stores(image_id) == [*stores]
        return image_id

    def delete_image(self, image_id: str) -> None:
        with suppress(Exception):
            self.glance.images.delete(image_id)

    def stores(self, image_id: str) -> list[str]:
        """Where the image is, in order, when Glance is done with it."""
        image = self.glance.images.get(image_id)
        for _ in ticks(PATIENCE_SECONDS):
            image = self.glance.images.get(image_id)
            if image["status"] == "active" and not image.get("os_glance_import_task"):
                break
        assert (image["status"], image.get("os_glance_failed_import", "")) == ("active", "")
        return str(image["stores"]).split(",")

    def volume(self, image_id: str | None = None, volume_type: str = "fast") -> Any:
        volume = self.cinder.volumes.create(1, imageRef=image_id, volume_type=volume_type)
        self.undo.callback(self.delete_volume, volume)
        return self.available(volume)

    def available(self, volume: Any) -> Any:
        for _ in ticks(PATIENCE_SECONDS):
            volume.get()
            if volume.status not in ("creating", "downloading", "uploading"):
                break
        assert volume.status == "available"
        return volume

    def delete_volume(self, volume: Any) -> None:
        volume.delete()
        for _ in ticks(PATIENCE_SECONDS):
            try:
                volume.get()
            except NotFound:
                return

    def uploaded(self, volume: Any, disk_format: str = "qcow2") -> str:
        """The image that Cinder makes of the volume; in qcow2 it is as small as what was written."""
        _, answer = volume.upload_to_image(False, "uploaded", "bare", disk_format)
        image_id: str = answer["os-volume_upload_image"]["image_id"]
        self.undo.callback(self.delete_image, image_id)
        self.available(volume)
        return image_id


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Glance's policy file, which it reads again when it has changed."""
    file = tmp_path_factory.mktemp("policy") / "policy.yaml"
    file.write_text("{}\n")
    return file


@pytest.fixture(scope="module")
def filtered(
    request: pytest.FixtureRequest, able_machine: None, policy: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """A cloud whose Glance has the filter and our store driver, and whose Cinder uploads what it could register."""
    if shares_clouds(request):
        yield request.getfixturevalue("template_cloud")
        return
    settings = Settings(
        store_driver="imagevol",
        overrides={
            "glance/glance-api.conf": {"oslo_policy": {"policy_file": str(policy)}},
            "glance/glance-api-paste.ini": with_filter({"explain_header": "true"}),
            # Without the cache, whose volumes would outlive the tests.
            "cinder/cinder.conf": {
                backend: {"image_upload_use_cinder_backend": "false", "image_volume_cache_enabled": "false"}
                for backend in BACKENDS
            },
        },
    )
    with running(tmp_path_factory.mktemp("cloud"), settings, keep_logs=True) as cloud:
        yield cloud


@pytest.fixture
def user(filtered: Cloud) -> Iterator[Callable[[str], User]]:
    """Any user of that cloud, by name."""
    with nothing_left(filtered), ExitStack() as undo:
        yield lambda name: signed_in(filtered, name, undo)


def signed_in(cloud: Cloud, name: str, undo: ExitStack) -> User:
    session = sign_in(cloud, name)
    cinder = CinderClient("3.60", session=session, region_name=REGION)
    return User(session, cinder, GlanceClient(session=session, region_name=REGION), undo)


@pytest.fixture
def said(filtered: Cloud) -> Callable[[str], list[str]]:
    """What the filter has logged of an image: the level and the rest of each line."""
    line = re.compile(r".* (INFO|WARNING) imagevol_adapters\.middleware\S* \[.*?\] (.*)")

    def said(image_id: str) -> list[str]:
        lines = filtered.log("glance").read_text().splitlines()
        found = [match for match in map(line.fullmatch, lines) if match and f"Image {image_id}" in match[2]]
        return [f"{match[1]} {match[2].removeprefix(f'Image {image_id}').lstrip(': ')}" for match in found]

    return said


CHOSEN = (
    "INFO slow, local (base-image): of the stores that the base image is in, 'slow', 'local' can take images; "
    "the request names no store; enabled_backends is set"
)
REFUSED = (
    "WARNING stays in slow and is not copied to local: 403 Forbidden: "
    "You are not authorized to complete copy_image action."
)
UNCHANGED = (
    "INFO fast (default-store): default_backend is 'fast'; there is no base image that the requester can see; "
    "the request names no store; enabled_backends is set"
)


@pytest.mark.smoke
def test_the_pipeline_is_the_one_that_glance_ships_with_the_filter_in_it() -> None:
    shipped = (SHIPPED / "glance/glance-api-paste.ini").read_text()
    assert f"\nkeystone = {FILTERED_PIPELINE.replace(' imagevol', '')}\n" in shipped


class TestUploadToImage:
    def test_the_new_image_is_in_every_store_that_its_base_image_is_in(
        self, user: Callable[[str], User], said: Callable[[str], list[str]]
    ) -> None:
        admin = user("admin")
        base = admin.image("slow", "local")
        image_id = admin.uploaded(admin.volume(base), "raw")
        assert admin.stores(image_id) == ["slow", "local"]
        assert b"".join(admin.glance.images.data(image_id)).startswith(DATA)
        assert said(image_id) == [CHOSEN, "INFO being copied to local"]

    def test_a_store_of_the_volume_type_decides_alone(
        self, user: Callable[[str], User], said: Callable[[str], list[str]]
    ) -> None:
        admin = user("admin")
        kind = admin.cinder.volume_types.create("fast2local")
        admin.undo.callback(admin.cinder.volume_types.delete, kind)
        kind.set_keys({"volume_backend_name": "fast", "image_service:store_id": "local"})
        image_id = admin.uploaded(admin.volume(admin.image("slow", "local"), "fast2local"))
        assert admin.stores(image_id) == ["local"]
        assert said(image_id) == ["INFO local (store-header): the request names store 'local'; enabled_backends is set"]

    def test_a_volume_without_a_base_image_goes_to_the_default_store(
        self, user: Callable[[str], User], said: Callable[[str], list[str]]
    ) -> None:
        demo = user("demo")
        image_id = demo.uploaded(demo.volume())
        assert (demo.stores(image_id), said(image_id)) == (["fast"], [])

    def test_a_base_image_that_is_gone_or_another_projects_changes_nothing(
        self, user: Callable[[str], User], said: Callable[[str], list[str]], filtered: Cloud
    ) -> None:
        demo, other = user("demo"), user("other")
        base = other.image("slow", visibility="shared")
        other.glance.image_members.create(base, filtered.project_ids["demo"])
        volume = demo.volume(base)
        seen = demo.uploaded(volume)
        assert demo.stores(seen) == ["slow"]
        other.glance.image_members.delete(base, filtered.project_ids["demo"])
        invisible = demo.uploaded(volume)
        other.glance.images.delete(base)
        gone = demo.uploaded(volume)
        assert demo.stores(invisible) == demo.stores(gone) == ["fast"]
        assert said(invisible) == said(gone) == [UNCHANGED]

    def test_an_owner_who_may_not_copy_has_the_image_in_the_first_store_and_glance_says_why(
        self, user: Callable[[str], User], said: Callable[[str], list[str]]
    ) -> None:
        base = user("admin").image("slow", "local")
        demo = user("demo")
        image_id = demo.uploaded(demo.volume(base))
        assert demo.stores(image_id) == ["slow"]
        assert said(image_id) == [
            CHOSEN,
            REFUSED,
        ]

    def test_a_policy_lets_owners_copy(
        self, user: Callable[[str], User], said: Callable[[str], list[str]], policy: Path
    ) -> None:
        base = user("admin").image("slow", "local")
        demo = user("demo")
        volume = demo.volume(base)
        policy.write_text(OWNERS_MAY_COPY)
        try:
            image_id = demo.uploaded(volume)
            assert demo.stores(image_id) == ["slow", "local"]
        finally:
            policy.write_text("{}\n")
        assert said(image_id) == [CHOSEN, "INFO being copied to local"]


@pytest.mark.smoke
class TestImport:
    """Of staged data, by whoever may import: no copy has to be allowed."""

    def test_an_import_goes_to_every_store_of_the_base_image(
        self, user: Callable[[str], User], said: Callable[[str], list[str]]
    ) -> None:
        base = user("admin").image("slow", "local")
        demo = user("demo")
        image_id = demo.glance.images.create(disk_format="raw", container_format="bare")["id"]
        demo.undo.callback(demo.delete_image, image_id)
        demo.glance.images.stage(image_id, io.BytesIO(DATA))
        answer = demo.session.post(
            f"/v2/images/{image_id}/import",
            json={"method": {"name": "glance-direct"}},
            headers={"x-openstack-base-image-ref": base},
            endpoint_filter=ENDPOINT,
        )
        assert answer.status_code == 202
        assert f"INFO {answer.headers[CHOICE_HEADER]}" == CHOSEN
        assert sorted(demo.stores(image_id)) == ["local", "slow"]
        assert said(image_id) == [CHOSEN]


@pytest.mark.smoke
class TestStoresDetail:
    @pytest.fixture
    def asked(self, filtered: Cloud) -> Callable[[str], Any]:
        return lambda name: sign_in(filtered, name).get(DETAIL, endpoint_filter=ENDPOINT, raise_exc=False)

    def test_the_details_of_our_stores_are_those_of_cinder_stores_without_the_filter(
        self, cloud: Cloud, filtered: Cloud, asked: Callable[[str], Any]
    ) -> None:
        def shown(of: Cloud) -> Any:
            answer = sign_in(of, "admin").get(DETAIL, endpoint_filter=ENDPOINT)
            return answer.status_code, answer.headers["Content-Type"], answer.text.replace(str(of.directory), "")

        assert shown(filtered) == shown(cloud)

    def test_a_user_who_may_not_see_the_details_of_stores_is_refused(
        self, cloud: Cloud, asked: Callable[[str], Any]
    ) -> None:
        refused = sign_in(cloud, "demo").get(DETAIL, endpoint_filter=ENDPOINT, raise_exc=False)
        answer = asked("demo")
        assert (answer.status_code, answer.text) == (refused.status_code, refused.text) == (403, refused.text)


def test_without_the_filter_the_base_image_is_ignored(cloud: Cloud) -> None:
    with nothing_left(cloud), ExitStack() as undo:
        admin = signed_in(cloud, "admin", undo)
        volume = admin.volume(admin.image("slow", "local"), "slow")
        image_id = admin.uploaded(volume, "qcow2")  # which Cinder cannot register, and must upload
        assert admin.stores(image_id) == ["fast"]
