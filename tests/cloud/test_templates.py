"""Templates by a Cinder driver that inherits our mixin ([template])."""

from __future__ import annotations

import os
import random
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from cinderclient import exceptions as cinder_errors

from imagevol_core import GIB, TEMPLATE_KEY, TemplateMetadata
from tests.cloud.ports import nothing_left
from tests.cloud.record import Cloud
from tests.cloud.templating import (
    forget_hash,
    image_file,
    in_local,
    left,
    nothing_but,
    qcow2,
    remove_templates,
    template,
    templates,
    touch,
)
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import DATA, User, content

MIB = 1 << 20
COPIED = "neither cloned nor made from a template"
OTHER = random.Random(13).randbytes(len(DATA))

Users = Callable[[str], User]


@pytest.fixture
def users(template_cloud: Cloud) -> Iterator[Users]:
    with nothing_left(template_cloud), ExitStack() as undo:
        undo.callback(remove_templates, template_cloud)
        yield lambda name: User(template_cloud, name, undo)


@pytest.fixture
def demo(users: Users) -> User:
    return users("demo")


@pytest.mark.smoke
def test_the_first_volume_makes_the_template_and_the_others_are_clones_of_their_size(demo: User) -> None:
    image_id = in_local(demo)
    first, *others = [demo.volume(image_id, size_gib=size_gib) for size_gib in (2, 1, 3)]
    made = template(demo.cloud, image_id)
    assert made.size == 1
    assert f"template {made.id} holds the image, 1 GiB" in demo.said(first)
    assert f"cloned from new template {made.id}" in demo.said(first)
    for volume in others:
        assert f"cloned from template {made.id}" in demo.said(volume)
    found = [content(demo.real, volume.id) for volume in (first, *others)]
    assert found == [(2 * GIB, DATA), (1 * GIB, DATA), (3 * GIB, DATA)]


def explained(user: User, image_id: str, volume_type: str, size_gib: int) -> str:
    """The plan that `imagevol explain` tells, as the driver logs it."""
    cloud = user.cloud
    internal, project = cloud.project_ids["service"], cloud.project_ids["demo"]
    where = ("--host", cloud.backend_hosts[volume_type], "--size", size_gib, "--project", project)
    settings = ("--templates", "--internal-tenant", internal, "--allowed-direct-url-scheme", "cinder")
    answer = CommandLine(cloud, cloud.clouds_yaml).ask("explain", image_id, *where, *settings)
    return ", ".join(" ".join(filter(None, (way["way"], way["source"]))) for way in answer["ways"])


def test_the_command_says_beforehand_what_the_driver_plans_and_does(demo: User) -> None:
    image_id, held = in_local(demo), demo.image(store="fast")
    for image, volume_type, way in (
        (image_id, "fast", "create-template"),
        (image_id, "fast", "clone-template"),
        (image_id, "slow", "create-template"),
        (held, "fast", "clone-image-volume"),
        (held, "slow", "create-template"),
    ):
        told = explained(demo, image, volume_type, 1)
        said = demo.said(demo.volume(image, volume_type))
        assert told.startswith(way)
        assert any(line.endswith(f"the plan is: {told}") for line in said.splitlines())
        cloned = {"create-template": "new template", "clone-template": "template"}.get(way, "image volume")
        assert f"cloned from {cloned} " in said


def test_a_template_is_of_the_internal_tenant_and_read_only_and_says_which_image_it_is(demo: User) -> None:
    image_id = in_local(demo)
    demo.volume(image_id)
    made, image = template(demo.cloud, image_id), demo.real.images.get(image_id)
    assert getattr(made, "os-vol-tenant-attr:tenant_id") == demo.cloud.project_ids["service"]
    written = TemplateMetadata.from_volume(made.metadata)
    assert written
    assert (written.image_updated_at, written.digest) == (image.updated_at, image.digest)
    facts = demo.real.volumes.get(made.id)
    assert (facts.readonly, facts.status) == (True, "available")
    with pytest.raises(cinder_errors.NotFound):
        demo.cinder.volumes.get(made.id)


def test_each_backend_has_a_template_of_its_own(demo: User) -> None:
    image_id = in_local(demo)
    volumes = [demo.volume(image_id, volume_type) for volume_type in ("fast", "slow", "slow")]
    assert [content(demo.real, volume.id)[1] for volume in volumes] == [DATA] * 3
    found = templates(demo.cloud, image_id)
    assert sorted(getattr(volume, "os-vol-host-attr:host") for volume in found) == sorted(
        demo.cloud.backend_hosts.values()
    )


def test_an_image_volume_of_the_same_backend_is_cloned_and_no_template_made(demo: User) -> None:
    image_id = demo.image(store="fast")
    volume = demo.volume(image_id)
    assert "cloned from image volume" in demo.said(volume)
    assert templates(demo.cloud, image_id) == []
    volume = demo.volume(image_id, "slow")
    assert "cloned from new template" in demo.said(volume)


def test_what_is_no_raw_disk_becomes_a_template_at_the_size_of_its_disk(demo: User, tmp_path: Path) -> None:
    image_id = in_local(demo, qcow2(tmp_path, size_gib=2), disk_format="qcow2")
    volumes = [demo.volume(image_id, size_gib=size_gib) for size_gib in (2, 3)]
    assert [content(demo.real, volume.id) for volume in volumes] == [(2 * GIB, DATA), (3 * GIB, DATA)]
    assert template(demo.cloud, image_id).size == 2
    assert "cloned from template" in demo.said(volumes[1])


def with_a_second_partition(data: bytes) -> bytes:
    """A GPT's protective MBR with an entry beside the protective one."""
    protective = struct.pack("<8BII", 0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, len(data) // 512 - 1)
    other = struct.pack("<8BII", 0, 0, 2, 0, 0x83, 0xFF, 0xFF, 0xFF, 64, 64)
    return bytes(446) + protective + other + bytes(32) + b"\x55\xaa" + data[512:]


def test_a_template_that_is_refused_in_the_middle_lets_the_images_volume_go(demo: User) -> None:
    data = with_a_second_partition(random.Random(14).randbytes(20 * MIB))
    image_id = demo.image(data, store="fast")
    volume = demo.volume(image_id, "slow")
    assert "partition-table-sound" in demo.said(volume)
    assert COPIED in demo.said(volume)
    assert volume.status == "available"
    assert content(demo.real, volume.id, len(data))[1] == data
    assert b"".join(demo.glance.images.data(image_id)) == data
    demo.glance.images.delete(image_id)
    assert templates(demo.cloud, image_id) == []


@contextmanager
def largest_file(directory: Path) -> Iterator[list[int]]:
    """Look again and again how much room the files of a directory take, while the context lasts."""
    seen, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            for path in directory.rglob("*"):
                with suppress(FileNotFoundError):
                    seen.append(path.stat().st_blocks * 512)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


def test_a_conversion_that_takes_its_time_becomes_a_template_too(demo: User, tmp_path: Path) -> None:
    """Longer than qemu-img is waited for at a time."""
    data = os.urandom(96 * MIB)
    image_id = in_local(demo, qcow2(tmp_path, size_gib=1, data=data), disk_format="qcow2")
    with largest_file(demo.cloud.directory / "cinder/conversion") as seen_bytes:
        volume = demo.volume(image_id)
    assert max(seen_bytes) < len(data) / 20
    assert f"cloned from new template {template(demo.cloud, image_id).id}" in demo.said(volume)
    assert content(demo.real, volume.id, len(data))[1] == data


def test_a_private_image_of_another_project_is_not_served_from_its_template(demo: User, users: Users) -> None:
    image_id = in_local(demo)
    demo.volume(image_id)
    with pytest.raises((cinder_errors.BadRequest, cinder_errors.NotFound)):
        users("other").volume(image_id)


def test_a_member_of_a_shared_image_is_served_from_its_template(demo: User, users: Users) -> None:
    image_id, other = in_local(demo), users("other")
    demo.volume(image_id)
    demo.glance.image_members.create(image_id, demo.cloud.project_ids["other"])
    volume = other.volume(image_id)
    assert f"cloned from template {template(demo.cloud, image_id).id}" in other.said(volume)
    assert content(demo.real, volume.id)[1] == DATA


def test_any_user_is_served_from_the_template_of_a_community_image_and_has_it_made(demo: User, users: Users) -> None:
    image_id, other = in_local(demo), users("other")
    demo.glance.images.update(image_id, visibility="community")
    volumes = [user.volume(image_id) for user in (other, demo)]
    made = template(demo.cloud, image_id)
    assert f"cloned from new template {made.id}" in other.said(volumes[0])
    assert f"cloned from template {made.id}" in demo.said(volumes[1])
    assert [content(demo.real, volume.id)[1] for volume in volumes] == [DATA] * 2


def test_whom_glances_policy_gives_no_data_is_not_served_from_a_template_either(demo: User, users: Users) -> None:
    """Glance still shows a member the image; Cinder's own copy then fails, as it does without templates."""
    image_id, other = in_local(demo), users("other")
    demo.volume(image_id)
    demo.glance.image_members.create(image_id, demo.cloud.project_ids["other"])
    policy = demo.cloud.directory / "etc/glance/policy.yaml"
    policy.write_text('"download_image": "role:admin or project_id:%(project_id)s"\n')
    try:
        volume = other.volume(image_id)
        assert f"cloned from template {template(demo.cloud, image_id).id}" in demo.said(demo.volume(image_id))
    finally:
        policy.write_text('"download_image": "role:reader"\n')  # Glance keeps to a file that is gone
    assert "Glance does not give the requester the image's data" in other.said(volume)
    assert "cloned from" not in other.said(volume)
    assert volume.status == "error"
    assert "cloned from template" in other.said(other.volume(image_id))


def test_a_public_image_has_one_template_for_every_project(demo: User, users: Users) -> None:
    admin, other = users("admin"), users("other")
    image_id = in_local(admin)
    admin.glance.images.update(image_id, visibility="public")
    volumes = [user.volume(image_id) for user in (demo, other)]
    assert f"cloned from template {template(demo.cloud, image_id).id}" in other.said(volumes[1])
    assert [content(demo.real, volume.id)[1] for volume in volumes] == [DATA] * 2


def test_a_volume_that_will_be_encrypted_is_left_to_cinder(demo: User, users: Users) -> None:
    image_id = in_local(demo)
    demo.volume(image_id)
    admin = users("admin")
    secret = admin.cinder.volume_types.create("secret")
    admin.undo.callback(admin.cinder.volume_types.delete, secret)
    secret.set_keys({"volume_backend_name": "fast"})
    luks = {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "control_location": "front-end"}
    admin.cinder.volume_encryption_types.create(secret, luks)
    volume = demo.volume(image_id, "secret")
    assert volume.encrypted
    assert demo.said(volume) == ""


def test_an_image_with_other_data_gets_a_template_of_its_own(demo: User) -> None:
    before, after = in_local(demo), in_local(demo, OTHER)
    volumes = [demo.volume(image_id) for image_id in (before, after, before, after)]
    assert [content(demo.real, volume.id)[1] for volume in volumes] == [DATA, OTHER] * 2
    assert template(demo.cloud, before).id != template(demo.cloud, after).id


def test_an_image_that_is_renamed_keeps_its_template(demo: User) -> None:
    image_id = in_local(demo)
    demo.volume(image_id)
    made = template(demo.cloud, image_id)
    demo.glance.images.update(image_id, name="renamed")
    assert f"cloned from template {made.id}" in demo.said(demo.volume(image_id))


def test_without_a_hash_a_changed_image_has_its_template_replaced_and_the_clones_stay(demo: User) -> None:
    image_id = in_local(demo)
    forget_hash(demo.cloud, image_id)
    clone = demo.volume(image_id)
    old = template(demo.cloud, image_id)
    assert f"cloned from template {old.id}" in demo.said(demo.volume(image_id))
    touch(demo, image_id)
    volume = demo.volume(image_id)
    new = template(demo.cloud, image_id)
    assert new.id != old.id
    assert "template: replace: the image's updated_at is" in demo.said(volume)
    assert [content(demo.real, each.id)[1] for each in (clone, volume)] == [DATA] * 2
    said = demo.said(volume)
    assert said.index(f"template {new.id} holds the image") < said.index(f"template {old.id} is superseded")


def flip_a_bit(cloud: Cloud, image_id: str) -> None:
    flipped = bytearray(DATA)
    flipped[MIB] ^= 1
    image_file(cloud, image_id).write_bytes(flipped)


def test_if_the_new_template_cannot_be_made_the_old_one_is_still_there(demo: User) -> None:
    image_id = in_local(demo)
    forget_hash(demo.cloud, image_id)
    clone = demo.volume(image_id)
    old = template(demo.cloud, image_id)
    touch(demo, image_id)
    flip_a_bit(demo.cloud, image_id)
    volume = demo.volume(image_id)
    assert "template: replace" in demo.said(volume)
    assert "cloned from" not in demo.said(volume)
    assert volume.status == "error"
    assert template(demo.cloud, image_id).id == old.id
    assert content(demo.real, clone.id)[1] == DATA


def test_a_flipped_bit_on_the_way_is_caught(demo: User) -> None:
    """No template comes of it; Cinder's own copy then finds the same, and its volume ends in error."""
    image_id = in_local(demo)
    flip_a_bit(demo.cloud, image_id)
    volume = demo.volume(image_id)
    assert "no template" in demo.said(volume)
    assert "cloned from" not in demo.said(volume)
    assert volume.status == "error"
    assert nothing_but(demo.cloud, image_id, set())
    image_file(demo.cloud, image_id).write_bytes(DATA)
    repaired = demo.volume(image_id)
    assert "cloned from new template" in demo.said(repaired)
    assert content(demo.real, repaired.id)[1] == DATA


def test_the_least_recently_used_template_makes_room_for_one_too_many(demo: User) -> None:
    """`slow` has two at the most."""
    first, second, third = (in_local(demo, random.Random(seed).randbytes(MIB)) for seed in range(3))
    for image_id in (first, second, first):
        demo.volume(image_id, "slow")
    gone, kept = template(demo.cloud, second), template(demo.cloud, first)
    volume = demo.volume(third, "slow")
    assert f"cloned from new template {template(demo.cloud, third).id}" in demo.said(volume)
    assert f"template {gone.id} makes room" in demo.said(volume)
    assert left(demo.cloud, gone.id) == {kept.id, template(demo.cloud, third).id}


def test_templates_keep_to_the_limit_of_their_sizes(demo: User, tmp_path: Path) -> None:
    """`slow` has 4 GiB of them at the most: one of 3 GiB takes the place of one of 2 GiB."""
    two, three = (in_local(demo, qcow2(tmp_path, size_gib=size_gib), disk_format="qcow2") for size_gib in (2, 3))
    demo.volume(two, "slow", size_gib=2)
    gone = template(demo.cloud, two)
    demo.volume(three, "slow", size_gib=3)
    assert left(demo.cloud, gone.id) == {template(demo.cloud, three).id}


def test_an_image_that_is_larger_than_the_limit_is_copied_and_nothing_makes_room(demo: User, tmp_path: Path) -> None:
    small, large = in_local(demo), in_local(demo, qcow2(tmp_path, size_gib=5), disk_format="qcow2")
    demo.volume(small, "slow")
    volume = demo.volume(large, "slow", size_gib=5)
    assert COPIED in demo.said(volume)
    assert content(demo.real, volume.id)[1] == DATA
    assert [each.metadata[TEMPLATE_KEY] for each in templates(demo.cloud)] == [small]


def test_templates_of_several_images_at_once_keep_to_the_limit(demo: User) -> None:
    """`slow` has two at the most, also while all of them are being made."""
    images = [in_local(demo, random.Random(seed).randbytes(MIB)) for seed in range(5)]
    asked = [demo.asked(image_id, "slow") for image_id in images]
    most = 0
    while any(demo.cinder.volumes.get(volume.id).status in ("creating", "downloading") for volume in asked):
        most = max(most, sum(volume.status != "deleting" for volume in templates(demo.cloud)))
    assert most <= 2
    for seed, volume in enumerate(asked):
        assert content(demo.real, volume.id, MIB)[1] == random.Random(seed).randbytes(MIB)
