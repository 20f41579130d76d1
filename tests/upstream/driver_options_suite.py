"""What the options come to; `driver_suite_worker.py` runs these, and pytest alone does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cinder.common import config as _registers_options  # noqa: F401
from cinder.volume import configuration
from oslo_config import cfg

from imagevol_adapters.driver import OPTIONS
from imagevol_adapters.gathering import gather_cinder_settings
from imagevol_core import CacheLimits, CloneSettings, SafetySettings, TemplateSettings
from tests.upstream.asking import ROOT

PAGE = ROOT / "docs/howto/add-the-mixin-to-a-driver.md"
SECTION = "acme-1"
INTERNAL = {"cinder_internal_tenant_project_id": "internal", "cinder_internal_tenant_user_id": "cinder"}

Configured = Callable[..., Any]


@contextmanager
def read(text: str, directory: Path) -> Iterator[Any]:
    """Give the options of the backend's section while Cinder's are those of a file."""
    file = directory / "cinder.conf"
    file.write_text(text)
    cfg.CONF(["--config-file", str(file)], "cinder")
    try:
        yield configuration.Configuration(list(OPTIONS), config_group=SECTION)
    finally:
        cfg.CONF.clear()


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Configured]:
    with ExitStack() as undo:

        def give(cinder: Mapping[str, str] = {}, backend: Mapping[str, str] = {}) -> Any:
            lines = ["[DEFAULT]", *map(" = ".join, cinder.items()), f"[{SECTION}]", *map(" = ".join, backend.items())]
            return undo.enter_context(read("\n".join(lines), tmp_path))

        yield give


def test_by_default_nothing_is_cloned_and_nothing_kept(configured: Configured) -> None:
    backend = configured({"verify_glance_signatures": "disabled"})
    assert gather_cinder_settings(backend, cfg.CONF).clones == CloneSettings(
        allowed_direct_url_schemes=(), trusted_projects=frozenset(), enforce_signatures=False
    )
    assert gather_cinder_settings(backend, cfg.CONF).templates == TemplateSettings(
        enabled=False,
        internal_tenant=False,
        trusted_projects=frozenset(),
        shared=True,
        enforce_signatures=False,
        limits=CacheLimits(max_gib=0, max_count=0),
    )
    assert gather_cinder_settings(backend, cfg.CONF).safety == SafetySettings()


def test_what_is_turned_on_reaches_the_core(configured: Configured) -> None:
    backend = configured(
        INTERNAL,
        {
            "image_clone_direct_url_schemes": "cinder",
            "image_clone_trusted_projects": "one, two",
            "image_template_enabled": "true",
            "image_template_shared": "false",
            "image_template_max_size_gb": "500",
            "image_template_max_count": "50",
            "image_template_gpt_safety_checks_nonfatal": "mbr, gptmbr",
        },
    )
    assert gather_cinder_settings(backend, cfg.CONF).safety == SafetySettings(
        nonfatal_checks=frozenset({"mbr", "gptmbr"})
    )
    assert gather_cinder_settings(backend, cfg.CONF).clones == CloneSettings(
        allowed_direct_url_schemes=("cinder",),
        trusted_projects=frozenset({"one", "two", "internal"}),
        enforce_signatures=True,
    )
    assert gather_cinder_settings(backend, cfg.CONF).templates == TemplateSettings(
        enabled=True,
        internal_tenant=True,
        trusted_projects=frozenset({"internal"}),
        shared=False,
        enforce_signatures=True,
        limits=CacheLimits(max_gib=500, max_count=50),
    )


@pytest.mark.parametrize(
    "cinders, drivers, schemes",
    [
        (None, None, ()),
        ("cinder", None, ("cinder",)),
        ("file, cinder", None, ("file", "cinder")),
        ("cinder", "", ()),
        ("", "cinder", ("cinder",)),
        ("file", "cinder", ("cinder",)),
    ],
)
def test_the_drivers_schemes_are_cinders_until_it_has_its_own(
    configured: Configured, cinders: str | None, drivers: str | None, schemes: tuple[str, ...]
) -> None:
    backend = configured(
        {} if cinders is None else {"allowed_direct_url_schemes": cinders},
        {} if drivers is None else {"image_clone_direct_url_schemes": drivers},
    )
    assert gather_cinder_settings(backend, cfg.CONF).clones.allowed_direct_url_schemes == schemes


def test_cinders_internal_tenant_is_always_trusted(configured: Configured) -> None:
    backend = configured(INTERNAL, {"image_clone_trusted_projects": "one"})
    assert gather_cinder_settings(backend, cfg.CONF).clones.trusted_projects == {"one", "internal"}


def test_no_user_writes_templates_into_another_trusted_project(configured: Configured) -> None:
    backend = configured(backend={"image_clone_trusted_projects": "one", "image_template_enabled": "true"})
    assert gather_cinder_settings(backend, cfg.CONF).templates.trusted_projects == frozenset()


@pytest.mark.parametrize("option", ["image_template_max_size_gb", "image_template_max_count"])
def test_a_limit_below_zero_is_a_mistake(configured: Configured, option: str) -> None:
    backend = configured(backend={option: "-1"})
    with pytest.raises(cfg.ConfigFileValueError, match=option):
        gather_cinder_settings(backend, cfg.CONF)


def test_the_file_of_the_page_turns_all_of_it_on(tmp_path: Path) -> None:
    (text,) = re.findall(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with read(text, tmp_path) as backend:
        off = {option.name for option in OPTIONS if getattr(backend, option.name) == option.default is not True}
        assert off == {
            "image_clone_stall_seconds",  # which is on by default
            "image_template_gpt_safety_checks_nonfatal",  # which is safe only beside Glance's own
        }
        settings = gather_cinder_settings(backend, cfg.CONF)
    clones, templates = settings.clones, settings.templates
    assert (clones.allowed_direct_url_schemes, len(clones.trusted_projects)) == (("cinder",), 2)
    assert (templates.enabled, templates.limits) == (True, CacheLimits(max_gib=500, max_count=50))


def test_the_page_has_every_option_and_its_default() -> None:
    rows = re.findall(r"^\| `(image_\w+)` \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE)
    said: dict[str, Any] = {
        "none": [],
        "none: the safe value": [],
        "not set": None,
        "`false`": False,
        "`true`": True,
        "`0`": 0,
        "`0`: no limit": 0,
        "`300`": 300,
        "the value of `allowed_direct_url_schemes`": None,
    }
    assert {name: said[default] for name, default in rows} == {option.name: option.default for option in OPTIONS}
