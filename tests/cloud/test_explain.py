"""`imagevol explain` on real services: it is asked first, then Cinder creates the volume, and that is what was said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from cinderclient.exceptions import BadRequest

from tests.cloud.ports import nothing_left
from tests.cloud.record import Cloud
from tests.cloud.templating import in_local, remove_templates
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import User


@pytest.fixture
def demo(template_cloud: Cloud) -> Iterator[User]:
    with nothing_left(template_cloud), ExitStack() as undo:
        undo.callback(remove_templates, template_cloud)
        yield User(template_cloud, "demo", undo)


def explained(user: User, image_id: str, volume_type: str, *more: object, size_gib: int = 1) -> dict[str, Any]:
    """What the command says with the facts of the cloud and of Cinder's configuration."""
    cloud = user.cloud
    config = ("--config-file", cloud.directory / "etc/cinder/cinder.conf", "--project", cloud.project_ids["demo"])
    where = ("--size", size_gib, "--volume-type", volume_type)
    answer: dict[str, Any] = CommandLine(cloud, cloud.clouds_yaml).ask("explain", image_id, *where, *config, *more)
    return answer


@pytest.mark.smoke
def test_what_is_explained_is_what_the_driver_plans_and_does(demo: User) -> None:
    image_id, held = in_local(demo), demo.image()
    others = [in_local(demo, bytes([number]) * 1000) for number in range(3)]
    for image, volume_type, way in (
        (image_id, "fast", "create-template"),
        (image_id, "fast", "clone-template"),
        (held, "fast", "clone-image-volume"),
        (held, "slow", "create-template"),
        (held, "slow", "clone-template"),
        *((other, "slow", "create-template") for other in others),  # the limit of `slow` is 2: older ones go
    ):
        answer = explained(demo, image, volume_type)
        assert (answer["outcome"], answer["host"]) == (way, demo.cloud.backend_hosts[volume_type])
        told = ", ".join(" ".join(filter(None, (step["way"], step["source"]))) for step in answer["ways"])
        said = demo.said(demo.volume(image, volume_type))
        assert any(line.endswith(f"the plan is: {told}") for line in said.splitlines()), said


def test_what_is_explained_to_be_refused_cinder_refuses(demo: User) -> None:
    image_id, inactive = in_local(demo), in_local(demo)
    demo.glance.images.update(image_id, min_disk=2)
    User(demo.cloud, "service", ExitStack()).glance.images.deactivate(inactive)
    for image in (image_id, inactive):
        answer = explained(demo, image, "fast")
        assert (answer["outcome"], answer["ways"]) == ("refused", [])
        with pytest.raises(BadRequest):
            demo.asked(image, "fast")
    assert explained(demo, image_id, "fast", size_gib=2)["outcome"] == "create-template"


def test_both_policies_and_several_types_are_a_table(demo: User) -> None:
    held = demo.image()
    answer = explained(demo, held, "fast", "--volume-type", "slow", "--policy", "both")
    assert [(row["volume_type"], row["way"]) for row in answer["matrix"]] == [
        ("fast", "clone-image-volume"),
        ("slow", "create-template"),
    ]
    assert [row["upstream_way"] for row in answer["matrix"]] == ["copy", "copy"]  # Cinder's own schemes have no cinder
