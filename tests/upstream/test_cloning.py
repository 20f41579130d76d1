"""`decide_clone` under UPSTREAM clones what Cinder clones: its API's check, its flow and its database are asked.

Under test with the decision are `_create_from_image` (the gate by scheme and by encryption), `_clone_image_volume`, the
filters and the order of `volume_get_all`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.strategies import CloneCase, clone_cases
from imagevol_core import Backend, CloneSettings, Image, ImageLocation, Policy, Volume, failed
from tests.upstream.asking import Worker
from tests.upstream.cinder_words import case_for_cinder, raised
from tests.upstream.examples import EXAMPLES, FEWER

# What a LIKE takes for more than itself is among them, and what a regular expression would.
hosts = st.lists(st.sampled_from(["node", "n", "_", "%", "@", "#", "fast", "o", ".", "(", "N", "\n"]), max_size=6).map(
    "".join
)


class TestCinder:
    """The same volume is cloned, or none, or the same error is raised."""

    def test_the_volume_that_cinder_clones_is_cloned_under_upstream(self, cinder: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(clone_cases())
        def the_answers_agree(case: CloneCase) -> None:
            kinds[kind(compared(case, cinder))] += 1

        the_answers_agree()
        assert {"cloned", "not cloned", "InvalidInput", "ImageUnacceptable"} <= set(kinds)  # others are rarer

    def test_the_hosts_that_match_in_cinder_match_under_upstream(self, cinder: Worker) -> None:
        kinds = Counter[str]()

        @FEWER
        @given(
            here=st.none() | hosts, there=st.none() | hosts, rest=hosts, alike=st.booleans(), clustered=st.booleans()
        )
        def the_answers_agree(here: str | None, there: str | None, rest: str, alike: bool, clustered: bool) -> None:
            if alike and here is not None:
                there = here.replace("%", "any").replace("_", "x") + rest
            case = everything_else_in_order(here, there, clustered=clustered)
            kinds[kind(compared(case, cinder))] += 1

        the_answers_agree()
        assert set(kinds) == {"cloned", "not cloned"}
        assert min(kinds.values()) > FEWER.max_examples // 10


def compared(case: CloneCase, cinder: Worker) -> Any:
    """Cinder's answer, which is held to be the decision's."""
    decision = case.decide(Policy.UPSTREAM)
    answer = cinder.ask("clone", **case_for_cinder(case))
    refused = {verdict.rule: verdict.text for verdict in failed(decision.verdicts) if verdict.subject is None}
    if "raises" not in answer:
        assert answer == {"cloned": decision.sources[0].id if decision.sources else None}
        assert not refused.keys() & {"image-active", "image-fits"}
    elif "image-active" in refused:
        assert answer == {"raises": "InvalidInput"}
    elif "image-fits" in refused:
        assert raised(refused["image-fits"], answer["raises"])
    else:  # it came as far as the locations
        assert refused.keys() <= {"locations-are-urls", "has-cinder-location"}
        assert raised(refused["locations-are-urls"], answer["raises"])
    return answer


def kind(answer: Any) -> str:
    """What happened, in a word or two."""
    return str(answer["raises"]) if "raises" in answer else "cloned" if answer["cloned"] else "not cloned"


def everything_else_in_order(here: str | None, there: str | None, *, clustered: bool) -> CloneCase:
    """A clone that depends on nothing but where both volumes are."""
    volume_id = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    new = Volume(id="t", project_id="ours", size_gib=1, host=here)
    found = Volume(id=volume_id, size_gib=1, host=there)
    if clustered:  # and on hosts that differ, for a cluster without a name is none
        new = replace(new, cluster_name=here, host="a")
        found = replace(found, cluster_name=there, host="b")
    return CloneCase(
        image=Image(
            id="i",
            status="active",
            owner="ours",
            disk_format="raw",
            container_format="bare",
            size_bytes=0,
            min_disk_gib=0,
            locations=(ImageLocation(f"cinder://{volume_id}"),),
        ),
        target=new,
        volumes=(found,),
        backend=Backend(),
        settings=CloneSettings(allowed_direct_url_schemes=("cinder",)),
    )
