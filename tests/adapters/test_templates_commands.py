"""`imagevol templates` in this process, on services in memory: what is asked, what is told, which status it gives."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.cli import main
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.testing.memory import MemoryDevice, MemoryImages, MemoryVolumes
from imagevol_core import GIB, TEMPLATE_KEY, Digest, Image, ServiceUnreachable, TemplateMetadata, Volume
from tests.adapters.commands import Ran, logging_as_before
from tests.adapters.test_locations_command import Terminal

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
INTERNAL = "internal"

Run = Callable[..., Ran]


@attrs.define(kw_only=True)
class Templating(MemoryVolumes):
    """A Cinder in memory whose driver makes a template of the image of each volume, as the tests on a real one see."""

    makes: bool = True
    asked_for: str = ""

    def listed(self, *, project_id: str, metadata: Mapping[str, str] | None = None) -> Iterator[Volume]:
        wanted = (metadata or {}).items()
        return iter(
            each
            for each in list(self.volumes.values())
            if each.project_id == project_id and wanted <= each.metadata.items()
        )

    def default_volume_type(self) -> str:
        return "memory"

    def wait(self, volume_id: str) -> Volume:
        volume = MemoryVolumes.wait(self, volume_id)
        if self.makes:
            assert self.images is not None
            self.template("made", self.images.get(self.asked_for))
        return volume

    def create(self, **wishes: Any) -> Volume:
        self.asked_for = wishes["image_id"]
        return MemoryVolumes.create(self, **wishes)

    def template(self, volume_id: str, image: Image, **facts: Any) -> None:
        written = TemplateMetadata(
            image_id=image.id, image_updated_at=image.updated_at, digest=image.digest, last_used=LONG_AGO
        )
        volume = Volume(
            id=volume_id,
            project_id=INTERNAL,
            host=self.host,
            size_gib=1,
            status="available",
            volume_type="memory",
            readonly=True,
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

    def run(what: str, *arguments: object, tenant: tuple[object, ...] = ("--internal-tenant", INTERNAL)) -> Ran:
        capsys.readouterr()
        with logging_as_before():
            status = main([str(argument) for argument in ("templates", what, *tenant, *arguments)])
        return Ran(status, *capsys.readouterr())

    return run


class TestList:
    def test_each_is_named_with_its_place_and_what_it_is(self, run: Run, cinder: Templating, image: Image) -> None:
        cinder.template("t", image)
        listed = run("list", "-f", "json")
        assert (listed.status, listed.json) == (
            0,
            [
                {
                    "volume_id": "t",
                    "backend": cinder.host,
                    "image_id": image.id,
                    "size_gib": 1,
                    "last_used": "2026-01-01T00:00:00+00:00",
                    "state": "ready",
                    "reason": f"the image's multihash is {image.digest}, and was {image.digest}",
                }
            ],
        )

    @pytest.mark.parametrize(
        "facts, state, status",
        [
            ({"status": "error"}, "broken", 3),
            ({"status": "creating", "created_at": LONG_AGO}, "being-made", 0),
            ({"metadata": {TEMPLATE_KEY: "none"}}, "image-gone", 3),
            ({"project_id": "a user's"}, None, 0),
            ({"status": "deleting"}, None, 0),
            ({"metadata": {"of": "no template"}}, None, 0),
        ],
    )
    def test_the_status_is_3_where_one_is_not_as_it_should_be(
        self, run: Run, cinder: Templating, image: Image, facts: dict[str, Any], state: str | None, status: int
    ) -> None:
        cinder.template("t", image, **facts)
        listed = run("list", "-f", "json")
        assert (listed.status, [row["state"] for row in listed.json]) == (status, [state] if state else [])

    def test_metadata_that_say_nothing_make_it_stale(self, run: Run, cinder: Templating, image: Image) -> None:
        cinder.template("t", image, metadata={TEMPLATE_KEY: image.id, "imagevol_last_used": "yesterday"})
        assert [row["state"] for row in run("list", "-f", "json").json] == ["stale"]

    def test_the_tenant_is_read_from_cinders_configuration(
        self, run: Run, cinder: Templating, image: Image, tmp_path: Path
    ) -> None:
        cinder.template("t", image)
        conf = tmp_path / "cinder.conf"
        for text, status in ((f"cinder_internal_tenant_project_id = {INTERNAL}\n", 0), ("", 1), ("secret", 1)):
            conf.write_text("[DEFAULT]\n" + text)
            listed = run("list", tenant=("--config-file", conf))
            assert listed.status == status
            assert "secret" not in listed.err
        assert listed.err == (
            f"whose the templates are is not known: {conf} cannot be read, or names no "
            "cinder_internal_tenant_project_id; give --internal-tenant\n"
        )


class TestPrune:
    def test_it_is_shown_asked_and_done(
        self, run: Run, cinder: Templating, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cinder.template("t", image)
        cinder.template("u", replace(image, id="gone"))
        monkeypatch.setattr("sys.stdin", Terminal("n\n"))
        declined = run("prune", "-f", "json")
        assert (declined.status, [row["outcome"] for row in declined.json]) == (3, ["planned"])
        assert declined.err == ("template u of image gone goes: Glance has no image gone\nDelete 1 templates? [y/N] ")
        monkeypatch.setattr("sys.stdin", io.StringIO())
        assert run("prune").status == 1
        assert run("prune", "--dry-run").status == 3
        assert set(cinder.volumes) == {"t", "u"}
        pruned = run("prune", "--yes", "-f", "json")
        assert (pruned.status, [(row["volume_id"], row["outcome"]) for row in pruned.json]) == (0, [("u", "deleted")])
        assert set(cinder.volumes) == {"t"}
        nothing = run("prune", "--yes", "-f", "json")
        assert (nothing.status, nothing.json, nothing.err) == (0, [], "No template has to go.\n")

    def test_above_a_limit_the_least_recently_used_go(self, run: Run, cinder: Templating, image: Image) -> None:
        for name in "tuv":
            cinder.template(name, image)
        run("prune", "--yes", "--max-size-gb", "2")
        assert set(cinder.volumes) == {"u", "v"}
        run("prune", "--yes", "--max-count", "1")
        assert set(cinder.volumes) == {"v"}

    def test_what_cannot_be_deleted_is_told_and_the_rest_goes(
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
        pruned = run("prune", "--yes", "-f", "json")
        assert (pruned.status, [(row["outcome"], row["reason"]) for row in pruned.json]) == (
            3,
            [("failed", "Cinder is away"), ("deleted", "Glance has no image gone")],
        )

    def test_where_glance_does_not_answer_nothing_goes(
        self, run: Run, cinder: Templating, glance: MemoryImages, image: Image, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object) -> Image:
            raise ServiceUnreachable("Glance is away")

        cinder.template("t", replace(image, id="gone"))
        monkeypatch.setattr(MemoryImages, "get", away)
        assert run("prune", "--yes").err == "No template has to go.\n"
        assert set(cinder.volumes) == {"t"}


class TestWarm:
    def test_a_volume_is_made_and_deleted_and_the_template_stays(
        self, run: Run, cinder: Templating, image: Image
    ) -> None:
        dry = run("warm", "debian", "--dry-run", "-f", "json")
        assert (dry.status, [row["outcome"] for row in dry.json], cinder.volumes) == (3, ["planned"], {})
        warmed = run("warm", "debian", "--yes", "-f", "json")
        assert (warmed.status, warmed.json) == (
            0,
            [
                {
                    "image_id": image.id,
                    "volume_type": "memory",
                    "outcome": "made",
                    "backend": cinder.host,
                    "volume_id": "made",
                    "size_gib": 1,
                    "reason": None,
                }
            ],
        )
        assert warmed.err == (
            f"image {image.id}, type memory: a template is made by a volume of 1 GiB: "
            "there is no template of the image on this backend\n"
        )
        assert set(cinder.volumes) == {"made"}
        assert [row["outcome"] for row in run("warm", "debian", "-f", "json").json] == ["ready"]

    def test_an_image_that_may_have_none_is_refused_before_anything_is_made(
        self, run: Run, cinder: Templating, glance: MemoryImages, image: Image
    ) -> None:
        glance.images[image.id] = replace(image, owner="another", visibility="shared")
        warmed = run("warm", image.id, "-f", "json")
        assert (warmed.status, [row["outcome"] for row in warmed.json]) == (3, ["refused"])
        assert "it belongs to another" in warmed.json[0]["reason"]
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
        glance: MemoryImages,
        image: Image,
        disk_format: str,
        sizes: dict[str, Any],
        size_gib: int,
    ) -> None:
        glance.images[image.id] = replace(image, disk_format=disk_format, **sizes)
        planned = run("warm", image.id, "--dry-run", "-f", "json")
        assert [row["outcome"] for row in planned.json] == ["planned"]
        assert f"by a volume of {size_gib} GiB" in planned.err

    def test_a_backend_that_makes_none_is_named(self, run: Run, cinder: Templating, image: Image) -> None:
        cinder.makes = False
        warmed = run("warm", image.id, "--yes", "-f", "json")
        assert (warmed.status, warmed.json[0]["outcome"], warmed.json[0]["reason"]) == (
            3,
            "failed",
            f"{cinder.host} made no template: the log of its cinder-volume says why",
        )
        assert cinder.volumes == {}

    def test_a_template_that_is_stale_still_is_none(self, run: Run, cinder: Templating, image: Image) -> None:
        cinder.makes = False
        cinder.template("old", replace(image, digest=Digest("sha512", "ab")))
        warmed = run("warm", image.id, "--yes", "-f", "json")
        assert (warmed.status, warmed.json[0]["outcome"]) == (3, "failed")
        assert "made no template" in warmed.json[0]["reason"]

    def test_a_volume_that_fails_is_deleted_and_told(self, run: Run, cinder: Templating, image: Image) -> None:
        cinder.capacity_gib = 0
        warmed = run("warm", image.id, "--yes", "-f", "json")
        assert (warmed.status, warmed.json[0]["outcome"]) == (3, "failed")
        assert "the backend is full" in warmed.json[0]["reason"]
        assert cinder.volumes == {}


def test_a_bar_is_for_terminals(run: Run, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagevol_adapters.cli.templates.quiet", lambda: False)
    assert "warm: 100%" in run("warm", image.id, "--yes").err
