"""A run as one file that anyone can open: write_report("runs/20260101-120000-moons", "report.html").

The file needs no network and no program but a browser: numbers, drawing and style are inside. What is drawn is in
page/content.py, how it is drawn in page/js/. A content security policy in the page lets only these very scripts run, and
no request go out, whatever names a run may have.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from monitor import store
from monitor.page.content import Numbers, columns, page_content, script_json
from monitor.page.still import escape, still
from monitor.run import Run

SCRIPTS = ("decode", "scales", "state", "plot", "lines", "charts", "layers", "histograms", "tables", "live", "main")


def write_report(
    runs: Run | str | os.PathLike | Sequence[Run | str | os.PathLike], path: str | os.PathLike, findings: Any = None
) -> Path:
    """Write an HTML page about one or more runs; returns its path. The file is there complete or not at all.

    `runs` is a Run, a run's folder, or several. On the page: learning curves with zoom, cross-hair and smoothing, layers
    over time, histograms, confusion matrix, pictures, notes, what differs between the configurations, and findings: those
    recorded in the run or, if given, `findings`: of one run a list of Findings (or what has them as `.findings`), of
    several a list of such lists. Without scripts the page is a picture.
    """
    opened = _opened(runs)
    numbers = [columns(run) for run in opened]
    page = page_html(opened, numbers, page_content(opened, numbers, _per_run(findings, len(opened))))
    target = Path(path)
    if target.is_dir():
        raise store.RecorderError(f"cannot write {str(target)!r}: it is a folder; name a file such as report.html in it")
    if not target.parent.is_dir():
        raise store.RecorderError(f"cannot write {str(target)!r}: there is no folder {str(target.parent)!r}")
    store.write_whole(target, page)
    return target


def page_html(runs: Sequence[Run], numbers: Sequence[Numbers], content: dict[str, Any], live: bool = False) -> bytes:
    """The page as UTF-8; a live one may ask its server for more (serve.py)."""
    script, style = _script(), _asset("page.css")
    parts = {
        "policy": policy(live),
        "title": escape(content["title"], 100),
        "style": style,
        "still": still(runs, numbers, [run["findings"] for run in content["runs"]]),
        "content": script_json(content),
        "script": script,
    }
    # In one pass: what is put in is not searched again.
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("template.html"))
    return page.encode("utf-8", "replace")


def policy(live: bool) -> str:
    """What the page may do: run our script, use our style, show pictures that it contains; ask its server, if live."""
    connect = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src '{_digest(_script())}'; style-src '{_digest(_asset('page.css'))}'; "
        f"img-src data:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(name: str) -> str:
    return (resources.files("monitor") / "page" / name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    """The script: its files one after the other, inside one function, so that the page's global scope stays clean."""
    return '(() => {\n"use strict";\n' + "\n".join(_asset(f"js/{name}.js") for name in SCRIPTS) + "})();\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _opened(runs: Any) -> list[Run]:
    """The runs, read where a folder was given; or an error that says what was given."""
    several = [runs] if isinstance(runs, Run | str | os.PathLike) else runs
    try:
        several = list(several)
    except TypeError:
        raise TypeError(f"write_report: runs should be a Run, a run's folder, or several of them, got {runs!r}") from None
    if not several:
        raise ValueError("write_report: there is no run to show; pass at least one")
    for run in several:
        if not isinstance(run, Run | str | os.PathLike):
            raise TypeError(f"write_report: a run is a Run or a run's folder, got {run!r}")
    return [run if isinstance(run, Run) else Run.open(run) for run in several]


def _per_run(findings: Any, runs: int) -> list[Any]:
    """The findings of each run; None where the run's own are to be shown."""
    if findings is None:
        return [None] * runs
    given = [findings] if runs == 1 else list(findings)
    if len(given) != runs:
        raise ValueError(
            f"write_report: findings should be a list with one entry for each of the {runs} runs, got {len(given)}"
        )
    given = [getattr(item, "findings", item) for item in given]
    if runs == 1 and isinstance(given[0], list | tuple) and len(given[0]) == 1:
        given = [getattr(given[0][0], "findings", given[0])]  # a list of one report
    return given
