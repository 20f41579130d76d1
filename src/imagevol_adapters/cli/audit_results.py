"""What `imagevol audit` writes beside its list: an HTML page, and metrics."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from imagevol_adapters.cli.html_option import add_html_option, check_html, write_html
from imagevol_adapters.cli.metrics_option import add_metrics_option, check_metrics, write_metrics
from imagevol_core import Certainty, Finding, RequestRefused, rule_tables

if TYPE_CHECKING:
    from imagevol_adapters.metrics import Sample

_STUCK_AFTER_HOURS = 24.0  # by default

__all__ = ["Results", "add_result_options", "audit_samples", "check_results"]

_NOT_WITH = "; not with a repair"


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_html_option(parser, besides=_NOT_WITH)
    add_metrics_option(parser, besides=_NOT_WITH)


def check_results(asked: argparse.Namespace) -> None:
    """Refuse a file that cannot be written, before the cloud is looked at.

    Raises:
        RequestRefused: of one of the options, or there is a repair, which shows something else.
        MissingDependency: the page needs a library that is not installed.
    """
    if (asked.repair or asked.resume_repair) and (asked.html or asked.metrics):
        raise RequestRefused("--html and --metrics are of what an audit finds: run it without a repair")
    check_html(asked.html)
    check_metrics(asked.metrics)


@attrs.define
class Results:
    """Gathers what is written at the end; a finding is kept only for a page.

    Args:
        asked: the options.
        typed: the command line, as a page may show it.
    """

    asked: argparse.Namespace
    typed: tuple[str, ...]
    _counted: Counter[tuple[str, str]] = attrs.field(factory=Counter, init=False)
    _kept: list[dict[str, Any]] = attrs.field(factory=list, init=False)

    def add(self, finding: Finding) -> None:
        """Take a finding that is shown."""
        self._counted[finding.kind, finding.certainty.value] += 1
        if self.asked.html is not None:
            self._kept.append(finding.as_dict())

    def write(self, *, reclaimable_bytes: int, seen: Mapping[str, int], notes: Iterable[str]) -> None:
        """Write what the options ask for.

        Args:
            reclaimable_bytes: what all repairs give back.
            seen: how many there are of each kind of thing.
            notes: what is not known, a sentence each.

        Raises:
            RequestRefused: the page cannot be written.
        """
        if self.asked.html is not None:
            from imagevol_adapters.cli.report_contents import page_contents

            contents = page_contents(
                self.typed,
                title="Findings of an audit",
                counts=seen,
                images=None,
                findings=self._kept,
                audit_options=_options(self.asked),
                reclaimable_bytes=reclaimable_bytes,
                notes=list(notes),
            )
            write_html(self.asked.html, contents)
        if self.asked.metrics is not None:
            write_metrics(self.asked.metrics, audit_samples(self._counted, reclaimable_bytes=reclaimable_bytes))


def _options(asked: argparse.Namespace) -> list[str]:
    """The options on which it depends what is found, as they are typed."""
    words = [word for each in asked.trusted_project for word in ("--trusted-project", each)]
    words += ["--only-glance"] if asked.only_glance else []
    words += [word for each in asked.config_file or () for word in ("--config-file", str(each))]
    if asked.stuck_after != _STUCK_AFTER_HOURS:
        words += ["--stuck-after", f"{asked.stuck_after:g}"]
    return [*words, *(["--deep"] if asked.deep else [])]


def audit_samples(counted: Mapping[tuple[str, str], int], *, reclaimable_bytes: int) -> Iterator[Sample]:
    """Give the metrics of an audit that has ended now: each rule has a value, also if nothing was found.

    Args:
        counted: how many findings there are, by rule and certainty.
        reclaimable_bytes: what all repairs give back.
    """
    from imagevol_adapters.metrics import AUDIT, Sample

    tables = [table for table in rule_tables() if table.name.startswith("Auditing")]
    for rule in sorted({rule.id for table in tables for rule in table.rules}):
        for certainty in Certainty:
            labels = {"rule": rule, "certainty": certainty.value}
            yield Sample(series=AUDIT["findings"], labels=labels, value=counted.get((rule, certainty.value), 0))
    yield Sample(series=AUDIT["reclaimable"], value=reclaimable_bytes)
    yield Sample(series=AUDIT["last_success"], value=round(time.time(), 3))
