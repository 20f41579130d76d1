"""The pages of operators do what they say: their blocks that need a cloud are run here, in their order."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from sybil import Document, Example
from sybil.example import SybilFailure
from sybil.parsers.markdown import CodeBlockParser

from imagevol_core import ResourceNotFound
from tests.cloud.database import run_sql
from tests.cloud.ports import nothing_left
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.test_audit import audit
from tests.cloud.users import PATIENCE_SECONDS, User, image_volume
from tests.docs.test_snippets import ROOT, run_console

MINE = r'<!--- skip: next "tests/cloud/test_pages\.py runs it" -->\s*'
IMAGE = b"16 bytes of data" * (1 << 20)


@pytest.fixture
def operator(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """The operator, with credentials of the stores' project, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(cloud.clouds_yaml))
    monkeypatch.setenv("OS_CLOUD", "service")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    with nothing_left(cloud), ExitStack() as undo:
        yield User(cloud, "service", undo)


def follow(page: str, instead: Mapping[str, str], *, then: Mapping[int, Callable[[], Mapping[str, str]]] = {}) -> None:
    """Run the blocks of a page.

    Args:
        page: its path below `docs`.
        instead: for what the page shows, what is in this cloud.
        then: what happens after so many blocks; it gives more of `instead`.
    """
    instead = dict(instead)

    def run(example: Example) -> str | None:
        for shown, real in instead.items():
            example.parsed = example.parsed.replace(shown, real)
        return run_console(example, exact=False)

    document = Document.parse(str(ROOT / "docs" / page), CodeBlockParser("console", run))
    marked = [example for example in document if re.search(f"{MINE}$", document.text[: example.start])]
    assert len(marked) == len(re.findall(MINE, document.text)) > 0
    wrong = []
    for number, example in enumerate(marked):
        instead |= then[number]() if number in then else {}
        try:
            example.evaluate()
        except SybilFailure as failure:
            wrong.append(str(failure))
    assert not wrong, "\n\n".join(wrong)


def configured(cloud: Cloud) -> dict[str, str]:
    """What makes the commands of the pages read the configuration of this cloud, and trust its projects."""
    return {
        "$ imagevol audit": f"$ imagevol audit --config-file {cloud.directory / 'etc/glance/glance-api.conf'}",
        "--config-file /etc/cinder/cinder.conf": f"--config-file {cloud.directory / 'etc/cinder/cinder.conf'}",
        "$STORES": cloud.project_ids["service"],
        "$TENANT": cloud.project_ids["service"],
        "/var/lib/imagevol": ".",
    }


def orphan(operator: User, *, days_old: int = 2) -> str:
    """A volume that says that it holds an image, and no image has it."""
    said = {"glance_image_id": str(uuid.uuid4()), "image_owner": "p", "image_size": "5"}
    volumes = operator.real.volumes
    volume_id: str = volumes.create(size_gib=1, name="orphan", volume_type="fast", metadata=said).id
    operator.undo.callback(_gone, operator, volume_id)
    volumes.wait(volume_id)
    statement = "UPDATE volumes SET created_at = created_at - INTERVAL %s DAY WHERE id = %s"
    run_sql(operator.cloud, "cinder", statement, (days_old, volume_id))
    return volume_id


def writable(operator: User) -> str:
    """The volume of an image, which can be attached for writing."""
    volume_id: str = image_volume(operator, operator.image(IMAGE))
    operator.real.volumes.set_readonly(volume_id, readonly=False)
    return volume_id


def _gone(operator: User, volume_id: str) -> None:
    with suppress(ResourceNotFound):
        operator.real.volumes.delete(volume_id)


def ids(cloud: Cloud, shown: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """What stands for the ids on a page.

    Args:
        cloud: in which faults were planted.
        shown: for the id of each finding on the page, the id of its volume on the page and in this cloud.
    """
    found = {row["subjects"][0]["id"]: row["id"] for row in audit(cloud)[1]}
    return {key: found[real] for key, (_, real) in shown.items()} | dict(shown.values())


def test_the_page_on_audits_shows_what_an_audit_answers(operator: User) -> None:
    for _ in range(3):
        operator.image(IMAGE)
    planted = {
        "8a84e2cccaec": ("d5a0c6a5-0bd0-4c4b-bb5b-6a0b5a1c9c10", orphan(operator)),
        "8d7ed80ba641": ("1f9b2b8e-3a3c-4c62-9a53-7a1f0d8e4b11", writable(operator)),
    }
    follow("howto/clean-up.md", ids(operator.cloud, planted) | configured(operator.cloud))


def test_the_page_on_repairs_shows_what_a_repair_answers(operator: User) -> None:
    for _ in range(2):
        operator.image(IMAGE)
    planted = {
        "21ae4ccad616": ("b89c49d4-ab44-4d3d-aea2-dc07024350e6", writable(operator)),
        "81c9b06ee8b3": ("903da5e9-1c91-4343-82a8-dbfd17f74285", orphan(operator)),
        "c33357ebb26e": ("beb92ce6-aef0-4d10-9cf4-02c38b309adc", orphan(operator, days_old=0)),
    }
    follow("howto/repair-a-cloud.md", ids(operator.cloud, planted) | configured(operator.cloud))


def test_the_pages_on_a_slow_volume_and_on_a_report_show_what_the_services_answer(operator: User) -> None:
    cloud = operator.cloud
    image_id = operator.image(IMAGE)
    instead = {
        "5e2a44f1-8f0e-4a53-9c0b-1f5a6f0e3c0d": image_id,
        "0d1cbb5f-0f5b-4a3c-8a53-3e1f7a0c2b10": operator.volume(image_id).id,
        "67dcb69ff69144bfac6021384bc5cadb": cloud.project_ids["service"],
        "node1@fast#fast": cloud.backend_hosts["fast"],
        "--trusted-project PROJECT": f"--trusted-project {cloud.project_ids['service']}",
    } | configured(cloud)
    follow("troubleshooting/index.md", instead)
    follow("howto/see-what-can-be-cloned.md", instead)


def test_the_page_on_locations_shows_the_plan_of_a_rename(operator: User) -> None:
    image_id = operator.image(IMAGE)
    now = (operator.cloud.directory / "etc/glance/glance-api.conf").read_text()
    Path("renamed.conf").write_text(
        now.replace("[fast]", "[gold]")
        .replace("fast:", "gold:")
        .replace("default_backend = fast", "default_backend = gold")
    )
    instead = {
        "212328e9-64aa-462d-bfb4-a7234cd6255d": image_id,
        "d17fe04f-f653-4604-9dd3-e6e5ee66e292": image_volume(operator, image_id),
        "imagevol locations plan": "imagevol locations plan --config-file renamed.conf",
    }
    follow("howto/migrate-locations.md", instead)


def killed_put(operator: User, cloud_name: str) -> dict[str, str]:
    """Kill a `put` while it writes, and give what `imagevol unfinished` says of it."""
    Path("disk.raw").write_bytes(bytes(range(256)) * (1 << 14))
    command = ["imagevol", "--os-cloud", cloud_name]
    words = [*command, "put", "disk.raw", "--register", "killed", "--volume-type", "fast", "--rate", "0.1"]
    row: dict[str, str] = {}
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        for _ in ticks(PATIENCE_SECONDS):
            volumes = operator.cinder.volumes.list(search_opts={"all_tenants": True, "status": "in-use"})
            if any(str(process.pid) in volume.metadata.get("imagevol_process", "") for volume in volumes):
                break
        process.send_signal(signal.SIGKILL)
    listed = subprocess.run([*command, "unfinished", "-f", "json"], capture_output=True, text=True, check=False)
    (row,) = json.loads(listed.stdout)
    return row | {"pid": str(process.pid)}


def test_the_page_on_killed_services_shows_what_is_left_and_deletes_it(operator: User) -> None:
    def of_a_user() -> dict[str, str]:
        row = killed_put(operator, "demo")
        return {
            "9cd001de-4aec-4742-98e2-ef1c3e821d58": row["volume_id"],
            "2807f045-81c1-4670-87fe-a3d8a08cd2ee": row["image_id"],
        }

    row = killed_put(operator, "service")
    instead = {
        "71dd6d0a-f2d7-4d3f-bd21-6517eacbd1c3": row["volume_id"],
        "efbd9492-eebc-4b65-8859-ac70c42b931d": row["image_id"],
        "21813299-d28a-46f4-8db5-955e83259bb6": row["attachments"],
        "20775": row["pid"],
        "node1": socket.gethostname(),
        "6ef8874b-f6b1-4850-952d-dc9edbce3e9b": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }
    follow("production/after-a-kill.md", instead, then={2: of_a_user})
