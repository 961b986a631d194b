"""A comparison as one file that anyone can open: tables, sentences, pictures, protocol, and the numbers themselves.

The page asks for nothing over the network, and its content security policy lets it run one script only, the button that
saves the numbers. Names are data: they are escaped, clipped and never HTML.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from monitor import store
from monitor.page.content import script_json
from optimizers.trajectories import COLOURS, STYLES
from tinynet.comparison.judgement import judge_suite
from tinynet.comparison.pictures import pictures
from tinynet.comparison.results import Comparison
from tinynet.comparison.sentences import about, listed, protocol, sentences, suite_sentences, warnings
from tinynet.comparison.table import MEANINGS, cells, clip, in_unit, leads, place_cells, rows, suite_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Picture = tuple[str, str, Figure]  # name, what it shows, the picture


def write_comparison(comparison: Comparison, path: str | os.PathLike, drawn: Iterable[Picture] | None = None) -> Path:
    """Write the page of a comparison, whole or not at all; returns its path.

    On it, for each problem: the table, a sentence for each optimizer against the baseline, what to beware of, the pictures;
    then all problems together, the protocol, and a button that saves what `Comparison.load` reads. `drawn` is what
    `pictures(comparison)` yields, if it is there already.
    """
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"cannot write {str(target)!r}: it is a folder; name a file such as comparison.html in it")
    if not target.parent.is_dir():
        raise ValueError(f"cannot write {str(target)!r}: there is no folder {str(target.parent)!r}")
    store.write_whole(
        target, page_html(comparison, pictures(comparison) if drawn is None else drawn).encode("utf-8", "replace")
    )
    return target


def page_html(comparison: Comparison, pictures: Iterable[Picture]) -> str:
    """The page as text."""
    drawn = {name: _figure(name, caption, figure) for name, caption, figure in pictures}
    sections = [_problem(comparison, facts.name, drawn) for facts in comparison.problems if comparison.on(facts.name)]
    script = _asset("page.js")
    who, where = _few(comparison.optimizers, "optimizers"), _few([p.name for p in comparison.problems], "problems")
    parts = {
        "policy": _policy(script),
        "title": escape(f"{who} on {where}"),
        "style": _asset("page.css"),
        "versions": escape(", ".join(f"{clip(name)} {clip(version, 80)}" for name, version in comparison.versions.items())),
        "body": "\n".join([*sections, *_suite(comparison, drawn)]),
        "protocol": _paragraphs(protocol(comparison)),
        "numbers": script_json(comparison.to_json()),
        "script": script,
    }
    # In one pass: what is put in is not searched again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("template.html"))


def _few(names: Sequence[str], what: str) -> str:
    return listed([clip(name) for name in names]) if len(names) <= 4 else f"{len(names)} {what}"


def _asset(name: str) -> str:
    return (resources.files("tinynet.comparison") / "page" / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Nothing from anywhere; our script by its fingerprint; any style, since Matplotlib writes them into its SVG."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = {"default": "'none'", "script": f"'sha256-{digest}'", "style": "'unsafe-inline'", "img": "data:"}
    return "; ".join(f"{kind}-src {source}" for kind, source in rules.items()) + "; base-uri 'none'; form-action 'none'"


def _problem(comparison: Comparison, problem: str, drawn: dict[str, str]) -> str:
    found = rows(comparison, problem)
    headings, lines, _ = cells(found)
    headings = in_unit(headings, comparison.problem(problem).unit)
    swatches = [_swatch(comparison.optimizers.index(row.optimizer)) for row in found]
    places = place_cells(comparison, problem)
    parts = [
        f"<h2>{escape(clip(problem, 80))}</h2><p>{escape(about(comparison.problem(problem)))}</p>",
        _table(headings, lines, swatches, [i == 0 and leads(found) for i in range(len(found))]),
        f'<p class="muted">{escape("; ".join(f"{h}: {MEANINGS[h]}" for h in headings if h in MEANINGS))}.</p>',
        _list(sentences(comparison, problem)),
        _list(warnings(comparison, problem), "warning"),
        _table(*places, [], []) if places else "",
        _gallery([picture for name, picture in drawn.items() if name.startswith(f"{problem}-")]),
    ]
    return f'<section class="card">{"".join(parts)}</section>'


def _suite(comparison: Comparison, drawn: dict[str, str]) -> list[str]:
    suite = judge_suite(comparison)
    if suite is None:
        return []
    headings, lines = suite_cells(suite)
    parts = [
        _table(headings, lines, [], []) if len(headings) > 1 else "",
        _list(suite_sentences(suite)),
        _gallery([drawn[name] for name in drawn if name == "profile"]),
    ]
    return [f'<section class="card"><h2>All problems together</h2>{"".join(parts)}</section>']


def _table(headings: list[str], lines: list[list[str]], swatches: list[str], leaders: list[bool]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in headings)
    body = []
    for i, (name, *others) in enumerate(lines):
        first = f'<th scope="row">{swatches[i] if swatches else ""}{escape(name)}</th>'
        mark = ' class="leader"' if leaders and leaders[i] else ""
        body.append(f"<tr{mark}>{first}{''.join(f'<td>{escape(text)}</td>' for text in others)}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div class="scroll" role="region" aria-label="results" tabindex="0">{table}</div>'


def _swatch(i: int) -> str:
    """The line of an optimizer, as in the pictures."""
    style = STYLES[i % len(STYLES)]
    dashes = "" if isinstance(style, str) else f' stroke-dasharray="{" ".join(str(2 * length) for length in style[1])}"'
    line = f'<path d="M2 6H34" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="2.5"{dashes}/>'
    return f'<svg width="36" height="12" aria-hidden="true">{line}</svg>'


def _list(items: list[str], kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f"<ul{mark}>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>" if items else ""


def _paragraphs(items: list[str]) -> str:
    return "".join(f"<p>{escape(item)}</p>" for item in items)


def _gallery(drawn: list[str]) -> str:
    return f'<div class="pictures">{"".join(drawn)}</div>' if drawn else ""


def _figure(name: str, caption: str, figure: Figure) -> str:
    """The picture as SVG inside the page, its text as text; ids are made its own, since a page has them only once."""
    import matplotlib

    file, key = io.StringIO(), hashlib.sha256(name.encode()).hexdigest()[:8]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for before in ('id="', 'xlink:href="#', "url(#"):
        svg = svg.replace(before, f"{before}{key}-")
    size = re.compile(r' (?:width|height)="[\d.]+pt"')
    opening, _, rest = svg.partition(">")
    opening = f'{size.sub("", opening)} role="img" aria-label="{escape(caption)}">'
    return f"<figure>{opening}{rest}<figcaption>{escape(caption)}</figcaption></figure>"
