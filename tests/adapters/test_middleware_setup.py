"""How the filter is set up, and what it knows of the Glance that it runs in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path

import attrs
import pytest
from oslo_config import cfg
from webob import Request

from imagevol_adapters.configuration.stores import load
from imagevol_adapters.gathering import gather_catalogue, running_glance
from imagevol_adapters.middleware import CHOICE_HEADER, StoresDetail, filter_factory
from imagevol_core import InvalidFact, Store, StoreCatalogue
from tests.adapters.recording import BASE, Glance, arrived_without_filter, upload


def configured(directory: Path, text: str) -> cfg.ConfigOpts:
    """Glance's configuration, with this in its file."""
    file = directory / "glance-api.conf"
    file.write_text(text)
    return load([file])


@pytest.fixture
def glance() -> Glance:
    return Glance()


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    """What is in the log: the level and the line of each record."""
    caplog.set_level(logging.DEBUG, logger="imagevol_adapters")
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


class TestFactory:
    @pytest.fixture
    def ini(self, tmp_path: Path) -> Path:
        return tmp_path / "glance-api-paste.ini"

    @pytest.mark.parametrize(
        "found", ["paste.filter_factory = imagevol_adapters.middleware:filter_factory", "use = egg:imagevol#imagevol"]
    )
    def test_paste_finds_the_filter(self, ini: Path, found: str, glance: Glance) -> None:
        ini.write_text(f"[filter:imagevol]\n{found}\nexplain_header = true\n")
        deploy = import_module("paste.deploy")  # by name: it says nothing of its types
        app = deploy.loadfilter(f"config:{ini}", name="imagevol")(glance)
        assert upload(None).get_response(app).status_int == 204
        assert glance.arrived == [arrived_without_filter(upload(None))]

    @pytest.mark.parametrize("options, explains", [({}, False), ({"explain_header": "yes"}, True)])
    def test_the_header_is_off_until_it_is_asked_for(
        self, glance: Glance, options: dict[str, str], explains: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cfg, "CONF", configured(tmp_path, "[DEFAULT]\n"))
        answer = upload(BASE).get_response(filter_factory({}, **options)(glance))
        assert (CHOICE_HEADER in answer.headers) is explains

    def test_the_entry_point_is_the_factory(self) -> None:
        (found,) = metadata.entry_points(group="paste.filter_factory", name="imagevol")
        assert found.load() is filter_factory

    def test_an_option_that_is_none_is_refused(self) -> None:
        with pytest.raises(InvalidFact, match=r"glance-api-paste.ini: there is no option 'explain'; the only one is"):
            filter_factory({}, explain="true")

    def test_a_value_that_is_none_is_refused(self) -> None:
        with pytest.raises(InvalidFact, match=r"glance-api-paste.ini: explain_header: .*'perhaps'"):
            filter_factory({}, explain_header="perhaps")


class TestCatalogue:
    """What the filter knows of the stores of the Glance that it runs in."""

    def test_a_store_that_glance_did_not_load_takes_no_images(self, tmp_path: Path) -> None:
        conf = configured(
            tmp_path,
            "[DEFAULT]\nenabled_backends = fast:imagevol, web:http\n"
            "[glance_store]\ndefault_backend = fast\n[fast]\nweight = 3\n",
        )
        assert gather_catalogue(running_glance.RunningGlance(conf)) == StoreCatalogue(
            stores=(
                Store(name="fast", kind="imagevol", weight=3, can_add=False),
                Store(name="web", kind="http", readonly=True, can_add=False),
            ),
            default="fast",
        )

    @pytest.mark.parametrize("capable", [True, False])
    def test_the_driver_says_whether_it_takes_images(self, capable: bool) -> None:
        driver = attrs.make_class("Driver", [], class_body={"is_capable": lambda self, *_: capable})()
        assert running_glance.can_add("fast", find=lambda _: driver) is capable

    def test_the_stores_of_a_single_store_glance_are_not_asked(
        self, tmp_path: Path, told: Callable[[], list[tuple[str, str]]]
    ) -> None:
        assert not gather_catalogue(running_glance.RunningGlance(configured(tmp_path, "[DEFAULT]\n"))).multi
        assert told() == []


class TestStoresDetail:
    """With stores of our kind it takes a Glance: tests/upstream and tests/cloud."""

    @pytest.mark.parametrize("enabled", [None, {}, {"fast": "cinder", "local": "file"}])
    def test_without_a_store_of_our_kind_glance_answers_itself(
        self, glance: Glance, enabled: dict[str, str] | None
    ) -> None:
        conf = cfg.ConfigOpts()
        conf.register_opt(cfg.DictOpt("enabled_backends", default=enabled))
        conf([], default_config_files=[])
        request = Request.blank("/v2/info/stores/detail")
        request.get_response(StoresDetail(app=glance, conf=conf))
        assert glance.asked == [("GET", "/v2/info/stores/detail")]
        assert glance.environs == [request.environ]

    @pytest.mark.parametrize("line", ["enabled_backends = fast", "enabled_backends = $nosuch", ""])
    def test_stores_that_glance_cannot_read_either_are_left_to_it(
        self, glance: Glance, tmp_path: Path, line: str
    ) -> None:
        conf = cfg.ConfigOpts()
        if line:
            conf.register_opt(cfg.DictOpt("enabled_backends"))
        file = tmp_path / "glance-api.conf"
        file.write_text(f"[DEFAULT]\n{line}\n")
        conf([], default_config_files=[str(file)])
        Request.blank("/v2/info/stores/detail").get_response(StoresDetail(app=glance, conf=conf))
        assert glance.asked == [("GET", "/v2/info/stores/detail")]
