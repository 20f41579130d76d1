"""Locations migrated on real services: what Glance makes of them is predicted, and no volume is ever lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagevol_core import NotFound, Policy, RequestRefused, plan_added_location, plan_image
from imagevol_core.locations import parse_location
from tests.cloud import restarting
from tests.cloud.bringup import running
from tests.cloud.moving import Site, at
from tests.cloud.ports import ports
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud

MULTI = {"fast": "fast", "fast2": "fast2", "twin": "twin", "twin2": "twin"}

# How locations come to be as an operator finds them, each of a volume of the type.
HISTORIES: dict[str, tuple[str, tuple[tuple[str, str | None], ...]]] = {
    "from one store": ("fast", (("cinder://V", None),)),
    "from one store, of a store that another's name begins": ("fast2", (("cinder://V", None),)),
    "of a store that was renamed": ("fast", (("cinder://quick/V", "quick"),)),
    "of a store that was retired": ("lonely", (("cinder://old/V", "old"),)),
    "retyped, with its store": ("fast2", (("cinder://fast/V", "fast"),)),
    "retyped, without a store": ("fast2", (("cinder://fast/V", None),)),
    "retyped, to a type of no store": ("lonely", (("cinder://fast/V", None),)),
    "without a store": ("fast", (("cinder://fast/V", None),)),
    "without a store, of a store that another's name begins": ("fast2", (("cinder://fast2/V", None),)),
    "URL and metadata disagree": ("fast", (("cinder://twin/V", "fast"),)),
    "two stores of its type, neither named": ("twin", (("cinder://V", None),)),
    "two stores of its type, the second named": ("twin", (("cinder://twin2/V", None),)),
    "two stores of its type, the second its own": ("twin", (("cinder://twin2/V", "twin2"),)),
    "in order": ("fast", (("cinder://fast/V", "fast"),)),
    "with other metadata, two locations": ("fast", (("cinder://fast/V", "fast"), ("cinder://old/V", "old"))),
}
DELETED = ("cinder://V", "cinder://fast/V", "cinder://fast2/V", "cinder://old/V")


@pytest.fixture(scope="module")
def one_store(moving: Cloud) -> Iterator[Site]:
    """Its Glance begins with one store, where locations are taken and kept as they are."""
    site = Site.of(moving)
    site.make_types()
    with site.with_one_store():
        yield site


@pytest.fixture(scope="module")
def moving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud of its own, since its services are restarted."""
    directory = request.config.getoption("--cloud", default=None)
    if directory is not None:
        yield Cloud.load(Path(directory))
        return
    request.getfixturevalue("able_machine")
    with running(tmp_path_factory.mktemp("moving"), keep_logs=True) as cloud:
        yield cloud


@pytest.fixture
def site(one_store: Site) -> Iterator[Site]:
    yield one_store
    one_store.forget()


@pytest.mark.parametrize("driver", ["cinder", "imagevol"])
def test_what_glance_makes_of_a_location_is_predicted(site: Site, driver: str) -> None:
    image_ids = site.make(HISTORIES)
    for url in DELETED:
        image_ids[f"deleted, {url}"] = image_id = site.image((url, None))
        site.volumes.delete(parse_location(site.saved(image_id)[image_id].locations[0].url).volume_id)
    with site.with_stores(MULTI, driver=driver):
        before = site.saved(*image_ids.values())
        predicted = {
            why: plan_image(
                before[image_id],
                catalogue=site.catalogue,
                volume_types=site.volumes.types_of([each.url[-36:] for each in before[image_id].locations]),
                policy=Policy.UPSTREAM,
            )
            for why, image_id in image_ids.items()
        }
        assert site.saved(*image_ids.values()) == before
        for image_id in image_ids.values():
            site.images.get(image_id)
        after = site.saved(*image_ids.values())
        assert {why: at(after[image_id].locations) for why, image_id in image_ids.items()} == {
            why: at([change.after for change in changes]) for why, changes in predicted.items()
        }
        moved = {why for why, image_id in image_ids.items() if after[image_id] != before[image_id]}
        assert {"from one store", "deleted, cinder://fast2/V"} <= moved or driver == "imagevol"


@pytest.mark.parametrize("driver", ["cinder", "imagevol"])
def test_what_glance_makes_of_an_added_location_is_predicted(site: Site, driver: str) -> None:
    urls = ("cinder://V", "cinder://old/V", "cinder://fast/V", "cinder://fast2/V", "cinder://twin2/V")
    image_ids = {kind: site.image(("cinder://V", None), volume_type=kind) for kind in ("fast", "fast2", "twin")}
    with site.with_stores(MULTI, driver=driver):
        for kind, image_id in image_ids.items():
            there = site.images.get(image_id).locations
            for url in urls:
                sent = at(there)[0][0], {"store": "twin2"}
                sent = (url.replace("V", sent[0][-36:]), {"store": "twin2", "since": url})
                predicted = plan_added_location(
                    type(there[0])(*sent), catalogue=site.catalogue, volume_type=kind, policy=Policy.UPSTREAM
                ).after
                value = {"url": sent[0], "metadata": sent[1]}
                site.images.change_locations(image_id, [{"op": "add", "path": "/locations/-", "value": value}])
                assert predicted in site.saved(image_id)[image_id].locations


def test_from_one_store_to_several_and_back_and_forth(site: Site, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    image_ids = []
    for _ in range(3):
        image = site.images.create(name="uploaded", disk_format="raw")
        site.images.upload(image.id, [data], size_bytes=len(data))
        image_ids.append(image.id)
        site.made.append(image.id)
    history = site.saved(*image_ids)
    volume_ids = site.volume_ids()
    with site.with_stores(MULTI):
        planned = site.run("plan")
        assert planned.status == 3
        assert [(row["image_id"], row["outcome"], row["way"]) for row in planned.rows] == [
            (image_id, "change", "show") for image_id in sorted(image_ids)
        ]
        dry = site.run("apply", "--journal", tmp_path / "one", "--dry-run")
        assert (dry.status, {row["state"] for row in dry.rows}) == (3, {"planned"})
        assert not (tmp_path / "one").exists()
        unasked = site.run("apply", "--journal", tmp_path / "one")
        assert (unasked.status, unasked.err.splitlines()[-1]) == (
            1,
            "nothing was changed: give --yes, or run it on a terminal to be asked",
        )
        assert site.saved(*image_ids) == history

        applied = site.run("apply", "--journal", tmp_path / "one", "--yes")
        assert (applied.status, {row["state"] for row in applied.rows}) == (0, {"done"})
        assert [site.locations(image_id) for image_id in image_ids] == [[("cinder://fast/V", "fast")]] * 3
        again = site.run("plan")
        assert (again.status, again.rows) == (0, [])
        assert site.run("apply", "--journal", tmp_path / "one", "--yes").err.endswith("by --resume\n")

        refused = site.run("undo", "--journal", tmp_path / "one", "--yes")
        assert refused.status == 3
        assert "first give glance-api.conf the stores that it belongs to" in refused.rows[0]["reason"]
        assert [site.locations(image_id) for image_id in image_ids] == [[("cinder://fast/V", "fast")]] * 3
        assert b"".join(site.images.read(image_ids[0])) == data
    undone = site.run("undo", "--journal", tmp_path / "one", "--yes")
    assert (undone.status, {row["state"] for row in undone.rows}) == (0, {"undone"})
    assert {key: image.locations for key, image in site.saved(*image_ids).items()} == {
        key: image.locations for key, image in history.items()
    }
    assert (site.volume_ids(), site.holds()) == (volume_ids, [])
    assert b"".join(site.images.read(image_ids[1])) == data
    nothing = site.run("undo", "--journal", tmp_path / "one", "--yes")
    assert (nothing.status, nothing.rows) == (0, [])
    with site.with_stores(MULTI):
        undone = site.run("apply", "--journal", tmp_path / "one", "--resume", "--yes")
        assert (undone.status, undone.err.splitlines()[-1]) == (
            1,
            f"journal {tmp_path / 'one'} has been undone: plan anew, with another journal",
        )
        assert site.run("apply", "--journal", tmp_path / "two", "--yes").status == 0
        assert [site.locations(image_id) for image_id in image_ids] == [[("cinder://fast/V", "fast")]] * 3
    assert (site.volume_ids(), site.holds()) == (volume_ids, [])


def test_each_location_goes_where_its_volume_is_and_what_cannot_says_why(site: Site, tmp_path: Path) -> None:
    image_ids = site.make(HISTORIES)
    volume_ids = site.volume_ids()
    with site.with_stores(MULTI):
        planned = {row["image_id"]: row for row in site.run("plan", "--all", "--rename", "quick=fast").rows}
        ways = {why: (planned[image_id]["outcome"], planned[image_id]["way"]) for why, image_id in image_ids.items()}
        assert ways == {
            "from one store": ("change", "show"),
            "from one store, of a store that another's name begins": ("change", "show"),
            "of a store that was renamed": ("change", "show"),
            "of a store that was retired": ("no-store", None),
            "retyped, with its store": ("change", "move"),
            "retyped, without a store": ("change", "show"),
            "retyped, to a type of no store": ("no-store", None),
            "without a store": ("change", "show"),
            "without a store, of a store that another's name begins": ("change", "show"),
            "URL and metadata disagree": ("repair", "move"),
            "two stores of its type, neither named": ("ambiguous", None),
            "two stores of its type, the second named": ("change", "refused"),
            "two stores of its type, the second its own": ("keep", None),
            "in order": ("keep", None),
            "with other metadata, two locations": ("ambiguous", None),
        }
        applied = site.run("apply", "--journal", tmp_path / "journal", "--rename", "quick=fast", "--yes")
        assert applied.status == 3
        assert {row["state"] for row in applied.rows} == {"done"}
        found = {why: site.locations(image_id) for why, image_id in image_ids.items()}
        assert found == {why: list(at_) for why, (_, at_) in HISTORIES.items()} | {
            "from one store": [("cinder://fast/V", "fast")],
            "from one store, of a store that another's name begins": [("cinder://fast2/V", "fast2")],
            "of a store that was renamed": [("cinder://fast/V", "fast")],
            "retyped, with its store": [("cinder://fast2/V", "fast2")],
            "retyped, without a store": [("cinder://fast2/V", "fast2")],
            "without a store": [("cinder://fast/V", "fast")],
            "without a store, of a store that another's name begins": [("cinder://fast2/V", "fast2")],
            "URL and metadata disagree": [("cinder://fast/V", "fast")],
        }
    assert (site.volume_ids(), site.holds()) == (volume_ids, [])


def test_with_the_driver_of_glance_store_metadata_is_repaired_and_no_volume_is_deleted(
    site: Site, tmp_path: Path
) -> None:
    near = site.image(("cinder://V", None), volume_type="fast2")
    apart = site.image(("cinder://twin/V", "fast"))
    retyped = site.image(("cinder://fast/V", "fast"), volume_type="fast2")
    volume_ids, before = site.volume_ids(), site.saved(apart, retyped)
    with site.with_stores(MULTI, driver="cinder"):
        applied = site.run("apply", "--journal", tmp_path / "journal", "--yes")
        assert applied.status == 3
        assert [(row["image_id"], row["state"]) for row in applied.rows] == [(near, "done")]
        assert applied.err.count("cannot be told not to: give it the driver 'imagevol'") == 2
        assert site.locations(near) == [("cinder://fast2/V", "fast2")]
        assert site.saved(apart, retyped) == before

        # Who says that it is ours, while an old process of Glance still has the other one, loses nothing either.
        claimed = tmp_path / "claimed.conf"
        claimed.write_text(site.configuration.read_text().replace(":cinder", ":imagevol"))
        failed = site.run("apply", "--journal", tmp_path / "claimed", "--yes", configuration=claimed)
        assert failed.status == 1
        assert "left behind: hold" in failed.err
        assert site.volume_ids() == volume_ids
        assert len(site.holds()) == 2
    with site.with_stores(MULTI):
        resumed = site.run("apply", "--journal", tmp_path / "claimed", "--resume", "--yes")
        assert (resumed.status, {row["state"] for row in resumed.rows}) == (0, {"done"})
        assert [site.locations(image_id) for image_id in (apart, retyped)] == [
            [("cinder://fast/V", "fast")],
            [("cinder://fast2/V", "fast2")],
        ]
    assert (site.volume_ids(), site.holds()) == (volume_ids, [])


@pytest.mark.parametrize("lines", [5, 7, 12])
def test_killed_in_the_middle_it_is_resumed_to_the_same_end(site: Site, tmp_path: Path, lines: int) -> None:
    image_ids = [site.image(("cinder://twin/V", "fast")) for _ in range(3)]
    history = {image_id: image.locations for image_id, image in site.saved(*image_ids).items()}
    volume_ids = site.volume_ids()
    journal = tmp_path / "journal"
    with site.with_stores(MULTI):
        command = site.command("apply", "--journal", journal, "--yes")
        killed = subprocess.Popen(command, env=site.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in ticks(60, interval=0.002):
            if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
                break
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
        assert site.volume_ids() == volume_ids
        assert all(image.locations for image in site.saved(*image_ids).values())
        resumed = site.run("apply", "--journal", journal, "--resume", "--yes")
        assert (resumed.status, {row["state"] for row in resumed.rows}) == (0, {"done"})
        assert [site.locations(image_id) for image_id in image_ids] == [[("cinder://fast/V", "fast")]] * 3
        assert (site.volume_ids(), site.holds()) == (volume_ids, [])
        undone = site.run("undo", "--journal", journal, "--yes")
        assert undone.status == 3  # Glance would take it for the store of the volume's type at once
    assert site.run("undo", "--journal", journal, "--yes").status == 0
    assert {image_id: image.locations for image_id, image in site.saved(*image_ids).items()} == history
    assert (site.volume_ids(), site.holds()) == (volume_ids, [])


def test_without_cinder_nothing_changes_and_it_is_said_why(site: Site, tmp_path: Path) -> None:
    image_ids = [site.image(("cinder://V", None)), site.image(("cinder://twin/V", "fast"))]
    with site.with_stores(MULTI):
        before = site.saved(*image_ids)
        journal = tmp_path / "journal"
        site.run("apply", "--journal", journal, "--yes", "--dry-run")
        with restarting.without(site.cloud, "cinder"):
            planned = site.run("plan")
            assert planned.status == 3
            assert {row["outcome"] for row in planned.rows} == {"no-answer"}
            assert "and that the service runs" in planned.rows[0]["reason"]
            applied = site.run("apply", "--journal", journal, "--yes")
            assert (applied.status, applied.rows) == (3, [])
            assert applied.err.splitlines()[-1] == "There is nothing that can be changed."
            assert not journal.exists()
        assert site.saved(*image_ids) == before


def test_every_image_is_planned_hidden_and_community_ones_too(site: Site) -> None:
    image_ids = [
        site.image(("cinder://V", None), visibility=visibility, owner=site.cloud.project_ids["other"])
        for visibility in ("public", "private", "shared", "community")
    ]
    hidden = site.image(("cinder://V", None))
    site.images.change_locations(hidden, [{"op": "replace", "path": "/os_hidden", "value": True}])
    with site.with_stores(MULTI):
        assert {row["image_id"] for row in site.run("plan").rows} == {*image_ids, hidden}


def test_an_image_that_glance_does_not_change_is_told_and_the_others_are_changed(site: Site, tmp_path: Path) -> None:
    image_ids = [site.image(("cinder://twin/V", "fast")) for _ in range(2)]
    busy = site.image(("cinder://twin/V", "fast"))
    deactivated = site.image(("cinder://twin/V", "fast"))
    with site.with_stores(MULTI):
        site.images._glance().http_client.post(f"/v2/images/{deactivated}/actions/deactivate")  # type: ignore[attr-defined]
        attachment = site.cinder.attachments.create(site.saved(busy)[busy].locations[0].url[-36:], None, mode="ro")
        applied = site.run("apply", "--journal", tmp_path / "journal", "--yes")
        assert applied.status == 3
        assert {row["image_id"]: row["state"] for row in applied.rows} == {
            **dict.fromkeys(image_ids, "done"),
            busy: "failed",
        }
        assert f"image {deactivated} (moving): " in applied.err
        assert "its status is 'deactivated'" in applied.err
        assert site.locations(busy) == site.locations(deactivated) == [("cinder://twin/V", "fast")]
        site.cinder.attachments.delete(attachment["id"])
        assert site.holds() == []
        resumed = site.run("apply", "--journal", tmp_path / "journal", "--resume", "--yes")
        assert [(row["image_id"], row["state"]) for row in resumed.rows] == [(busy, "done")]
        assert site.locations(busy) == [("cinder://fast/V", "fast")]


def test_a_journal_of_another_plan_is_refused(site: Site, tmp_path: Path) -> None:
    image_id = site.image(("cinder://twin/V", "fast"))
    journal = tmp_path / "journal"
    with site.with_stores(MULTI):
        assert site.run("apply", "--journal", journal, "--yes").status == 0
        head, *rest = journal.read_bytes().splitlines(keepends=True)
        for key, value, said in (("cloud", "elsewhere", "of another cloud"), ("stores", [["fast", "x"]], "of another")):
            other = tmp_path / key
            other.write_bytes(json.dumps({**json.loads(head), key: value}).encode() + b"\n" + b"".join(rest))
            refused = site.run("apply", "--journal", other, "--resume", "--yes")
            assert (refused.status, refused.out) == (1, "")
            assert said in refused.err
            assert len(refused.err.splitlines()) == 1
        assert site.locations(image_id) == [("cinder://fast/V", "fast")]


def test_a_user_who_sees_no_locations_is_told_what_to_do(site: Site) -> None:
    site.made.append(site.images.create(name="empty", disk_format="raw").id)
    with restarting.glance_with(site.cloud, {"DEFAULT": {"show_multiple_locations": "false"}}):
        planned = site.run("plan")
    assert (planned.status, planned.out) == (1, "")
    assert "set show_multiple_locations = true" in planned.err


def test_what_is_asked_of_volumes_in_pages_is_what_each_would_say(site: Site) -> None:
    with pytest.raises(RequestRefused):
        site.images.change_locations("00000000-0000-4000-8000-000000000000", [{"op": "x", "path": "/locations/0"}])
    ids = [site.volume(kind) for kind in ("fast", "twin", "fast2")]
    ghost = "00000000-0000-4000-8000-000000000000"
    odd = [ids[0].upper(), f"{ids[1]}?x=1", "nobody", "..", "", "'"]
    answers = site.volumes.types_of([*ids, ghost, *odd])
    assert [str(answers[each]) for each in [*ids, ghost, *odd]] == [
        *("fast", "twin", "fast2", "NotFound()"),
        *("fast", *["NotFound()"] * 5),
    ]
    assert [volume.id for volume in site.volumes.find([ids[2], ghost, ids[0]])] == [ids[2], ids[0]]
    demo = ports(site.cloud, "demo").volumes
    mine = demo.create(size_gib=1, name="mine", volume_type="slow").id
    site.made.append(mine)
    assert demo.types_of([*ids, mine]) == {**dict.fromkeys(ids, NotFound()), mine: "slow"}
