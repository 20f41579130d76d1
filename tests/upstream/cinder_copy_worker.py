"""Asks the code of the installed Cinder which command copies an image, and which image it refuses.

The way is Cinder's own, from `fetch_to_volume_format`, `upload_volume` or `convert_image` on.  Commands are not run but
noted; what `qemu-img info`, the inspector and the attempts at direct I/O would say is a fact of the question, except of
a real file, of which they are asked.
"""

from __future__ import annotations

import io
import json
import logging
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.upstream.asking import serve
from tests.upstream.cinder_worker import CONF

processes = import_module("oslo_concurrency.processutils")
run_command = processes.execute  # which the tests replace
image_utils = import_module("cinder.image.image_utils")
format_inspector = import_module("cinder.image.format_inspector")
inspector = import_module("cinder.privsep.format_inspector")
qemu = import_module("oslo_utils.imageutils")
throttling = import_module("cinder.volume.throttling")
utils = import_module("cinder.utils")

Facts = dict[str, Any]
KNOWN = frozenset(["raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc", "luks", "parallels", "qed"])  # to qemu-img


class Host:
    """A host on which commands are noted.

    Args:
        facts: `qemu_img`, `source_direct_io`, `target_direct_io`, `block_device`, `prefix`; by path, `contents`: each
            the `inspector`'s answer (None for unsafe) and what qemu-img says (`info`), by the format it is asked for.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.notes: list[list[str]] = []
        self.fetched = False

    def execute(self, *command: str, **_: Any) -> tuple[str, str]:
        if command[:4] == ("env", "LC_ALL=C", "qemu-img", "info"):
            return self.info(command[command.index("-f") + 1], command[-1]), ""
        if command[:2] == ("dd", "count=0"):
            self.fail_unless(self.facts["target_direct_io" if command[-1] == "oflag=direct" else "source_direct_io"])
        else:
            self.notes.append(list(command))
        return "", ""

    def info(self, name: str, path: str) -> str:
        self.fail_unless(self.facts["qemu_img"])
        if not self.fetched:  # the empty file with which Cinder asks whether there is a qemu-img
            self.fail_unless(name == "raw")
            return json.dumps({"format": "raw", "virtual-size": 0})
        content = self.facts["contents"][path]["info"]
        self.fail_unless(name in KNOWN and name in content)
        return json.dumps(content[name])

    def inspect(self, *, path: str, allow_qcow2_backing_file: bool) -> Any:
        return self.facts["contents"][path]["inspector"] if self.fetched else "raw"

    def fail_unless(self, works: bool) -> None:
        if not works:
            raise processes.ProcessExecutionError(stderr="")

    def fetch(self, *_: Any) -> None:
        self.fetched = True


def noting(facts: Facts, patch: ExitStack) -> Host:
    """Let Cinder run on such a host until the stack ends."""
    host = Host(facts)
    throttling.Throttle.set_default(throttling.Throttle(list(facts["prefix"])))

    @contextmanager
    def temporary_file(**_: Any) -> Iterator[str]:
        yield facts["temporary"]

    for target, name, stand_in in (
        (processes, "execute", host.execute),
        (inspector, "get_format_if_safe", host.inspect),
        (import_module("cinder.privsep.path"), "exists", lambda _: True),
        (utils, "is_blk_device", lambda _: facts["block_device"]),
        (image_utils, "fetch", host.fetch),
        (image_utils, "temporary_file", temporary_file),
        (image_utils.TemporaryImages, "for_image_service", lambda _: SimpleNamespace(get=lambda *_: None)),
        (image_utils.tpool, "Proxy", lambda data: data),
    ):
        patch.enter_context(mock.patch.object(target, name, stand_in))
    patch.enter_context(mock.patch.object(image_utils, "open", mock.mock_open(), create=True))
    return host


def answer(host: Host, call: Any, *arguments: Any, **options: Any) -> Facts:
    """Which commands it ran, and the exception that ended it and Cinder's function that raised it, if one did."""
    try:
        call(*arguments, **options)
    except Exception as error:  # noqa: BLE001 - that it raises, and what, is the answer
        calls = traceback.extract_tb(error.__traceback__)
        within = [each.name for each in calls if each.filename == image_utils.__file__]
        return {"ran": host.notes, "raises": type(error).__name__, "within": within[-1] if within else None}
    return {"ran": host.notes, "raises": None, "within": None}


def fetch(facts: Facts, image: Facts, target: str, volume_format: str, size_gib: int | None, **options: Any) -> Any:
    """An image into a volume."""
    CONF.set_override("image_conversion_disable", not facts["conversion"])
    service = SimpleNamespace(show=lambda *_: image)
    with ExitStack() as patch:
        host = noting(facts, patch)
        blocksize = options.pop("blocksize")
        return answer(
            host,
            image_utils.fetch_to_volume_format,
            None,
            service,
            image["id"],
            target,
            volume_format,
            blocksize,
            size=size_gib,
            **options,
        )


def upload(facts: Facts, image: Facts, source: str, volume_format: str, compress: bool) -> Any:
    """A volume into an image."""
    CONF.set_override("image_conversion_disable", not facts["conversion"])
    with ExitStack() as patch:
        host = noting(facts, patch)
        host.fetched = True
        service = SimpleNamespace(update=lambda *_, **__: None)
        return answer(
            host,
            image_utils.upload_volume,
            None,
            service,
            image,
            source,
            volume_fd=io.BytesIO(),
            volume_format=volume_format,
            compress=compress,
        )


def convert(facts: Facts, source: str, target: str, declared: str | None, **options: Any) -> Any:
    """A driver's own conversion."""
    with ExitStack() as patch:
        host = noting(facts, patch)
        host.fetched = True
        data = qemu.QemuImgInfo(json.dumps(facts["info"]), format="json")
        src_format = image_utils.fixup_disk_format(declared)
        return answer(host, image_utils.convert_image, source, target, src_format=src_format, data=data, **options)


@cache
def empty_file() -> Any:
    """The file with which Cinder asks whether there is a qemu-img."""
    return tempfile.NamedTemporaryFile()


@cache
def said_by_qemu_img(*command: str) -> tuple[Any, Exception | None]:
    """What qemu-img says of a file, or its error; asked once, since Cinder asks anew each time it fetches the file."""
    try:
        return run_command(*command, prlimit=processes.ProcessLimits(cpu_time=60, address_space=1 << 30)), None
    except processes.ProcessExecutionError as error:
        return None, error


def check_file(path: str, declared: str, size_gib: int) -> Any:
    """Fetch a real image, that Cinder's inspector and qemu-img look at themselves."""
    commands = []

    def execute(*command: str, **_: Any) -> Any:
        if "info" in command:
            said, error = said_by_qemu_img(*command)
            if error:
                raise error
            return said
        commands.append(list(command))
        return "", ""

    with ExitStack() as patch:
        host = noting({"prefix": [], "temporary": empty_file().name, "block_device": False}, patch)
        fetched = mock.patch.object(image_utils.TemporaryImages, "for_image_service")
        patch.enter_context(fetched).return_value.get.return_value = path
        patch.enter_context(mock.patch.object(processes, "execute", execute))
        patch.enter_context(mock.patch.object(inspector, "get_format_if_safe", inspector._get_format_if_safe))
        service = SimpleNamespace(show=lambda *_: {"id": "i", "disk_format": declared, "container_format": "bare"})
        arguments = (None, service, "i", "/volume", "raw", "1M")
        return answer(host, image_utils.fetch_to_volume_format, *arguments, size=size_gib)


def inspect(path: str) -> Facts:
    """What Cinder's own inspector takes a file for, and whether it finds it safe; nothing of that if it fails."""
    found = format_inspector.detect_file_format(path)
    try:
        return {"format": str(found), "safe": bool(found.safety_check())}
    except format_inspector.ImageFormatError:
        return {"format": str(found)}


if __name__ == "__main__":
    logging.disable()
    CONF.set_override("image_conversion_disable", False)
    serve({"fetch": fetch, "upload": upload, "convert": convert, "check_file": check_file, "inspect": inspect})
