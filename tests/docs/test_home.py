"""The home page and the README say what was measured and what is tested."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs/_ext"))
paths_picture = pytest.importorskip("paths_picture")

HOME = (ROOT / "docs/index.md").read_text()
MANY_HOSTS = (ROOT / "docs/howto/run-on-many-hosts.md").read_text()
TEMPLATES = (ROOT / "docs/howto/keep-templates.md").read_text()
README = (ROOT / "README.md").read_text()


def measured(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())
    return found


def times(peer: str, *beginnings: str) -> list[str]:
    """How many times as fast as another program the cases are that begin with these words, over all machines."""
    return sorted(
        f"{factors[peer]:.1f}"
        for each in measured("machines")["machines"]
        for name, factors in each["times"].items()
        if name.startswith(beginnings) and peer in factors
    )


def row(text: str, page: str) -> str:
    """The row of a table that begins with a text."""
    (found,) = re.findall(rf"^\| {re.escape(text)} \|.*$", page, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("page", [HOME, README], ids=["home page", "README"])
@pytest.mark.parametrize(
    "text, peer, cases",
    [
        ("store an image in a volume, without Glance", "glance_store", ("dense data into", "90 % zeros into")),
        ("read an image volume, and verify it", "glance_store and a digest", ("volume read whole",)),
        ("write a raw image into a volume", "Cinder", ("raw image file",)),
        ("write a 10 GiB qcow2 onto a device that cannot clear ranges", "Cinder's command", ("10 GiB qcow2",)),
    ],
)
def test_a_factor_is_the_measured_one(page: str, text: str, peer: str, cases: tuple[str, ...]) -> None:
    if text in page:
        factors = times(peer, *cases)
        said = factors[0] if len(set(factors)) == 1 else f"{factors[0]} to {factors[-1]}"
        assert f" {said} times as fast |" in row(text, page)


@pytest.mark.parametrize("page", [HOME, README], ids=["home page", "README"])
def test_the_machines_are_named_and_how_fast_they_make_the_digest(page: str) -> None:
    machines = measured("machines")["machines"]
    assert f"ranges over {len(machines)} machines" in page
    for each in machines:
        name = each["machine"]["processor"]
        assert re.search(rf"{each['digests_mib_s']['sha512']} MiB/s on\s+the\s+{re.escape(name)}", page)


def test_each_measured_transfer_says_what_limits_it_and_this_machine_is_among_those_that_are_named() -> None:
    found, rows = measured("machines"), measured("transfers")["rows"]
    assert found["bounds"].keys() == {each["name"] for each in rows}
    factors = {each["name"]: each["times"] for each in rows}
    assert factors in [each["times"] for each in found["machines"]]


@pytest.mark.parametrize("page", [HOME, README], ids=["home page", "README"])
def test_an_upload_to_glance_is_as_fast_as_it_was_measured(page: str) -> None:
    upload = measured("in_glance")["rows"][0]
    seconds = {driver: side["cpu_s"] for driver, side in upload["sides"].items()}
    said = f" {upload['times']:.1f} times as fast, {seconds['imagevol'] / seconds['cinder']:.1f} times the CPU time"
    assert said in row("upload an image of 1 GiB to Glance, which stores it in a volume", page)


def test_in_glance_each_request_was_answered_and_is_as_much_faster_as_it_should_be() -> None:
    found = measured("in_glance")
    for each in found["rows"]:
        assert each["times"] >= each["wanted_times"]
        right = {driver: side["right"] for driver, side in each["sides"].items()}
        assert right["imagevol"] == int(next(iter(re.findall(r"^\d+", each["name"])), 1))
        assert right["imagevol"] >= right["cinder"]
    digests = sum(found["cpu_s_alone"][name] for name in ("md5", "sha512"))
    beyond = {driver: side["cpu_s"] - digests for driver, side in found["rows"][0]["sides"].items()}
    assert beyond["imagevol"] <= beyond["cinder"] / 2


def test_what_happens_to_many_readers_at_once_was_counted() -> None:
    rows = {(each["name"], each["driver"]): each for each in measured("readers")["rows"]}
    for name, text in {
        "16 downloads of a 200 MiB image at once": "16 downloads of one image volume at once",
        "10 volumes of a 200 MiB image at once": "10 volumes from one image volume at once",
    }.items():
        theirs, ours = rows[name, "cinder"], rows[name, "imagevol"]
        assert (ours["failed"], ours["attachments"]) == (0, 1)
        assert f"| {theirs['right']} succeed, {theirs['failed']} fail |" in row(text, HOME)


def test_how_long_fifty_volumes_take_was_measured() -> None:
    seconds: dict[str, list[float]] = {}
    for each in measured("clones")["rows"]:
        seconds.setdefault(each["side"], []).append(each["median_seconds"])
    found = row("50 volumes of one image at once, on a test driver whose clone takes 3 s", TEMPLATES)
    assert measured("clones")["clone_seconds"] == 3
    for several in seconds.values():
        least, most = min(several), max(several)
        assert (f" {least} s," if least == most else f" {least} to {most} s,") in found


def test_what_many_workers_do_and_cost_was_measured() -> None:
    found = measured("fleet")
    services = ("redis", "etcd")
    times = {(each["service"], each["workers"]): each["workers"] * each["of_linear"] for each in found["scaling"]}
    assert all(time >= workers * 0.9 for (_, workers), time in times.items())
    looks = {each["service"]: each for each in found["looks"]}
    passes = {name: max(looks[name]["feeder_pass_ms"], looks[name]["worker_pass_ms"]) for name in services}
    assert max(passes.values()) < 50
    for count in (4, 8):
        redis, etcd = (f"{times[name, count]:.1f} times" for name in services)
        said = f" {redis} as many locations a second as one worker | {etcd} |"
        assert said in row(f"{count} workers, with a service that takes 20 ms for a location", MANY_HOSTS)
    for text, figures in {
        "look at a board with 200 shards": passes,
        "check the lease before a change": {name: looks[name]["lease_check_ms"] for name in services},
    }.items():
        assert f" {figures['redis']:.1f} ms | {figures['etcd']:.1f} ms |" in row(text, MANY_HOSTS)
    eight = {each["service"]: each for each in found["scaling"] if each["workers"] == 8}
    needed = [f"{eight[name]['worker_cpu_us'] / 1000:.1f} ms" for name in ("etcd", "redis")]
    busy = f"busy for {eight['etcd']['cores_busy'] / 2:.0%}".replace("%", " %")
    stolen = f"gave up to {max(eight['etcd']['stolen']):.0%} of their time to others".replace("%", " %")
    rounds = [8 * each for each in eight["etcd"]["of_linear_each"]]
    costs = found["costs"]
    assert (costs[0]["locations"], costs[-1]["locations"]) == (10_000, 10_000_000)
    assert max(each["most_on_the_board"] for each in costs) <= 200
    workers = [each["worker_cpu_us"] for each in costs]
    page = " ".join(MANY_HOSTS.split())
    assert f"a worker needed {needed[0]} of CPU time for each location with etcd, and {needed[1]} with Redis" in page
    assert f"both threads of the core were {busy} of the time" in page
    assert stolen in page
    assert (
        f"8 workers in the five rounds were {min(rounds):.1f} to {max(rounds):.1f} times as fast as one worker" in page
    )
    assert f"{min(workers):.0f} to {max(workers):.0f} µs of CPU time of a worker" in page
    assert f"{max(each['feeder_cpu_us'] for each in costs):.1f} µs of the feeder" in page
    memory = max(each[name] for each in costs for name in ("worker_mib", "feeder_mib"))
    assert memory < 150
    assert f"at most {memory} MiB of memory" in page


def test_the_numbers_of_extends_were_counted_and_the_faster_program_is_named() -> None:
    counted = measured("transfers")["counted"]["unknown length, 100 GiB"]
    found = row("store an image of 100 GiB whose size Glance does not know in advance", HOME)
    assert f"| {counted['extends_of_glance_store']} extends of the volume | {counted['extends']} extends |" in found
    ratio = max(times("nbdcopy", "raw image file"))
    raw = next(each for each in measured("transfers")["rows"] if each["name"].startswith("raw image file"))
    assert ratio < "1"
    assert f"`nbdcopy` writes a raw image {raw['theirs_mib_s']['nbdcopy'] / raw['ours_mib_s']:.1f} times" in HOME


def test_the_releases_of_the_support_matrix_are_those_that_the_tests_install() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = dict(
        re.findall(r"^([\w-]+)==([\d.]+)", "\n".join(map(str, project["dependency-groups"]["cloud"])), re.MULTILINE)
    )
    for name in ("keystone", "cinder", "glance", "glance_store", "os-brick"):
        shown = name.capitalize() if name in ("keystone", "cinder", "glance") else name
        assert f"{shown} {pins[name]}" in row("OpenStack", HOME)
    classifiers = [each.rpartition(":: ")[2] for each in project["project"]["classifiers"] if "Python :: 3." in each]
    assert all(version in row("Python", HOME) for version in classifiers)


def test_the_committed_pictures_are_what_the_script_draws() -> None:
    for theme in paths_picture.THEMES:
        drawn = paths_picture.picture(theme)
        assert (ROOT / f"docs/_static/paths-{theme}.svg").read_text() == drawn, "run docs/_ext/paths_picture.py"
