"""What reads bytes that another program, a user or an image chose: each must answer, or refuse with an error of ours.

A target is a function of bytes.  It returns, or fails with what it found.  Only errors of imagevol, and the answers
that its documentation names, are swallowed.
"""

from __future__ import annotations

import argparse
import atexit
import io
import json
import os
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
from webob import Request, Response

from imagevol_adapters.blockmaps import needed_bytes
from imagevol_adapters.blockmaps.contents import contents
from imagevol_adapters.cli.audit_files import read_baseline, read_earlier
from imagevol_adapters.cli.digests import given_digest
from imagevol_adapters.cli.rates import read_rates
from imagevol_adapters.configuration import credentials, load, plan_file_upgrade, read_catalogue
from imagevol_adapters.engine import Hole
from imagevol_adapters.error_text import LONGEST_LINE, one_line
from imagevol_adapters.gathering.cinder_configuration import CinderConfiguration
from imagevol_adapters.gathering.deep_reading import DeepJournal
from imagevol_adapters.glance.asking import asked
from imagevol_adapters.glance.facts import image_facts
from imagevol_adapters.glance.reading import read_ranges
from imagevol_adapters.inspection import ImageInspector, inspect_file
from imagevol_adapters.middleware import BaseImageStores
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.qemu.network_disk import served
from imagevol_adapters.relocating.journal import Journal
from imagevol_adapters.repairing.journal import RepairJournal
from imagevol_adapters.store_copies.journal import CopyJournal
from imagevol_adapters.transfers import PutJournal
from imagevol_adapters.transfers.kept_part import part_file
from imagevol_core import (
    Dialect,
    Digest,
    Image,
    ImagevolError,
    ImageVolumeMetadata,
    Inspection,
    InvalidLocation,
    ServiceFailed,
    TemplateMetadata,
    Volume,
    VolumeOrigin,
    check_image_safety,
    checksum_for,
    named_volume_ids,
    parse_digest,
    parse_location,
    shown_url,
    shown_value,
    without_secrets,
    without_userinfo,
)
from imagevol_core.creation import boot_mapping
from imagevol_core.recorded import decide_recorded
from imagevol_core.remains.attachments import ProcessRecord
from imagevol_core.resuming import ReadImage
from tests.adapters.recording import BASE, CATALOGUE, IMPORT, STAGE, UPLOAD

__all__ = ["TARGETS", "sparse"]

_ID = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
_CLOUD = "a-glance"
_FORMATS = ("raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "luks", "ami", None)
_LONGEST_IMAGE = 6 << 20
_RECORD = struct.Struct("<IH")  # where bytes are, and how many
_BETWEEN = b"\x1e"  # the parts of an input


def sparse(pieces: Mapping[int, bytes], size_bytes: int) -> bytes:
    """Give the few bytes that stand for an image: its length, and what is not zero in it."""
    records = (_RECORD.pack(at, len(data)) + data for at, data in sorted(pieces.items()))
    return struct.pack("<I", size_bytes) + b"".join(records)


def _image(data: bytes) -> bytes:
    """Give the image that such bytes stand for."""
    if len(data) < 4:
        return data
    image = bytearray(struct.unpack_from("<I", data)[0] % (_LONGEST_IMAGE + 1))
    at = 4
    while at + _RECORD.size <= len(data):
        place, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        piece = data[at : at + length][: max(0, len(image) - place)]
        image[place : place + len(piece)] = piece
        at += length
    return bytes(image)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@contextmanager
def _refusing() -> Iterator[None]:
    """An error of imagevol is an answer: one printable line."""
    try:
        yield
    except ImagevolError as error:
        if not str(error).isprintable():
            raise AssertionError(f"not one printable line: {error!r}") from error


@cache
def _directory() -> Path:
    """A directory of this process: in memory, if none is asked for."""
    memory = Path("/dev/shm")
    in_memory = memory.is_dir() and "TMPDIR" not in os.environ
    made = tempfile.TemporaryDirectory(prefix="imagevol-fuzz-", dir=memory if in_memory else None)
    atexit.register(made.cleanup)
    return Path(made.name)


def _file(data: bytes, name: str = "input") -> Path:
    path = _directory() / name
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def _locations(data: bytes) -> None:
    url = _text(data)
    for dialect in Dialect:
        with suppress(InvalidLocation):
            location = parse_location(url, dialect=dialect)
            if dialect is Dialect.STRICT:
                assert parse_location(str(location)) == location
    named_volume_ids(Image(id="i", locations=()))
    shown_url(url)


def _marks(data: bytes) -> None:
    pairs = (line.partition("=") for line in _text(data).split("\n"))
    metadata = {key: value for key, _, value in pairs}
    for kind in (ImageVolumeMetadata, TemplateMetadata, VolumeOrigin):
        with _refusing():
            found: Any = kind.from_volume(metadata)
            if found is not None:
                assert kind.from_volume(found.to_volume()) == found
    volume = Volume(id="v", size_gib=1, project_id="p", readonly=True, metadata=metadata)
    decide_recorded(volume, trusted_projects={"p"}, image=Image(id=_ID))
    ProcessRecord.from_text(metadata.get("device"))
    boot_mapping(Image(id="i", properties=metadata))


def _images(data: bytes) -> None:
    image = _image(data)
    inspector = ImageInspector()
    inspector.update(image)
    inspector.inspection()
    found = inspect_file(io.BytesIO(image))
    for declared in _FORMATS:
        check_image_safety(found, declared_format=declared, size_gib=1)


def _tables(data: bytes) -> None:
    image = _image(data)
    for name in ("qcow2", "vmdk", "vhd", "vhdx", "vdi"):
        needed_bytes(io.BytesIO(image), name=name, size_bytes=len(image))
    with _refusing(), _file(image, "table").open("rb") as file:
        read = 0
        for piece in contents(file, disk_bytes=1 << 20):
            read += piece.length if isinstance(piece, Hole) else len(piece)
            if read > 1 << 26:  # blocks may name the same place again and again, for as long as the disk is
                break


def _configurations(data: bytes) -> None:
    glance, _, cinder = data.partition(_BETWEEN)
    file = _file(glance, "glance-api.conf")
    with _refusing():
        catalogue = read_catalogue(conf := load([file]))
        credentials(conf, catalogue)
    with _refusing():
        plan_file_upgrade(file, names={"cinder": "fast", "file": None}, default_volume_type="ssd", default="fast")
    with _refusing():
        configuration = CinderConfiguration.read(_file(cinder or glance, "cinder.conf"))
        with _refusing():
            configuration.pool("node@fast#one")
        with _refusing():
            configuration.assumed_settings()
        with _refusing():
            str(configuration.conversion_directory)


_JOURNALS: tuple[Any, ...] = (Journal, RepairJournal, CopyJournal, PutJournal, DeepJournal)


def _journals(data: bytes) -> None:
    for kind in _JOURNALS:
        with _refusing():
            kind.open(_file(data, "journal"), cloud=_CLOUD).close()


def _kept_parts(data: bytes) -> None:
    target = _directory() / "disk"
    part, journal = (_directory() / f"disk.imagevol-{each}" for each in ("part", "journal"))
    content, _, lines = data.rpartition(_BETWEEN)
    part.write_bytes(content)
    part.chmod(0o600)
    inode = str(part.stat().st_ino).encode()
    _file(lines.replace(b'"inode":7', b'"inode":' + inode), journal.name)
    image = ReadImage(source="a-source", size_bytes=1 << 20, digest=Digest("sha512", "ab" * 64))
    try:
        with _refusing(), part_file(target, image, tell=lambda _: None) as kept:
            assert kept is not None
    finally:
        for path in (target, part, journal):
            path.unlink(missing_ok=True)


def _listed_files(data: bytes) -> None:
    path = _file(data)
    for read in (read_earlier, read_baseline, read_rates):
        with _refusing():
            read(path)


def _digests(data: bytes) -> None:
    text = data.decode(errors="replace")
    with _refusing():
        parse_digest(text)
    for name in (None, "disk.raw"):
        with _refusing():
            checksum_for(text, name)
    with suppress(argparse.ArgumentTypeError):
        given_digest(text)


def _middleware(data: bytes) -> None:
    """The reference, the store, the length, the place and the answer about the image, and then the body."""
    reference, store, length, place, answer, body = (data.split(_BETWEEN, 5) + [b""] * 6)[:6]
    path = {b"i": IMPORT, b"s": STAGE}.get(place[:1], UPLOAD)
    arrived: list[bytes] = []

    def glance(environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        if request.method == "GET":
            return Response(body=answer, content_type="application/json")(environ, start_response)
        if request.path_info == path and not arrived:
            arrived.append(environ["wsgi.input"].read())
        return Response(status=202)(environ, start_response)

    environ = Request.blank(path, method="POST" if path == IMPORT else "PUT").environ
    environ |= {
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": length.decode("latin-1") or str(len(body)),
        "CONTENT_TYPE": "application/json; charset=" + store[:20].decode("latin-1"),
        "HTTP_X_OPENSTACK_BASE_IMAGE_REF": reference.decode("latin-1") or BASE,
    }
    if store:
        environ["HTTP_X_IMAGE_META_STORE"] = store.decode("latin-1")
    chooser = BaseImageStores(app=glance, catalogue=lambda: CATALOGUE, explains=True)
    answered: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        answered.append(status)
        assert all(value.isascii() and value.isprintable() for name, value in headers if "imagevol" in name)

    b"".join(chooser(environ, start_response))
    assert answered[0].startswith("202")
    if path != IMPORT:
        assert arrived == [body]
    elif not body.startswith(arrived[0]):  # the filter chose stores, and nothing else
        chosen = {"stores": None, "all_stores_must_succeed": None}
        sent = json.loads(body[: int(length or len(body))])
        assert json.dumps({**json.loads(arrived[0]), **chosen}, sort_keys=True) == json.dumps(
            {**sent, **chosen}, sort_keys=True
        )


class _Disk:
    """A disk of 64 KiB for qemu-img."""

    size_bytes = 1 << 16

    def read_at(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size_bytes
        return bytes(length)


def _nbd(data: bytes) -> None:
    """What a qemu-img that an image has taken over says by NBD."""
    disk: Any = _Disk()
    with served(disk) as descriptor, socket.socket(fileno=os.dup(descriptor)) as client:
        client.settimeout(10)
        with suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(data[:4096])
            client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while client.recv(1 << 16):
                pass


@attrs.frozen
class _Answering(QemuConverter):
    """A converter whose qemu-img says this."""

    said: str = ""

    def _run(self, *_: Any, **__: Any) -> str:
        return self.said


def _qemu_img(data: bytes) -> None:
    converter, found = _Answering(said=_text(data)), Inspection(formats=("vhd",))
    with _refusing():
        converter._asked("/image", "vhd", found, None)
    with _refusing():
        converter._checked(str(_file(b"")), found, None)


def _glance(data: bytes) -> None:
    """An image as Glance shows it, and the headers of an answer that fails."""
    shown, _, headers = _text(data).partition("\x1e")
    retry_after, _, content_range = headers.partition("\n")

    def refuses(_: Mapping[str, str]) -> Any:
        error: Any = OSError("503")
        error.response = SimpleNamespace(headers={"Retry-After": retry_after})
        raise ServiceFailed("Glance: 503") from error

    with _refusing(), asked("reading an image"):
        image_facts(json.loads(shown), ())
    with _refusing():
        list(read_ranges(refuses, what="an image", offset=0, end=5, size_bytes=5, patience_seconds=0))

    @contextmanager
    def answers(_: Mapping[str, str]) -> Iterator[Any]:
        yield SimpleNamespace(
            status_code=206, headers={"Content-Range": content_range}, iter_content=lambda _: iter([b"five"])
        )

    with _refusing():
        list(read_ranges(answers, what="an image", offset=1, end=5, size_bytes=5, patience_seconds=0))


def _secrets(data: bytes) -> None:
    text = _text(data)
    line = one_line(ValueError(text))
    assert line.isprintable()
    assert len(line) <= LONGEST_LINE
    without_userinfo(without_secrets(text))
    name, _, value = text.partition("=")
    shown_value(name, value)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "locations": _locations,
    "marks": _marks,
    "images": _images,
    "tables": _tables,
    "configurations": _configurations,
    "journals": _journals,
    "kept-parts": _kept_parts,
    "listed-files": _listed_files,
    "digests": _digests,
    "middleware": _middleware,
    "nbd": _nbd,
    "qemu-img": _qemu_img,
    "glance": _glance,
    "secrets": _secrets,
}
"""What is fuzzed, by name."""
