"""`imagevol audit`: what it shows, compares, leaves out and says by its exit status."""

from __future__ import annotations

import csv
import importlib
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from imagevol_adapters.cinder import whole_cloud
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.audit_schema import audit_schema
from imagevol_core import (
    GIB,
    AccessDenied,
    DeepCheck,
    Digest,
    Image,
    InUse,
    ServiceFailed,
    StoreCatalogue,
    VolumeOrigin,
)
from tests.adapters.commands import Run
from tests.adapters.test_audit_gathering import CATALOGUE, STORES, Cloud, volume_id
from tests.pages.report_pages import Page

pytestmark = pytest.mark.usefixtures("no_cloud")
jsonschema: Any = importlib.import_module("jsonschema")  # it has no types
TRUSTED = ("--trusted-project", STORES, "--only-glance")


@attrs.define
class Glance(Cloud):
    """A cloud whose Glance tells its stores."""

    stores: StoreCatalogue | None = CATALOGUE

    def catalogue(self) -> StoreCatalogue:
        if self.stores is None:
            raise AccessDenied("Glance, the details of its stores: Forbidden; use credentials that may do this")
        return self.stores


@attrs.define
class Cinder:
    """The application's own Cinder, of which an audit asks the default type."""

    attach_attempts: int = 30

    def default_volume_type(self) -> str | None:
        return "ssd"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Glance:
    """A cloud with an orphaned volume, and a volume that can be written to."""
    cloud = Glance()
    for number in range(1, 6):
        cloud.add(number)
    del cloud.images["image-4"]
    cloud.volumes[volume_id(5)] = replace(cloud.volumes[volume_id(5)], readonly=False)
    monkeypatch.setattr(Imagevol, "cloud_id", lambda _: "this cloud")
    monkeypatch.setattr(Imagevol, "images", cloud)
    monkeypatch.setattr(Imagevol, "volumes", Cinder())
    known = {STORES: True, "unknown": None}
    monkeypatch.setattr(Imagevol, "has_project", lambda _, project_id: known.get(project_id, False))
    monkeypatch.setattr(whole_cloud, "WholeCinder", lambda _: cloud)
    monkeypatch.setattr("imagevol_adapters.cli.audit._GLANCE_API_CONF", tmp_path / "none.conf")
    return cloud


def healthy(cloud: Glance) -> None:
    del cloud.volumes[volume_id(4)]
    cloud.volumes[volume_id(5)] = replace(cloud.volumes[volume_id(5)], readonly=True)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    file = tmp_path / "glance-api.conf"
    file.write_text(
        "[DEFAULT]\nenabled_backends = fast:cinder\n[glance_store]\ndefault_backend = fast\n[fast]\n"
        "cinder_volume_type = ssd\n"
    )
    return file


def test_without_the_admin_role_nothing_found_is_no_success(cloud: Glance, run: Run) -> None:
    healthy(cloud)
    assert run("audit", *TRUSTED).status == 0
    cloud.sees_all = False
    ran = run("audit", *TRUSTED, "-f", "json")
    assert (ran.status, ran.json) == (1, [])
    assert "the credentials lack the admin role" in ran.err


class TestWhatIsShown:
    def test_a_program_gets_findings_by_the_schema(self, cloud: Glance, run: Run, conf: Path) -> None:
        ran = run("audit", *TRUSTED, "--config-file", conf, "-f", "json")
        assert ran.status == 3
        jsonschema.Draft202012Validator(audit_schema()).validate(ran.json)
        assert [(each["rule"], each["certainty"]) for each in ran.json] == [
            ("not-read-only", "sure"),
            ("image-volume-without-image", "sure"),
        ]
        orphan = ran.json[1]
        assert orphan["reclaimable_bytes"] == GIB
        assert orphan["since"] == "2026-01-20T12:00:00+00:00"
        assert orphan["repair"] == [
            {"action": "delete-volume", "subject": {"kind": "volume", "id": volume_id(4)}, "arguments": {}}
        ]
        assert (
            f"4 images, 5 volumes and 0 attachments: 2 findings (2 sure); the repairs give back {GIB} bytes" in ran.err
        )
        assert cloud.asked == ["images", "volumes"]

    def test_nothing_is_found_in_a_healthy_cloud(self, cloud: Glance, run: Run) -> None:
        healthy(cloud)
        ran = run("audit", *TRUSTED, "-f", "json")
        assert (ran.status, ran.json) == (0, [])

    @pytest.mark.parametrize("form", ["table", "yaml", "csv", "value"])
    def test_every_form_tells_the_subject_and_the_repair(self, cloud: Glance, run: Run, form: str) -> None:
        ran = run("audit", *TRUSTED, "-f", form)
        assert ran.status == 3
        assert volume_id(4) in ran.out
        assert "set-read-only" in ran.out

    def test_a_spreadsheet_gets_text(self, cloud: Glance, run: Run) -> None:
        ran = run("audit", *TRUSTED, "-f", "csv")
        rows = list(csv.DictReader(ran.out.splitlines()))
        assert rows[0]["subjects"] == f"volume {volume_id(5)}"
        assert rows[0]["repair"] == f"set-read-only volume {volume_id(5)}"

    def test_a_terminal_obeys_no_name(self, cloud: Glance, run: Run) -> None:
        volume = cloud.volumes[volume_id(4)]
        cloud.volumes[volume.id] = replace(volume, metadata={"glance_image_id": "\x1b[31m"})
        assert "\x1b" not in run("audit", *TRUSTED, "-f", "value").out

    def test_what_is_not_looked_at_is_told(self, cloud: Glance, run: Run) -> None:
        cloud.stores = None
        ran = run("audit", "-f", "json")
        for sentence in ("No project is trusted", "stores of Glance are not known", "delayed_delete", "image cache"):
            assert sentence in ran.err
        assert {each["certainty"] for each in ran.json if each["rule"] == "image-volume-without-image"} == {"likely"}


class TestConfiguration:
    def test_orphans_are_only_likely_if_glance_may_give_images_back(self, cloud: Glance, run: Run, conf: Path) -> None:
        conf.write_text(conf.read_text().replace("[DEFAULT]\n", "[DEFAULT]\ndelayed_delete = true\n"))
        found = run("audit", *TRUSTED, "--config-file", conf, "-f", "json").json
        assert [each["certainty"] for each in found] == ["sure", "likely"]

    def test_a_project_that_does_not_exist_is_not_trusted(self, cloud: Glance, run: Run) -> None:
        ran = run("audit", *TRUSTED, "--trusted-project", "the name of one", "-f", "json")
        assert (ran.status, ran.out, cloud.asked) == (1, "", [])
        assert ran.err == "project the name of one does not exist: give the id of a project\n"
        assert run("audit", *TRUSTED, "--trusted-project", "unknown", "-f", "json").status == 3

    def test_the_stores_of_the_file_count(self, cloud: Glance, run: Run, conf: Path) -> None:
        conf.write_text(conf.read_text().replace("= ssd", "= hdd"))
        found = run("audit", *TRUSTED, "--config-file", conf, "-f", "json").json
        assert sum(each["rule"] == "store-differs" for each in found) == 4

    def test_a_file_that_is_not_there_is_an_error(self, cloud: Glance, run: Run, tmp_path: Path) -> None:
        ran = run("audit", "--config-file", tmp_path / "other.conf", "-f", "json")
        assert (ran.status, ran.out) == (1, "")
        assert "other.conf" in ran.err

    @pytest.mark.parametrize("hours", ["-1", "x", "nan", "1e300"])
    def test_a_wrong_number_of_hours_is_refused(self, cloud: Glance, run: Run, hours: str) -> None:
        ran = run("audit", f"--stuck-after={hours}")
        assert ran.status == 2
        assert "is not a number of hours: give 0 or more" in ran.err

    def test_what_is_in_the_making_for_longer_than_that_is_told(self, cloud: Glance, run: Run) -> None:
        healthy(cloud)
        cloud.images["image-1"] = replace(
            cloud.images["image-1"], status="saving", updated_at=datetime.now().astimezone()
        )
        assert run("audit", *TRUSTED, "-f", "json").status == 0
        assert [each["rule"] for each in run("audit", *TRUSTED, "--stuck-after", 0, "-f", "json").json] == [
            "image-stuck"
        ]


class TestDiff:
    def test_what_is_new_gone_and_still_there_is_told(self, cloud: Glance, run: Run, tmp_path: Path) -> None:
        old = tmp_path / "old.json"
        old.write_text(run("audit", *TRUSTED, "-f", "json").out)
        del cloud.volumes[volume_id(4)]
        del cloud.volumes[volume_id(1)]
        ran = run("audit", *TRUSTED, "--diff", old, "-f", "json")
        assert ran.status == 3
        jsonschema.Draft202012Validator(audit_schema()).validate(ran.json)
        assert {each["rule"]: each["change"] for each in ran.json} == {
            "image-volume-without-image": "gone",
            "not-read-only": "still-there",
            "location-without-volume": "new",
        }
        assert "1 new, 1 gone, 1 still there." in ran.err
        old.write_text(ran.out)  # what was gone then is not gone again
        assert {each["change"] for each in run("audit", *TRUSTED, "--diff", old, "-f", "json").json} == {"still-there"}

    def test_what_two_glances_of_one_cinder_find_is_still_there_and_what_one_of_them_has_is_not(
        self, cloud: Glance, run: Run, tmp_path: Path
    ) -> None:
        healthy(cloud)
        orphan = cloud.add(6)[1]
        del cloud.images["image-6"]
        all_images, one, other = dict(cloud.images), ("image-1", "image-2"), ("image-3", "image-5")
        first = tmp_path / "one.json"
        cloud.images = {each: all_images[each] for each in one}
        first.write_text(run("audit", "--trusted-project", STORES, "-f", "json").out)
        cloud.images = {each: all_images[each] for each in other}
        found = run("audit", "--trusted-project", STORES, "--diff", first, "-f", "json").json
        assert {each["rule"] for each in found} == {"image-volume-without-image"}
        both = [each["subjects"][0]["id"] for each in found if each["change"] == "still-there"]
        assert both == [orphan.id]

    def test_what_is_gone_is_no_finding(self, cloud: Glance, run: Run, tmp_path: Path) -> None:
        old = tmp_path / "old.json"
        old.write_text(run("audit", *TRUSTED, "-f", "json").out)
        healthy(cloud)
        ran = run("audit", *TRUSTED, "--diff", old, "-f", "value", "-c", "change")
        assert (ran.status, ran.out.split()) == (0, ["gone", "gone"])

    @pytest.mark.parametrize(
        "text",
        [
            *("", "{}", "[1]", '[{"id": "x"}]', "[[]]", "\x00", "[" * 100_000),
            json.dumps([{"id": "0" * 12, "rule": 1, "certainty": "sure", "reclaimable_bytes": 0, "subjects": []}]),
        ],
    )
    def test_a_file_that_is_no_audit_is_refused(self, cloud: Glance, run: Run, tmp_path: Path, text: str) -> None:
        old = tmp_path / "old.json"
        old.write_text(text)
        ran = run("audit", "--diff", old, "-f", "json")
        if text == "{}":
            assert ran.status == 3  # an empty object has no findings
            return
        assert (ran.status, ran.out) == (1, "")
        assert "give such a file" in ran.err
        assert len(ran.err.splitlines()) == 1


class TestBaseline:
    def test_what_is_accepted_is_not_counted(self, cloud: Glance, run: Run, tmp_path: Path) -> None:
        found = run("audit", *TRUSTED, "-f", "json").json
        baseline = tmp_path / "accepted"
        baseline.write_text("# known\n\n" + "".join(f"{each['id']} kept for the auditors\n" for each in found))
        ran = run("audit", *TRUSTED, "--baseline", baseline, "-f", "json")
        assert (ran.status, ran.json) == (0, [])
        assert "2 findings accepted by the baseline." in ran.err
        healthy(cloud)
        ran = run("audit", *TRUSTED, "--baseline", baseline, "-f", "json")
        assert f"accepts {found[0]['id']} (kept for the auditors), which is not found: remove" in ran.err

    def test_what_is_accepted_is_not_gone(self, cloud: Glance, run: Run, tmp_path: Path) -> None:
        old, baseline = tmp_path / "old.json", tmp_path / "accepted"
        old.write_text(run("audit", *TRUSTED, "-f", "json").out)
        baseline.write_text(f"{json.loads(old.read_text())[0]['id']} known\n")
        ran = run("audit", *TRUSTED, "--diff", old, "--baseline", baseline, "-f", "json")
        assert [each["change"] for each in ran.json] == ["still-there"]
        assert "0 new, 0 gone, 1 still there." in ran.err

    @pytest.mark.parametrize("line", ["0123456789ab", "0123456789ab ", "xyz why", "0123456789abc why", "\udc80"])
    def test_a_line_without_an_id_and_a_reason_is_refused(
        self, cloud: Glance, run: Run, tmp_path: Path, line: str
    ) -> None:
        baseline = tmp_path / "accepted"
        baseline.write_bytes(line.encode(errors="surrogateescape"))
        ran = run("audit", "--baseline", baseline)
        assert (ran.status, ran.out) == (1, "")
        assert len(ran.err.splitlines()) == 1

    def test_a_baseline_that_all_users_can_write_hides_nothing(self, cloud: Glance, run: Run, tmp_path: Path) -> None:
        baseline = tmp_path / "accepted"
        baseline.touch()
        baseline.chmod(0o666)
        ran = run("audit", *TRUSTED, "--baseline", baseline)
        assert (ran.status, "can be written by all users, who could hide findings" in ran.err) == (1, True)

    def test_a_file_that_is_not_there_is_an_error(self, cloud: Glance, run: Run, tmp_path: Path) -> None:
        ran = run("audit", "--baseline", tmp_path / "none")
        assert ran.status == 1
        assert "cannot be read: No such file or directory; give another file" in ran.err


class TestDeep:
    @pytest.fixture
    def read(self, cloud: Glance, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What is read; the data of volume 2 was altered, and volume 3 cannot be read."""
        healthy(cloud)
        read: list[str] = []

        def check(asked: str, *, volumes: Cinder, size_bytes: int, algorithm: str, **_: Any) -> DeepCheck:
            assert volumes.attach_attempts == 5
            read.append(asked)
            if asked == volume_id(3) and len(read) < 5:
                raise InUse(f"volume {asked} is in use")
            digest = Digest(algorithm, "cd" if asked == volume_id(2) else "ab")
            return DeepCheck(volume_id=asked, size_bytes=size_bytes, digest=digest, tail_is_zero=True)

        monkeypatch.setattr("imagevol_adapters.transfers.check_image_volume", check, raising=False)
        monkeypatch.setattr(Imagevol, "attacher", None)
        return read

    def test_what_was_altered_is_found_and_what_was_not_read_is_told(
        self, cloud: Glance, run: Run, read: list[str]
    ) -> None:
        ran = run("audit", *TRUSTED, "--deep", "--jobs", 3, "--rate", 100, "-f", "json")
        assert ran.status == 3
        assert [each["rule"] for each in ran.json] == ["content-differs"]
        assert sorted(read) == [volume_id(number) for number in (1, 2, 3, 5)]
        assert f"Volume {volume_id(3)} was not read: volume {volume_id(3)} is in use" in ran.err
        size_bytes = sum(cloud.images[f"image-{number}"].size_bytes or 0 for number in (1, 2, 5))
        size = f"{size_bytes} bytes ({size_bytes / GIB:g} GiB)"
        assert f"3 of 4 image volumes read, {size}: 2 with the data of the image, 1 with other data." in ran.err
        assert "No image volume is read" not in ran.err

    def test_a_record_is_believed_only_in_the_projects_that_the_operator_trusts(
        self, cloud: Glance, run: Run, read: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[tuple[str, frozenset[str], bool]] = []

        def check(volume: str, *, image: Image, trusted_projects: frozenset[str], record: bool, **_: Any) -> DeepCheck:
            asked.append((image.id, trusted_projects, record))
            raise InUse(f"volume {volume} is in use")

        monkeypatch.setattr("imagevol_adapters.transfers.check_image_volume", check, raising=False)
        run("audit", *TRUSTED, "--deep", "--record-blake3")
        run("audit", "--deep")
        assert ("image-1", frozenset(TRUSTED[1::2]), True) in asked
        assert ("image-1", frozenset(), False) in asked

    def test_a_volume_that_no_image_names_is_compared_with_its_record_and_told_apart(
        self, cloud: Glance, run: Run, read: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record = {"image_id": "image-9", "image_size": "7", "os_hash_algo": "sha512", "os_hash_value": "ab"}
        origin = VolumeOrigin(procedure="put", image_id="image-9", finished=True).to_volume()
        cloud.volumes[volume_id(9)] = replace(
            cloud.volumes[volume_id(1)], id=volume_id(9), metadata={**record, **origin}, source_volume_id=None
        )

        def check(asked: str, *, size_bytes: int, image: Image | None, **_: Any) -> DeepCheck:
            if image is not None:
                return DeepCheck(volume_id=asked, size_bytes=size_bytes, digest=image.digest, tail_is_zero=True)
            other, recorded = Digest("sha512", "cd"), Digest("sha512", "ab")
            return DeepCheck(volume_id=asked, size_bytes=7, digest=other, recorded=recorded, tail_is_zero=True)

        monkeypatch.setattr("imagevol_adapters.transfers.check_image_volume", check, raising=False)
        ran = run("audit", *TRUSTED, "--deep", "-f", "json")
        assert [(each["rule"], each["subjects"][0]["id"]) for each in ran.json] == [("record-differs", volume_id(9))]
        assert (
            "4 with the data of the image, 1 with other data. 1 volume without an image: compared with what" in ran.err
        )

    def test_what_was_not_looked_for_is_not_gone(
        self, cloud: Glance, run: Run, read: list[str], tmp_path: Path
    ) -> None:
        old = tmp_path / "old.json"
        found = run("audit", *TRUSTED, "--deep", "-f", "json")
        old.write_text(found.out)
        ran = run("audit", *TRUSTED, "--diff", old, "-f", "json")
        assert (ran.status, ran.json) == (0, [])
        assert "Not looked for: 1 finding of the earlier audit." in ran.err
        old.write_text(found.out.replace(volume_id(2), volume_id(3)))
        read.clear()
        ran = run("audit", *TRUSTED, "--deep", "--diff", old, "-f", "json")
        assert [each["change"] for each in ran.json] == ["still-there"]  # by its id; its volume was read
        old.write_text(found.out.replace(volume_id(2), volume_id(3)).replace(found.json[0]["id"], "0" * 12))
        read.clear()
        ran = run("audit", *TRUSTED, "--deep", "--diff", old, "-f", "json")
        assert [each["change"] for each in ran.json] == ["new"]

    def test_what_is_healthy_and_not_all_read_is_no_success(self, cloud: Glance, run: Run, read: list[str]) -> None:
        del cloud.images["image-2"], cloud.volumes[volume_id(2)]
        assert run("audit", *TRUSTED, "--deep", "-f", "json").status == 1

    def test_a_journal_spares_what_was_read(self, cloud: Glance, run: Run, read: list[str], tmp_path: Path) -> None:
        journal = ("--journal", tmp_path / "journal")
        found = run("audit", *TRUSTED, "--deep", *journal, "-f", "json").json
        again = run("audit", *TRUSTED, "--deep", *journal, "--resume", "-f", "json")
        assert (again.status, again.json) == (3, found)
        assert read[4:] == [volume_id(3)]
        assert "was not read" not in again.err

    def test_an_interrupt_says_how_to_go_on(
        self, cloud: Glance, run: Run, read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_: str) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("imagevol_adapters.cli.audit_deep.watched", lambda *_, **__: map(interrupt, "x"))
        ran = run("audit", *TRUSTED, "--deep", "--journal", tmp_path / "journal", "-f", "json")
        assert (ran.status, ran.out) == (130, "")
        assert ran.err.splitlines()[-2:] == [
            "Stopped early. The journal has 0 volumes. Continue with the same command and --resume.",
            "interrupted",
        ]

    @pytest.mark.parametrize(
        "options, status",
        [
            *((("--jobs", "2"), 1), (("--rate", "5"), 1), (("--journal", "x"), 1), (("--deep", "--resume"), 1)),
            *((("--deep", "--jobs", "0"), 2), (("--deep", "--jobs", "x"), 2), (("--deep", "--rate", "0"), 2)),
            *((("--deep", "--rate", "nan"), 2), (("--deep", "--rate", "inf"), 2)),
        ],
    )
    def test_options_that_make_no_sense_are_refused_before_anything_is_asked(
        self, cloud: Glance, run: Run, options: tuple[str, ...], status: int
    ) -> None:
        ran = run("audit", *options)
        assert (ran.status, ran.out, cloud.asked) == (status, "", [])


class TestHowItEnds:
    def test_an_error_is_one_line_and_nothing_is_shown(self, cloud: Glance, run: Run) -> None:
        def fail() -> None:
            raise ServiceFailed("Cinder, the list of volumes: 500; see the log of cinder-api")

        cloud.then = fail
        ran = run("audit", *TRUSTED, "-f", "json")
        assert (ran.status, ran.out) == (1, "")
        assert ran.err.splitlines()[-1].endswith("see the log of cinder-api")

    def test_an_interrupt_ends_it(self, cloud: Glance, run: Run) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        cloud.then = interrupt
        ran = run("audit", *TRUSTED, "-f", "json")
        assert (ran.status, ran.out) == (130, "")
        assert ran.err.splitlines()[-1] == "interrupted"


class TestResults:
    """What an audit writes beside its list."""

    def test_the_page_has_the_findings_that_are_shown(
        self, cloud: Glance, run: Run, conf: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "audit.html"
        ran = run("audit", *TRUSTED, "--config-file", conf, "-f", "json", "--html", file)
        assert ran.status == 3
        page = Page(file.read_bytes())
        assert [each["id"] for each in page.data["findings"]] == [each["id"] for each in ran.json]
        finding_id = ran.json[0]["id"]
        command = (
            f"imagevol audit --trusted-project {STORES} --only-glance --config-file {conf} --repair "
            f"--repair-journal repair-{finding_id} --only {finding_id}"
        )
        assert page.data["findings"][0]["command"] == command
        assert command in page.text
        assert "2 findings, 1.0 GiB can be reclaimed" in page.text
        assert "5 volumes" in page.text

    def test_the_metrics_have_a_value_for_each_rule_and_certainty(
        self, cloud: Glance, run: Run, conf: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "audit.prom"
        for fault in (True, False):
            if not fault:
                healthy(cloud)
            run("audit", *TRUSTED, "--config-file", conf, "--metrics", file)
            found = {
                (sample.name, *sample.labels.values()): sample.value
                for family in text_string_to_metric_families(file.read_text())
                for sample in family.samples
            }
            findings = {key: value for key, value in found.items() if key[0] == "imagevol_audit_findings"}
            assert len(findings) == 2 * len(audit_schema()["$defs"]["finding"]["properties"]["rule"]["enum"])
            assert {key[1:] for key, value in findings.items() if value} == (
                {("sure", "image-volume-without-image"), ("sure", "not-read-only")} if fault else set()
            )
            assert found["imagevol_audit_reclaimable_bytes",] == (GIB if fault else 0)
            assert found["imagevol_audit_last_success_timestamp_seconds",] > 1e9

    @pytest.mark.parametrize("option", ["--html", "--metrics"])
    def test_a_file_that_cannot_be_written_is_refused_before_the_cloud_is_listed(
        self, cloud: Glance, run: Run, tmp_path: Path, option: str
    ) -> None:
        ran = run("audit", *TRUSTED, option, tmp_path / "none" / "file")
        assert (ran.status, ran.out, cloud.asked) == (1, "", [])
