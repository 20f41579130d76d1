"""One image read by many at once, by our store driver and by glance_store's own, each in a real cloud of its own.

The store's volume type is not multiattach, as most are: Cinder lets a volume be attached once at a time.
"""

from __future__ import annotations

import io
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pymysql
from glanceclient.v2.client import Client as GlanceClient

from benchmarks.machine import machine
from benchmarks.pairs import RESULTS
from tests.cloud.bringup import running
from tests.cloud.ports import ports, sign_in
from tests.cloud.processes import ticks
from tests.cloud.record import Cloud
from tests.cloud.settings import REGION, Settings

MIB = 1 << 20
SIZE_MIB = 200
DOWNLOADS = 16
VOLUMES = 10
DRIVERS = ("imagevol", "cinder")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of requests that were sent at the same moment.

    Attributes:
        name: what was asked for.
        driver: of the store.
        right: how many were answered with the whole image.
        failed: how many were not.
        attachments: how many attachments of the image's volume were made.
        seconds: until the last was answered.
    """

    name: str
    driver: str
    right: int
    failed: int
    attachments: int
    seconds: float


@contextmanager
def cloud_with(driver: str) -> Iterator[Cloud]:
    """A cloud in which volumes of type `slow` are copied from images in store `fast`, each by itself."""
    copying = {"cinder/cinder.conf": {"slow": {"image_volume_cache_enabled": "false"}}}
    with (
        tempfile.TemporaryDirectory(prefix="readers-") as directory,
        running(Path(directory), Settings(store_driver=driver, overrides=copying)) as cloud,
    ):
        yield cloud


def attachments(cloud: Cloud, volume_id: str) -> int:
    """How many there have ever been; Cinder keeps the rows of those that are gone."""
    socket = str(cloud.directory / "tmp/mariadb.sock")
    with (
        closing(pymysql.connect(unix_socket=socket, user="root", database="cinder")) as database,
        database.cursor() as cursor,
    ):
        cursor.execute("SELECT COUNT(*) FROM volume_attachment WHERE volume_id = %s", (volume_id,))
        (count,) = cursor.fetchone() or (0,)
    return int(count)


def measure(driver: str) -> Iterator[Row]:
    """Download one image many times at once, and then make many volumes of it at once."""
    data = random.Random(3).randbytes(SIZE_MIB * MIB)
    with cloud_with(driver) as cloud:
        glance: Any = GlanceClient(session=sign_in(cloud, "demo"), region_name=REGION)
        image = glance.images.create(disk_format="raw", container_format="bare")
        glance.images.upload(image["id"], io.BytesIO(data), image_size=len(data), backend="fast")
        volume_id = glance.images.get(image["id"])["locations"][0]["url"].rpartition("/")[2]
        volumes = ports(cloud, "demo").volumes

        def downloaded(_: int) -> bool:
            # A session each: they must not wait for one another here.
            answer = sign_in(cloud, "demo").get(
                f"{cloud.image_url}/v2/images/{image['id']}/file", raise_exc=False, connect_retries=0
            )
            return answer.status_code == 200 and answer.content == data

        def made(number: int) -> bool:
            created = volumes.create(size_gib=1, name=f"copy-{number}", volume_type="slow", image_id=image["id"])
            for _ in ticks(600):
                status = volumes.get(created.id).status
                if status == "available" or str(status).startswith("error"):
                    return status == "available"
            return False

        work = ((f"{DOWNLOADS} downloads", DOWNLOADS, downloaded), (f"{VOLUMES} volumes", VOLUMES, made))
        for name, count, do in work:
            before, started = attachments(cloud, volume_id), time.perf_counter()
            with ThreadPoolExecutor(count) as pool:
                right = sum(pool.map(do, range(count)))
            yield Row(
                name=f"{name} of a {SIZE_MIB} MiB image at once",
                driver=driver,
                right=right,
                failed=count - right,
                attachments=attachments(cloud, volume_id) - before,
                seconds=round(time.perf_counter() - started, 1),
            )


def main() -> None:
    """Measure both, print the table, and keep it with the host and the versions."""
    rows = []
    for driver in DRIVERS:
        for row in measure(driver):
            rows.append(row)
            print(
                f"{row.name:44} {row.driver:10} {row.right:3} right {row.failed:3} failed "
                f"{row.attachments:3} attachments {row.seconds:7.1f} s",
                flush=True,
            )
    result = {
        "host": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}",
        "machine": machine(),
        "command": ["python", "-m", "benchmarks", "readers"],
        "versions": {name: version(name) for name in ("imagevol", "glance_store", "glance", "cinder")},
        "rows": [asdict(row) for row in rows],
    }
    (RESULTS / "readers.json").write_text(json.dumps(result, indent=2) + "\n")
