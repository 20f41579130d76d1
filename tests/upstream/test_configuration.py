"""The stores of a configuration file, as we read them from it and as they are in a Glance that has started on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from imagevol_adapters.configuration import stores as configuration
from imagevol_adapters.configuration.stores import credentials, load, read_catalogue
from imagevol_core import HIDDEN, is_secret_name, shown_value
from tests.upstream.asking import Worker
from tests.upstream.conftest import worker

SEVERAL = """\
[DEFAULT]
enabled_backends = fast:cinder, Slow:cinder, local:file, web:http
[glance_store]
default_backend = Slow
[fast]
cinder_volume_type = ssd
weight = 7
cinder_store_auth_address = http://localhost/v3
cinder_store_user_name = glance
cinder_store_password = $cinder_store_user_name
[Slow]
cinder_volume_type = hdd
cinder_store_application_credential_id = 7
[local]
filesystem_store_datadir = {directory}
weight = -1
"""
SINGLE = """\
[glance_store]
stores = cinder, file, http
default_store = filesystem
cinder_volume_type = ssd
cinder_store_auth_address = http://localhost/v3
filesystem_store_datadir = {directory}
"""


@pytest.fixture
def glance() -> Iterator[Worker]:
    """A Glance that starts once."""
    yield from worker("glance", "configuration")


@pytest.mark.parametrize("text", [SEVERAL, SINGLE], ids=["several stores", "one store"])
def test_a_running_glance_has_the_stores_that_are_read_from_its_file_and_is_left_as_it_was(
    glance: Worker, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "glance-api.conf"
    file.write_text(text.format(directory=tmp_path))
    conf = load([file])
    catalogue = read_catalogue(conf)
    told = glance.ask("start", file=str(file))
    assert told == {
        "catalogue": json.loads(json.dumps(asdict(catalogue))),
        "credentials": {store: sorted(names) for store, names in credentials(conf, catalogue).items()},
        "unchanged": True,
        "reserved": ["os_glance_staging_store", "os_glance_tasks_store"] if text is SEVERAL else [],
    }


def test_what_we_know_of_the_cinder_driver_is_what_it_publishes(glance: Worker) -> None:
    published = glance.ask("published")
    ours = {
        option.name: [
            type(option).__name__,
            option.default,
            option.secret,
            [old.name for old in option.deprecated_opts],
        ]
        for option in configuration._OF_A_CINDER_STORE
    }
    assert ours == {name: published[name] for name in ours}
    assert {name for name in published if name.startswith("cinder_store_")} <= set(ours)


def test_no_option_that_glance_calls_secret_is_shown_and_those_of_its_stores_are(glance: Worker) -> None:
    options = glance.ask("every_option")
    secret = {name for name, is_secret in options.items() if is_secret}
    assert {"cinder_store_password", "transport_url", "connection"} <= secret
    assert [name for name in secret if not is_secret_name(name) or shown_value(name, "x") != HIDDEN] == []
    of_stores = {name for name in glance.ask("published") if not is_secret_name(name)}
    hidden = {name for name in of_stores if shown_value(name, "x") == HIDDEN}
    assert hidden == set()
