"""`imagevol audit` of clouds of 100,000, 300,000 and 1,000,000 images, each with its volume: memory, time and requests.

Keystone, Glance and Cinder are simulated by this process, in pages of 1,000 as they give them.  The command is a whole
one, as an operator starts it.  No image or volume has a fault, so that everything is listed and nothing is shown.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from benchmarks.machine import machine
from benchmarks.pairs import RESULTS, host

COUNTS = (100_000, 300_000, 1_000_000)
PAGE = 1000
PROJECT = "5c0d7c8a4f6e4f0fb0f1a7d1f0d5a3b2"
_SPREAD = 2654435761  # so that ids are spread as random ones are


def main() -> None:
    """Measure, and keep the result."""
    rows = [_measured(count) for count in COUNTS]
    for row in rows:
        print(*(f"{key} {value}" for key, value in row.items()), sep=", ")
    result = {
        "host": host(),
        "machine": machine(),
        "command": ["python", "-m", "benchmarks", "audits"],
        "versions": {name: version(name) for name in ("imagevol", "python-cinderclient", "python-glanceclient")},
        "rows": rows,
    }
    (RESULTS / "audits.json").write_text(json.dumps(result, indent=2) + "\n")


def _measured(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="imagevol-audits-") as directory, _serving(count) as (url, requests):
        clouds = Path(directory, "clouds.yaml")
        auth = {"auth_url": f"{url}/identity/v3", "username": "u", "password": "p", "project_name": "admin"}
        domains = {"user_domain_name": "Default", "project_domain_name": "Default"}
        clouds.write_text(json.dumps({"clouds": {"it": {"auth": auth | domains, "region_name": "R"}}}))
        environment = {"OS_CLIENT_CONFIG_FILE": str(clouds), "OS_CLOUD": "it"}
        started = time.monotonic()
        usage, shown = _run(["audit", "--trusted-project", PROJECT, "-f", "value"], environment)
        seconds = time.monotonic() - started
    if shown:
        raise RuntimeError(f"a healthy cloud has findings: {shown[:200]}")
    return {
        "images": count,
        "volumes": count,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "most_memory_mib": round(usage.ru_maxrss / 1024),
        "image_requests": requests["images"],
        "volume_requests": requests["volumes"],
    }


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Any, str]:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "imagevol", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3):
            raise RuntimeError(f"imagevol {' '.join(arguments)}: exit status {process.returncode}")
        output.seek(0)
        return usage, output.read().decode()


@contextmanager
def _serving(count: int) -> Any:
    requests = Counter[str]()
    handler = type("Handler", (_Services,), {"count": count, "requests": requests})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Services(BaseHTTPRequestHandler):
    """Keystone, Glance and Cinder, as far as an audit asks them."""

    protocol_version = "HTTP/1.1"
    count = 0
    requests: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        """Give a token."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = f"http://{self.headers['Host']}"
        catalog = [
            {
                "type": kind,
                "name": kind,
                "endpoints": [{"interface": "public", "region": "R", "region_id": "R", "url": f"{url}/{kind}{path}"}],
            }
            for kind, path in (("image", ""), ("block-storage", "/v3"), ("identity", "/v3"))
        ]
        token = {
            "methods": ["password"],
            "expires_at": "2999-01-01T00:00:00.000000Z",
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "user": {"id": "u", "name": "u", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": PROJECT, "name": "admin", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "r", "name": "admin"}],
            "catalog": catalog,
        }
        self._answer(json.dumps({"token": token}), status=201, token="a-token")

    def do_GET(self) -> None:
        """Give versions, and pages."""
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path.endswith("/volumes/detail"):
            self.requests["volumes"] += 1
            self._volumes(asked)
        elif parts.path.endswith("/v2/images"):
            self.requests["images"] += 1
            self._images(asked)
        elif parts.path.endswith("/attachments"):
            self._answer('{"attachments": []}')
        elif parts.path.endswith("/info/stores/detail"):
            store = {"id": "fast", "type": "cinder", "weight": 0, "default": "true"}
            self._answer(json.dumps({"stores": [{**store, "properties": {"volume_type": "ssd"}}]}))
        elif parts.path.endswith("/schemas/image"):
            self._answer('{"name": "image", "properties": {}}')
        elif "/image" in parts.path:
            self._versions("v2.17", "/image/v2/")
        elif "/block-storage" in parts.path:
            self._versions("v3.0", "/block-storage/v3/", version="3.71", min_version="3.0")
        else:
            self._versions("v3.14", "/identity/v3/")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _images(self, asked: Mapping[str, str]) -> None:
        if asked.get("os_hidden") == "true" or "updated_at" in asked:
            self._answer('{"images": []}')
            return
        first = int(asked["marker"][:8], 16) + 1 if "marker" in asked else 0
        last = min(first + PAGE, self.count)
        rows = ",".join(_IMAGE % {"image": _id(each, 4), "volume": _id(each, 5)} for each in range(first, last))
        more = f', "next": "/v2/images?limit={PAGE}&marker={_id(last - 1, 4)}&os_hidden=false"'
        self._answer(f'{{"images": [{rows}]{more if last < self.count else ""}}}')

    def _volumes(self, asked: Mapping[str, str]) -> None:
        first = int(asked["marker"][:8], 16) + 1 if "marker" in asked else 0
        last = min(first + int(asked["limit"]), self.count)
        rows = ",".join(_VOLUME % {"image": _id(each, 4), "volume": _id(each, 5)} for each in range(first, last))
        self._answer(f'{{"volumes": [{rows}]}}')

    def _versions(self, name: str, path: str, **more: str) -> None:
        url = f"http://{self.headers['Host']}{path}"
        links = [{"rel": "self", "href": url}]
        version = {"id": name, "status": "CURRENT", "links": links, "media-types": [], **more}
        told: Any = {"versions": [version]} if "identity" not in path else {"version": version}
        self._answer(json.dumps(told))

    def _answer(self, text: str, *, status: int = 200, token: str | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if token:
            self.send_header("X-Subject-Token", token)
        self.end_headers()
        self.wfile.write(body)


def _id(number: int, kind: int) -> str:
    return f"{number:08x}-0000-{kind}000-8000-{number * _SPREAD % (1 << 48):012x}"


_TIMES = '"created_at": "2026-01-01T00:00:00%(zone)s", "updated_at": "2026-01-01T00:00:00%(zone)s"'
_IMAGE = (
    '{"id": "%(image)s", "name": "ubuntu", "status": "active", "visibility": "private", "owner": "'
    + PROJECT
    + '", "size": 1073741824, "virtual_size": null, "disk_format": "raw", "container_format": "bare", "min_disk": 0, '
    '"min_ram": 0, "protected": false, "tags": [], "os_hidden": false, "checksum": "'
    + "0" * 32
    + '", "os_hash_algo": "sha512", "os_hash_value": "'
    + "0" * 128
    + '", "direct_url": "cinder://fast/%(volume)s", "locations": [{"url": "cinder://fast/%(volume)s", "metadata": '
    '{"store": "fast"}}], "self": "/v2/images/%(image)s", "file": "/v2/images/%(image)s/file", "schema": '
    '"/v2/schemas/image", ' + _TIMES.replace("%(zone)s", "Z") + "}"
)
_VOLUME = (
    '{"id": "%(volume)s", "name": "image-%(image)s", "status": "available", "size": 1, "volume_type": "ssd", '
    '"os-vol-tenant-attr:tenant_id": "'
    + PROJECT
    + '", "os-vol-host-attr:host": "node@fast#fast", "os-vol-mig-status-attr:migstat": null, "encrypted": false, '
    '"multiattach": false, "source_volid": null, "snapshot_id": null, "bootable": "false", "attachments": [], '
    '"user_id": "u", "description": null, "replication_status": null, "consistencygroup_id": null, "links": [], '
    '"metadata": {"readonly": "True", "glance_image_id": "%(image)s", "image_owner": "'
    + PROJECT
    + '", "image_size": "1073741824"}, '
    + _TIMES.replace("%(zone)s", ".000000")
    + "}"
)
