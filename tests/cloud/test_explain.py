"""`imagevol explain` on real services: it is asked first, then Cinder creates the volume, and that is what was said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cloud.ports import nothing_left
from tests.cloud.record import Cloud
from tests.cloud.restarting import cinder_with
from tests.cloud.situations import (
    SITUATIONS,
    WORLDS,
    Before,
    Request,
    Situation,
    asked,
    driver_plan,
    forget_cached,
    happened,
    said,
)
from tests.cloud.templating import remove_templates, until_said
from tests.cloud.test_command_line import CommandLine
from tests.cloud.users import User

# The two clones that are ours.
SMOKE = [("mixin with templates", name) for name in ("second volume of an image", "image in the store of the backend")]


@pytest.fixture(scope="module")
def cloud_of(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Cloud]]:
    """Gives the cloud of a world; its Cinder is restarted when the world is another one than before."""
    with ExitStack() as configured:
        there: tuple[str, Cloud] | None = None

        def cloud_of(name: str) -> Cloud:
            nonlocal there
            if there is None or there[0] != name:
                configured.close()
                cloud: Cloud = request.getfixturevalue(WORLDS[name].fixture)
                there = (name, configured.enter_context(cinder_with(cloud, WORLDS[name].sections)))
            return there[1]

        yield cloud_of


def explained(cloud: Cloud, request: Request, policy: str, *more: object) -> dict[str, Any]:
    """What the command says with the facts of the cloud and of Cinder's configuration."""
    config = ("--config-file", cloud.directory / "etc/cinder/cinder.conf", "--project", cloud.project_ids[request.user])
    where = ("--size", request.size_gib, "--volume-type", request.volume_type, "--policy", policy)
    command = CommandLine(cloud, cloud.clouds_yaml)
    answer: dict[str, Any] = command.ask("explain", request.image_id, *where, *config, *more)
    return answer


def case(situation: Situation) -> Any:
    marks = [pytest.mark.smoke] if (situation.world, situation.name) in SMOKE else []
    return pytest.param(situation, id=f"{situation.world}: {situation.name}", marks=marks)


@pytest.mark.parametrize("situation", list(map(case, SITUATIONS)))
def test_what_is_explained_is_what_cinder_does(cloud_of: Callable[[str], Cloud], situation: Situation) -> None:
    cloud, policy = cloud_of(situation.world), WORLDS[situation.world].policy
    with nothing_left(cloud), ExitStack() as undo:
        undo.callback(remove_templates, cloud)
        users = {name: User(cloud, name, undo) for name in ("demo", "other", "service")}
        undo.callback(forget_cached, users["service"])
        with situation.request(users.__getitem__) as request:
            user = users[request.user]
            answer, before = explained(cloud, request, policy), Before.of(cloud, user, request.image_id)
            volume = asked(user, request)
            asks_driver = answer["outcome"] != "from-snapshot" and not getattr(volume, "encrypted", False)
            if volume is not None and policy == "strict" and asks_driver:
                until_said(user, volume, f"the plan is: {'' if situation.knowing else driver_plan(answer)}")
        done = happened(user, request, volume and user.settled(volume), before)
        told = said(answer, situation.knowing)
        print(f"{situation.world} | {situation.name} | {told} | {done}")
        assert (told, done) == (situation.way, situation.way)


def test_both_policies_and_several_types_are_a_table(template_cloud: Cloud) -> None:
    with nothing_left(template_cloud), ExitStack() as undo:
        request = Request(User(template_cloud, "demo", undo).image())
        answer = explained(template_cloud, request, "both", "--volume-type", "slow")
        assert [(row["volume_type"], row["way"]) for row in answer["matrix"]] == [
            ("fast", "clone-image-volume"),
            ("slow", "create-template"),
        ]
        # Cinder's own schemes have no cinder.
        assert [row["upstream_way"] for row in answer["matrix"]] == ["copy", "copy"]
