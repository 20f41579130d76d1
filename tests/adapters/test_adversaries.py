"""Attacks that are tried on a part as a whole; docs/_data/threats.toml names the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from glance_store import exceptions
from glance_store import location as glance_location
from oslo_config import cfg

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.gathering.deep_reading import DeepJournal
from imagevol_adapters.relocating.journal import Journal
from imagevol_adapters.repairing.journal import RepairJournal
from imagevol_adapters.store import StoreLocation
from imagevol_adapters.store_copies.journal import CopyJournal
from imagevol_adapters.testing.memory import MemoryImages
from imagevol_adapters.transfers import PutJournal
from imagevol_core import ImageLocation, RequestRefused
from tests.adapters.commands import Run
from tests.adapters.hostile_commands import services

JOURNALS = (Journal, RepairJournal, CopyJournal, PutJournal, DeepJournal)
SECRET = "/etc/shadow"
URLS = (
    f"file://{SECRET}",
    f"filesystem://{SECRET}",
    f"FILE://{SECRET}",
    SECRET,
    f"cinder://..{SECRET}",
    "http://127.0.0.1:1/latest/meta-data",
    "https://127.0.0.1:1/",
    "swift+https://user:key@127.0.0.1:1/c/o",
    "rbd://cluster/pool/image/snap",
    "nbd://127.0.0.1:1/export",
    f'json:{{"file.driver": "file", "file.filename": "{SECRET}"}}',
)


def _of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: only root gives a file away")
    os.chown(path, 1234, 1234)


def _writable_for(mode: int) -> Callable[[Path], None]:
    return lambda path: path.chmod(mode)


def _with_a_second_name(path: Path) -> None:
    path.with_name("second").hardlink_to(path)


def _a_link(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("elsewhere")))


@pytest.mark.parametrize("kind", JOURNALS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "change, says",
    [
        (_of_another_user, "not yours alone"),
        (_writable_for(0o620), "not yours alone"),
        (_writable_for(0o602), "not yours alone"),
        (_with_a_second_name, "not yours alone"),
        (_a_link, "it is a link: give the name of the file itself"),
    ],
    ids=["of another user", "writable for the group", "writable for all", "two names", "a link"],
)
def test_a_journal_that_another_user_could_have_written_is_not_carried_out(
    tmp_path: Path, kind: Any, change: Callable[[Path], None], says: str
) -> None:
    journal = tmp_path / "journal"
    journal.write_text('{"forged": true}\n')
    journal.chmod(0o600)
    change(journal)
    with pytest.raises(RequestRefused, match=says):
        kind.open(journal, cloud="a-glance")
    assert journal.read_text() == '{"forged": true}\n'


@pytest.mark.parametrize("url", URLS)
def test_the_store_reads_no_url_but_those_of_image_volumes(url: str) -> None:
    with pytest.raises(exceptions.BadStoreUri):
        glance_location.Location("cinder", StoreLocation, cfg.CONF, uri=url, backend="fast")


@pytest.mark.usefixtures("no_cloud")
@pytest.mark.parametrize("command", ["get {image} -", "explain {image} --size 1 --host node@fast#one", "put {url}"])
def test_no_command_opens_the_url_of_a_location(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    given, ids = services("get", Random(0))
    for name, service in given.items():
        monkeypatch.setattr(Imagevol, name, service)
    images: MemoryImages = given["images"]
    for url in URLS:
        images.images[ids[0]] = replace(images.images[ids[0]], locations=(ImageLocation(url, {"store": "fast"}),))
        with reached() as places:
            run(*(word.format(image=ids[0], url=url) for word in command.split()))
        wanted = url == SECRET and command.startswith("put")  # a file that the operator names
        assert any(place == SECRET or place.startswith("not a file") for place in places) is wanted


@contextmanager
def reached() -> Iterator[list[str]]:
    """What is opened, connected to or started meanwhile."""
    places: list[str] = []
    _WATCHING.append(places)
    try:
        yield places
    finally:
        _WATCHING.remove(places)


_WATCHING: list[list[str]] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _WATCHING and event in ("open", "socket.connect", "subprocess.Popen", "os.posix_spawn"):
        for places in _WATCHING:
            places.append(str(arguments[0]) if event == "open" else f"not a file: {arguments}")


sys.addaudithook(_watch)
