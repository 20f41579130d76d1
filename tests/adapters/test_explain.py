"""`imagevol explain`, on ports in memory: every way in order, what is refused, what is not seen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_core import GIB, AccessDenied, ImageLocation, Policy, Rates, TemplateMetadata, Volume, VolumeType
from imagevol_core.cloning import REQUEST_RULES, VOLUME_RULES
from imagevol_core.templates import REQUEST_TEMPLATE_RULES
from tests.adapters.commands import Ran, Run

pytestmark = pytest.mark.usefixtures("no_cloud")

DATA = bytes(range(256)) * 1000


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryVolumes:
    """The application's services, in memory."""
    volumes = MemoryVolumes(project_id="p", host="node@fast#one", volume_types={"fast": False})
    monkeypatch.setattr(Imagevol, "volumes", volumes)
    monkeypatch.setattr(Imagevol, "images", MemoryImages(volumes=volumes, project_id="p", stores=("fast",)))
    monkeypatch.setattr(Imagevol, "attacher", MemoryAttacher(volumes=volumes))
    monkeypatch.setattr(Imagevol, "project_id", "p")
    return volumes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(DATA)
    return path


def values_of(answer: dict[str, Any], fact: str) -> dict[str, dict[str, Any]]:
    """What follows from each value of a fact that is not known."""
    (values,) = (each["values"] for each in answer["unknown"] if each["fact"] == fact)
    return {value["value"]: value for value in values}


class TestExplaining:
    @pytest.fixture
    def image_id(self, run: Run, memory: MemoryVolumes, file: Path) -> str:
        return str(run("put", file, "--register", "disk", "--store", "fast", "-f", "json").json["image_id"])

    ARGUMENTS = ("--size", 1, "--trusted-project", "p")

    def test_a_program_gets_every_rule_by_its_id(self, run: Run, image_id: str) -> None:
        ran = run("explain", image_id, *self.ARGUMENTS, "--host", "node@fast#one", "-f", "json")
        assert (ran.status, ran.err) == (0, "")
        answer = ran.json
        assert {key: type(value) for key, value in answer.items()} == {
            "image_id": str,
            "policy": str,
            "host": str,
            "facts": list,
            "outcome": str,
            "refused": type(None),
            "refused_by": list,
            "ways": list,
            "unseen": list,
            "not_looked_at": list,
            "eligible": bool,
            "sources": list,
            "extend_to_gib": int,
            "verdicts": list,
            "plan": list,
            "unknown": list,
            "template": type(None),
        }
        assert (answer["image_id"], answer["policy"], answer["eligible"]) == (image_id, "strict", True)
        assert (answer["outcome"], answer["unseen"]) == ("clone-image-volume", [])
        assert answer["not_looked_at"] == ["--templates", "--image-cache"]
        assert answer["ways"] == [
            {"way": "clone-image-volume", "source": answer["sources"][0]},
            {"way": "copy", "source": None},
        ]
        assert all(verdict.keys() >= {"rule", "result", "subject", "text"} for verdict in answer["verdicts"])
        assert {verdict["rule"] for verdict in answer["verdicts"]} == rule_ids()
        assert {verdict["subject"] for verdict in answer["verdicts"]} == {None, *answer["sources"]}

    def test_a_trusted_project_is_suggested_only_where_it_would_matter(
        self, run: Run, memory: MemoryVolumes, image_id: str
    ) -> None:
        (volume_id,) = memory.volumes
        ask = ("explain", image_id, "--size", 1, "--host", "node@fast#one", "-f", "json")
        assert "--trusted-project" not in run(*ask).json["not_looked_at"]
        memory.volumes[volume_id] = replace(memory.volumes[volume_id], project_id="stores")
        assert "--trusted-project" in run(*ask).json["not_looked_at"]
        assert run(*ask, "--trusted-project", "stores").json["outcome"] == "clone-image-volume"

    @pytest.mark.parametrize("size", ["0", "-1", "1.5", "large"])
    def test_a_size_that_no_volume_has_is_refused(self, run: Run, image_id: str, size: str) -> None:
        ran = run("explain", image_id, "--size", size, "--host", "node@fast#one")
        assert ran.status == 2
        assert "a whole number of GiB, 1 or more" in ran.err

    COPIED = "The image's data is copied into the volume."
    FALLS = "If that fails, the image's data is copied into the volume."
    INSTANT = "  Cost: instant on the backend, 0 bytes are moved."
    THROUGH_HOST = f"  Cost: a copy through the host, which reads {len(DATA)} bytes and writes up to {len(DATA)} bytes."

    def test_a_person_reads_every_way_in_order(self, run: Run, image_id: str) -> None:
        ran = run("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one")
        (volume_id,) = run("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one", "-f", "json").json["sources"]
        cloned = f"The volume is cloned from volume {volume_id}."
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines()[:4] == [cloned, self.INSTANT, self.FALLS, self.THROUGH_HOST]

    def test_each_way_is_told_with_what_stands_in_its_way(self, run: Run, image_id: str) -> None:
        plan = run("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one", "-f", "json").json["plan"]
        assert [(way["way"], way["by"], [step["order"] for step in way["steps"]]) for way in plan] == [
            ("from-snapshot", "cinder", []),
            ("clone-image-volume", "driver", [1]),
            ("clone-template", "driver", []),
            ("create-template", "driver", []),
            ("await-template", "driver", []),
            ("clone-image-volume", "cinder", []),
            ("clone-cached", "cinder", []),
            ("create-cached", "cinder", []),
            ("copy", "cinder", [2]),
        ]
        assert [way["tried"] for way in plan] == [not way["against"] for way in plan]
        against = {(way["way"], way["by"]): [each["rule"] for each in way["against"]] for way in plan}
        assert "cache-enabled" in against["clone-cached", "cinder"]
        assert "templates-enabled" in against["clone-template", "driver"]

    def test_what_is_not_known_is_told_with_what_follows_from_each_value(self, run: Run, image_id: str) -> None:
        ask = ("explain", "disk", *self.ARGUMENTS, "--host", "node@slow#one")
        unknown = {each["option"]: each for each in run(*ask, "-f", "json").json["unknown"]}
        assert [value["ways"] for value in unknown["--image-cache"]["values"]] == [["create-cached"], ["copy"]]
        assert "  If it has not: copy." in run(*ask).out.splitlines()
        answer = run(*ask, "--image-cache", "-f", "json").json
        assert "--image-cache" not in {each["option"] for each in answer["unknown"]}
        cached = values_of(answer, "what Cinder's image cache has")
        assert [value["ways"][0] for value in cached.values()] == ["clone-cached", "create-cached"]

    CONTENT = "whether the image's data is in the format that the image declares"

    @pytest.mark.parametrize("options", [(), ("--templates",), ("--image-cache",), ("--policy", "upstream")])
    @pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
    def test_data_in_another_format_than_declared_fails_the_request_where_it_is_read(
        self, run: Run, changed: Callable[..., None], options: tuple[str, ...], disk_format: str
    ) -> None:
        changed(disk_format=disk_format)
        ask = ("explain", "disk", *self.ARGUMENTS, *options, "--host", "node@slow#one")
        answer = run(*ask, "-f", "json").json
        values = values_of(answer, self.CONTENT)
        assert values["it is"]["ways"] == [way["way"] for way in answer["ways"]]
        assert values["it is not"]["ways"] == []
        assert values["it is not"]["refused"].startswith("The request fails: ")
        assert f"Not known: {self.CONTENT}." in run(*ask).out.splitlines()

    def test_a_clone_reads_no_data_that_could_be_in_another_format(self, run: Run, image_id: str) -> None:
        ask = ("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one", "-f", "json")
        assert self.CONTENT not in {each["fact"] for each in run(*ask).json["unknown"]}

    GIVEN = "whether Glance gives the requester the image's data"

    @pytest.mark.parametrize("policy", ["strict", "upstream"])
    @pytest.mark.parametrize(
        "visibility, owner, hidden",
        [
            ("private", "p", True),
            ("shared", "p", True),
            (None, None, True),
            ("community", "p", False),
            ("public", "p", None),
            ("shared", "other", None),
        ],
    )
    def test_for_another_project_it_is_told_what_follows_if_glance_does_not_show_it_the_image(
        self, run: Run, changed: Callable[..., None], policy: str, visibility: str, owner: str, hidden: bool | None
    ) -> None:
        changed(visibility=visibility, owner=owner)
        ask = ("explain", "disk", *self.ARGUMENTS, "--host", "node@slow#one", "--policy", policy)
        answer = run(*ask, "--project", "other", "-f", "json").json
        assert self.GIVEN not in {each["fact"] for each in run(*ask, "-f", "json").json["unknown"]}
        if hidden is None:
            assert self.GIVEN not in {each["fact"] for each in answer["unknown"]}
            return
        values = values_of(answer, self.GIVEN)
        assert values["it does"]["ways"][-1] == "copy"
        assert (values["it does not"]["ways"], values["it does not"]["refused"][:18]) == ([], "The request fails:")
        assert ("it does not even show the image" in values) is hidden
        if hidden:
            refused = values["it does not even show the image"]["refused"]
            assert refused == "Cinder refuses the request: Glance shows the requester no such image"

    def test_a_step_has_the_bytes_that_it_moves(self, run: Run, image_id: str) -> None:
        plan = run("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one", "-f", "json").json["plan"]
        costs = [step["cost"] for way in plan for step in way["steps"]]
        assert [cost["effort"] for cost in costs] == ["instant-on-the-backend", "copy-through-the-host"]
        assert [cost["read_bytes"] for cost in costs] == [0, len(DATA)]
        assert [cost["seconds"] for cost in costs] == [None, None]

    def test_a_person_gets_sentences_and_the_rules_that_say_no(self, run: Run, image_id: str) -> None:
        ran = run("explain", "disk", *self.ARGUMENTS, "--host", "node@slow#one", "--encrypted")
        assert ran.status == 0
        first, second, *lines = ran.out.splitlines()
        assert (first, second) == (self.COPIED, self.THROUGH_HOST)
        assert "Not tried by the driver: clone-image-volume." in lines
        assert any(line.startswith("  target-not-encrypted: ") for line in lines)
        assert any(line.startswith("  volume-same-backend (") for line in lines)
        assert not any("volume-available" in line for line in lines)

    @pytest.fixture
    def changed(self, image_id: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """What Glance says of the image is changed."""
        known = MemoryImages.find

        def change(**facts: Any) -> None:
            monkeypatch.setattr(
                MemoryImages, "find", lambda images, name_or_id: replace(known(images, name_or_id), **facts)
            )

        return change

    @pytest.mark.parametrize("policy", ["strict", "upstream", "cinder-28"])
    @pytest.mark.parametrize(
        "facts, rule, reason",
        [
            ({"status": "queued"}, "image-active", "the image's status is queued"),
            ({"status": "deactivated"}, "image-active", "the image's status is deactivated"),
            ({"min_disk_gib": 2}, "image-fits", "Cinder counts 2 GiB for the image and the volume has 1 GiB"),
            (
                {"virtual_size_bytes": 3 * GIB},
                "image-fits",
                "Cinder counts 3 GiB for the image and the volume has 1 GiB",
            ),
            (
                {"properties": {"block_device_mapping": "lots"}},
                "mapping-readable",
                "Cinder answers 500: the property block_device_mapping is not JSON",
            ),
        ],
    )
    def test_what_cinder_refuses_is_said_to_be_refused_by_which_rule_and_nothing_else(
        self, run: Run, changed: Callable[..., None], facts: dict[str, Any], rule: str, reason: str, policy: str
    ) -> None:
        changed(**facts)
        arguments = ("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one", "--policy", policy)
        refused = f"Cinder refuses the request: {rule}: {reason}"
        assert run(*arguments) == Ran(0, f"{refused}.\nNothing is created.\n", "")
        answer = run(*arguments, "-f", "json").json
        assert [verdict["rule"] for verdict in answer["refused_by"]] == [rule]
        assert [answer[key] for key in ("outcome", "refused", "ways", "eligible", "sources", "extend_to_gib")] == [
            "refused",
            refused,
            [],
            False,
            [],
            None,
        ]

    def test_what_only_the_strict_rules_refuse_is_left_to_cinder(self, run: Run, changed: Callable[..., None]) -> None:
        changed(properties={"virtual_size": str(2 * GIB)})
        arguments = ("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one")
        assert run(*arguments).out.splitlines()[:2] == [
            (
                "The driver leaves the request to Cinder, because the strict rules refuse it: the image needs 2 GiB "
                "(property virtual_size 2147483648 bytes) and the volume has 1 GiB."
            ),
            self.COPIED,
        ]
        answer = run(*arguments, "-f", "json").json
        assert (answer["outcome"], answer["refused"], answer["eligible"]) == ("copy", None, False)
        assert run(*arguments, "--policy", "upstream", "-f", "json").json["outcome"] == "clone-image-volume"

    def test_an_image_that_may_not_be_converted_is_not_copied(self, run: Run, changed: Callable[..., None]) -> None:
        changed(disk_format="qcow2")
        arguments = ("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one")
        assert run(*arguments).out.startswith(self.COPIED)
        ran = run(*arguments, "--no-conversion")
        assert ran.out.splitlines()[:2] == [
            (
                "The request fails: copy: Cinder fails with an ImageConversionNotAllowed: "
                "the image's disk_format is qcow2; images are not converted."
            ),
            "Nothing is created.",
        ]

    def test_if_cinder_itself_fails_nothing_comes_after_the_clones(
        self, run: Run, image_id: str, changed: Callable[..., None]
    ) -> None:
        ask = ("explain", "disk", *self.ARGUMENTS, "--allowed-direct-url-scheme", "cinder", "--host")
        (volume_id,) = run(*ask, "node@fast#one", "-f", "json").json["sources"]
        changed(locations=(ImageLocation(f"cinder://fast/{volume_id}"), ImageLocation("http://[")))
        fails = "Cinder fails with a ValueError: location http://[: it is not a URL."
        assert run(*ask, "node@fast#one").out.splitlines()[2] == f"If that fails, the request fails: {fails}"
        assert run(*ask, "node@slow#one").out.splitlines()[:2] == [
            f"The request fails: copy: {fails}",
            "Nothing is created.",
        ]

    def test_the_image_of_a_server_that_boots_from_a_volume_is_a_snapshot(
        self, run: Run, changed: Callable[..., None]
    ) -> None:
        devices = [{"source_type": "snapshot", "boot_index": 0, "snapshot_id": "5f0a\x1b[2J"}]
        changed(size_bytes=0, properties={"block_device_mapping": json.dumps(devices)})
        arguments = ("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one")
        said, cost, *_ = run(*arguments).out.splitlines()
        assert cost == self.INSTANT
        assert said.startswith("Cinder creates the volume from snapshot 5f0a\\x1b[2J, if ")
        assert run(*arguments, "-f", "json").json["outcome"] == "from-snapshot"

    def test_facts_that_these_credentials_cannot_see_are_named(
        self, run: Run, memory: MemoryVolumes, changed: Callable[..., None]
    ) -> None:
        ask = ("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one")
        (volume_id,) = run(*ask, "-f", "json").json["sources"]
        unless = f"{self.COPIED[:-1]}, unless Cinder is shown more than these credentials: "
        changed(locations=())
        assert run(*ask).out.splitlines()[0] == f"{unless}the locations of the image."
        assert run(*ask, "-f", "json").json["unseen"] == ["the locations of the image"]
        assert run(*ask, "--encrypted").out.splitlines()[0] == self.COPIED
        changed()
        volume = memory.volumes.pop(volume_id)
        assert run(*ask).out.splitlines()[0] == f"{unless}{volume_id}."
        assert run(*ask, "--encrypted").out.splitlines()[0] == self.COPIED
        memory.volumes[volume_id] = volume

    def test_the_sentences_say_what_comes_of_the_image_cache(self, run: Run, image_id: str) -> None:
        ask = ("explain", "disk", *self.ARGUMENTS, "--image-cache", "--host", "node@slow#one")
        cached, cost, *lines = run(*ask).out.splitlines()
        assert cached.startswith("The volume is cloned from Cinder's image cache or, if the image is not there, ")
        assert cost == self.THROUGH_HOST
        assert self.FALLS not in lines  # the copy is a part of it
        upstream = run(*ask, "--policy", "upstream").out.splitlines()
        assert (upstream[0], "Not tried by Cinder: clone-image-volume." in upstream) == (cached, True)
        encrypted = run(*ask, "--encrypted").out.splitlines()
        assert encrypted[0] == self.COPIED
        at = encrypted.index("Not tried by Cinder: clone-cached, create-cached.")
        assert encrypted[at + 1].startswith("  target-not-encrypted: ")

    @pytest.fixture
    def public(self, changed: Callable[..., None]) -> None:
        """The image is everybody's, and Glance knows how large it is as a disk."""
        changed(visibility="public", virtual_size_bytes=2 * GIB + 1)

    TEMPLATES = ("--size", 4, "--trusted-project", "p", "--templates")
    MADE = (
        "volume is cloned from the backend's template of the image, "
        "which the backend creates with 3 GiB if it has none."
    )

    @pytest.mark.usefixtures("public")
    def test_the_sentences_say_what_comes_of_templates(self, run: Run, image_id: str) -> None:
        here = run("explain", "disk", *self.TEMPLATES, "--host", "node@fast#one").out.splitlines()
        assert [here[2], here[4]] == [f"If that fails, the {self.MADE}", self.FALLS]
        there = run("explain", "disk", *self.TEMPLATES, "--host", "node@slow#one").out.splitlines()
        assert [there[0], there[2]] == [f"The {self.MADE}", self.FALLS]
        encrypted = run("explain", "disk", *self.TEMPLATES, "--host", "node@fast#one", "--encrypted").out.splitlines()
        assert encrypted[0] == self.COPIED
        (at,) = (number for number, line in enumerate(encrypted) if "create-template, await-template." in line)
        assert encrypted[at].startswith("Not tried by the driver: ")
        assert encrypted[at + 1] == "  target-not-encrypted: the new volume is encrypted."

    @pytest.mark.usefixtures("public")
    @pytest.mark.parametrize(
        "facts, way, sentence",
        [
            ({}, "clone-template", "The volume is cloned from template {}."),
            (
                {"status": "creating", "created_at": datetime.now(UTC)},
                "await-template",
                "the volume is cloned from it.",
            ),
            ({"encrypted": True}, "create-template", "a template of 3 GiB, and the volume is cloned from it."),
            ({"host": "node@third#one"}, "create-template", "a template of 3 GiB, and the volume is cloned from it."),
        ],
        ids=["ready", "being made", "encrypted", "on another backend"],
    )
    def test_the_existing_template_decides(
        self,
        run: Run,
        memory: MemoryVolumes,
        image_id: str,
        monkeypatch: pytest.MonkeyPatch,
        facts: dict[str, Any],
        way: str,
        sentence: str,
    ) -> None:
        image = memory.images.get(image_id) if memory.images else None
        assert image
        written = TemplateMetadata(image_id=image_id, digest=image.digest, image_updated_at=image.updated_at)
        template = Volume(
            name=f"template-{image_id}",
            **{
                "id": "template",
                "project_id": "internal",
                "host": "node@slow#one",
                "size_gib": 3,
                "status": "available",
                "encrypted": False,
                "readonly": True,
                "metadata": written.to_volume(),
                **facts,
            },
        )
        monkeypatch.setattr(MemoryVolumes, "listed", lambda *_, **__: iter([template]), raising=False)
        arguments = ("explain", "disk", *self.TEMPLATES, "--host", "node@slow#one", "--internal-tenant", "internal")
        assert run(*arguments, "-f", "json").json["outcome"] == way
        assert run(*arguments).out.splitlines()[0].endswith(sentence.format("template"))

    def test_what_has_no_template_may_be_cloned_all_the_same(self, run: Run, image_id: str) -> None:
        arguments = ("explain", "disk", *self.TEMPLATES, "--host", "node@fast#one", "--project", "another")
        first, *lines = run(*arguments).out.splitlines()
        assert first.startswith("The volume is cloned from volume ")
        at = lines.index("Not tried by the driver: clone-template, create-template, await-template.")
        assert lines[at + 1].startswith("  image-shared: ")

    def test_what_follows_from_a_driver_without_the_mixin_is_told(self, run: Run, image_id: str) -> None:
        """Nothing but a look at the class tells whether the driver has it."""
        arguments = ("explain", image_id, *self.ARGUMENTS, "--host", "node@fast#one")
        lines = run(*arguments).out.splitlines()
        at = lines.index("Not known: whether the driver of the backend has ImageCloneMixin (--policy upstream).")
        assert lines[at + 1].startswith("  If it has: clone-image-volume")
        assert lines[at + 2].startswith("  If it has not: it does what `--policy upstream` says: copy")
        assert "ImageCloneMixin" not in run(*arguments, "--policy", "upstream").out

    def test_a_script_gets_one_value(self, run: Run, image_id: str) -> None:
        arguments = ("explain", image_id, *self.ARGUMENTS, "--host", "node@fast#one", "-f", "value")
        assert run(*arguments, "-c", "outcome") == Ran(0, "clone-image-volume\n", "")
        verdicts = run(*arguments, "-c", "verdicts").out
        assert all(rule in verdicts for rule in rule_ids())

    def test_another_projects_image_has_a_template_if_glance_gives_these_credentials_its_data(
        self, run: Run, image_id: str, changed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        changed(owner="another", virtual_size_bytes=GIB, locations=())
        asked: list[tuple[int, int | None]] = []

        def read(*_: object, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
            asked.append((offset, length))
            if len(asked) > 1:
                raise AccessDenied("download_image")
            return iter([b"x"])

        monkeypatch.setattr(MemoryImages, "read", read)
        arguments = ("explain", image_id, *self.TEMPLATES, "--host", "node@fast#one")
        ways = [run(*arguments, *more, "-f", "json").json["outcome"] for more in ((), (), ("--project", "third"))]
        assert (ways, asked) == (["create-template", "copy", "copy"], [(0, 1)] * 2)
        assert "Glance was not asked" in run(*arguments, "--project", "third").out

    @pytest.mark.usefixtures("public")
    def test_a_program_gets_the_rules_of_the_template_too(self, run: Run, image_id: str) -> None:
        arguments = ("explain", image_id, *self.TEMPLATES, "--host", "node@fast#one", "-f", "json")
        made = run(*arguments).json["template"]
        assert (made["made"], made["size_gib"]) == (True, 3)
        assert {verdict["rule"] for verdict in made["verdicts"]} > {
            rule.id for rule in REQUEST_TEMPLATE_RULES[Policy.STRICT]
        }
        refused = run(*arguments, "--encrypted").json["template"]
        assert (refused["made"], refused["size_gib"]) == (False, None)
        assert [verdict["rule"] for verdict in refused["verdicts"] if verdict["result"] == "fails"] == [
            "target-not-encrypted"
        ]

    def test_no_service_makes_templates_by_rules_of_its_own(self, run: Run, image_id: str) -> None:
        ran = run("explain", "disk", *self.TEMPLATES, "--host", "node@fast#one", "--policy", "upstream")
        assert (ran.status, ran.out) == (1, "")
        assert ran.err == "--templates: a backend makes them by the strict rules; leave --policy out\n"

    CONF = """
[DEFAULT]
enabled_backends = fast
cinder_internal_tenant_project_id = internal
cinder_internal_tenant_user_id = user
image_conversion_disable = true
[fast]
image_template_enabled = true
image_clone_direct_url_schemes = cinder
image_clone_trusted_projects = p
image_volume_cache_enabled = true
"""

    @pytest.fixture
    def conf(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A cinder.conf; there is no template."""
        monkeypatch.setattr(MemoryVolumes, "listed", lambda *_, **__: iter(()), raising=False)
        path = tmp_path / "cinder.conf"
        path.write_text(self.CONF)
        return path

    def test_a_configuration_says_what_the_options_said(self, run: Run, image_id: str, conf: Path) -> None:
        ask = ("explain", "disk", "--size", 1, "--host", "node@fast#one", "--config-file", conf)
        answer = run(*ask, "-f", "json").json
        assert (answer["outcome"], answer["not_looked_at"]) == ("clone-image-volume", [])
        facts = {each["fact"]: (each["value"], each["from"]) for each in answer["facts"]}
        assert facts["cinder_internal_tenant_project_id"] == ("internal", str(conf))
        assert facts["trusted_projects"] == (["internal", "p"], str(conf))
        assert facts["image_conversion_disable"] == (True, str(conf))
        assert facts["allowed_direct_url_schemes"] == ([], str(conf))
        assert facts["host"] == ("node@fast#one", "--host")
        assert facts["the entries of Cinder's image cache"][1].startswith("not known")
        assert f"From {conf}: " in run(*ask).out

    def test_a_configuration_without_an_internal_tenant_is_known_to_have_none(
        self, run: Run, image_id: str, conf: Path
    ) -> None:
        conf.write_text("[DEFAULT]\nenabled_backends = fast\n[fast]\nimage_volume_cache_enabled = true\n")
        ask = ("explain", "disk", "--size", 1, "--host", "node@fast#one", "--config-file", conf, "-f", "json")
        for policy in ("strict", "upstream"):
            ways = {way["way"]: way for way in run(*ask, "--policy", policy).json["plan"]}
            told = [
                each["text"] for each in ways["create-cached"]["against"] if each["rule"] == "internal-tenant-known"
            ]
            assert len(told) == 1
            assert "not known whether" not in told[0]

    def test_each_origin_of_the_trusted_projects_is_told(self, run: Run, image_id: str, conf: Path) -> None:
        ask = ("explain", "disk", "--size", 1, "--host", "node@fast#one", "-f", "json", "--trusted-project", "mine")
        for more, origin in (
            (("--config-file", conf), f"--trusted-project and {conf}"),
            (
                ("--config-file", conf, "--internal-tenant", "other"),
                f"--trusted-project and --internal-tenant and {conf}",
            ),
            ((), "--trusted-project"),
        ):
            facts = {each["fact"]: each["from"] for each in run(*ask, *more).json["facts"]}
            assert facts["trusted_projects"] == origin

    def test_a_volume_is_told_to_be_extended_only_if_it_is(self, run: Run, image_id: str) -> None:
        ask = ("explain", "disk", "--trusted-project", "p", "--host", "node@fast#one", "--size")
        assert "extended" not in run(*ask, 1).out
        assert " and extended to 2 GiB." in run(*ask, 2).out

    @pytest.mark.parametrize("policy", ["strict", "upstream"])
    def test_what_the_cache_has_is_not_told_as_known(
        self, run: Run, memory: MemoryVolumes, image_id: str, policy: str
    ) -> None:
        ask = ("explain", "disk", "--size", 1, "--host", "node@slow#one", "--image-cache", "--policy", policy)
        told = run(*ask).out
        assert "from Cinder's image cache or, if the image is not there, " in told
        assert "Not known: what Cinder's image cache has." in told
        assert "the cache has no volume" not in told

    def test_an_option_counts_before_the_configuration(self, run: Run, image_id: str, conf: Path) -> None:
        ask = ("explain", "disk", "--size", 1, "--host", "node@fast#one", "--config-file", conf, "-f", "json")
        answer = run(*ask, "--allowed-direct-url-scheme", "http").json
        facts = {each["fact"]: (each["value"], each["from"]) for each in answer["facts"]}
        assert facts["image_clone_direct_url_schemes"] == (["http"], "--allowed-direct-url-scheme")
        assert not answer["eligible"]

    def test_another_section_of_the_configuration_can_be_named(self, run: Run, image_id: str, conf: Path) -> None:
        ask = ("explain", "disk", "--size", 1, "--host", "node@slow#one", "--config-file", conf)
        ran = run(*ask)
        assert (ran.status, ran.out) == (1, "")
        assert "does not describe backend slow" in ran.err
        assert run(*ask, "--backend", "fast").status == 0
        ran = run(*ask[:-1], conf.with_name("nosuch"))
        assert (ran.status, ran.out) == (1, "")

    @pytest.fixture
    def pools(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Cinder has two backends, and three pools."""
        known = [
            Pool(name="node@fast#one", backend_name="fast"),
            Pool(name="node@fast#two", backend_name="fast", clone_across_pools=True),
            Pool(name="node@slow#one", backend_name="slow"),
        ]
        kind = lambda _, name: VolumeType(name=name, extra_specs={"volume_backend_name": name})  # noqa: E731
        monkeypatch.setattr(MemoryVolumes, "pools", lambda _: known, raising=False)
        monkeypatch.setattr(MemoryVolumes, "volume_type", kind, raising=False)
        monkeypatch.setattr(MemoryVolumes, "is_encrypted", lambda _, name: name == "secret", raising=False)

    @pytest.mark.usefixtures("pools")
    def test_a_volume_type_says_where_the_volume_can_be(self, run: Run, image_id: str) -> None:
        ask = ("explain", "disk", *self.ARGUMENTS, "-f", "json", "--volume-type")
        assert run(*ask, "slow").json["host"] == "node@slow#one"
        matrix = run(*ask, "fast", "--volume-type", "slow").json["matrix"]
        assert [(row["volume_type"], row["host"], row["way"]) for row in matrix] == [
            ("fast", "node@fast#one", "clone-image-volume"),
            ("fast", "node@fast#two", "clone-image-volume"),
            ("slow", "node@slow#one", "copy"),
        ]
        assert matrix[2]["reason"].startswith("volume-same-backend: ")
        ran = run(*ask, "secret")
        assert (ran.status, ran.out) == (1, "")
        assert "no pool serves volume type secret" in ran.err
        assert run(*ask, "secret", "--host", "node@fast#one").json["outcome"] == "copy"

    @pytest.mark.parametrize("policy", ["strict", "upstream", "cinder-28"])
    @pytest.mark.parametrize("where", ["--volume-type", "--host"])
    def test_the_pool_of_a_cluster_is_where_its_volumes_are(
        self, run: Run, memory: MemoryVolumes, image_id: str, monkeypatch: pytest.MonkeyPatch, policy: str, where: str
    ) -> None:
        (volume_id,) = memory.volumes
        pool = "cluster@fast#one"
        memory.volumes[volume_id] = replace(memory.volumes[volume_id], cluster_name=pool)
        kind = lambda _, name: VolumeType(name=name)  # noqa: E731
        monkeypatch.setattr(MemoryVolumes, "pools", lambda _: [Pool(name=pool)], raising=False)
        monkeypatch.setattr(MemoryVolumes, "volume_type", kind, raising=False)
        monkeypatch.setattr(MemoryVolumes, "is_encrypted", lambda *_: False, raising=False)
        place = {"--volume-type": "fast", "--host": pool}[where]
        ask = ("explain", "disk", *self.ARGUMENTS, where, place, "--policy", policy, "-f", "json")
        answer = run(*ask).json
        assert (answer["host"], answer["outcome"]) == (pool, "clone-image-volume")
        step = next(way["steps"][0] for way in answer["plan"] if way["tried"])
        assert step["cost"]["effort"] == "instant-on-the-backend"

    @pytest.mark.usefixtures("pools")
    def test_a_clone_from_another_pool_is_told_to_be_a_copy_in_the_array(self, run: Run, image_id: str) -> None:
        ask = ("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#two", "--clone-across-pools", "-f", "json")
        step = next(way["steps"][0] for way in run(*ask).json["plan"] if way["tried"])
        assert (step["cost"]["effort"], step["cost"]["array_bytes"]) == ("copy-in-the-array", GIB)

    def test_with_the_rates_of_a_host_the_seconds_are_told(self, run: Run, image_id: str, tmp_path: Path) -> None:
        file = tmp_path / "rates.json"
        rates = Rates(
            host="h", write_bytes_per_second=len(DATA) / 2, attach_seconds=1, detach_seconds=3, clone_seconds=0.5
        )
        file.write_text(json.dumps(rates.as_dict()))
        ask = ("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one", "--rates", file)
        plan = run(*ask, "-f", "json").json["plan"]
        assert [step["cost"]["seconds"] for way in plan for step in way["steps"]] == [0.5, 6.0]
        assert "at least 6 seconds" in run(*ask).out

    @pytest.mark.parametrize(
        "written, told",
        [
            ("{}", "rates: it is not an object"),
            ("no JSON", "is not JSON"),
            ("[" * 100_000, "is not JSON"),
            ("9" * 5000, "is not JSON"),
            (json.dumps(Rates(host="h").as_dict() | {"clone_seconds": "x"}), "clone_seconds"),
        ],
        ids=["empty", "text", "deep", "long", "kind"],
    )
    def test_a_file_that_is_none_of_rates_is_refused_in_a_line_that_says_why(
        self, run: Run, image_id: str, tmp_path: Path, written: str, told: str
    ) -> None:
        file = tmp_path / "rates.json"
        file.write_text(written)
        ran = run("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one", "--rates", file)
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert ran.err.startswith(f"--rates: {file}")
        assert told in ran.err

    def test_rates_are_read_from_no_fifo_and_no_device(self, run: Run, image_id: str, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        with (tmp_path / "large").open("wb") as large:
            large.truncate(1 << 40)
        for path in (fifo, Path("/dev/null"), tmp_path / "large", tmp_path):
            ran = run("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one", "--rates", path)
            assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
            assert ran.err.startswith(f"--rates: {path} cannot be read: ")

    @pytest.mark.parametrize(
        "backend, volume_type, elsewhere",
        [
            ("node@fast#one", "fast", None),
            ("node@slow#one", "fast", "node@slow#one"),
            ("node@fast#one", "slow", "slow"),
            (None, "fast", "does not name"),
        ],
    )
    @pytest.mark.usefixtures("pools")
    def test_rates_of_another_place_are_told_to_be_so(
        self, run: Run, image_id: str, tmp_path: Path, backend: str | None, volume_type: str, elsewhere: str | None
    ) -> None:
        file = tmp_path / "rates.json"
        rates = Rates(
            host="h", backend=backend, volume_type=volume_type, clone_seconds=1, write_bytes_per_second=1e-320
        )
        file.write_text(json.dumps(rates.as_dict()))
        place = ("--volume-type", "fast", "--host", "node@fast#one")
        ask = ("explain", "disk", *self.ARGUMENTS, *place, "--rates", file)
        ran = run(*ask, "-f", "json")
        assert "Infinity" not in ran.out
        told = [each["value"] for each in ran.json["facts"] if each["fact"] == "the seconds"]
        assert len(told) == (elsewhere is not None)
        assert all(str(elsewhere) in each for each in told)
        assert (elsewhere is None) or f"From {file}: the seconds measured" in run(*ask).out

    def test_both_policies_are_shown_side_by_side_and_where_they_differ_is_marked(
        self, run: Run, memory: MemoryVolumes, image_id: str
    ) -> None:
        (volume_id,) = memory.volumes
        ask = ("explain", "disk", "--size", 1, "--host", "node@fast#one", "--policy", "both")
        memory.volumes[volume_id] = replace(memory.volumes[volume_id], project_id="stores")
        answer = run(*ask, "-f", "json").json
        assert (answer["strict"]["outcome"], answer["upstream"]["outcome"]) == ("copy", "clone-image-volume")
        assert answer["differs"] == ["clone-image-volume"]
        assert run(*ask, "--trusted-project", "stores", "-f", "json").json["differs"] == []
        lines = run(*ask).out.splitlines()
        assert [line.split()[:2] for line in lines if line.startswith("!")] == [["!", "clone-image-volume"]]

    @pytest.mark.parametrize("policy", ["both", "upstream", "cinder-28"])
    def test_a_row_gives_a_reason_that_cinder_has(self, run: Run, image_id: str, policy: str) -> None:
        ask = ("explain", "--size", 1, "--host", "node@slow#one", "--policy", policy, "-f", "json")
        (row,) = run(*ask, image_id, "disk").json["matrix"]
        reason, way = ("upstream_reason", "upstream_way") if policy == "both" else ("reason", "way")
        assert row[way] == "copy"
        assert row[reason].startswith("volume-same-backend: ")

    def test_several_images_are_a_table(self, run: Run, image_id: str, changed: Callable[..., None]) -> None:
        ask = ("explain", image_id, "disk", *self.ARGUMENTS, "--host", "node@fast#one")
        rows = run(*ask, "-f", "json").json["matrix"]
        assert [(row["image_id"], row["way"]) for row in rows] == [(image_id, "clone-image-volume")]
        heading, line = run(*ask).out.splitlines()
        assert (heading.split()[0], line.split()[0]) == ("image_id", image_id)
        assert "seconds" not in heading

    @pytest.mark.parametrize("policy, more", [("strict", 0), ("both", 3)])
    def test_several_images_are_a_line_of_values_each(self, run: Run, image_id: str, policy: str, more: int) -> None:
        ask = (
            "explain",
            image_id,
            "disk",
            *self.ARGUMENTS,
            "--host",
            "node@fast#one",
            "--policy",
            policy,
            "-f",
            "value",
        )
        assert run(*ask, "-c", "image_id", "-c", "way", "-c", "seconds").out == f"{image_id} clone-image-volume None\n"
        (line,) = run(*ask).out.splitlines()
        assert line.startswith(f"{image_id} disk None node@fast#one clone-image-volume from ")
        assert len(line.split()) == 8 + (more + 1 if more else 0)
        unknown = run(*ask, "-c", "nonsense")
        assert (unknown.status, "image_id" in unknown.err) == (1, True)

    def test_a_table_of_no_images_has_no_line(
        self, run: Run, memory: MemoryVolumes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(MemoryImages, "listed", lambda *_, **__: iter(()), raising=False)
        assert run("explain", "--all", *self.ARGUMENTS, "--host", "node@fast#one", "-f", "value") == Ran(0, "", "")

    def test_several_images_have_the_seconds_that_were_measured_in_their_place(
        self, run: Run, image_id: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "rates.json"
        rates = Rates(host="node", backend="node@fast#one", write_bytes_per_second=1e6, clone_seconds=0.5)
        file.write_text(json.dumps(rates.as_dict()))
        ask = ("explain", image_id, "disk", *self.ARGUMENTS, "--rates", file, "--host")
        assert [row["seconds"] for row in run(*ask, "node@fast#one", "-f", "json").json["matrix"]] == [0.5]
        heading, line = run(*ask, "node@fast#one").out.splitlines()
        assert (heading.split()[-1], line.split()[-1]) == ("seconds", "0.5")
        (elsewhere,) = run(*ask, "node@slow#one", "-f", "json").json["matrix"]
        assert elsewhere["seconds"] is None

    def test_all_images_come_in_pages(
        self, run: Run, memory: MemoryVolumes, image_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = memory.images.get(image_id) if memory.images else None
        assert image
        found = [replace(image, id=f"image {number}", locations=()) for number in range(3)]
        monkeypatch.setattr(MemoryImages, "listed", lambda *_, **__: iter(found), raising=False)
        ask = ("explain", "--all", "--limit", 2, *self.ARGUMENTS, "--host", "node@fast#one", "-f", "json")
        first = run(*ask).json
        assert ([row["image_id"] for row in first["matrix"]], first["marker"]) == (["image 0", "image 1"], "image 1")
        second = run(*ask, "--marker", "image 1").json
        assert ([row["image_id"] for row in second["matrix"]], second["marker"]) == (["image 2"], None)
        assert run(*ask, "--marker", "another").status == 1
        assert run(*ask, "disk").status == 1
        for limit, marker in ((1, "image 0"), (3, None)):
            assert run(*ask, "--limit", limit).json["marker"] == marker
            lines = run(*ask[:-2], "--limit", limit).out.splitlines()
            assert lines[limit + 1 :] == ([f"There are more images: pass --marker {marker}."] if marker else [])

    @pytest.mark.parametrize("more", [("--backend", "fast"), ("--marker", "i"), ("--limit", 2)])
    def test_an_option_that_nothing_would_look_at_is_refused(
        self, run: Run, image_id: str, more: tuple[object, ...]
    ) -> None:
        ran = run("explain", "disk", *self.ARGUMENTS, "--host", "node@fast#one", *more)
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert str(more[0]) in ran.err

    @pytest.mark.parametrize("option", ["--limit", "--size"])
    @pytest.mark.parametrize("value", [str(10**20), "9" * 5000, "\u0663", "0"], ids=["large", "long", "arabic", "none"])
    def test_a_number_that_is_too_large_is_refused_in_a_line(
        self, run: Run, image_id: str, option: str, value: str
    ) -> None:
        ran = run("explain", "--all", *self.ARGUMENTS, "--host", "node@fast#one", option, value)
        assert (ran.status, ran.out) == (2, "")
        assert len(ran.err.splitlines()[-1]) < 200
        assert "1 or more" in ran.err

    def test_a_host_without_a_pool_is_refused(self, run: Run, image_id: str) -> None:
        ran = run("explain", "disk", *self.ARGUMENTS, "--host", "node@fast")
        assert (ran.status, ran.out) == (2, "")
        assert "get-pools" in ran.err

    def test_an_image_and_a_place_have_to_be_named(self, run: Run, image_id: str) -> None:
        assert "--all" in run("explain", "--size", 1, "--host", "node@fast#one").err
        assert "--volume-type" in run("explain", "disk", "--size", 1).err

    @pytest.mark.parametrize("policy", ["upstream", "cinder-28"])
    def test_the_other_policy_is_another_answer(self, run: Run, image_id: str, policy: str) -> None:
        arguments = ("explain", image_id, "--size", 1, "--host", "node@fast#one", "-f", "json")
        assert run(*arguments, "--policy", policy).json["policy"] == policy


def rule_ids() -> set[str]:
    """Those of the specification's table."""
    return {
        *(rule.id for rule in REQUEST_RULES[Policy.STRICT]),
        *(rule.id for rule in VOLUME_RULES[Policy.STRICT]),
    }
