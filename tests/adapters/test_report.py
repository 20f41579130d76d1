"""The HTML page: what it shows and how large it is, its policy, hostile names, and the commands that write it."""

from __future__ import annotations

import builtins
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import attrs
import pytest

from imagevol_adapters.cinder import whole_cloud
from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.replacing import replace_file
from imagevol_adapters.reporting import BEGINS, KINDS, Answer, ShownImage, ShownPlace, html_page
from imagevol_adapters.testing.memory import MemoryAttacher, MemoryImages, MemoryVolumes
from imagevol_core import AccessDenied, MissingDependency, Rates, RequestRefused, Volume, Way
from tests.adapters.commands import Run
from tests.pages.report_pages import COMMENT, IMG, PLACES, SCRIPT, Page, contents, digest, finding, images, unpacked

pytest.importorskip("jinja2")
pytestmark = pytest.mark.usefixtures("no_cloud")


AUDIT = "imagevol audit --trusted-project 7c9e6679"


class TestPage:
    def test_ten_thousand_images_and_forty_findings_take_less_than_a_mebibyte(self) -> None:
        page = html_page(contents(10_000, findings=40))
        assert len(page) < 1 << 20
        assert len(unpacked(Page(page).data)) == 10_000

    def test_every_image_is_in_the_data_with_its_answers_and_ids(self) -> None:
        found = unpacked(Page(html_page(contents(300))).data)
        expected = images(300)
        assert [(each["id"], each["name"], each["size"]) for each in found] == [
            (image.id, image.name, image.size_bytes) for image in expected
        ]
        assert [each["ways"] for each in found] == [[answer.way for answer in image.answers] for image in expected]
        assert [each["reasons"] for each in found] == [
            [answer.reason for answer in image.answers] for image in expected
        ]
        assert [each["against"] for each in found] == [
            [list(answer.against) for answer in image.answers] for image in expected
        ]

    def test_an_id_that_is_no_uuid_is_kept_as_it_is(self) -> None:
        odd = ShownImage(id="an image\n<b>", name=None, answers=(Answer(way="copy"),) * 3)
        data = Page(html_page(contents(images=[odd]))).data
        assert data["images"]["id"] == "=an%20image%0A%3Cb%3E"

    def test_facts_that_differ_from_image_to_image_do_not_make_the_page_large(self) -> None:
        data = Page(html_page(contents(2_000))).data
        assert len(data["texts"]) < 50
        assert len(data["answers"]) < 20

    def test_nothing_is_asked_for_over_the_network(self) -> None:
        page = Page(html_page(contents(names=[SCRIPT, IMG])))
        asking = {"src", "href", "srcset", "data", "action", "poster", "background"}
        assert [(tag, attributes) for tag, attributes in page.elements if asking & attributes.keys()] == []
        assert [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "img", "base")] == []
        assert "@import" not in page.styles[0]
        assert "url(" not in page.styles[0]

    def test_the_policy_admits_one_script_and_one_style_by_their_digests(self) -> None:
        page = Page(html_page(contents()))
        _, script = page.scripts
        assert page.policy == (
            f"default-src 'none'; script-src {digest(script)}; style-src {digest(page.styles[0])}; "
            "base-uri 'none'; form-action 'none'"
        )
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
        assert not [tag for tag, attributes in page.elements if "style" in attributes]
        assert len(page.styles) == 1
        assert "innerHTML" not in script

    HOSTILE = (
        SCRIPT,
        IMG,
        COMMENT,
        "</script><script>window.planted = true</script>",
        "\u2028\u202e\x1b[2J\ud800",
        "{{",
    )

    def test_a_hostile_name_is_a_text_wherever_it_is(self) -> None:
        hostile = "".join(self.HOSTILE)
        page = Page(
            html_page(
                contents(
                    names=self.HOSTILE,
                    title=hostile,
                    command=hostile,
                    notes=[hostile],
                    places=[ShownPlace(host=hostile, volume_type=hostile), *PLACES[1:]],
                    findings=[{**finding(1, text=hostile), "subjects": [{"kind": "image", "id": hostile}]}],
                )
            )
        )
        kinds = [tag for tag, _ in page.elements]
        assert (kinds.count("script"), kinds.count("img"), len(page.scripts)) == (2, 0, 2)
        assert {each["name"] for each in unpacked(page.data)} >= set(self.HOSTILE[:4])
        assert SCRIPT in page.text
        assert IMG in page.text

    def test_the_data_ends_no_element(self) -> None:
        page = html_page(contents(names=self.HOSTILE)).decode()
        data = page.partition('id="data">')[2].partition("</script>")[0]
        assert not set(data) & set("<>&\u2028\u2029")

    def test_the_page_can_be_read_without_its_script(self) -> None:
        page = Page(html_page(contents(60)))
        rows = {
            text: sum(text in attributes.get("data-label", "") for _, attributes in page.elements if attributes)  # type: ignore[operator]
            for text in ("Name", "Repair", "Store", "Pool")
        }
        assert rows["Name"] == 25
        assert rows["Repair"] == 7
        assert "Here are the first 25 images" in page.text
        assert "60 images" in page.text.replace("60  images", "60 images")

    def test_each_place_has_its_sums_and_a_bar(self) -> None:
        shown = images(40)
        page = Page(html_page(contents(40)))
        cloned = [image for image in shown if image.answers[0].way == "clone-image-volume"]
        assert len(cloned) == 10
        bars = [attributes for tag, attributes in page.elements if tag == "rect"]
        assert len(bars) == 9  # three kinds of ways in each of three places
        assert sum(float(bar["width"] or 0) for bar in bars) == pytest.approx(3 * 600, abs=0.1)
        assert f"cloned: {len(cloned)}" in page.text

    def test_a_page_without_images_says_so(self) -> None:
        page = Page(html_page(contents(0, findings=0)))
        assert unpacked(page.data) == []
        assert "The audit found nothing." in page.text

    def test_a_finding_has_the_command_that_repairs_it_and_never_includes_what_is_only_likely(self) -> None:
        found = Page(html_page(contents(findings=7))).data["findings"]
        assert [each["command"] for each in found[:5]] == [
            f"{AUDIT} --repair --repair-journal repair-000000000000 --only 000000000000",
            f"{AUDIT} --repair --repair-journal repair-000000000001 --only 000000000001",
            f"{AUDIT} --repair --repair-journal repair-000000000002 --only 000000000002",
            f"{AUDIT} --repair --repair-journal repair-000000000003 --only 000000000003",
            None,
        ]

    def test_each_way_and_a_refusal_are_of_a_kind(self) -> None:
        assert set(KINDS) == {*(way.value for way in Way), "refused"}

    def test_without_jinja2_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        known = builtins.__import__

        def without(name: str, *rest: Any, **more: Any) -> Any:
            if name == "jinja2":
                raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")
            return known(name, *rest, **more)

        monkeypatch.setattr(builtins, "__import__", without)
        monkeypatch.delitem(sys.modules, "jinja2")
        with pytest.raises(MissingDependency, match=r"imagevol\[report\]"):
            html_page(contents())


def names_in(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


class TestReplacing:
    def test_an_earlier_file_of_the_kind_is_replaced_and_any_other_is_kept(self, tmp_path: Path) -> None:
        file = tmp_path / "page"
        for content in (b"kind one", b"kind two"):
            replace_file(file, content, begins=b"kind")
            assert file.read_bytes() == content
        with pytest.raises(RequestRefused, match="holds something else"):
            replace_file(file, b"other", begins=b"other")
        assert names_in(tmp_path) == ["page"]

    def test_an_empty_file_and_the_file_of_a_link_are_replaced(self, tmp_path: Path) -> None:
        file, link = tmp_path / "page", tmp_path / "link"
        file.touch()
        link.symlink_to("page")
        replace_file(link, b"kind", begins=b"kind")
        assert (file.read_bytes(), link.is_symlink()) == (b"kind", True)

    @pytest.mark.parametrize(
        "name", ["", ".", "-", "none/file", "fifo", "directory", "n" * 300, "a\0b", "\ud800", "loop"]
    )
    def test_what_is_no_file_is_refused_and_nothing_is_left(self, tmp_path: Path, name: str) -> None:
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "directory").mkdir()
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(RequestRefused) as refused:
            replace_file(Path(f"{tmp_path}/{name}") if name else Path(name), b"kind", begins=b"kind")
        assert str(refused.value).isprintable()
        assert names_in(tmp_path) == ["directory", "fifo", "loop"]

    def test_a_write_that_fails_leaves_the_earlier_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(28, os.strerror(28))

        file = tmp_path / "page"
        replace_file(file, b"kind one", begins=b"kind")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RequestRefused, match="No space left"):
            replace_file(file, b"kind two", begins=b"kind")
        assert file.read_bytes() == b"kind one"
        assert names_in(tmp_path) == ["page"]


@attrs.frozen
class Whole:
    """All of a Cinder in memory, as an audit asks for it."""

    volumes: MemoryVolumes
    sees_all: bool = True

    def all_volumes(self) -> list[Volume]:
        return list(self.volumes.volumes.values())

    def find(self, volume_ids: Iterable[str]) -> tuple[Volume, ...]:
        return MemoryVolumes.of_project(self.volumes, "p", administrator=True)._seen(volume_ids)

    def recording(self, image_id: str) -> tuple[Volume, ...]:
        return tuple(each for each in self.all_volumes() if each.metadata.get("image_id") == image_id)

    def all_attachments(self) -> tuple[()]:
        return ()

    def attachment_now(self, attachment_id: str) -> None:
        return None


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryVolumes:
    """The application's services, in memory."""
    volumes = MemoryVolumes(project_id="p", host="node@fast#one", volume_types={"fast": False})
    known = (Pool(name="node@fast#one", backend_name="fast"), Pool(name="node@slow#one", backend_name="slow"))
    monkeypatch.setattr(MemoryVolumes, "pools", lambda _: known, raising=False)
    monkeypatch.setattr(MemoryVolumes, "default_volume_type", lambda _: "fast", raising=False)
    monkeypatch.setattr(whole_cloud, "WholeCinder", Whole)
    monkeypatch.setattr(Imagevol, "volumes", volumes)
    monkeypatch.setattr(Imagevol, "images", MemoryImages(volumes=volumes, project_id="p", stores=("fast",)))
    monkeypatch.setattr(Imagevol, "attacher", MemoryAttacher(volumes=volumes))
    monkeypatch.setattr(Imagevol, "project_id", "p")
    return volumes


Put = Callable[[str], str]


@pytest.fixture
def put(run: Run, memory: MemoryVolumes, tmp_path: Path) -> Put:
    """Put an image into a volume, and give its id."""
    file = tmp_path / "disk.raw"
    file.write_bytes(bytes(range(256)) * 1000)

    def put(name: str) -> str:
        return str(run("put", file, "--register", name, "--store", "fast", "-f", "json").json["image_id"])

    return put


class TestCommands:
    def test_a_report_shows_each_image_in_each_pool(self, run: Run, put: Put, tmp_path: Path) -> None:
        ids = {put(name) for name in ("disk", SCRIPT, IMG)}
        file = tmp_path / "report.html"
        ran = run("report", "--html", file, "--trusted-project", "p", "-f", "json")
        assert (ran.status, ran.err) == (0, "")
        assert {**ran.json, "notes": []} == {"file": str(file), "images": 3, "places": 2, "notes": []}
        page = Page(file.read_bytes())
        assert [note for note in ran.json["notes"] if note not in page.text] == []  # what an audit cannot see
        found = unpacked(page.data)
        assert page.data["places"] == ["node@fast#one", "node@slow#one"]
        assert {each["id"] for each in found} == ids
        assert [each["name"] for each in found] == sorted(["disk", SCRIPT, IMG])
        assert [each["ways"] for each in found] == [["clone-image-volume", "copy"]] * 3
        assert [each["against"][1][0][0] for each in found] == ["volume-same-backend"] * 3
        assert [tag for tag, _ in page.elements if tag == "img"] == []

    def test_the_reasons_are_those_of_explain(self, run: Run, put: Put, tmp_path: Path) -> None:
        put("disk")
        file = tmp_path / "report.html"
        run("report", "--html", file)
        (found,) = unpacked(Page(file.read_bytes()).data)
        for place, way, reason in zip(("fast", "slow"), found["ways"], found["reasons"], strict=True):
            ask = ("explain", "--all", "--size", 1, "--host", f"node@{place}#one", "-f", "json")
            (row,) = run(*ask).json["matrix"]
            assert (row["way"], row["reason"]) == (way, reason)

    def test_an_image_that_fits_no_small_volume_is_explained_with_the_least_it_fits(
        self, run: Run, put: Put, tmp_path: Path
    ) -> None:
        image_id, file = put("disk"), tmp_path / "report.html"
        images = Imagevol.images
        images.images[image_id] = replace(images.images[image_id], min_disk_gib=7)  # type: ignore[attr-defined]
        run("report", "--html", file, "--trusted-project", "p")
        assert unpacked(Page(file.read_bytes()).data)[0]["ways"][0] == "clone-image-volume"
        run("report", "--html", file, "--trusted-project", "p", "--size", 5)
        assert unpacked(Page(file.read_bytes()).data)[0]["ways"][0] == "refused"

    def test_the_volumes_of_all_images_are_asked_for_together(
        self, run: Run, put: Put, memory: MemoryVolumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(5):
            put(f"disk{number}")
        asked: list[int] = []
        known = MemoryVolumes.find

        def find(volumes: MemoryVolumes, volume_ids: Any) -> Any:
            asked.append(len(list(volume_ids)))
            return known(volumes, volume_ids)

        monkeypatch.setattr(MemoryVolumes, "find", find)
        assert run("report", "--html", tmp_path / "report.html", "--no-audit").status == 0
        assert asked == [5]

    def test_a_report_has_the_findings_of_an_audit_with_their_commands(
        self, run: Run, put: Put, memory: MemoryVolumes, tmp_path: Path
    ) -> None:
        image_id, file = put("disk"), tmp_path / "report.html"
        (volume_id,) = memory.volumes
        memory.volumes[volume_id] = replace(memory.volumes[volume_id], readonly=False)
        assert run("report", "--html", file, "--trusted-project", "p").status == 0
        (finding,) = Page(file.read_bytes()).data["findings"]
        assert (finding["rule"], finding["subjects"][0]) == ("not-read-only", {"kind": "volume", "id": volume_id})
        named = f"--repair-journal repair-{finding['id']} --only {finding['id']}"
        assert finding["command"] == f"imagevol audit --trusted-project p --repair {named}"
        assert run("report", "--html", file, "--no-audit").status == 0
        page = Page(file.read_bytes())
        assert (page.data["findings"], "Findings" in page.text) == ([], False)
        assert [each["id"] for each in unpacked(page.data)] == [image_id]

    def test_the_commands_of_a_report_say_that_there_is_no_other_glance_if_the_operator_did(
        self, run: Run, put: Put, memory: MemoryVolumes, tmp_path: Path
    ) -> None:
        put("disk")
        file = tmp_path / "report.html"
        (volume_id,) = memory.volumes
        memory.volumes[volume_id] = replace(memory.volumes[volume_id], readonly=False)
        asked = ("report", "--html", file, "--trusted-project", "p")
        notes = run(*asked, "-f", "json").json["notes"]
        assert all(any(option in note for note in notes) for option in ("--only-glance", "delayed_delete"))
        assert not any("--only-glance" in note for note in run(*asked, "--only-glance", "-f", "json").json["notes"])
        (finding,) = Page(file.read_bytes()).data["findings"]
        assert finding["command"].startswith("imagevol audit --trusted-project p --only-glance --repair ")

    def test_an_audit_that_cannot_be_made_is_told_and_the_page_is_written(
        self, run: Run, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(_: MemoryVolumes) -> None:
            raise AccessDenied("Cinder, the list of volumes: forbidden")

        put("disk")
        monkeypatch.setattr(whole_cloud, "WholeCinder", refused)
        ran = run("report", "--html", tmp_path / "report.html", "-f", "json")
        assert ran.status == 0
        (note,) = ran.json["notes"]
        assert note.startswith("There are no findings, because no audit could be made: ")
        assert note in Page((tmp_path / "report.html").read_bytes()).text

    def test_with_rates_the_minutes_that_cloning_saves_are_told(self, run: Run, put: Put, tmp_path: Path) -> None:
        put("disk")
        rates = Rates(
            host="node",
            backend="node@fast#one",
            write_bytes_per_second=256_000 / 600,
            attach_seconds=0,
            detach_seconds=0,
            clone_seconds=0,
        )
        file, kept = tmp_path / "report.html", tmp_path / "rates.json"
        kept.write_text(json.dumps(rates.as_dict()))
        assert run("report", "--html", file, "--trusted-project", "p", "--rates", kept).status == 0
        page = Page(file.read_bytes())
        assert "10 minutes" in page.text
        assert "250.0 KiB" in page.text

    def test_a_second_report_replaces_the_first_and_no_other_file(self, run: Run, put: Put, tmp_path: Path) -> None:
        put("disk")
        file, other = tmp_path / "report.html", tmp_path / "other.html"
        other.write_text("<!doctype html>\nnot ours")
        assert [run("report", "--html", file).status for _ in range(2)] == [0, 0]
        assert file.read_bytes().startswith(BEGINS)
        ran = run("report", "--html", other)
        assert (ran.status, ran.out) == (1, "")
        assert "holds something else" in ran.err
        assert other.read_text() == "<!doctype html>\nnot ours"

    def test_both_policies_are_places_of_their_own(self, run: Run, put: Put, tmp_path: Path) -> None:
        put("disk")
        file = tmp_path / "report.html"
        run("report", "--html", file, "--policy", "both", "--host", "node@fast#one")
        assert Page(file.read_bytes()).data["places"] == ["node@fast#one, strict", "node@fast#one, upstream"]

    def test_explain_writes_what_it_shows_as_a_page(self, run: Run, put: Put, tmp_path: Path) -> None:
        ids = [put("disk"), put("other")]
        file = tmp_path / "report.html"
        ask = ("explain", *ids, "--size", 1, "--host", "node@fast#one", "--trusted-project", "p", "-f", "json")
        plain, ran = run(*ask), run(*ask, "--html", file)
        assert (ran.status, ran.json) == (0, plain.json)
        page = Page(file.read_bytes())
        assert [(each["id"], each["ways"]) for each in unpacked(page.data)] == [
            (image_id, ["clone-image-volume"]) for image_id in ids
        ]
        assert "Stores" not in [text.strip() for text in page.texts if text.strip() == "Pools of the backends"]

    def test_the_page_shows_the_command_without_credentials(self, run: Run, put: Put, tmp_path: Path) -> None:
        put("disk")
        file = tmp_path / "report.html"
        assert run("--os-password", "very-secret", "report", "--html", file, "--os-username", "me").status == 0
        page = file.read_text()
        assert "very-secret" not in page
        assert f"imagevol report --html {file}" in page

    def test_a_page_is_for_whom_the_umask_lets_read_it(self, run: Run, put: Put, tmp_path: Path) -> None:
        put("disk")
        before = os.umask(0o077)
        try:
            run("report", "--html", tmp_path / "report.html")
        finally:
            os.umask(before)
        assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o600
