"""Every rule there is: named, documented, and able to fail alone."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Protocol

import pytest

from imagevol_core import GIB, ImageLocation, Policy, RuleTable, Verdict, failed, rule_tables
from tests.core.cases import BOTH_POLICIES, GOOD, URL, VOLUME_ID, image, says, settings, target, volume


class Decision(Protocol):
    """What a module decides; each keeps its verdicts."""

    @property
    def verdicts(self) -> tuple[Verdict, ...]: ...


class Case(Protocol):
    """All the facts of one decision, of whatever module."""

    def decide(self, policy: Policy) -> Decision: ...


REQUEST, EACH_VOLUME = "Cloning: the image and the new volume", "Cloning: each image volume"

# For each rule of each table of cloning, what it alone stands in the way of.  A new rule is a new row here.
BREAKS: dict[tuple[str, Policy], dict[str, Case]] = {
    (REQUEST, Policy.STRICT): {
        "cinder-urls-allowed": settings(GOOD, allowed_direct_url_schemes=("CINDER", "file")),
        "image-active": image(status="deactivated"),
        "image-raw": image(disk_format="qcow2"),
        "image-bare": image(container_format="ovf"),
        "image-not-encrypted": image(properties={"cinder_encryption_key_id": "key"}),
        "target-not-encrypted": target(encrypted=None),
        "image-fits": image(virtual_size_bytes=2 * GIB + 1),
        "has-cinder-location": image(locations=(ImageLocation("file:///x"), ImageLocation(f"{URL}?"))),
    },
    (EACH_VOLUME, Policy.STRICT): {
        "volume-found": replace(GOOD, volumes=()),
        "volume-available": volume(status="in-use", readonly=None),
        "volume-same-backend": volume(host="node@fast#two"),
        "volume-owner": says(image_owner="theirs"),
        "volume-is-this-image": says(glance_image_id=VOLUME_ID),
        "volume-not-encrypted": volume(encrypted=None),
        "volume-settled": volume(migration_status="migrating"),
        "volume-fits": volume(size_gib=3),
        "volume-holds-image": says(image_size="1"),
        "signature-satisfied": settings(image(properties={"img_signature": "c2ln"}), enforce_signatures=True),
    },
    (REQUEST, Policy.UPSTREAM): {
        "image-active": image(status="deactivated"),
        "image-fits": image(min_disk_gib=None),
        "cinder-urls-allowed": settings(GOOD, allowed_direct_url_schemes=("CINDER", "file")),
        "target-not-encrypted": target(encrypted=True),
        "image-bare": image(container_format="ovf"),
        "image-raw": image(disk_format="iso"),
        "locations-are-urls": image(locations=(ImageLocation(URL), ImageLocation("http://["))),
        "has-cinder-location": image(locations=()),
    },
    (EACH_VOLUME, Policy.UPSTREAM): {
        "volume-found": replace(GOOD, volumes=()),
        "volume-same-backend": volume(host="node@fast#two"),
        "volume-owner": image(owner="theirs"),
    },
}

CLONING = [table for table in rule_tables() if (table.name, table.policy) in BREAKS]
RULES = [(table, rule.id) for table in CLONING for rule in table.rules]


class TestEveryRuleOfCloning:
    """Each rule of each table fails alone for at least one input; the other modules' tests hold the same of theirs."""

    @pytest.mark.parametrize("table, rule", RULES, ids=lambda each: getattr(each, "policy", each))
    def test_each_rule_of_cloning_fails_alone_in_its_example(self, table: RuleTable, rule: str) -> None:
        decision = BREAKS[table.name, table.policy][rule].decide(table.policy)
        assert [verdict.rule for verdict in failed(decision.verdicts)] == [rule]

    def test_no_row_is_left_here_of_a_rule_that_is_gone(self) -> None:
        assert BREAKS.keys() == {(table.name, table.policy) for table in CLONING}
        for table in CLONING:
            assert list(BREAKS[table.name, table.policy]) == [rule.id for rule in table.rules]


class TestCloning:
    """The rules of cloning are asked in the order of their tables, and all of them."""

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_no_rule_stands_in_the_way_of_a_good_clone(self, policy: Policy) -> None:
        decision = GOOD.decide(policy)
        assert decision.sources == GOOD.volumes
        assert [verdict.rule for verdict in decision.verdicts if verdict.ok] == [
            *BREAKS[REQUEST, policy],
            *BREAKS[EACH_VOLUME, policy],
        ]


class TestPages:
    """A table makes its own reference page: every row has a name, a sentence and a source."""

    def test_every_table_is_there_once(self) -> None:
        names = [(table.name, table.policy) for table in rule_tables()]
        assert len(names) == len(set(names))

    def test_a_rule_has_a_stable_name_a_line_of_text_and_a_source(self) -> None:
        for table in rule_tables():
            assert len({rule.id for rule in table.rules}) == len(table.rules)
            for rule in table.rules:
                assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
                assert rule.text == rule.text.strip() != ""
                assert rule.source
