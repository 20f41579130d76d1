"""The multi-store configuration that a single-store one becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_core import ConfigurationEdit, Policy, StoreUpgrade, failed, plan_store_upgrade
from imagevol_core.stores import UPGRADE_RULES

Configuration = Mapping[str, Mapping[str, str]]

CREDENTIALS = {
    "cinder_store_auth_address": "http://localhost/identity/v3",
    "cinder_store_user_name": "glance",
    "cinder_store_password": "hunter2",
    "cinder_store_project_name": "service",
}
# The specification's own: "Example config before upgrade", and with the credentials that it shows after it.
EXAMPLE = {
    "DEFAULT": {"debug": "true"},
    "glance_store": {
        "stores": "cinder, file, http",
        "default_store": "cinder",
        "cinder_state_transition_timeout": "300",
        "rootwrap_config": "/etc/glance/rootwrap.conf",
        "cinder_catalog_info": "volumev2::publicURL",
        "cinder_volume_type": "glance-old",
        **CREDENTIALS,
        "filesystem_store_datadir": "/var/lib/glance/images",
    },
    "database": {"connection": "sqlite://"},
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for; as it is, the specification's example."""

    configuration: Configuration = field(default_factory=lambda: EXAMPLE)
    names: Mapping[str, str | None] = field(default_factory=lambda: {"cinder": "old", "file": None, "http": None})
    default_volume_type: str | None = None
    new_stores: Configuration = field(default_factory=lambda: {"new": {"cinder_volume_type": "glance-new"}})
    default: str | None = "new"

    def plan(self) -> StoreUpgrade:
        """Ask the core."""
        return plan_store_upgrade(
            self.configuration,
            names=self.names,
            default_volume_type=self.default_volume_type,
            new_stores=self.new_stores,
            default=self.default,
        )


def single(**options: str | None) -> Configuration:
    """The example with these options of `[glance_store]` instead; None for none."""
    changed = {**EXAMPLE["glance_store"], **options}
    return {**EXAMPLE, "glance_store": {option: value for option, value in changed.items() if value is not None}}


# For each rule, what it alone stands in the way of, and what it says.  A new rule is a new row here.
BREAKS = {
    "single-store": (
        Asked(configuration={"DEFAULT": {"enabled_backends": "a:cinder"}}),
        "enabled_backends is 'a:cinder'",
    ),
    "kinds-known": (
        Asked(configuration=single(stores="cinder, glance.store.http.Store,sheepdog")),
        (
            "stores: there is no driver 'glance.store.http.Store', 'sheepdog'; "
            "known are cinder, file, http, imagevol, rbd, s3, swift, vmware"
        ),
    ),
    "stores-named": (
        Asked(names={"cinder": "old"}),
        "stores: give the store of each driver a name, or give it up: 'file', 'http'",
    ),
    "names-valid": (
        Asked(names={"cinder": "old", "file": "database", "http": "os_glance_x"}, default="old"),
        "enabled_backends: not the names of new sections, each given once: 'database', 'os_glance_x'",
    ),
    "default-named": (
        Asked(default="ne"),
        "default_backend: 'ne' is given, which is none of the stores; name one of 'old', 'new'",
    ),
    "type-known": (
        Asked(configuration=single(cinder_volume_type=None)),
        "cinder_volume_type: it is not set; find out the default volume type of Cinder, and give that",
    ),
    "types-named": (
        Asked(new_stores={"new": {}, "newer": {"cinder_volume_type": ""}}),
        "cinder_volume_type: new stores without one: 'new', 'newer'",
    ),
    "types-differ": (
        Asked(new_stores={"new": {"cinder_volume_type": "glance-old"}}),
        "cinder_volume_type: of several stores: 'glance-old'; a volume cannot tell them apart",
    ),
    "credentials-complete": (
        Asked(configuration=single(cinder_store_password=None, cinder_store_user_name="")),
        "set them in [glance_store] first, or for the new stores: cinder_store_user_name, cinder_store_password",
    ),
}
RULES = [rule.id for rule in UPGRADE_RULES[Policy.STRICT]]


class TestEveryRule:
    """What cannot be decided is asked for, by a refusal that names the option."""

    @pytest.mark.parametrize("rule", RULES)
    def test_each_rule_of_an_upgrade_stands_alone_in_the_way_and_names_the_option(self, rule: str) -> None:
        asked, text = BREAKS[rule]
        upgrade = asked.plan()
        (wrong,) = (verdict for verdict in upgrade.verdicts if verdict.faults)
        assert (wrong.rule, wrong.text) == (rule, text)
        warns = rule in ("single-store", "types-differ")
        assert upgrade.refused == (() if warns else (wrong,))
        if rule != "types-differ":
            assert upgrade.edits == ()
            assert upgrade.configuration == asked.configuration

    def test_a_warning_does_not_stand_in_the_way(self) -> None:
        assert BREAKS["types-differ"][0].plan().edits

    def test_a_rule_that_holds_says_what_is_right(self) -> None:
        assert [(verdict.rule, verdict.text) for verdict in Asked().plan().verdicts] == [
            ("single-store", "enabled_backends is not set"),
            ("kinds-known", "stores: 'cinder', 'file', 'http'"),
            ("stores-named", "stores: all have a name, except those given up: 'file', 'http'"),
            ("names-valid", "enabled_backends: 'old', 'new'"),
            ("default-named", "default_backend: 'new'"),
            ("type-known", "cinder_volume_type: 'glance-old'"),
            ("types-named", "cinder_volume_type: new stores without one: none"),
            ("types-differ", "cinder_volume_type: of several stores: none; a volume cannot tell them apart"),
            (
                "credentials-complete",
                "each cinder store has all, or the only one has none and works with the requester's",
            ),
        ]
        files = Asked(configuration={}, names={"file": "local", "http": None}, new_stores={}, default=None).plan()
        assert [verdict.text for verdict in files.verdicts][5] == (
            "cinder_volume_type: no store keeps images in volumes now"
        )

    @pytest.mark.parametrize(
        "asked, rule, passed",
        [
            (Asked(names={"cinder": "new", "file": None, "http": None}), "names-valid", False),
            (Asked(names={"cinder": "a", "file": "a", "http": None}, default="a"), "names-valid", False),
            (Asked(names={"cinder": "DEFAULT", "file": None, "http": None}), "names-valid", False),
            (Asked(configuration={}, names={"file": "glance_store", "http": None}), "names-valid", False),
            (Asked(configuration={}, names={"file": "DEFAULT", "http": None}), "names-valid", False),
            (Asked(names={"cinder": "Database", "file": None, "http": None}, default="Database"), "names-valid", False),
            (Asked(names={"cinder": "a", "file": "A", "http": None}, default="a"), "names-valid", False),
            (Asked(names={"cinder": "default", "file": None, "http": None}, default="default"), "names-valid", True),
            (Asked(configuration={"Old": {}}, names={"file": "old", "http": None}), "names-valid", False),
            (Asked(names={"cinder": "a/b", "file": None, "http": None}), "names-valid", False),
            (Asked(names={"cinder": "", "file": None, "http": None}), "names-valid", False),
            (Asked(names=dict.fromkeys(["cinder", "file", "http"]), new_stores={}), "names-valid", False),
            (Asked(configuration=single(cinder_volume_type=""), default_volume_type="x"), "type-known", True),
            (Asked(configuration=single(default_store="file"), default=None), "default-named", False),
            (Asked(configuration=single(default_store=None), default=None), "default-named", False),
            (Asked(configuration=single(default_store="nonsense"), default=None), "default-named", False),
            (Asked(configuration=single(), default=None), "default-named", True),
        ],
    )
    def test_the_rules_of_an_upgrade_hold_for_the_shortest_and_strangest_files(
        self, asked: Asked, rule: str, passed: bool
    ) -> None:
        (verdict,) = (verdict for verdict in asked.plan().verdicts if verdict.rule == rule)
        assert verdict.ok is passed

    def test_the_present_default_that_gets_no_name_is_named(self) -> None:
        asked = Asked(configuration=single(default_store="filesystem"), default=None)
        (refused,) = asked.plan().refused
        assert refused.text == (
            "default_backend: default_store is 'file', which is none of the stores; name one of 'old', 'new'"
        )

    @pytest.mark.parametrize(
        "new_stores, options, missing",
        [
            ({}, dict.fromkeys(CREDENTIALS), ""),
            ({}, {"cinder_store_password": None}, "cinder_store_password"),
            ({"new": {"cinder_volume_type": "x"}}, dict.fromkeys(CREDENTIALS), ", ".join(CREDENTIALS)),
            ({"new": {"cinder_volume_type": "x", "cinder_store_password": ""}}, {}, "cinder_store_password"),
            (
                {"new": {"cinder_volume_type": "x", **CREDENTIALS}},
                {"cinder_store_password": None},
                "cinder_store_password",
            ),
        ],
    )
    def test_credentials_are_asked_for(self, new_stores: Configuration, options: dict[str, None], missing: str) -> None:
        asked = Asked(configuration=single(**options), new_stores=new_stores, default="old")
        texts = [verdict.text for verdict in asked.plan().refused]
        assert texts == ([f"set them in [glance_store] first, or for the new stores: {missing}"] if missing else [])


def edit(section: str, option: str, before: str | None, after: str | None, why: str) -> ConfigurationEdit:
    """One edit."""
    return ConfigurationEdit(section=section, option=option, before=before, after=after, why=why)


class TestExample:
    """[multi], example 2: upgrade from a single cinder store to multiple cinder stores."""

    def test_the_example_becomes_what_the_specification_says(self) -> None:
        common = {
            "cinder_state_transition_timeout": "300",
            "rootwrap_config": "/etc/glance/rootwrap.conf",
            "cinder_catalog_info": "volumev2::publicURL",
            **CREDENTIALS,
        }
        assert Asked().plan().configuration == {
            "DEFAULT": {"debug": "true", "enabled_backends": "old:cinder, new:cinder"},
            "glance_store": {"default_backend": "new", "filesystem_store_datadir": "/var/lib/glance/images"},
            "database": {"connection": "sqlite://"},
            "old": {**common, "cinder_volume_type": "glance-old"},
            "new": {**common, "cinder_volume_type": "glance-new"},
        }

    def test_each_edit_is_there_in_order_with_its_reason(self) -> None:
        asked = Asked(
            configuration={
                "DEFAULT": {"enabled_backends": "", "node_staging_uri": "file:///staging"},
                "glance_store": {
                    "stores": "file,imagevol",
                    "default_store": "cinder",
                    "default_backend": "x",
                    "cinder_api_insecure": "true",
                    "filesystem_store_datadir": "/images",
                    "rbd_store_pool": "images",
                },
                "task": {"work_dir": "/work"},
                "os_glance_tasks_store": {"filesystem_store_datadir": "/mine"},
            },
            names={"imagevol": "old", "file": "local"},
            default_volume_type="ssd",
            new_stores={},
            default=None,
        )
        moved, single_store = "moved to the section of the store", "of a single-store Glance"
        store = "the store that was the only one of its kind"
        assert asked.plan().edits == (
            edit(
                "DEFAULT",
                "enabled_backends",
                "",
                "local:file, old:imagevol",
                "it names every store and its driver",
            ),
            edit("glance_store", "default_backend", "x", "old", "Glance does not start without"),
            edit("local", "filesystem_store_datadir", None, "/images", store),
            edit("old", "cinder_api_insecure", None, "true", store),
            edit("old", "cinder_volume_type", None, "ssd", store),
            edit(
                "os_glance_staging_store",
                "filesystem_store_datadir",
                None,
                "/staging",
                "node_staging_uri is not looked at any more",
            ),
            edit("glance_store", "stores", "file,imagevol", None, single_store),
            edit("glance_store", "default_store", "cinder", None, single_store),
            edit("glance_store", "cinder_api_insecure", "true", None, moved),
            edit("glance_store", "filesystem_store_datadir", "/images", None, moved),
        )

    def test_a_configuration_that_is_right_already_needs_no_edit(self) -> None:
        upgrade = Asked(configuration=single(default_backend="new")).plan()
        assert "default_backend" not in [each.option for each in upgrade.edits]
        assert upgrade.configuration["glance_store"]["default_backend"] == "new"

    def test_glances_own_defaults_hold_where_nothing_is_set(self) -> None:
        upgrade = Asked(configuration={}, names={"file": "local", "http": "web"}, new_stores={}, default=None).plan()
        assert upgrade.configuration == {
            "DEFAULT": {"enabled_backends": "local:file, web:http"},
            "glance_store": {"default_backend": "local"},
        }

    def test_a_new_store_beside_files_is_one_of_cinder(self) -> None:
        upgrade = Asked(
            configuration={"glance_store": {"stores": "file", "cinder_api_insecure": "true"}},
            names={"file": "local"},
            new_stores={"new": {"cinder_volume_type": "ssd", "store_description": "fast"}},
            default="local",
        ).plan()
        assert [each.why for each in upgrade.edits if each.section == "new"] == ["a new store"] * 3
        assert upgrade.configuration == {
            "DEFAULT": {"enabled_backends": "local:file, new:cinder"},
            "glance_store": {"cinder_api_insecure": "true", "default_backend": "local"},
            "new": {"cinder_api_insecure": "true", "cinder_volume_type": "ssd", "store_description": "fast"},
        }

    @pytest.mark.parametrize(
        "kind, owned, others",
        [
            ("file", {"filesystem_store_datadir": "1"}, {"file_x": "2"}),
            ("http", {"https_insecure": "1", "http_proxy_information": "2"}, {"http_x": "3"}),
            ("rbd", {"rbd_store_pool": "1", "rados_connect_timeout": "2"}, {"rb_x": "3"}),
            ("s3", {"s3_store_host": "1"}, {"s3x": "2"}),
            ("swift", {"swift_store_user": "1", "default_swift_reference": "2"}, {"swiftx": "3"}),
            ("vmware", {"vmware_datastores": "1"}, {"vmwarex": "2"}),
        ],
    )
    def test_a_store_gets_the_options_of_its_driver(
        self, kind: str, owned: dict[str, str], others: dict[str, str]
    ) -> None:
        upgrade = Asked(
            configuration={"glance_store": {"stores": f" {kind} ,", **owned, **others}},
            names={kind: "it"},
            new_stores={},
            default="it",
        ).plan()
        assert upgrade.configuration == {
            "DEFAULT": {"enabled_backends": f"it:{kind}"},
            "glance_store": {**others, "default_backend": "it"},
            "it": owned,
        }


class TestPrinted:
    """A printed edit says what is done, and shows no secret."""

    @pytest.mark.parametrize(
        "option",
        [
            *("cinder_store_password", "cinder_store_application_credential_secret", "s3_store_secret_key"),
            *("s3_store_access_key", "swift_store_key", "vmware_server_password", "http_proxy_information"),
        ],
    )
    def test_a_secret_is_not_shown(self, option: str) -> None:
        added, removed = edit("new", option, None, "hunter2", "x"), edit("glance_store", option, "hunter2", None, "x")
        changed = edit("new", option, "hunter1", "hunter2", "x")
        assert str(added) == f"[new] {option}: set '***': x"
        assert str(changed) == f"[new] {option}: set '***', was '***': x"
        assert str(removed) == f"[glance_store] {option}: remove '***': x"
        assert "hunter" not in repr([added, removed, changed])

    def test_what_is_no_secret_is_shown(self) -> None:
        assert str(edit("a", "cinder_http_retries", "1", "2", "x")) == "[a] cinder_http_retries: set '2', was '1': x"
        assert str(edit("a", "swift_store_key", "", "x", "why")) == "[a] swift_store_key: set '***': why"

    @pytest.mark.parametrize("url", ["http://me:hunter2@host/v3", "http://me:hun/ter@2@host/v3", "me:hunter2@host/v3"])
    def test_a_password_in_a_url_is_not_shown(self, url: str) -> None:
        line = str(edit("a", "cinder_store_auth_address", url, url, "x"))
        assert "hun" not in line
        assert "***@host/v3" in line

    def test_an_upgrade_shows_no_secret(self) -> None:
        upgrade = Asked().plan()
        assert "hunter2" not in repr(upgrade) + "".join(map(str, (*upgrade.edits, *upgrade.verdicts)))
        assert "hunter2" in str(upgrade.configuration)


KINDS = ["cinder", "imagevol", "file", "http", "rbd"]
OPTIONS = [
    *("cinder_volume_type", "cinder_api_insecure", "rootwrap_config", "os_region_name", "filesystem_store_datadir"),
    *("https_insecure", "rbd_store_pool", "s3_store_host", "default_backend", "something_else", *CREDENTIALS),
]
names = st.sampled_from(["old", "new", "local", "web", "fast", "database", "a b"])
options = st.dictionaries(st.sampled_from(OPTIONS), st.sampled_from(["x", "y", ""]))


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    """Upgrades of which about half are possible."""
    kinds = draw(st.lists(st.sampled_from(KINDS), unique=True))
    store = {**draw(options), **draw(st.sampled_from([CREDENTIALS, {}]))}
    if kinds:
        store |= {"stores": ",".join(kinds), "default_store": draw(st.sampled_from(kinds))}
    sections = draw(st.dictionaries(st.sampled_from(["DEFAULT", "database", "task"]), options))
    taken: list[str | None] = [*draw(st.permutations(["old", "local", "web", "fast", "a", "b", "c"]))]
    return Asked(
        configuration={**sections, "glance_store": store},
        names=dict(zip(kinds or ["file", "http"], draw(st.sampled_from([taken, [*taken[:2], None]])), strict=False)),
        default_volume_type=draw(st.sampled_from(["ssd", None])),
        new_stores=draw(st.sampled_from([{}, {"new": {"cinder_volume_type": "z"}}, {"old": {}}])),
        default=draw(st.none() | names),
    )


class TestLaws:
    """Pure data in and out: everything else is kept, and what is upgraded needs no edit."""

    @given(asked())
    def test_the_edits_of_an_upgrade_make_its_result(self, asked: Asked) -> None:
        upgrade = asked.plan()
        result = {section: dict(options) for section, options in asked.configuration.items()}
        for each in upgrade.edits:
            section = result.setdefault(each.section, {})
            assert section.get(each.option) == each.before != each.after
            if each.after is None:
                del section[each.option]
            else:
                section[each.option] = each.after
        assert result == upgrade.configuration

    @given(asked())
    def test_an_upgraded_configuration_needs_no_edit(self, asked: Asked) -> None:
        upgrade = asked.plan()
        if upgrade.edits:
            again = replace(asked, configuration=upgrade.configuration).plan()
            assert (again.edits, again.refused, again.configuration) == ((), (), upgrade.configuration)

    @given(asked())
    def test_a_configuration_is_refused_or_edited(self, asked: Asked) -> None:
        upgrade = asked.plan()
        assert bool(upgrade.refused) is not bool(upgrade.edits)
        assert upgrade.refused == failed(upgrade.verdicts)

    @given(asked())
    def test_options_that_belong_to_no_store_are_kept(self, asked: Asked) -> None:
        result = asked.plan().configuration
        for section, options in asked.configuration.items():
            for option, value in options.items():
                if section != "glance_store" or option in ("something_else", "s3_store_host"):
                    assert result[section][option] == value

    @given(asked())
    def test_no_option_is_lost(self, asked: Asked) -> None:
        """What leaves `[glance_store]` is in the section of a store; but for what names the stores."""
        result = asked.plan().configuration
        for option, value in asked.configuration["glance_store"].items():
            if option not in ("stores", "default_store", "default_backend", "cinder_volume_type"):
                assert any(options.get(option) == value for options in result.values())


@pytest.mark.parametrize(
    "asked, needed",
    [
        (Asked(), False),
        (Asked(configuration=single(cinder_volume_type=None)), True),
        (Asked(configuration=single(cinder_volume_type=None), default_volume_type="ssd"), False),
        (
            Asked(configuration=single(cinder_volume_type=None), names={"cinder": None, "file": "old", "http": None}),
            False,
        ),
    ],
)
def test_cinders_default_type_is_needed_if_volumes_stay_and_their_type_is_not_set(asked: Asked, needed: bool) -> None:
    assert asked.plan().needs_volume_type is needed
