"""What is on the page: runs as one dictionary of plain JSON, and a block of numbers.

Names, notes, configurations and verdicts come from a run, which may come from a stranger: they are clipped to a length
that a page can show, and stay strings. What the page leaves out, it says.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from monitor import store
from monitor.histograms import LIMITS
from monitor.metrics import direction
from monitor.page.packing import LINE, Kept, Pack, digits_of_shades, fair_share, thin
from monitor.page.scales import line_ends
from monitor.run import Run

POINTS = 100_000  # of all series of a page together: half a megabyte
FEW = 20_000  # a page with no more points than that has every digit of them
LEAST = 100  # points that a series has in any case
SERIES, LAYERS, HISTOGRAMS, REMARKS = 200, 200, 60, 500  # of one run
LAYER_STEPS, HISTOGRAM_STEPS, EPOCHS = 250, 60, 500
LAYER_NUMBERS, LEAST_LAYER_STEPS = 60_000, 100  # of all layers of a page together; of each in any case
PICTURE, PICTURES = 3_000_000, 8_000_000  # bytes of one picture, and of all on a page
PNG = b"\x89PNG\r\n\x1a\n"
Numbers = dict[str, tuple[np.ndarray, np.ndarray]]  # (steps, values) of every series of a run
META = ("seed", "parameters", "backend", "data", "versions", "layers", "command")  # of run.json, to be compared
DERIVED = ("optimizer_full", "watch")  # settings that follow from others, or say nothing about the training itself
SCORES = ("accuracy", "r2_score", "loss")  # of a run on its test set, as far as they are there


def page_content(
    runs: Sequence[Run], numbers: Sequence[Numbers], findings: Sequence[Iterable[Any] | None]
) -> dict[str, Any]:
    """Everything that the page shows; `numbers` are the `columns` of the runs.

    `findings[i]` replaces what run i recorded of its own, if it is not None.
    """
    sizes = [len(steps) for series in numbers for steps, _ in series.values()]
    share = max(LEAST, fair_share(sizes, POINTS))
    pack = Pack(rounded=sum(sizes) > FEW)
    most_columns = _layer_columns(runs)
    room = [PICTURES]
    shown = [
        {
            "id": identity,
            "name": label,
            **_run(run, series, share, most_columns, pack),
            **_remarks(run, own),
            "figures": _figures(run, room),
        }
        for run, identity, label, series, own in zip(runs, _identities(runs), labels(runs), numbers, findings, strict=True)
    ]
    return {
        "title": _title(runs),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "runs": shown,
        "metrics": [clip(metric) for metric in metrics(name for series in numbers for name in series)],
        "config": _config(runs),
        "limits": LIMITS.tolist(),
        "block": pack.text(),
    }


def clip(value: Any, most: int = 200) -> str:
    """Text of at most `most` characters, on one line unless it is prose.

    >>> clip("abcdef", 4)
    'abc…'
    """
    text = str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def script_json(value: Any) -> str:
    """JSON that can stand inside <script> in HTML: no character in it means anything to an HTML parser.

    >>> script_json({"name": "</script><b>"})
    '{"name":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII: also U+2028 and lone surrogates are escaped
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def place(name: str) -> tuple[str, str]:
    """(metric, part): in which chart a series is drawn, and as what.

    >>> place("val/loss"), place("train/running_loss"), place("rho")
    (('loss', 'val'), ('loss', 'running'), ('rho', ''))
    """
    part, _, metric = name.partition("/")
    if part not in ("train", "val", "test") or not metric:
        return name, ""
    running = metric.removeprefix("running_")
    return (running, "running") if part == "train" and running not in (metric, "") else (metric, part)


def metrics(names: Iterable[str]) -> list[str]:
    """The charts, in order: loss, the other metrics, whatever else was recorded, and the learning rate."""
    places = [place(name) for name in dict.fromkeys(names)]
    ranked = sorted(places, key=lambda p: (p[0] == "lr", p[0] != "loss", p[1] == ""))
    return list(dict.fromkeys(metric for metric, _ in ranked))


def _place(name: str) -> dict[str, str]:
    metric, part = place(name)
    return {"metric": clip(metric), "part": part}


def _title(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(clip(run.name, 60) for run in runs)) or ["no run yet"]
    return ", ".join(names) if len(names) < 4 else f"{len(runs)} runs"


def _identities(runs: Sequence[Run]) -> list[str]:
    """Something that stays the same for a run while a live page is updated: its folder, and a number if need be."""
    seen: dict[str, int] = {}
    found = []
    for i, run in enumerate(runs):
        name = clip(run.path.name if run.path else f"run {i + 1}")
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def labels(runs: Sequence[Run]) -> list[str]:
    """What each run is called: its name; where several have the same, with what tells them apart, "moons lr=0.1".

    Runs that differ in none of their settings, or in too many to be named, are called like their folders.
    """
    names, identities = [clip(run.name) for run in runs], _identities(runs)
    found = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        same = [i for i, other in enumerate(names) if other == name]
        for i, differing in zip(same, _telling([_settings(runs[i]) for i in same]), strict=True):
            found[i] = f"{name} {differing}".rstrip()
    return [label if found.count(label) == 1 else identity for label, identity in zip(found, identities, strict=True)]


def _telling(tables: Sequence[Mapping[str, str]], most: int = 4) -> list[str]:
    """The values of the few settings that tell the most of the runs apart, as "lr=0.1 seed=1".

    >>> _telling([{"lr": "0.1", "n": "9"}, {"lr": "0.2", "n": "9"}])
    ['lr=0.1', 'lr=0.2']
    """
    keys = list(dict.fromkeys(key for table in tables for key in table))[:REMARKS]
    chosen: list[str] = []
    apart = 1
    for _ in range(most):
        kinds = {key: len({tuple(table.get(k) for k in (*chosen, key)) for table in tables}) for key in keys}
        best = max(kinds, key=kinds.__getitem__, default=None)  # the first of equals
        if best is None or kinds[best] <= apart:
            break
        chosen.append(best)
        apart = kinds[best]
    return [
        " ".join(
            f"{clip(k, 30)}={clip(_rounded(table[k]), 30)}" for k in keys if k in chosen and table.get(k, "null") != "null"
        )
        for table in tables
    ]


# Numbers ----------------------------------------------------------------------------------------------------------------


def columns(run: Run) -> Numbers:
    """(steps, values) of every series, like run.series, but in one pass over the events: there may be millions."""
    points: dict[str, dict[int, float]] = {}
    for event in run.select(*store.SCALARS):
        step = event["s"]
        if abs(step) < 2**53:  # whole numbers up to here are exact in a browser
            for name, value in event["d"].items():
                points.setdefault(name, {})[step] = float(value)
    return {name: _sorted(series) for name, series in points.items()}


def _sorted(series: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    steps, values = np.array(list(series)), np.array(list(series.values()))
    order = np.argsort(steps, kind="stable")
    return steps[order], values[order]


def _run(run: Run, series: Numbers, share: int, most_columns: int, pack: Pack) -> dict[str, Any]:
    """What is known of a run, and its numbers."""
    meta, events = run.meta, run.events
    shown = dict(list(series.items())[:SERIES])
    return {
        "status": clip(run.status, 40),
        "reason": clip(meta.get("reason") or "", 500),
        "started": clip(meta.get("started") or "", 40),
        "seconds": _seconds(events[-1].get("t")) if events else 0.0,
        "step": max((int(steps[-1]) for steps, _ in series.values()), default=0),
        "segments": len(run.segments),
        "unreadable": run.unreadable,
        "series": {clip(name): {**_place(name), **_series(*points, share, pack)} for name, points in shown.items()},
        "left_out": len(series) - len(shown),
        "test": [[name, value] for name, value in scores_on_test(run).items()],
        "best": [best for name, points in series.items() if (best := _best(name, *points))][:4],
        "epochs": _epochs(run, pack),
        "layers": _layers(run, most_columns, pack),
        "histograms": _histograms(run, pack),
        "confusion": _confusion(run),
    }


def _seconds(value: Any) -> float:
    seconds = float(value) if isinstance(value, int | float) else 0.0
    return seconds if 0 <= seconds < 1e12 else 0.0


def _series(steps: np.ndarray, values: np.ndarray, share: int, pack: Pack) -> dict[str, Any]:
    kept: Kept = thin(steps, values, share)
    about = {
        "total": len(values),
        "gaps": int(np.sum(~np.isfinite(values))),
        "x": pack.add(kept.steps, whole=True),
        "y": pack.add(kept.values),
        "ends": pack.add(line_ends(steps, kept.steps), whole=True),
    }
    if kept.columns is not None:
        x, y, n = kept.columns
        ends = pack.add(line_ends(steps, x), whole=True)
        about["means"] = [pack.add(np.round(x), whole=True), pack.add(y, digits=LINE), pack.add(n, whole=True), ends]
    return about


def _best(name: str, steps: np.ndarray, values: np.ndarray) -> dict[str, Any] | None:
    """Where a validation metric was best, if somebody has said which way is better."""
    finite = np.flatnonzero(np.isfinite(values))
    with contextlib.suppress(ValueError):
        if name.startswith("val/") and len(finite):
            at = finite[(np.argmin if direction(name) == "min" else np.argmax)(values[finite])]
            return {"name": clip(name), "value": float(values[at]), "step": int(steps[at])}
    return None


def scores_on_test(run: Run) -> dict[str, float]:
    """What run.json says under "test", of SCORES, if they are finite numbers."""
    test = run.meta.get("test")
    found: dict[str, Any] = {name: test.get(name) for name in SCORES} if isinstance(test, dict) else {}
    return {name: float(v) for name, v in found.items() if type(v) in (int, float) and abs(v) < 1e300}


def _epochs(run: Run, pack: Pack) -> list[list[int]]:
    """Which step ended which epoch."""
    found = {e["s"]: float(e["e"]) for e in run.select("eval") if e["e"] is not None and abs(e["s"]) < 2**53}
    steps = sorted(found)
    steps = [steps[i] for i in _spread(len(steps), EPOCHS)]
    return [pack.add(steps, whole=True), pack.add([found[step] for step in steps])]


def _spread(n: int, most: int) -> list[int]:
    """At most `most` of n indices, evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int)).tolist() if n else []


def _layer_columns(runs: Sequence[Run]) -> int:
    """How many columns each matrix of layers may have, so that those of many runs do not fill the page."""
    last = [event["d"] for run in runs for event in run.select("layer")[-1:]]
    rows = sum(len(data["names"]) * (len(data) - 1) for data in last if isinstance(data.get("names"), list))
    return min(LAYER_STEPS, max(LEAST_LAYER_STEPS, LAYER_NUMBERS // max(rows, 1)))


def _layers(run: Run, most_columns: int, pack: Pack) -> dict[str, Any]:
    """Each recorded quantity as a matrix [columns, layers]; a column is the mean over neighbouring recorded steps."""
    shown: dict[str, Any] = {}
    quantities = dict.fromkeys(key for event in run.select("layer") for key in event["d"] if key != "names")
    for quantity in list(quantities)[:20]:
        with contextlib.suppress(KeyError):
            steps, names, matrix = run.layers(quantity)
            applies = np.flatnonzero(~np.isnan(matrix).all(axis=0))[:LAYERS]  # a ReLU has no gradient of its own
            if len(applies) and abs(steps).max() < 2**53:
                shades = matrix[:, applies]
                columns = np.linspace(0, len(steps), min(len(steps), most_columns), endpoint=False).astype(int)
                shown[clip(quantity, 60)] = {
                    "names": [clip(names[i], 80) for i in applies],
                    "total": len(steps),
                    "steps": pack.add(steps[columns], whole=True),
                    "last": int(steps[-1]),
                    "values": pack.add(_column_means(shades, columns), digits=digits_of_shades(shades)),
                }
    return shown


def _column_means(matrix: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The means of groups of rows, over what is not nan; nan where all of it is."""
    there = ~np.isnan(matrix)
    with np.errstate(all="ignore"):
        sums = np.add.reduceat(np.where(there, matrix, 0.0), starts, axis=0)
        return sums / np.add.reduceat(there.astype(float), starts, axis=0)


def _histograms(run: Run, pack: Pack) -> dict[str, Any]:
    """Counts [steps, bins] of each name, from its lowest bin that was ever used to its highest."""
    found: dict[str, Any] = {}
    for name in run.histogram_names()[:HISTOGRAMS]:
        with contextlib.suppress(KeyError):
            recorded = [(step, h) for step, h in run.histogram(name) if abs(step) < 2**53]
            kept = [recorded[i] for i in _spread(len(recorded), HISTOGRAM_STEPS)]
            used = [index for _, histogram in kept for index in histogram.bins]
            first, last = (min(used), max(used)) if used else (0, 0)
            counts = [[h.bins.get(i, 0) for i in range(first, last + 1)] for _, h in kept]
            found[clip(name)] = {
                "total": len(recorded),
                "first": first,
                "steps": pack.add([step for step, _ in kept], whole=True),
                "counts": pack.add(counts, whole=True),
                "nonfinite": pack.add([h.nonfinite for _, h in kept], whole=True),
            }
    return found


def _confusion(run: Run) -> dict[str, Any] | None:
    """{"labels", "counts"} from run.json, under "confusion" or "test"; None if it is not a square of counts."""
    test = run.meta.get("test")
    found = run.meta.get("confusion") or (test.get("confusion") if isinstance(test, dict) else None)
    try:
        labels, counts = found["labels"], found["counts"]  # type: ignore[index]
        size = len(labels)
        if not 0 < size <= 100 or [len(row) for row in counts] != [size] * size:
            return None
        whole = [[int(n) for n in row] for row in counts]
        in_range = all(0 <= n < 2**53 for row in whole for n in row)
        return {"labels": [clip(label, 40) for label in labels], "counts": whole} if in_range else None
    except (TypeError, KeyError, ValueError, OverflowError):
        return None


# Words ------------------------------------------------------------------------------------------------------------------


def _remarks(run: Run, findings: Iterable[Any] | None) -> dict[str, Any]:
    notes = [{"step": e["s"], "text": clip(e["d"].get("text", ""), 2000)} for e in run.select("note")]
    notes = [note for note in notes if abs(note["step"]) < 2**53]
    own: dict[str, Any] = {}
    for event in run.select("finding") if findings is None else ():
        own[str(event["d"].get("id"))] = event["d"]  # a finding is updated by recording it again
    given = list(own.values()) if findings is None else list(findings)
    return {"notes": notes[-REMARKS:], "findings": [_finding(item) for item in given[:REMARKS]]}


def _finding(found: Any) -> dict[str, Any]:
    """A Finding, a data class or a mapping, as the page shows it."""
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        found = dataclasses.asdict(found)
    if not isinstance(found, Mapping):
        raise TypeError(f"a finding is a Finding or a mapping with id, verdict, severity ..., got {found!r}")
    fields = store.encode({str(key): value for key, value in found.items()})
    steps = fields.get("step_range")
    whole = isinstance(steps, list) and len(steps) == 2 and all(type(s) is int and abs(s) < 2**53 for s in steps)
    return {
        "id": clip(fields.get("id", "finding"), 60),
        "verdict": clip(fields.get("verdict", "detected"), 200),
        "severity": clip(fields.get("severity") or "", 20),
        "steps": sorted(steps) if whole else None,
        "message": _message(fields),
        "evidence": _facts(fields.get("evidence")),
        "causes": _sentences(fields.get("causes")),
        "advice": _sentences(fields.get("advice")),
        "track": "; ".join(f"{name} {value}" if name else value for name, value in _facts(fields.get("track_record"))),
    }


def _message(fields: Mapping[str, Any]) -> str:
    """What was found, in a sentence: its own field, or part of the evidence."""
    evidence = fields.get("evidence")
    message = fields.get("message") or (evidence.get("sentence") if isinstance(evidence, dict) else None)
    return "" if message is None else _shown(message, 1000)


def _facts(value: Any) -> list[list[str]]:
    """Pairs of name and value, without those that are not known; a bare value has no name."""
    pairs = value.items() if isinstance(value, dict) else [("", value)]
    known = [(name, item) for name, item in pairs if item is not None and name != "sentence"]
    return [[clip(name, 60), _shown(item)] for name, item in known[:30]]


def _sentences(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [] if value is None else [value]
    return [_shown(item, 1000) for item in items[:20]]


def _shown(value: Any, most: int = 300) -> str:
    """A value as a person reads it: numbers short, strings bare, the rest as JSON."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return clip(value if isinstance(value, str) else json.dumps(store.encode(value), ensure_ascii=False), most)


def _config(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row for each setting: its value in every run, whether the runs differ in it, and whether it is derived:
    what follows from other settings (the layers, the command) is shown on demand.
    """
    chosen = {key for run in runs for key in _settings(run)}
    tables = [{**_flat(run.config), **_flat({key: run.meta[key] for key in META if key in run.meta})} for run in runs]
    rows = []
    for key in list(dict.fromkeys(key for table in tables for key in table))[:REMARKS]:
        values = [table.get(key) for table in tables]
        short = [_rounded(value) for value in values]
        kept = short if len(set(short)) == len(set(values)) else values  # what differs looks different
        row = [None if value is None else clip(value) for value in kept]
        rows.append({"key": clip(key), "values": row, "differs": len(set(values)) > 1, "derived": key not in chosen})
    return rows


def _settings(run: Run) -> dict[str, str]:
    """What was chosen: the configuration and the seed, without what follows from them."""
    seed = {"seed": run.meta["seed"]} if "seed" in run.meta else {}
    chosen = {**_flat(run.config), **_flat(seed)}
    return {key: value for key, value in chosen.items() if key.split(".")[0] not in DERIVED}


def _rounded(value: str | None) -> str | None:
    """A setting that is a long decimal fraction, to six digits."""
    try:
        return f"{float(value):.6g}" if value is not None and len(value) > 8 and "." in value else value
    except ValueError:
        return value


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names.

    >>> _flat({"lr": 0.1, "data": {"name": "moons", "shape": [200, 2]}})
    {'lr': '0.1', 'data.name': 'moons', 'data.shape': '[200, 2]'}
    """
    found: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item and prefix.count(".") < 8:
            found.update(_flat(item, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = item if isinstance(item, str) else json.dumps(store.encode(item), ensure_ascii=False)
    return found


def _figures(run: Run, room: list[int]) -> list[dict[str, Any]]:
    """The pictures that were logged, as data: URLs; `room` is how many bytes the page has left for them."""
    found = [(p.name, p.caption, p.step, p.read) for p in run.figures()]
    kept = run.path / "confusion.png" if run.path else None
    if kept is not None and kept.is_file() and _confusion(run) is None:
        found.append(("confusion", "", None, lambda: store.read_bytes(kept)))  # type: ignore[arg-type]
    shown = []
    for name, caption, step, read in reversed(found[-100:]):  # the latest first, should there not be room for all
        source, why = "", "it cannot be read"
        with contextlib.suppress(OSError):
            picture = read()
            small = len(picture) <= min(PICTURE, room[0])
            why = "it is not a PNG" if not picture.startswith(PNG) else "" if small else f"{len(picture) / 1e6:.1f} MB"
            if not why:
                room[0] -= len(picture)
                source = "data:image/png;base64," + base64.b64encode(picture).decode()
        shown.append({"name": clip(name), "caption": clip(caption, 1000), "step": step, "source": source, "why": why})
    return shown[::-1]
