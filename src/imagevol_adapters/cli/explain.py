"""`imagevol explain`: how a volume would be created from an image, and which rules stand against the other ways."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TextIO

from cliff.columns import FormattableColumn
from cliff.formatters.base import SingleFormatter
from cliff.formatters.value import ValueFormatter
from cliff.show import ShowOne

from imagevol_adapters.cli.app import Imagevol
from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.explain_options import BOTH, add_volume_options, count, policies_of, refuse_unused
from imagevol_adapters.cli.explain_places import Place, Places
from imagevol_adapters.cli.html_option import add_html_option, check_html, write_html
from imagevol_adapters.cli.matrix import columns_of, differences, row, side_by_side, table
from imagevol_adapters.cli.outcome import Outcome
from imagevol_adapters.cli.outcomes import Outcomes
from imagevol_adapters.cli.rates import read_rates
from imagevol_core import Image, RequestRefused, Way
from imagevol_core.sentences import said

__all__ = ["Explain", "Explaining", "SentencesFormatter"]

_PAGE = 100
_MATRIX = ("matrix", "marker")


class Explaining(ShowOne):
    """A command that says why, in sentences."""

    app: Imagevol

    @property
    def formatter_namespace(self) -> str:
        """The usual formats, and sentences."""
        return "imagevol.formatter.explanation"

    @property
    def formatter_default(self) -> str:
        """Sentences, unless a program asks."""
        return "sentences"


class Explain(Explaining):
    """Say how a new volume would be created from the image, and every rule that stands against the other ways."""

    _rows: tuple[str, ...] = ()

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Take the image, the new volume, and what the operator has configured."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "image", nargs="*", help="explain a volume from this image, given by its id or name; several make a table"
        )
        parser.add_argument(
            "--all", action="store_true", help="explain a volume from each image that the credentials see, in pages"
        )
        parser.add_argument(
            "--limit",
            type=count,
            metavar="COUNT",
            help=f"with --all, give COUNT images (default: {_PAGE})",
        )
        parser.add_argument("--marker", metavar="IMAGE_ID", help="with --all, start after image IMAGE_ID")
        add_volume_options(parser, size_required=True)
        add_html_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """Collect the facts and ask the core."""
        asked = parsed_args
        refuse_unused(asked)
        check_html(asked.html)
        if asked.all == bool(asked.image):
            told = (
                "--all takes all images, and some are named: leave one out" if asked.all else "name some, or pass --all"
            )
            raise RequestRefused(f"which images to explain is not known: {told}")
        if not asked.all and (asked.marker is not None or asked.limit is not None):
            raise RequestRefused("--limit and --marker page through all images: pass --all, or leave them out")
        rates = read_rates(asked.rates) if asked.rates else None
        places, (images, marker) = list(Places(asked, self.app)), self._images(asked)
        policies, outcomes_of = policies_of(asked), Outcomes(asked=asked, app=self.app, rates=rates)
        found: Iterable[list[Outcome]] = (
            [outcomes_of.of(image, place, policy) for policy in policies] for image in images for place in places
        )
        if asked.html is not None:
            found = self._written(asked, found, places)
        if asked.all or len(asked.image) > 1 or len(places) > 1:
            self._rows = columns_of(len(policies))
            return _MATRIX, (Matrix(([row(each) for each in found], marker)), marker)
        (outcomes,) = found
        if len(outcomes) > 1:
            strict, upstream = outcomes
            answer = {
                "image_id": strict.facts.image.id,
                "policy": BOTH,
                "differs": differences(strict, upstream),
                "both": Both(outcomes),
                **{outcome.policy.value: _machine(columns(outcome)) for outcome in outcomes},
            }
        else:
            answer = columns(outcomes[0])
        return tuple(answer), tuple(answer.values())

    def produce_output(self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Sequence[Any]) -> int:
        """Print a table as lines of values if values are asked for; else what every command prints."""
        if tuple(column_names) != _MATRIX or parsed_args.formatter != "value":
            return super().produce_output(parsed_args, column_names, data)
        names, _ = self._generate_columns_and_selector(parsed_args, self._rows)
        rows, marker = data[0].machine_readable(), data[1]
        ValueFormatter().emit_list(names, [[row[name] for name in names] for row in rows], self.app.stdout, parsed_args)
        if marker is not None:
            tell(f"There are more images: pass --marker {said(marker)}.")
        return 0

    def _written(
        self, asked: argparse.Namespace, found: Iterable[list[Outcome]], places: Sequence[Place]
    ) -> Iterator[list[Outcome]]:
        """Write the page of all answers, and give them."""
        from imagevol_adapters.cli.report_contents import page_contents, shown_answer, shown_image, shown_places

        kept = list(found)
        by_image: dict[str, list[Outcome]] = {}
        for outcomes in kept:
            by_image.setdefault(outcomes[0].facts.image.id, []).extend(outcomes)
        contents = page_contents(
            self.app.typed,
            title="How volumes are created from images",
            places=shown_places(places, policies_of(asked)),
            images=(shown_image(each[0].facts.image, map(shown_answer, each)) for each in by_image.values()),
        )
        write_html(asked.html, contents)
        yield from kept

    def _images(self, asked: argparse.Namespace) -> tuple[Iterable[Image], str | None]:
        """Give the images, and the id of the last one if a page ends there and is not the last."""
        if not asked.all:
            found = map(self.app.images.find, dict.fromkeys(asked.image))
            return {image.id: image for image in found}.values(), None  # one may be named by its id and its name
        listed = iter(self.app.images.listed(locations_needed=False))
        if asked.marker is not None and all(image.id != asked.marker for image in listed):
            raise RequestRefused(f"--marker: Glance lists no image {said(asked.marker)}: leave --marker out")
        limit = asked.limit or _PAGE
        images = list(islice(listed, limit + 1))
        return images[:limit], images[limit - 1].id if len(images) > limit else None


def columns(outcome: Outcome) -> dict[str, Any]:
    """What is shown of one volume, by column."""
    sources = {source.id for source in outcome.plan.clone.sources}
    cloned = [step for step in outcome.steps if step.way is Way.CLONE_IMAGE_VOLUME and step.source in sources]
    return {
        "image_id": outcome.facts.image.id,
        "policy": outcome.policy.value,
        "host": outcome.facts.target.host,
        "outcome": outcome.way,
        "refused": outcome.refused,
        "refused_by": [verdict.as_dict() for verdict in outcome.outlook.refused_by],
        "ways": [{"way": step.way.value, "source": step.source} for step in outcome.steps],
        "unseen": list(outcome.unseen),
        "not_looked_at": list(outcome.passed_over),
        "eligible": bool(cloned),
        "sources": [step.source for step in cloned],
        "extend_to_gib": cloned[0].extend_to_gib if cloned else None,
        "verdicts": Explanation(outcome),
        "plan": outcome.whole_plan(),
        "unknown": outcome.unknown_values(),
        "facts": [{"fact": fact, "value": value, "from": origin} for fact, value, origin in outcome.origins],
        "template": _template(outcome) if outcome.facts.settings.templates.enabled else None,
    }


class Explanation(FormattableColumn[Any]):  # an outcome in, a list of verdicts out
    """An outcome: sentences for a person, every verdict about a clone for a program."""

    def human_readable(self) -> str:
        """What would happen, and each rule that stands against the other ways."""
        return "\n".join(self._value.sentences())

    def machine_readable(self) -> list[dict[str, Any]]:
        """Every rule that was asked, of the request and of each volume."""
        return [verdict.as_dict() for verdict in self._value.plan.clone.verdicts]


class Both(FormattableColumn[Any]):
    """The answers of the two policies, side by side."""

    def human_readable(self) -> str:
        """What each says, and where they differ."""
        return side_by_side(*self._value)

    def machine_readable(self) -> None:
        """A program has an answer for each policy."""


class Matrix(FormattableColumn[Any]):
    """Images and places: a table for a person, a row each for a program."""

    def human_readable(self) -> str:
        """A line for each image and place."""
        rows, marker = self._value
        more = () if marker is None else (f"There are more images: pass --marker {said(marker)}.",)
        return "\n".join((table(rows), *more))

    def machine_readable(self) -> list[dict[str, Any]]:
        """All rows."""
        return list(self._value[0])


class SentencesFormatter(SingleFormatter):
    """What explains itself, and nothing else."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """There is nothing to choose."""

    def emit_one(
        self, column_names: Sequence[str], data: Sequence[Any], stdout: TextIO, parsed_args: argparse.Namespace
    ) -> None:
        """Print it."""
        for explanation in (value for value in data if isinstance(value, FormattableColumn)):
            print(explanation.human_readable(), file=stdout)


def _machine(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.machine_readable() if isinstance(value, FormattableColumn) else value
        for name, value in answer.items()
    }


def _template(outcome: Outcome) -> dict[str, Any]:
    """Whether the backend makes a template, of which size, and every rule that was asked."""
    decision = outcome.plan.template
    return {
        "made": any(step.way is Way.CREATE_TEMPLATE for step in outcome.steps),
        "size_gib": decision.size_gib,
        "verdicts": [verdict.as_dict() for verdict in decision.verdicts],
    }
