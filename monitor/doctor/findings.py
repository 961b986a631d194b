"""What the doctor answers: findings, each with its evidence, and the report that holds them.

A finding has one of four verdicts. `detected` and `clear` are answers; `underpowered` means that what was recorded fits
both, and `not_checked` that something needed for the question was not recorded. Silence is never taken for health.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from monitor import store

VERDICTS = ("detected", "underpowered", "clear", "not_checked")
SEVERITIES = ("critical", "error", "warning", "info")


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on: one number and how it was judged.

    `statistic` says in words what was measured, `estimate` is its value, `interval` where the true value may lie (at the
    level that `rule` names), `n` of how many values. Each is None where there is none. `sentence` says it to a reader;
    `rule` is the rule, its margin and its source.
    """

    sentence: str
    statistic: str | None = None
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    n: int | None = None
    rule: str | None = None


@dataclass(frozen=True)
class Finding:
    """One question about a run and its answer.

    `id` names the question, `verdict` is one of detected, clear, underpowered, not_checked. `step_range` holds the first
    and the last step of what was seen (for `detected`: since when, and until when). `causes` are likely first,
    `advice` is what to try. `track_record`, how often such a finding was right, is None until it has been measured.
    """

    id: str
    verdict: str
    severity: str
    step_range: tuple[int, int] | None
    evidence: Evidence
    causes: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    track_record: str | None = None

    @property
    def message(self) -> str:
        """The finding in one or two sentences."""
        return self.evidence.sentence

    def data(self) -> dict[str, Any]:
        """The fields and the message, in strict JSON: what a `finding` event of a run holds."""
        encoded: dict[str, Any] = store.encode({**asdict(self), "message": self.message})
        return encoded


def detected(
    id: str, severity: str, steps: tuple[int, int], evidence: Evidence, causes: Any = (), advice: Any = ()
) -> Finding:
    """A finding that something is wrong."""
    return Finding(id, "detected", severity, steps, evidence, tuple(causes), tuple(advice))


def clear(id: str, steps: tuple[int, int], evidence: Evidence) -> Finding:
    """A finding that this is not wrong, as far as the rule can see."""
    return Finding(id, "clear", "info", steps, evidence)


def underpowered(id: str, steps: tuple[int, int] | None, evidence: Evidence, advice: Any = ()) -> Finding:
    """A finding that what was recorded fits both answers."""
    return Finding(id, "underpowered", "info", steps, evidence, advice=tuple(advice))


def not_checked(id: str, reason: str) -> Finding:
    """A finding that the question could not be asked, and what would have to be recorded."""
    return Finding(id, "not_checked", "info", None, Evidence(reason))


@dataclass(frozen=True)
class Report:
    """What `diagnose` found in a run: print it, or take `findings`, `coverage`, `exit_code`, `data()`."""

    name: str
    status: str
    steps: int
    findings: tuple[Finding, ...]  # those detected first, the worst of them foremost
    remarks: tuple[str, ...] = field(default=())  # on the run as a whole

    @property
    def detected(self) -> tuple[Finding, ...]:
        return tuple(found for found in self.findings if found.verdict == "detected")

    @property
    def coverage(self) -> dict[str, list[str]]:
        """{verdict: the ids that have it}: what was checked, and what was not."""
        return {verdict: [found.id for found in self.findings if found.verdict == verdict] for verdict in VERDICTS}

    @property
    def exit_code(self) -> int:
        """0 if nothing was detected, 1 if something was; for scripts."""
        return int(bool(self.detected))

    def data(self) -> dict[str, Any]:
        """The report in strict JSON."""
        return {
            "run": self.name,
            "status": self.status,
            "steps": self.steps,
            "exit_code": self.exit_code,
            "coverage": self.coverage,
            "remarks": list(self.remarks),
            "findings": [found.data() for found in self.findings],
        }

    def text(self, width: int = 100) -> str:
        """The report for a terminal: what was detected in full, the rest in short."""
        by_verdict = {verdict: [f for f in self.findings if f.verdict == verdict] for verdict in VERDICTS}
        lines = [f"{printable(self.name)} ({printable(self.status)}, {self.steps:,} updates): {_summary(by_verdict)}"]
        lines += [line for remark in self.remarks for line in _wrapped(remark, width, "  ")]
        for found in by_verdict["detected"]:
            lines += ["", *_in_full(found, width)]
        titles = ("Cannot be told from what was recorded", "Clear", "Not checked")
        for verdict, title in zip(VERDICTS[1:], titles, strict=True):
            if by_verdict[verdict]:
                lines += ["", f"{title}:"]
            for message in dict.fromkeys(found.message for found in by_verdict[verdict]):  # several may share a reason
                ids = ", ".join(found.id for found in by_verdict[verdict] if found.message == message)
                lines += _wrapped(f"{ids}: {message}", width, "  ", "      ")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings as a report lists them: by verdict, then by severity, then as they came."""
    return tuple(sorted(findings, key=lambda f: (VERDICTS.index(f.verdict), SEVERITIES.index(f.severity))))


def printable(text: Any, most: int = 80) -> str:
    """A name from a run as a terminal may show it: short, and without characters that steer a terminal."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in str(text)[: most + 1])
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def steps_text(steps: tuple[int, int]) -> str:
    """Steps as a report names them."""
    return f"step {steps[0]:,}" if steps[0] == steps[1] else f"steps {steps[0]:,} to {steps[1]:,}"


def _summary(by_verdict: dict[str, list[Finding]]) -> str:
    checked = sum(len(found) for verdict, found in by_verdict.items() if verdict != "not_checked")
    if not checked:
        return "nothing could be checked"
    what = ", ".join(found.id for found in by_verdict["detected"]) or "nothing"
    return f"{what} detected; {checked} of {checked + len(by_verdict['not_checked'])} questions checked"


def _in_full(found: Finding, width: int) -> list[str]:
    where = f", {steps_text(found.step_range)}" if found.step_range else ""
    lines = [f"{found.severity.upper()}  {found.id}{where}", *_wrapped(found.message, width, "  ")]
    for title, parts in (("cause", found.causes), ("try", found.advice)):
        if parts:
            lines += _wrapped(f"{title}: {'; '.join(parts)}", width, "  ", "      ")
    return lines + _wrapped(f"rule: {found.evidence.rule}", width, "  ", "      ")


def _wrapped(text: str, width: int, first: str, rest: str | None = None) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=first if rest is None else rest)
