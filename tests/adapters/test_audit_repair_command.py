"""`imagevol audit --repair`: shows, asks, repairs, and says by its exit status what is left."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from imagevol_adapters.cinder import whole_cloud
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.gathering import CloudAudit
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryVolumes
from imagevol_core import AttachFailed, InUse, ServiceUnreachable
from tests.adapters.commands import Run
from tests.adapters.history import Killed
from tests.adapters.repairing_cloud import CLOUD, FAULTS, STORES, TENANT, RepairCloud, killed
from tests.pages.report_pages import Page

pytestmark = pytest.mark.usefixtures("no_cloud")
TRUSTED = ("--trusted-project", STORES, "--trusted-project", TENANT, "--only-glance")
RESUME = ("audit", *TRUSTED, "-f", "json", "--resume-repair")
REPAIR = ("audit", "--repair", *TRUSTED, "-f", "json")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RepairCloud:
    """A cloud whose services the command uses."""
    cloud = RepairCloud()
    conf = tmp_path / "glance-api.conf"
    conf.write_text(
        "[DEFAULT]\nenabled_backends = fast:imagevol, fast2:imagevol\n[glance_store]\ndefault_backend = fast\n"
        "[fast]\ncinder_volume_type = ssd\n[fast2]\ncinder_volume_type = hdd\n"
    )
    monkeypatch.setattr(Imagevol, "cloud_id", lambda _: CLOUD)
    monkeypatch.setattr(cloud.volumes, "default_volume_type", lambda: "ssd", raising=False)
    monkeypatch.setattr(Imagevol, "images", cloud.images)
    monkeypatch.setattr(Imagevol, "volumes", cloud.volumes)
    monkeypatch.setattr(Imagevol, "attacher", cloud.attacher)
    monkeypatch.setattr(Imagevol, "has_project", lambda _app, project_id: project_id in (STORES, TENANT))
    monkeypatch.setattr(whole_cloud, "WholeCinder", lambda volumes: volumes)
    monkeypatch.setattr("imagevol_adapters.cli.audit._GLANCE_API_CONF", conf)
    return cloud


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def outcomes(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["rule"]: row["outcome"] for row in rows}


class TestRepair:
    def test_what_is_sure_is_repaired_and_what_is_only_likely_is_left(
        self, cloud: RepairCloud, run: Run, journal: Path
    ) -> None:
        for fault in ("image-volume-without-image", "left-unfinished", "store-differs", "attachment-left-behind"):
            FAULTS[fault](cloud)
        ran = run(*REPAIR, "--repair-journal", journal, "--yes")
        assert ran.status == 3
        assert outcomes(ran.json) == {
            "image-volume-without-image": "done",
            "store-differs": "done",
            "left-unfinished": "only-likely",
            "attachment-left-behind": "only-likely",
        }
        assert {finding.kind for finding in cloud.audit()} == {"left-unfinished", "attachment-left-behind"}
        assert "Repaired 2 of 2; the storage gives back 1073741824 bytes (1 GiB)." in ran.err
        ran = run(*REPAIR, "--repair-journal", journal.with_name("second"), "--yes", "--include-likely")
        assert outcomes(ran.json) == {"left-unfinished": "done", "attachment-left-behind": "done"}
        assert ran.status == 0
        assert cloud.audit() == []

    def test_all_faults_that_the_commands_find_are_repaired_at_once(
        self, cloud: RepairCloud, run: Run, journal: Path
    ) -> None:
        deep = {"tail-not-zero", "content-differs", "template-stale"}  # the last needs a driver that creates one
        for name, plant in FAULTS.items():
            if name not in deep:
                plant(cloud)
        (conversions,) = cloud.directories
        where = ("--temporary-directory", conversions)
        ran = run(*REPAIR, *where, "--repair-journal", journal, "--yes", "--include-likely")
        assert {row["outcome"] for row in ran.json} == {"done"}
        assert (ran.status, cloud.audit()) == (0, [])
        assert {image_id: len(cloud.content(image_id)) for image_id in cloud.healthy} == dict.fromkeys(cloud.healthy, 1)

    def test_the_plan_is_shown_and_nothing_is_changed_if_the_answer_is_no(
        self, cloud: RepairCloud, run: Run, journal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        FAULTS["not-read-only"](cloud)
        FAULTS["left-unfinished"](cloud)
        (likely,) = [finding for finding in cloud.audit() if finding.kind == "left-unfinished"]
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stdin.readline", lambda: "n\n", raising=False)
        ran = run(*REPAIR, "--repair-journal", journal)
        assert outcomes(ran.json) == {"not-read-only": "planned", "left-unfinished": "only-likely"}
        assert (ran.status, journal.exists()) == (3, False)
        assert "set-read-only volume" in ran.err
        assert f"not repaired: {likely.id}" in ran.err
        assert len(cloud.audit()) == 2

    def test_only_the_findings_that_are_named_are_repaired(self, cloud: RepairCloud, run: Run, journal: Path) -> None:
        FAULTS["not-read-only"](cloud)
        FAULTS["store-differs"](cloud)
        chosen, other = sorted(cloud.audit(), key=lambda finding: finding.kind != "store-differs")
        ran = run(*REPAIR, "--repair-journal", journal, "--yes", "--only", chosen.id)
        assert (ran.status, outcomes(ran.json)) == (0, {"store-differs": "done"})
        assert [finding.id for finding in cloud.audit()] == [other.id]
        ran = run(*REPAIR, "--repair-journal", journal.with_name("second"), "--yes", "--only", chosen.id)
        assert (ran.status, journal.with_name("second").exists()) == (1, False)
        assert f"no finding has the id {chosen.id}" in ran.err
        assert [finding.id for finding in cloud.audit()] == [other.id]

    def test_the_command_of_a_page_repairs_what_is_sure_and_leaves_what_is_only_likely(
        self, cloud: RepairCloud, run: Run, journal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        FAULTS["not-read-only"](cloud)
        FAULTS["left-unfinished"](cloud)
        monkeypatch.chdir(journal.parent)
        run("audit", *TRUSTED, "--html", "audit.html")
        findings = Page(Path("audit.html").read_bytes()).data["findings"]
        assert len(findings) == 2
        for finding in findings:
            _, *words = shlex.split(finding["command"])
            assert run(*words, "--yes").status == (0 if finding["certainty"] == "sure" else 3)
        (left,) = cloud.audit()
        assert left.kind == "left-unfinished"
        (words,) = (shlex.split(each["command"])[1:] for each in findings if each["id"] == left.id)
        assert run(*words, "--yes", "--include-likely").status == 0
        assert cloud.audit() == []

    @pytest.mark.parametrize("options", [("--dry-run",), ("--dry-run", "--repair-journal", "JOURNAL")])
    def test_a_dry_run_says_what_would_be_done(
        self, cloud: RepairCloud, run: Run, journal: Path, options: tuple[str, ...]
    ) -> None:
        FAULTS["not-read-only"](cloud)
        ran = run(*REPAIR, *[str(journal) if option == "JOURNAL" else option for option in options])
        assert (ran.status, outcomes(ran.json), journal.exists()) == (3, {"not-read-only": "planned"}, False)
        assert "1 of 1 finding would be repaired. Nothing was changed." in ran.err
        assert len(cloud.audit()) == 1

    def test_without_a_terminal_and_an_answer_nothing_is_changed(
        self, cloud: RepairCloud, run: Run, journal: Path
    ) -> None:
        FAULTS["not-read-only"](cloud)
        ran = run(*REPAIR, "--repair-journal", journal)
        assert (ran.status, journal.exists()) == (1, False)
        assert "--yes" in ran.err
        assert len(cloud.audit()) == 1

    def test_a_repair_of_a_healthy_cloud_asks_nothing(self, cloud: RepairCloud, run: Run, journal: Path) -> None:
        ran = run(*REPAIR, "--repair-journal", journal)
        assert (ran.status, ran.json) == (0, [])
        assert cloud.audit() == []

    def test_what_the_baseline_accepts_is_left(self, cloud: RepairCloud, run: Run, journal: Path) -> None:
        FAULTS["not-read-only"](cloud)
        (found,) = cloud.audit()
        baseline = journal.with_name("baseline")
        baseline.write_text(f"{found.id} being looked at\n")
        ran = run(*REPAIR, "--repair-journal", journal, "--yes", "--baseline", baseline)
        assert (ran.status, ran.json) == (0, [])
        assert len(cloud.audit()) == 1

    def test_a_journal_that_is_there_is_refused_before_the_cloud_is_listed(
        self, cloud: RepairCloud, run: Run, journal: Path
    ) -> None:
        journal.write_text("mine")
        ran = run(*REPAIR, "--repair-journal", journal, "--yes")
        assert (ran.status, journal.read_text()) == (1, "mine")
        assert "--resume-repair" in ran.err

    @pytest.mark.parametrize("options", [("--yes",), ("--dry-run",)])
    def test_a_journal_that_cannot_be_made_is_refused_before_the_cloud_is_listed(
        self, cloud: RepairCloud, run: Run, journal: Path, options: tuple[str, ...]
    ) -> None:
        directory = journal.parent / "not-there"
        with patch.object(CloudAudit, "findings", side_effect=AssertionError("it was listed")):
            ran = run(*REPAIR, "--repair-journal", directory / "journal", *options)
            assert (ran.status, directory.exists()) == (1, False)
            assert f"install -d -m 0700 {directory}" in ran.err
            with patch("imagevol_adapters.cli.audit_repair.access", return_value=False):  # root may write anywhere
                ran = run(*REPAIR, "--repair-journal", journal, *options)
            assert (ran.status, journal.exists()) == (1, False)
            assert f"directory {journal.parent} is not writable" in ran.err
        assert cloud.audit() == []

    @pytest.mark.parametrize("port", ["images", "volumes"])
    def test_a_resume_is_refused_by_credentials_that_do_not_see_all(
        self, cloud: RepairCloud, run: Run, journal: Path, port: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        FAULTS["not-read-only"](cloud)
        with patch.object(MemoryVolumes, "set_readonly", side_effect=InUse("not now")):
            run(*REPAIR, "--repair-journal", journal, "--yes")
        with monkeypatch.context() as part:
            part.setattr(getattr(cloud, port), "sees_all", False)
            ran = run(*RESUME, journal, "--yes")
        assert ran.status == 1
        assert f"do not see all {port}" in ran.err
        assert run(*RESUME, journal, "--yes").status == 0
        assert cloud.audit() == []

    def test_a_step_that_fails_gives_1_and_is_tried_again_by_resume(
        self, cloud: RepairCloud, run: Run, journal: Path
    ) -> None:
        FAULTS["image-volume-without-image"](cloud)
        with patch.object(MemoryVolumes, "delete", side_effect=InUse("it has a snapshot")):
            ran = run(*REPAIR, "--repair-journal", journal, "--yes")
        assert (ran.status, outcomes(ran.json)) == (1, {"image-volume-without-image": "failed"})
        ran = run(*RESUME, journal, "--dry-run")
        assert (ran.status, outcomes(ran.json)) == (3, {"image-volume-without-image": "failed"})
        ran = run("audit", "-f", "json", "--resume-repair", journal, "--yes")  # it knows which projects are trusted
        assert (ran.status, outcomes(ran.json)) == (0, {"image-volume-without-image": "done"})
        assert "--trusted-project" not in ran.err
        ran = run(*RESUME, journal, "--yes")
        assert (ran.status, ran.json) == (0, [])

    def test_what_ends_early_says_how_to_go_on(self, cloud: RepairCloud, run: Run, journal: Path) -> None:
        FAULTS["not-read-only"](cloud)
        with patch.object(MemoryVolumes, "set_readonly", side_effect=ServiceUnreachable("Cinder is down")):
            ran = run(*REPAIR, "--repair-journal", journal, "--yes")
        assert ran.status == 1
        assert f"imagevol audit --resume-repair {journal}" in ran.err
        assert run(*RESUME, journal, "--yes").status == 0
        assert cloud.audit() == []

    def test_a_killed_repair_is_resumed(self, cloud: RepairCloud, run: Run, journal: Path) -> None:
        for fault in ("volume-in-two-images", "not-read-only", "attachment-left-behind"):
            FAULTS[fault](cloud)
        with suppress(Killed), killed(4):
            run(*REPAIR, "--repair-journal", journal, "--yes", "--include-likely")
        assert cloud.audit()
        assert run(*RESUME, journal, "--yes").status == 0
        assert cloud.audit() == []

    def test_a_host_that_can_attach_nothing_repairs_the_rest(self, cloud: RepairCloud, run: Run, journal: Path) -> None:
        FAULTS["not-read-only"](cloud)
        FAULTS["attachment-left-behind"](cloud)

        unable = patch.object(MemoryAttacher, "connector", side_effect=AttachFailed("os-brick finds no initiator"))
        with unable:
            ran = run(*REPAIR, "--repair-journal", journal, "--yes", "--include-likely")
        assert (ran.status, outcomes(ran.json)) == (3, {"attachment-left-behind": "left", "not-read-only": "done"})
        assert "This host cannot attach volumes: os-brick finds no initiator" in ran.err

    def test_a_person_reads_a_table(self, cloud: RepairCloud, run: Run, journal: Path) -> None:
        FAULTS["not-read-only"](cloud)
        ran = run("audit", "--repair", *TRUSTED, "--repair-journal", journal, "--yes")
        assert "set-read-only volume" in ran.out


@pytest.mark.parametrize(
    "options",
    [
        ("--yes",),
        ("--dry-run",),
        ("--include-likely",),
        ("--only", "0123456789ab"),
        ("--repair-journal", "j"),
        ("--repair",),
        ("--repair", "--yes"),
        ("--repair", "--repair-journal", "j", "--diff", "d"),
        ("--resume-repair", "j", "--include-likely"),
        ("--resume-repair", "j", "--only", "0123456789ab"),
        ("--resume-repair", "j", "--deep"),
    ],
)
@pytest.mark.usefixtures("cloud")
def test_options_that_do_not_fit_together_are_a_usage_error(run: Run, options: tuple[str, ...]) -> None:
    assert run("audit", *TRUSTED, *options).status == 2
