"""`imagevol templates` in this process, on services in memory: what is asked, what is told, which status it gives."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.cli import templates as command
from imagevol_adapters.cli import templates_facts
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.testing.memory import MemoryDevice, MemoryImages, MemoryVolumes
from imagevol_core import (
    GIB,
    TEMPLATE_KEY,
    AccessDenied,
    Digest,
    Image,
    ImageVolumeMetadata,
    InUse,
    ServiceUnreachable,
    TemplateMetadata,
    Volume,
    VolumeFailed,
)
from tests.adapters.commands import Ran, metrics_in, ran
from tests.adapters.test_locations_command import Terminal

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
INTERNAL = "internal"
OFF = "templates are not enabled: set image_template_enabled in the backend's section of cinder.conf"

Run = Callable[..., Ran]


@attrs.define(kw_only=True)
class Templating(MemoryVolumes):
    """A Cinder in memory whose driver makes a template of the image of each volume, as the tests on a real one see."""

    makes: bool = True
    keeps: int = 100  # how many templates its backend may have
    begun: list[tuple[str, int]] = attrs.field(factory=list, init=False)  # of which images, and how large
    most_at_once: int = 0

    def default_volume_type(self) -> str:
        return "memory"

    def pools(self) -> tuple[Pool, ...]:
        return (Pool(name=self.host),)

    def is_encrypted(self, volume_type: str) -> bool:
        return self.volume_types[volume_type]

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        self.most_at_once = max(self.most_at_once, sum(each.project_id == "memory" for each in self.volumes.values()))
        for volume_id in volume_ids:
            with suppress(VolumeFailed):
                MemoryVolumes.wait(self, volume_id)
        return MemoryVolumes.find(self, volume_ids)

    def wait(self, volume_id: str) -> Volume:
        volume = MemoryVolumes.wait(self, volume_id)
        if self.makes:
            assert self.images is not None
            image_id = self.base_images[volume_id]
            made = {"size_gib": volume.size_gib, "created_at": datetime.now(UTC)}
            self.template(f"template of {image_id}", self.images.get(image_id), **made)
            templates = [each for each in self.volumes.values() if each.project_id == INTERNAL]
            for gone in templates[: max(0, len(templates) - self.keeps)]:
                del self.volumes[gone.id]
        return volume

    def create(self, **wishes: Any) -> Volume:
        self.begun.append((wishes["image_id"], wishes["size_gib"]))
        return MemoryVolumes.create(self, **wishes)

    def template(self, volume_id: str, image: Image, **facts: Any) -> None:
        written = TemplateMetadata(
            image_id=image.id, image_updated_at=image.updated_at, digest=image.digest, last_used=LONG_AGO
        )
        volume = Volume(
            id=volume_id,
            name=f"template-{image.id}",
            project_id=INTERNAL,
            host=self.host,
            size_gib=1,
            status="available",
            volume_type="memory",
            readonly=True,
            encrypted=False,
            metadata=written.to_volume(),
        )
        self.volumes[volume_id] = replace(volume, **facts)
        self.contents[volume_id] = MemoryDevice(GIB)
        self.names[volume_id] = f"template-{image.id}"


@pytest.fixture
def cinder() -> Templating:
    return Templating()


@pytest.fixture
def glance(cinder: Templating) -> MemoryImages:
    return MemoryImages(volumes=cinder)


@pytest.fixture
def image(glance: MemoryImages) -> Image:
    made = glance.create(name="debian", disk_format="raw")
    glance.upload(made.id, [b"disk"], size_bytes=4)
    return known(glance, made.id)


@pytest.fixture
def several(glance: MemoryImages) -> list[str]:
    made = [glance.create(name=f"number {number}", disk_format="raw") for number in range(6)]
    for each in made:
        glance.upload(each.id, [b"disk"], size_bytes=4)
    return [each.id for each in made]


def known(glance: MemoryImages, image_id: str) -> Image:
    """With the virtual size that Glance tells of a raw image."""
    glance.images[image_id] = replace(glance.images[image_id], virtual_size_bytes=4)
    return glance.images[image_id]


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cinder: Templating, glance: MemoryImages
) -> Run:
    monkeypatch.setattr(Imagevol, "images", glance)
    monkeypatch.setattr(Imagevol, "volumes", cinder)
    monkeypatch.setattr(Imagevol, "project_id", "memory")
    monkeypatch.setattr(Imagevol, "has_project", lambda _, project_id: project_id == INTERNAL)

    def run(what: str, *arguments: object, tenant: tuple[object, ...] = ("--internal-tenant", INTERNAL)) -> Ran:
        return ran(capsys, "templates", what, *tenant, *arguments)

    return run


class TestList:
    @pytest.mark.parametrize("command", ["list", "prune"])
    def test_an_internal_tenant_that_there_is_not_is_refused(self, run: Run, command: str) -> None:
        assert run(command).status == 0
        refused = run(command, tenant=("--internal-tenant", "nosuch"))
        assert (refused.status, refused.out) == (1, "")
        assert refused.err == "Keystone has no project nosuch: give the id of a project in --internal-tenant\n"

    def test_each_template_is_listed_with_its_backend_and_its_image(
        self, run: Run, cinder: Templating, image: Image
    ) -> None:
        cinder.template("t", image)
        listed = run("list", "-f", "json")
        assert (listed.status, listed.json) == (
            0,
            [
                {
                    "volume_id": "t",
                    "backend": cinder.host,
                    "image_id": image.id,
                    "image_name": "debian",
                    "size_gib": 1,
                    "last_used": "2026-01-01T00:00:00+00:00",
                    "state": "ready",
                    "reason": f"the image's multihash is still {image.digest and image.digest.short}",
                }
            ],
        )

    @pytest.mark.parametrize(
        "facts, state, status",
        [
            ({"status": "error"}, "broken", 3),
            ({"status": "creating", "created_at": LONG_AGO}, "being-made", 0),
            ({"metadata": {TEMPLATE_KEY: "none"}, "name": "template-none"}, "image-elsewhere", 3),
            ({"project_id": "a user's"}, None, 0),
            ({"status": "deleting"}, None, 0),
            ({"name": "image-7ad3"}, None, 0),
            ({"metadata": {TEMPLATE_KEY: "none"}}, None, 0),
            ({"metadata": {"of": "no template"}}, None, 0),
        ],
    )
    def test_the_list_has_status_3_if_a_template_is_not_current(
        self, run: Run, cinder: Templating, image: Image, facts: dict[str, Any], state: str | None, status: int
    ) -> None:
        cinder.template("t", image, **facts)
        listed = run("list", "-f", "json")
        assert (listed.status, [row["state"] for row in listed.json]) == (status, [state] if state else [])

    def test_a_template_with_metadata_that_makes_no_sense_is_stale(
        self, run: Run, cinder: Templating, image: Image
    ) -> None:
        cinder.template("t", image, metadata={TEMPLATE_KEY: image.id, "imagevol_last_used": "yesterday"})
        assert [row["state"] for row in run("list", "-f", "json").json] == ["stale"]

    def test_the_tenant_is_read_from_cinders_configuration(
        self, run: Run, cinder: Templating, image: Image, tmp_path: Path
    ) -> None:
        cinder.template("t", image)
        conf, told = tmp_path / "cinder.conf", []
        for text, status in ((f"cinder_internal_tenant_project_id = {INTERNAL}\n", 0), ("", 1), ("secret", 1)):
            conf.write_text("[DEFAULT]\n" + text)
            listed = run("list", tenant=("--config-file", conf))
            assert listed.status == status
            assert "secret" not in listed.err
            told.append(listed.err)
        assert told == [
            "",
            (
                f"cannot determine the internal tenant: {conf} cannot be read, or does not set "
                "cinder_internal_tenant_project_id; pass --internal-tenant or --config-file\n"
            ),
            f"{conf}: it cannot be read as a configuration: give the cinder.conf of the backend's host\n",
        ]

    def test_a_configuration_that_is_named_must_be_there_and_cinders_own_need_not(
        self, run: Run, cinder: Templating, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cinder.template("t", image)
        missing = tmp_path / "none"
        asked = ("warm", image.id, "--dry-run", "-f", "json")
        refused = run(*asked, tenant=("--internal-tenant", INTERNAL, "--config-file", missing))
        assert (refused.status, refused.out) == (1, "")
        assert refused.err.startswith(f"{missing}: it cannot be read: No such file")
        monkeypatch.setattr(command, "CINDER_CONF", missing)
        monkeypatch.setattr(templates_facts, "CINDER_CONF", missing)
        assert run(*asked, tenant=("--internal-tenant", INTERNAL)).status == 0


class TestMetrics:
    def test_what_is_found_created_and_deleted_is_counted(
        self, run: Run, cinder: Templating, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, succeeded = tmp_path / "templates.prom", "command_last_success_timestamp_seconds"
        options: tuple[str | Path, ...] = ("--metrics", file)

        def counted(name: str) -> dict[str, float]:
            return {outcome: count for outcome, count in metrics_in(file, name).items() if count}

        assert run("warm", "debian", "--dry-run", *options).status == 3
        assert not file.exists()
        assert run("warm", "debian", "--yes", *options).status == 0
        assert counted("templates_warmed") == {"made": 1}
        assert run("warm", "debian", "--yes", *options).status == 0
        assert counted("templates_warmed") == {"ready": 1}
        cinder.template("u", replace(image, id="gone"))
        assert run("list", *options).status == 3
        assert counted("templates_found") == {"ready": 1, "image-elsewhere": 1}
        kept = run("prune", "--yes", *options)
        assert kept.status == 0
        assert "1 template without an image in this Glance left alone: see --only-glance." in kept.err
        assert "u" in cinder.volumes
        options = (*options, "--only-glance")
        assert run("list", *options).status == 3
        assert counted("templates_found") == {"ready": 1, "image-gone": 1}

        def in_use(*_: object) -> None:
            raise InUse("volume u is in use")

        with monkeypatch.context() as busy:
            busy.setattr(Templating, "delete", in_use)
            assert run("prune", "--yes", *options).status == 3
        assert counted("templates_pruned") == {"failed": 1}
        assert metrics_in(file, succeeded) == {"templates prune": 0}
        assert run("prune", "--yes", *options).status == 0
        assert counted("templates_pruned") == {"deleted": 1}
        assert run("prune", "--yes", *options).status == 0
        assert counted("templates_pruned") == {}
        assert metrics_in(file, succeeded)["templates prune"] > 1e9


class TestPrune:
    def test_the_templates_to_delete_are_shown_confirmed_and_deleted(
        self, run: Run, cinder: Templating, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cinder.template("t", image)
        cinder.template("u", replace(image, id="gone"))
        monkeypatch.setattr("sys.stdin", Terminal("n\n"))
        run = partial(run, "prune", "--only-glance")
        declined = run("-f", "json")
        assert (declined.status, [row["outcome"] for row in declined.json]) == (3, ["planned"])
        assert declined.err == ("template u of image gone (None): Glance has no image gone\nDelete 1 template? [y/N] ")
        monkeypatch.setattr("sys.stdin", io.StringIO())
        assert run().status == 1
        assert run("--dry-run").status == 3
        assert set(cinder.volumes) == {"t", "u"}
        pruned = run("--yes", "-f", "json")
        assert (pruned.status, [(row["volume_id"], row["outcome"]) for row in pruned.json]) == (0, [("u", "deleted")])
        assert set(cinder.volumes) == {"t"}
        nothing = run("--yes", "-f", "json")
        assert (nothing.status, nothing.json, nothing.err) == (0, [], "No template has to be deleted.\n")

    @pytest.mark.parametrize("how", [(), ("--all",)])
    def test_a_users_data_that_only_looks_like_a_template_is_never_deleted(
        self, run: Run, cinder: Templating, image: Image, how: tuple[str, ...]
    ) -> None:
        forged = {TEMPLATE_KEY: "an image that is gone"}
        cinder.template("the only copy of an image", image, name="image-7ad3", metadata=forged)
        assert run("prune", "--yes", *how).err == "No template has to be deleted.\n"
        assert set(cinder.volumes) == {"the only copy of an image"}

    def test_all_deletes_the_templates_of_one_backend_and_keeps_those_in_use(
        self, run: Run, cinder: Templating, image: Image
    ) -> None:
        just_now = TemplateMetadata(image_id=image.id, digest=image.digest, last_used=datetime.now(UTC)).to_volume()
        cinder.template("here", image)
        cinder.template("in another pool", image, host="memory@memory#another")
        cinder.template("in use", image, metadata=just_now)
        cinder.template("elsewhere", image, host="memory@another#memory")
        cinder.template("of a longer name", image, host="memory@memory2#memory")
        assert run("list", "--backend", cinder.host, "-f", "value", "-c", "volume_id").out == "here\nin use\n"
        pruned = run("prune", "--all", "--backend", "memory@memory", "--yes", "-f", "json")
        assert {(row["volume_id"], row["outcome"], row["reason"]) for row in pruned.json} == {
            (name, "deleted", "it can be cloned, and all templates are deleted") for name in ("here", "in another pool")
        }
        assert set(cinder.volumes) == {"in use", "elsewhere", "of a longer name"}
        assert (pruned.status, pruned.err) == (
            3,
            "1 template stays for now: in use, or last used less than 10 minutes ago (--idle-minutes).\n",
        )
        again = run("prune", "--all", "--backend", "memory@memory", "--idle-minutes", "0", "--yes")
        assert (again.status, set(cinder.volumes)) == (0, {"elsewhere", "of a longer name"})

    def test_a_backend_without_templates_is_named_with_those_that_have_some(
        self, run: Run, cinder: Templating, image: Image
    ) -> None:
        cinder.template("t", image)
        pruned = run("prune", "--all", "--backend", "node@other", "--yes")
        assert (pruned.status, set(cinder.volumes)) == (0, {"t"})
        assert pruned.err == (
            f"No template is on node@other; there are templates on {cinder.host}.\nNo template has to be deleted.\n"
        )

    def test_all_and_a_limit_together_are_refused(self, run: Run) -> None:
        refused = run("prune", "--all", "--max-count", "1")
        assert (refused.status, refused.err) == (
            1,
            "--all deletes every template: leave --max-count and --max-size-gb out\n",
        )

    def test_above_a_limit_the_least_recently_used_go(self, run: Run, cinder: Templating, image: Image) -> None:
        for name in "tuv":
            cinder.template(name, image)
        run("prune", "--yes", "--max-size-gb", "2")
        assert set(cinder.volumes) == {"u", "v"}
        run("prune", "--yes", "--max-count", "1")
        assert set(cinder.volumes) == {"v"}

    def test_templates_that_stay_because_they_were_just_used_are_counted(
        self, run: Run, cinder: Templating, image: Image
    ) -> None:
        for name in "tu":
            cinder.template(name, image)
            metadata = {**cinder.volumes[name].metadata, "imagevol_last_used": datetime.now(UTC).isoformat()}
            cinder.volumes[name] = replace(cinder.volumes[name], metadata=metadata)
        pruned = run("prune", "--yes", "--max-count", "1", "-f", "json")
        assert (pruned.status, pruned.json) == (0, [])
        assert pruned.err == (
            "No template has to be deleted. 2 templates stay for now: in use, or last used less than 10 minutes ago "
            "(--idle-minutes).\n"
        )
        run("prune", "--yes", "--max-count", "1", "--idle-minutes", "0")
        assert len(cinder.volumes) == 1

    def test_a_template_that_cannot_be_deleted_is_reported_and_the_others_are_deleted(
        self, run: Run, cinder: Templating, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in "tu":
            cinder.template(name, replace(image, id="gone"))
        delete = cinder.delete

        def refused(volume_id: str) -> None:
            if volume_id == "t":
                raise ServiceUnreachable("Cinder is away")
            delete(volume_id)

        monkeypatch.setattr(Templating, "delete", lambda _, volume_id: refused(volume_id))
        pruned = run("prune", "--yes", "--only-glance", "-f", "json")
        assert (pruned.status, [(row["outcome"], row["reason"]) for row in pruned.json]) == (
            3,
            [("failed", "Cinder is away"), ("deleted", "Glance has no image gone")],
        )

    def test_no_template_is_deleted_if_glance_does_not_answer(
        self, run: Run, cinder: Templating, glance: MemoryImages, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object) -> Image:
            raise ServiceUnreachable("Glance is away")

        cinder.template("t", replace(image, id="gone"))
        monkeypatch.setattr(MemoryImages, "get", away)
        assert run("prune", "--yes").err == "No template has to be deleted.\n"
        assert set(cinder.volumes) == {"t"}


class TestWarm:
    ASSUMED = (
        "/etc/cinder/cinder.conf does not describe memory@memory#memory: assuming that templates are enabled there and "
        "have no limits\n"
    )

    def test_a_volume_is_made_and_deleted_and_the_template_stays(
        self, run: Run, cinder: Templating, image: Image
    ) -> None:
        dry = run("warm", "debian", "--dry-run", "-f", "json")
        assert (dry.status, [row["outcome"] for row in dry.json], cinder.volumes) == (3, ["planned"], {})
        warmed = run("warm", "debian", "--yes", "-f", "json")
        row = {
            "image_id": image.id,
            "image_name": "debian",
            "volume_type": "memory",
            "outcome": "made",
            "backend": cinder.host,
            "volume_id": f"template of {image.id}",
            "size_gib": 1,
            "reason": None,
        }
        assert (warmed.status, warmed.json, warmed.err) == (0, [row], self.ASSUMED)
        assert set(cinder.volumes) == {f"template of {image.id}"}
        assert [row["outcome"] for row in run("warm", "debian", "-f", "json").json] == ["ready"]

    def test_the_plan_is_shown_with_names_before_the_question_and_nowhere_else(
        self, run: Run, cinder: Templating, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for how in ("--yes", "--dry-run"):
            assert run("warm", "debian", how).err == self.ASSUMED
            cinder.volumes.clear()
        monkeypatch.setattr("sys.stdin", Terminal("n\n"))
        declined = run("warm", "debian", "-f", "json")
        assert declined.err == (
            f"{self.ASSUMED}image {image.id} (debian), type memory, {cinder.host}: planned: there is no template of "
            "the image on this backend\nCreate 1 template? [y/N] "
        )
        assert (declined.status, [row["outcome"] for row in declined.json], cinder.volumes) == (3, ["planned"], {})

    def test_an_image_that_may_have_none_is_refused_before_anything_is_made(
        self, run: Run, cinder: Templating, glance: MemoryImages, image: Image
    ) -> None:
        glance.images[image.id] = replace(image, status="deactivated")
        warmed = run("warm", image.id, "-f", "json")
        assert (warmed.status, [row["outcome"] for row in warmed.json]) == (3, ["refused"])
        assert warmed.json[0]["reason"] == "the image's status is deactivated"
        assert (cinder.volumes, cinder.begun) == ({}, [])

    def test_an_image_of_another_project_gets_a_template_if_glance_gives_its_data(
        self, run: Run, cinder: Templating, glance: MemoryImages, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        glance.images[image.id] = replace(image, owner="another", visibility="shared")
        assert [row["outcome"] for row in run("warm", image.id, "--yes", "-f", "json").json] == ["made"]
        cinder.volumes.clear()

        def refused(*_: object, **__: object) -> Iterator[bytes]:
            raise AccessDenied("download_image")

        monkeypatch.setattr(MemoryImages, "read", refused)
        (row,) = run("warm", image.id, "-f", "json").json
        assert row["outcome"] == "refused"
        assert row["reason"].endswith("Glance does not give the requester the image's data")
        assert cinder.volumes == {}

    @pytest.mark.parametrize(
        "disk_format, sizes, size_gib",
        [
            ("raw", {"virtual_size_bytes": None}, 1),
            ("qcow2", {"virtual_size_bytes": 0, "properties": {"virtual_size": str(10 * GIB)}}, 10),
        ],
    )
    def test_what_the_driver_would_take_is_not_refused(
        self,
        run: Run,
        cinder: Templating,
        glance: MemoryImages,
        image: Image,
        disk_format: str,
        sizes: dict[str, Any],
        size_gib: int,
    ) -> None:
        glance.images[image.id] = replace(image, disk_format=disk_format, **sizes)
        assert [row["outcome"] for row in run("warm", image.id, "--yes", "-f", "json").json] == ["made"]
        assert [size for _, size in cinder.begun] == [size_gib]

    def test_a_backend_that_makes_none_is_named(self, run: Run, cinder: Templating, image: Image) -> None:
        cinder.makes = False
        warmed = run("warm", image.id, "--yes", "-f", "json")
        assert (warmed.status, warmed.json[0]["outcome"], warmed.json[0]["reason"]) == (
            3,
            "failed",
            f"{cinder.host} created no template: see the log of its cinder-volume",
        )
        assert cinder.volumes == {}

    def test_a_template_that_is_stale_still_is_none(self, run: Run, cinder: Templating, image: Image) -> None:
        cinder.makes = False
        cinder.template("old", replace(image, digest=Digest("sha512", "ab")))
        warmed = run("warm", image.id, "--yes", "-f", "json")
        assert (warmed.status, warmed.json[0]["outcome"]) == (3, "failed")
        assert "created no template" in warmed.json[0]["reason"]

    def test_a_stale_template_does_not_hide_a_ready_one(self, run: Run, cinder: Templating, image: Image) -> None:
        cinder.template("old", replace(image, digest=Digest("sha512", "ab")), created_at=LONG_AGO)
        cinder.template("new", image, created_at=LONG_AGO + timedelta(days=1))
        (row,) = run("warm", image.id, "-f", "json").json
        assert (row["outcome"], row["volume_id"]) == ("ready", "new")

    def test_a_volume_that_fails_is_deleted_and_told(self, run: Run, cinder: Templating, image: Image) -> None:
        cinder.capacity_gib = 0
        warmed = run("warm", image.id, "--yes", "-f", "json")
        assert (warmed.status, warmed.json[0]["outcome"]) == (3, "failed")
        assert "the backend is full" in warmed.json[0]["reason"]
        assert cinder.volumes == {}

    def test_an_unknown_type_is_an_error_before_anything_else(self, run: Run, cinder: Templating, image: Image) -> None:
        refused = run("warm", image.id, "--volume-type", "nosuch", "--yes")
        assert (refused.status, refused.err) == (
            1,
            "volume type nosuch does not exist, or these credentials cannot see it\n",
        )
        assert cinder.begun == []

    def test_an_encrypted_type_is_refused(self, run: Run, cinder: Templating, image: Image) -> None:
        (row,) = run("warm", image.id, "--volume-type", "encrypted", "-f", "json").json
        assert (row["outcome"], cinder.begun) == ("refused", [])

    @pytest.mark.parametrize("jobs", [1, 4, 10])
    def test_several_are_made_at_once(self, run: Run, cinder: Templating, several: list[str], jobs: int) -> None:
        warmed = run("warm", *several, "--yes", "--jobs", jobs, "-f", "json")
        assert sorted((row["image_id"], row["outcome"]) for row in warmed.json) == sorted(
            (image_id, "made") for image_id in several
        )
        assert cinder.most_at_once == min(jobs, len(several))
        assert all(volume.project_id == INTERNAL for volume in cinder.volumes.values())

    def test_what_is_evicted_meanwhile_does_not_count_as_made(
        self, run: Run, cinder: Templating, several: list[str]
    ) -> None:
        cinder.keeps = 3
        warmed = run("warm", *several, "--yes", "-f", "json")
        outcomes = [row["outcome"] for row in warmed.json]
        assert (warmed.status, outcomes.count("made"), outcomes.count("failed")) == (3, 3, 3)
        made = {row["volume_id"] for row in warmed.json if row["outcome"] == "made"}
        assert made == {volume.id for volume in cinder.volumes.values()}
        reasons = {row["reason"] for row in warmed.json if row["outcome"] == "failed"}
        assert all(f"compare the limits of {cinder.host}" in reason for reason in reasons)

    @pytest.mark.parametrize(
        "options, outcomes, reason",
        [
            ("image_template_enabled = false", ["refused"] * 6, OFF),
            ("", ["refused"] * 6, OFF),
            ("image_template_enabled = true", ["planned"] * 6, "there is no template of the image on this backend"),
            (
                "image_template_enabled = true\nimage_template_max_count = 3",
                ["planned"] * 3 + ["refused"] * 3,
                "raise the limits of the backend",
            ),
            (
                "image_template_enabled = true\n[backend_defaults]\nimage_template_max_count = 3",
                ["planned"] * 3 + ["refused"] * 3,
                "raise the limits of the backend",
            ),
        ],
    )
    def test_the_plan_is_checked_against_cinders_configuration(
        self,
        run: Run,
        cinder: Templating,
        several: list[str],
        tmp_path: Path,
        options: str,
        outcomes: list[str],
        reason: str,
    ) -> None:
        conf = tmp_path / "cinder.conf"
        conf.write_text(
            f"[DEFAULT]\nenabled_backends = memory\ncinder_internal_tenant_project_id = {INTERNAL}\n"
            f"cinder_internal_tenant_user_id = cinder\n[memory]\n{options}\n"
        )
        planned = run("warm", *several, "--dry-run", "-f", "json", tenant=("--config-file", conf))
        assert ([row["outcome"] for row in planned.json], planned.err) == (outcomes, "")
        assert planned.json[-1]["reason"].endswith(reason)
        assert cinder.begun == []

    def test_no_template_is_planned_where_cinders_internal_tenant_has_no_user(
        self, run: Run, cinder: Templating, several: list[str], tmp_path: Path
    ) -> None:
        conf = tmp_path / "cinder.conf"
        conf.write_text(
            f"[DEFAULT]\nenabled_backends = memory\ncinder_internal_tenant_project_id = {INTERNAL}\n"
            "[memory]\nimage_template_enabled = true\n"
        )
        planned = run("warm", *several, "--dry-run", "-f", "json", tenant=("--config-file", conf)).json
        assert {row["outcome"] for row in planned} == {"refused"}
        assert "cinder_internal_tenant_user_id" in planned[0]["reason"]

    @pytest.mark.parametrize("value, outcome", [("enabled", "refused"), ("disabled", "planned"), (None, "refused")])
    def test_a_signed_image_is_refused_if_cinder_verifies_signatures(
        self, run: Run, glance: MemoryImages, image: Image, tmp_path: Path, value: str | None, outcome: str
    ) -> None:
        glance.images[image.id] = replace(image, properties={"img_signature": "c2ln"})
        conf = tmp_path / "cinder.conf"
        conf.write_text(f"[DEFAULT]\nverify_glance_signatures = {value}\n" if value else "")
        tenant = ("--internal-tenant", INTERNAL, "--config-file", conf)
        assert [row["outcome"] for row in run("warm", image.id, "--dry-run", "-f", "json", tenant=tenant).json] == [
            outcome
        ]

    def test_an_option_without_a_valid_value_is_named(self, run: Run, image: Image, tmp_path: Path) -> None:
        conf = tmp_path / "cinder.conf"
        conf.write_text("[DEFAULT]\nenabled_backends = memory\n[memory]\nimage_template_enabled = perhaps\n")
        refused = run("warm", image.id, tenant=("--internal-tenant", INTERNAL, "--config-file", conf))
        assert refused.status == 1
        assert f"{conf}:4, [memory] image_template_enabled" in refused.err

    def test_no_template_is_made_where_an_image_volume_is_cloned_anyway(
        self, run: Run, cinder: Templating, glance: MemoryImages, tmp_path: Path
    ) -> None:
        holds = cinder.create(size_gib=1, name="image volume", image_id=None)
        MemoryVolumes.wait(cinder, holds.id)
        made = glance.create(name="in a volume", disk_format="raw")
        said = ImageVolumeMetadata(image_id=made.id, image_owner="memory", size_bytes=GIB)
        cinder.volumes[holds.id] = replace(cinder.volumes[holds.id], readonly=True, metadata=said.to_volume())
        glance.add_location(made.id, f"cinder://{holds.id}", store=None, digest=None)
        conf = tmp_path / "cinder.conf"
        conf.write_text(
            "[DEFAULT]\nenabled_backends = memory\nverify_glance_signatures = disabled\n[memory]\n"
            "image_template_enabled = true\nimage_clone_direct_url_schemes = cinder\n"
            "image_clone_trusted_projects = memory\n"
        )
        tenant = ("--internal-tenant", INTERNAL, "--config-file", conf)
        (row,) = run("warm", made.id, "-f", "json", tenant=tenant).json
        assert (row["outcome"], row["reason"]) == ("not-needed", f"the backend clones the image volume {holds.id}")

    def test_what_is_running_when_it_is_interrupted_is_deleted(
        self, run: Run, cinder: Templating, several: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> tuple[Volume, ...]:
            raise KeyboardInterrupt

        monkeypatch.setattr(Templating, "find", lambda self, ids: interrupted() if list(ids) else ())
        assert run("warm", *several, "--yes").err.endswith("interrupted\n")
        assert len(cinder.begun) == 4
        assert cinder.volumes == {}


def test_a_progress_bar_is_shown_only_on_a_terminal(run: Run, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagevol_adapters.cli.progress.quiet", lambda: False)
    assert "warm: 100%" in run("warm", image.id, "--yes").err


def test_a_count_is_a_whole_number(run: Run, image: Image) -> None:
    for arguments in (
        ("warm", image.id, "--jobs", "0"),
        ("warm", image.id, "--jobs", "x"),
        ("prune", "--max-count", "-1"),
    ):
        refused = run(*arguments)
        assert refused.status == 2
        assert " is no " in refused.err
