"""`imagevol validate` on a real Ceph: RBD is trusted with everything."""

from __future__ import annotations

from tests.cloud.ports import nothing_left
from tests.cloud.record import Cloud
from tests.cloud.test_command_line import CommandLine
from tests.cloud.test_validate import ask, failed


def test_ceph_is_trusted_with_all(rbd_cloud: Cloud) -> None:
    with nothing_left(rbd_cloud):
        status, rows = ask(CommandLine(rbd_cloud, rbd_cloud.clouds_yaml), "fast", "--no-suites")
    assert failed(rows) == {}
    assert status == 0
    assert {row["result"] for rule, row in rows.items() if rule.startswith("setting-")} <= {"ok", "skipped"}
