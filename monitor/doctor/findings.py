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

# Questions that no run answers yet, and what would have to be recorded, or done, to answer them.
OPEN = {
    "underperforms": "needs the validation errors of simple models (nearest neighbours, a linear model) on the same data",
    "underfit": "needs the training loss that a larger net or a longer training of the same kind reaches",
    "lr_too_low": "needs the same training, gone on with for a while with several learning rates",
    "wrong_gradient": "needs the model itself: compare its gradients with finite differences (tinynet.gradcheck)",
    "symmetric_init": "needs the initial weights: whether units of a layer begin as copies of each other",
    "bad_initial_loss": "needs repeated initialisations: how far the first loss is from that of a constant answer",
    "bad_inputs": "needs the data: scale of the columns, nan, constants, examples in both training and validation data",
    "label_noise": "needs the losses of simple models on the same data, and of the same training with shuffled labels",
    "unstable": "needs the standard error of every evaluation, to tell jumps of the loss from its noise",
    "over_regularised": "needs the size of the penalty's gradient beside the data's",
    "metric_mismatch": "needs a metric that was declared to be what matters, beside the loss",
}


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


def underpowered(
    id: str, steps: tuple[int, int] | None, evidence: Evidence, advice: Any = (), severity: str = "info"
) -> Finding:
    """A finding that what was recorded fits both answers; a "warning" if the margin is reached, but not beyond chance."""
    return Finding(id, "underpowered", severity, steps, evidence, advice=tuple(advice))


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
    def suspected(self) -> tuple[Finding, ...]:
        """Findings that are underpowered, but whose margin is reached: they may well be there."""
        return tuple(found for found in self.findings if found.verdict == "underpowered" and found.severity != "info")

    @property
    def questions(self) -> int:
        """How many questions a record can answer, if it holds enough."""
        return sum(found.id not in OPEN for found in self.findings)

    @property
    def checked(self) -> int:
        """How many of these were asked; the answer may be "underpowered"."""
        return sum(found.verdict != "not_checked" for found in self.findings)

    @property
    def summary(self) -> str:
        """The report in one line: what was detected, what may be there, and how much was checked."""
        if not self.checked:
            return "nothing could be checked"
        parts = [f"{', '.join(found.id for found in self.detected) or 'nothing'} detected"]
        if self.suspected:
            parts.append(f"cannot tell: {', '.join(found.id for found in self.suspected)}")
        return "; ".join([*parts, f"{self.checked} of {self.questions} questions checked"])

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
        by_verdict["not_checked"] = [found for found in by_verdict["not_checked"] if found.id not in OPEN]
        lines = [f"{printable(self.name)} ({printable(self.status)}, {self.steps:,} updates): {self.summary}"]
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
        open_ids = ", ".join(found.id for found in self.findings if found.id in OPEN)
        needs = "What each would need: report.data(), or tinynet doctor --json."
        lines += ["", *_wrapped(f"No record answers yet: {open_ids}. {needs}", width, "", "      ")] if open_ids else []
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


def percent(share: float, form: str = ".1%") -> str:
    """A share in percent as a reader can take it in: of thousands of percent and more, three digits."""
    if abs(share) < 1000:
        return format(share, form)
    return format(100 * share, form[:-3] + ".3g") + "%"


def _in_full(found: Finding, width: int) -> list[str]:
    where = f", {steps_text(found.step_range)}" if found.step_range else ""
    lines = [f"{found.severity.upper()}  {found.id}{where}", *_wrapped(found.message, width, "  ")]
    for title, parts in (("cause", found.causes), ("try", found.advice)):
        if parts:
            lines += _wrapped(f"{title}: {'; '.join(parts)}", width, "  ", "      ")
    return lines + _wrapped(f"rule: {found.evidence.rule}", width, "  ", "      ")


def _wrapped(text: str, width: int, first: str, rest: str | None = None) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=first if rest is None else rest)
