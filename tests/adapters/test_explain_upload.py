"""`imagevol explain-upload`, on ports in memory: clone or copy, whose, where, and every rule."""

from __future__ import annotations

import pytest

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.testing.conformance.fixtures import NOBODY
from imagevol_adapters.testing.memory import MemoryImages, MemoryVolumes
from imagevol_core import (
    AccessDenied,
    Image,
    ImageLocation,
    ImagevolError,
    Policy,
    Requester,
    ServiceUnreachable,
    Store,
    StoreCatalogue,
    UploadFailure,
    UploadSettings,
    VolumeType,
    plan_upload,
)
from imagevol_core.uploading import UPLOAD_RULES
from tests.adapters.commands import Run

pytestmark = pytest.mark.usefixtures("no_cloud")

CATALOGUE = StoreCatalogue(
    stores=(
        Store(name="fast", kind="cinder", volume_type="fast"),
        Store(name="slow", kind="cinder", volume_type="slow", weight=5),
        Store(name="fine", kind="cinder", volume_type="named"),
    ),
    default="fast",
)


class Volumes(MemoryVolumes):
    def default_volume_type(self) -> str:
        return "fast"


class Images(MemoryImages):
    def catalogue(self) -> StoreCatalogue:
        return CATALOGUE


class HidesStores(MemoryImages):
    def catalogue(self) -> StoreCatalogue:
        raise AccessDenied("Glance, the details of its stores: 403 Forbidden")


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch) -> Volumes:
    """The application's services, in memory."""
    volumes = Volumes(
        project_id="p",
        volume_types={"fast": False, "named": False, "fast2slow": False, "secret": True},
        extra_specs={
            "named": {"image_service:store_id": "fine"},
            "fast2slow": {"image_service:store_id": "slow"},
        },
    )
    monkeypatch.setattr(Imagevol, "volumes", volumes)
    monkeypatch.setattr(Imagevol, "images", Images(volumes=volumes, project_id="p", stores=("fast", "slow")))
    monkeypatch.setattr(Imagevol, "project_id", "p")
    return volumes


def made(volumes: Volumes, volume_type: str = "fast") -> str:
    return volumes.wait(volumes.create(size_gib=1, name="disk", volume_type=volume_type).id).id


def test_a_program_gets_every_rule_and_where_it_would_land(run: Run, volumes: Volumes) -> None:
    volume_id = made(volumes)
    ran = run("explain-upload", volume_id, "-f", "json")
    assert (ran.status, ran.err) == (0, "")
    answer = ran.json
    verdicts = answer.pop("verdicts")
    assert answer == {
        "volume_id": volume_id,
        "policy": "strict",
        "outcome": "register",
        "project_id": "p",
        "location": "cinder://CLONE",
        "headers": {"x-openstack-image-size": str(1 << 30)},
        "stores": ["fast"],
    }
    upload = [rule.id for rule in UPLOAD_RULES[Policy.STRICT]]
    selection = ["single-store", "store-header", "base-image", "default-store"]
    assert [verdict["rule"] for verdict in verdicts] == [*upload, "store-of-type", *selection]
    assert all(verdict.keys() >= {"rule", "result", "subject", "text"} for verdict in verdicts)


def test_a_person_gets_sentences(run: Run, volumes: Volumes) -> None:
    tenant = ("--use-internal-tenant", "--internal-tenant", "internal")
    assert run("explain-upload", made(volumes), *tenant).out.splitlines() == [
        "The volume is cloned, for project internal, and cinder://CLONE registered.",
        "The image is then in store fast.",
        "  holds registration-enabled: image_upload_use_cinder_backend is True.",
        "  holds image-raw: the image's disk_format will be raw.",
        "  holds image-bare: the image's container_format will be bare.",
        "  holds volume-not-encrypted: the volume is not encrypted.",
        "  holds tenant-known: the clone belongs to the internal tenant, which is internal.",
        "  holds owner-known: the image's owner is p.",
        "  holds type-known: the volume's type is fast.",
        "  holds store-valid: the volume's type names no store.",
        "  holds store-of-type (fast): store fast has volumes of type fast.",
        "If that fails, the data is copied to store fast; the headers are x-openstack-image-size: 1073741824.",
        "  default-store: default_backend is 'fast'.",
    ]


@pytest.mark.parametrize(
    "options, rule",
    [
        (("--no-cinder-backend",), "registration-enabled"),
        (("--disk-format", "qcow2"), "image-raw"),
        (("--container-format", "ovf"), "image-bare"),
        (("--use-internal-tenant",), "tenant-known"),
    ],
)
def test_what_stands_in_the_way_of_a_clone_is_said(
    run: Run, volumes: Volumes, options: tuple[str, ...], rule: str
) -> None:
    first, *rules, where, why = run("explain-upload", made(volumes), *options).out.splitlines()
    assert first == "The volume's data is copied."
    assert [line.split(":")[0] for line in rules if not line.startswith("  holds")] == [f"  fails {rule}"]
    assert (where.startswith("It goes to store fast; "), why) == (True, "  default-store: default_backend is 'fast'.")


def test_a_location_that_no_store_would_have_is_not_promised(run: Run, volumes: Volumes) -> None:
    volume_id = made(volumes, "fast2slow")
    answer = run("explain-upload", volume_id, "-f", "json").json
    assert (answer["outcome"], answer["location"], answer["stores"]) == ("copy", "cinder://slow/CLONE", ["slow"])
    assert "  fails store-of-type: no store has volumes of type fast2slow" in run("explain-upload", volume_id).out


def test_a_copy_goes_to_every_store_of_the_base_image_that_is_still_there(run: Run, volumes: Volumes) -> None:
    volume_id = made(volumes)
    assert isinstance(volumes.images, Images)
    base = volumes.images.create(name="base", disk_format="raw")
    volumes.base_images[volume_id] = base.id
    stores = tuple(ImageLocation("", {"store": store}) for store in ("fast", "slow"))
    volumes.images._activate(base.id, locations=stores)
    ask = ("explain-upload", volume_id, "--no-cinder-backend", "-f", "json")
    answer = run(*ask).json
    assert (answer["stores"], answer["headers"]["x-openstack-base-image-ref"]) == (["slow", "fast"], base.id)
    assert run(*ask, "--policy", "upstream").json["stores"] == ["fast"]
    volumes.images.delete(base.id)
    assert run(*ask).json["stores"] == ["fast"]


@pytest.mark.parametrize("error", [AccessDenied("403 Forbidden"), ServiceUnreachable("no answer")], ids=repr)
def test_a_base_image_that_glance_does_not_show_counts_as_one_that_is_gone(
    run: Run, volumes: Volumes, monkeypatch: pytest.MonkeyPatch, error: ImagevolError
) -> None:
    def refuses(*_: object) -> None:
        raise error

    volume_id = made(volumes)
    volumes.base_images[volume_id] = NOBODY
    for method in ("get", "stores_of"):
        monkeypatch.setattr(Images, method, refuses)
    ran = run("explain-upload", volume_id, "--no-cinder-backend", "-f", "json")
    assert (ran.status, ran.json["stores"]) == (0, ["fast"])
    assert ("no answer" in ran.err) is ("no answer" in str(error))


def test_a_base_image_whose_locations_are_not_shown_is_known_by_its_stores(
    run: Run, volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Glance shows the stores of an image to all who see it."""
    volume_id = made(volumes)
    assert isinstance(volumes.images, Images)
    base = volumes.images.create(name="base", disk_format="raw")
    volumes.base_images[volume_id] = base.id
    monkeypatch.setattr(Images, "stores_of", lambda *_: ("slow",), raising=False)
    assert run("explain-upload", volume_id, "--no-cinder-backend", "-f", "json").json["stores"] == ["slow"]


def test_without_cinders_default_type_the_rest_is_told(
    run: Run, volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: object) -> str:
        raise ServiceUnreachable("Cinder, the default volume type: no answer")

    untyped = (Store(name="fast", kind="cinder"),)
    monkeypatch.setattr(Images, "catalogue", lambda _: StoreCatalogue(stores=untyped, default="fast"))
    monkeypatch.setattr(Volumes, "default_volume_type", silent)
    ran = run("explain-upload", made(volumes))
    assert (ran.status, ran.err.count("\n")) == (0, 1)
    assert "no answer" in ran.err
    assert "to store fast" in ran.out


def test_cinder_registers_nothing_where_the_type_names_a_store(run: Run, volumes: Volumes) -> None:
    ask = ("explain-upload", made(volumes, "named"))
    assert run(*ask, "-f", "json").json["outcome"] == "register"
    upstream = run(*ask, "--policy", "upstream", "-f", "json").json
    assert (upstream["policy"], upstream["outcome"], upstream["stores"]) == ("upstream", "copy", ["fine"])
    lines = run(*ask, "--policy", "upstream").out.splitlines()
    assert lines[2] == "  Cinder sends the store beside the location, and Glance refuses that."


def test_what_cinder_does_about_each_failure_of_a_registration_is_said(run: Run, volumes: Volumes) -> None:
    strict, upstream = (
        run("explain-upload", made(volumes), "--policy", policy).out for policy in ("strict", "upstream")
    )
    assert "in these cases" not in strict
    plan = plan_upload(
        volumes.get(made(volumes)),
        image=Image(id="i", disk_format="raw", container_format="bare"),
        volume_type=VolumeType(name="fast"),
        base_image_id=None,
        requester=Requester(project_id="p"),
        settings=UploadSettings(use_cinder_backend=True),
        policy=Policy.UPSTREAM,
    )
    said = dict(line.removesuffix(".").split(": ") for line in upstream.splitlines() if "in these cases" in line)
    assert [sorted(cases.split(", ")) for cases in said.values()] == [
        sorted(failure.value for failure in failures)
        for failures in (frozenset(UploadFailure) - plan.falls_back_on, plan.leaves_clone_on, plan.falls_back_on)
    ]


def test_an_upload_that_fails_is_said_to_fail(run: Run, volumes: Volumes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "volume_type", lambda name: None)
    lines = run("explain-upload", made(volumes), "--policy", "upstream").out.splitlines()
    assert lines[0] == "The upload fails: Cinder fails with an AttributeError where a volume has no type."
    assert [line.split(":")[0] for line in lines[1:]] == [
        f"  holds {rule.id}" for rule in UPLOAD_RULES[Policy.UPSTREAM]
    ]
    assert run("explain-upload", made(volumes), "--policy", "upstream", "-f", "json").json["stores"] == []


def test_without_the_right_to_see_the_stores_the_rest_is_told(
    run: Run, volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Imagevol, "images", HidesStores(volumes=volumes))
    ran = run("explain-upload", made(volumes))
    assert (ran.status, ran.err.count("\n")) == (0, 1)
    assert "Glance does not tell its stores: Glance" in ran.err
    assert "The image is then in a store that is not known." in ran.out


def test_an_unknown_volume_is_one_line(run: Run, volumes: Volumes) -> None:
    ran = run("explain-upload", "no-such-volume")
    assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
