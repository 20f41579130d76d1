"""One try: a procedure, a call of it and a fault; and what came of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence

import attrs

from tests.faults.proxy.calls import Call, Fault, template_of
from tests.faults.proxy.forking import Ran, Runner
from tests.faults.proxy.procedures import Made, Procedure, gone
from tests.faults.proxy.site import Site

__all__ = ["TIMEOUT_SECONDS", "Tried", "calls_of", "tried"]

_SECONDS = 150.0
TIMEOUT_SECONDS = 6
"""What a procedure waits for an answer, and for data."""
_TOLD = re.compile(
    r"; sending it again in |; asking for the rest |^Storing |^Going on |^Stopped early|; it was done all the same$|"
    r"is kept\. To continue|image volumes? read, |^\d+ images? with |^No image volume is read: |"
    r": \d+ findings?; the repairs give back |^0 images to copy: |^There is nothing to copy"
)
_RAW = re.compile(r"Traceback|NoneType|object (is|has|at)|Error\(|(Key|Type|Attribute|Value|JSONDecode)Error")
_OF_PYTHON = re.compile(r"^.* ERROR imagevol.*\b(Key|Type|Attribute|Index|JSONDecode|Assertion)Error: ", re.MULTILINE)
_NAMES = re.compile(r"Cinder|Glance|Keystone|credentials|project|service|volume|image|127\.0\.0\.1")
_LONGEST = 1200


@attrs.frozen(kw_only=True)
class Tried:
    """What came of one try.

    Attributes:
        outcome: `success`, `error`, or what is wrong.
        left: what was left.
        said: what the command said.
        struck: how often the fault was brought about.
    """

    outcome: str
    left: Mapping[str, str]
    said: str
    struck: int

    @property
    def is_right(self) -> bool:
        """Whether it is a success, or one clear error that leaves nothing that it does not name."""
        return self.outcome in ("success", "error") and not self.unnamed

    @property
    def unnamed(self) -> list[str]:
        """What was left, and is not named."""
        return [thing for thing, state in self.left.items() if not state.endswith(", named")]


def _run(site: Site, runner: Runner, procedure: Procedure, made: Made, more: Sequence[str] = ()) -> Ran:
    if procedure.asks is not None:
        return procedure.asks(site, made)
    limits = ("--timeout", TIMEOUT_SECONDS, "--stall-seconds", TIMEOUT_SECONDS, "--wait-seconds", 60)
    arguments = (*limits, *procedure.arguments(site, made), *procedure.format, *more)
    return runner.run(arguments, environment=site.environment, seconds=_SECONDS)


def calls_of(site: Site, runner: Runner, procedure: Procedure) -> tuple[list[Call], Ran]:
    """Give every call of a procedure that nothing happens to, and its answer."""
    before = site.inventory()
    made = procedure.prepare(site)
    kept = {f"image {image}" for image in site.kept.values()} | {f"volume {volume}" for volume in made.values()}
    between = procedure.between(site)
    between.begin()
    ran = _run(site, runner, procedure, made)
    calls = list(between.calls)
    problem = _problem(site, procedure, made, ran, None)
    if problem == "success":
        procedure.tidy(site, made, ran)
    gone(site, made)
    _forget_files(site)
    if problem != "success":
        site.forget({thing: state for thing, state in site.left(before).items() if thing not in kept})
        raise AssertionError(f"{problem}: {ran}")
    return calls, ran


def tried(
    site: Site, runner: Runner, procedure: Procedure, call: Call, fault: Fault, usual: Ran, *, lasting: bool
) -> Tried:
    """Bring about one fault, and see what comes of it."""
    before = site.inventory()
    made = procedure.prepare(site)
    prepared = site.inventory()
    between = procedure.between(site)
    between.begin(call, fault, lasting=lasting)
    ran = _run(site, runner, procedure, made)
    struck = between.struck
    between.begin()
    outcome = _problem(site, procedure, made, ran, usual)
    said = ran.err[-_LONGEST:]
    if seen := site.secrets_in({"the answer": ran.out, "what it says": ran.err, "its log": ran.log}):
        outcome = f"a secret is seen in {', '.join(seen)}"
    if outcome == "error" and procedure.resumes:
        begun = any(site.directory.glob("*journal*"))  # or it failed before there was anything to go on with
        again = _run(site, runner, procedure, made, procedure.resumes if begun else ())
        resumed = _problem(site, procedure, made, again, usual)
        if resumed == "success":
            ran = again
        else:
            outcome, said = f"not resumed: {resumed}", f"{said}\n--- again:\n{again.err[-_LONGEST:]}"
    if outcome == "success" or (procedure.resumes and ran.status in procedure.statuses):
        procedure.tidy(site, made, ran)
        left: dict[str, str] = {}
    elif outcome == "error":
        left = {
            thing: state
            for thing, state in site.left(prepared).items()
            if not (_is_made(thing, made) or _is_template(state))
        }
    gone(site, made)
    _forget_files(site)
    rest = site.left(before)
    if outcome == "success":
        left = rest
    elif not outcome.startswith("error"):
        left = {}
    told = ran.err + ran.out
    left = {thing: f"{state}, named" if _is_named(thing, state, told) else state for thing, state in left.items()}
    site.forget(rest)
    return Tried(outcome=outcome, left=left, said=said, struck=struck)


def _is_named(thing: str, state: str, told: str) -> bool:
    """Whether an operator is told of it; whoever looks at a volume sees its attachments."""
    volume_id = state.partition(" of ")[2] if thing.startswith("attachment ") else ""
    return thing.split()[1] in told or bool(volume_id and volume_id in told)


def _is_made(thing: str, made: Made) -> bool:
    """Whether it is what the command worked on, which it may have changed before it failed."""
    return thing.split()[1] in made.values()


def _is_template(state: str) -> bool:
    """Whether a driver has made it, whole, to stay."""
    return "imagevol_template" in state and state.startswith(("available", "in-use", "deleting"))


def _problem(site: Site, procedure: Procedure, made: Made, ran: Ran, usual: Ran | None) -> str:
    if ran.status is None:
        return "hangs"
    always = {template_of(line) for line in usual.err.splitlines()} if usual else set()
    lines = {template_of(line): line for line in ran.err.splitlines()}  # of those that differ by an id, the last
    told = [line for kind, line in lines.items() if not _TOLD.search(line) and kind not in always]
    if "Traceback" in ran.err and procedure.asks is None:  # Glance and Cinder log their own
        return "traceback"
    if ran.status in procedure.statuses:
        return _success(site, procedure, made, ran, usual)
    if procedure.asks is not None:  # the user has the service's own sentence, and its log has ours
        return "error" if _NAMES.search(ran.err) and not _OF_PYTHON.search(ran.err) else "unclear"
    if not told or all("Repaired" in line for line in told):
        rows = re.findall(r'"(?:reason|text)": "([^"]+)"', ran.out)
        told = [each for each in rows if _NAMES.search(each)][:1]  # of a row that failed
    if len(told) != 1:
        return f"{len(told)} lines"
    if _RAW.search(told[0]) or not _NAMES.search(told[0]):
        return "unclear"
    return "error"


def _success(site: Site, procedure: Procedure, made: Made, ran: Ran, usual: Ran | None) -> str:
    if procedure.same_answer and usual is not None and ran.out != usual.out:
        return "another answer"
    if ran.status == 0 and not procedure.is_right(site, made, ran):
        return "lies"
    return "success" if ran.status == 0 or usual is None or ran.status == usual.status else "error"


def _forget_files(site: Site) -> None:
    for path in site.directory.glob("*journal*"):
        path.unlink()
    for path in site.temporary.glob("got*"):
        path.unlink()
    for path in site.temporary.glob("tmp*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
