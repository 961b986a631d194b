"""The pictures of a comparison and its page: the right marks from the right numbers, one look per optimizer, no request."""

import json
import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pytest
from made_up import GRID, comparison, facts, result, usual

from optimizers import SGD, Adam, descend, quadratic
from tinynet.comparison import Comparison, compare
from tinynet.comparison.pictures import look, pictures, plot_bands, plot_profile, plot_sensitivity, plot_walks
from tinynet.comparison.report import write_comparison

INF = np.inf
EVIL = '</script><img src=x onerror=alert(1)>"id="$x$ [red]'


def drawn(figure):
    figure.draw_without_rendering()
    return figure


def line(ax, name):
    return next(found for found in ax.lines if found.get_label().startswith(name))


def several(problems=5, names=("Adam", "Lion", "SGD")):
    return comparison(r for p in range(problems) for r in usual(8, names, (0, 0.1, 0.2), f"p{p}").results)


# Pictures ---------------------------------------------------------------------------------------------------------------


def test_bands_are_quartiles_over_seeds():
    c = usual()
    ax = drawn(plot_bands(c, "moons")).axes[0]
    curves = c.result("moons", "SGD").tuned.curves
    sgd = line(ax, "SGD")
    assert sgd.get_label() == "SGD, lr 0.01"
    np.testing.assert_array_equal(sgd.get_xdata(), [0, 20, 40, 60, 80, 100])
    np.testing.assert_allclose(sgd.get_ydata(), np.median(curves, axis=0))
    assert ax.get_yscale() == "log"
    band = next(b for b in ax.collections if tuple(b.get_facecolor()[0][:3]) == tuple(_rgb(look(c, "SGD")["color"])))
    ends = band.get_paths()[0].vertices
    low, high = np.quantile(curves[:, -1], [0.25, 0.75])
    at_the_end = ends[ends[:, 0] == 100][:, 1]
    assert (at_the_end.min(), at_the_end.max()) == pytest.approx((low, high))


def _rgb(colour):
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_an_optimizer_looks_the_same_everywhere_and_no_two_alike():
    names = tuple(f"optimizer {i}" for i in range(12))
    c = comparison(r for p in range(2) for r in usual(6, names, tuple(0.01 * i for i in range(12)), f"p{p}").results)
    figures = [drawn(figure) for _, _, figure in pictures(c)]
    assert len(figures) == 5
    for name in names:
        lines = [found for f in figures for found in f.axes[0].lines if re.match(rf"{name}($|,)", found.get_label())]
        assert len(lines) == 5
        assert len({(found.get_color(), found.get_marker(), found.get_linestyle()) for found in lines}) == 1
    looks = [(look(c, name)["linestyle"], look(c, name)["marker"]) for name in names]
    assert len(set(looks)) == 12  # in black and white, too


def test_bands_stop_where_half_of_the_runs_diverged():
    diverging = replace(result("moons", "B", [0.3] * 7), default=None)
    diverging.tuned.curves[:5, 3:] = INF
    diverging.tuned.curves[5, 3:] = np.nan
    c = comparison([result("moons", "A", [0.1] * 7), diverging])
    figure = drawn(plot_bands(c, "moons"))
    ax = figure.axes[0]
    assert line(ax, "B").get_xdata().tolist() == [0, 20, 40]
    crosses = [found for found in ax.lines if found.get_marker() == "x"]
    assert [found.get_xdata()[0] for found in crosses] == [40]
    assert "half of the runs diverged" in [text.get_text() for text in figure.legends[0].texts]
    assert "half of the runs diverged" not in [text.get_text() for text in plot_bands(usual(), "moons").legends[0].texts]


def test_curves_that_reach_zero_or_explode_are_drawn_at_the_edge():
    c = comparison(
        [
            result("p", "A", [0.0] * 6),
            result("p", "B", [1e250] * 6),
            result("p", "C", [-1e-17] * 6),
            result("p", "D", [INF] * 6),
        ]
    )
    ax = drawn(plot_bands(c, "p")).axes[0]
    low, high = ax.get_ylim()
    assert 0 < low < high
    assert high / low < 1e15
    assert all(np.isfinite(found.get_ydata()).all() for found in ax.lines)
    drawn(plot_sensitivity(c, "p"))


def test_many_optimizers_have_no_bands():
    c = usual(6, tuple("ABCDEF"), (0, 0.1, 0.2, 0.3, 0.4, 0.5))
    assert not drawn(plot_bands(c, "moons")).axes[0].collections


def test_sensitivity_marks_the_chosen_the_default_and_the_diverged():
    c = usual()
    figure = drawn(plot_sensitivity(c, "moons"))
    ax = figure.axes[0]
    adam = line(ax, "Adam")
    assert adam.get_xdata().tolist() == list(GRID)
    np.testing.assert_allclose(adam.get_ydata()[:4], [0.9, 0.5, 0.1, 0.2])
    floor = min(patch.get_extents().transformed(ax.transData.inverted()).y0 for patch in ax.patches)
    assert adam.get_ydata()[4] > floor > 0.9  # diverged: in the strip at the top
    assert line(ax, "Lion").get_ydata()[4] < floor
    rings = {(found.get_xdata()[0], found.get_ydata()[0]) for found in ax.lines if found.get_markersize() == 11}
    assert rings == {(0.01, 0.1), (0.1, 0.11)}
    diamonds = [found.get_xdata()[0] for found in ax.lines if found.get_marker() == "D" and len(found.get_xdata()) == 1]
    assert diamonds == [0.001] * 3
    assert {"chosen", "at the default rate"} <= {text.get_text() for text in figure.legends[0].texts}


def test_profiles_are_steps():
    c = comparison(
        result(f"p{p}", name, [0.1] * 6, steps=[steps] * 6)
        for p, (one, other) in enumerate([(10, 20), (10, 30), (20, 10), (10, INF)])
        for name, steps in (("A", one), ("B", other))
    )
    ax = drawn(plot_profile(c)).axes[0]
    assert line(ax, "A").get_label() == f"A, area {(1 + 1 + 2 / 3 + 1) / 4:.2f}"
    np.testing.assert_allclose(line(ax, "B").get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(line(ax, "B").get_ydata(), [0.25, 0.5, 0.75, 0.75])
    assert line(ax, "B").get_drawstyle() == "steps-post"
    with pytest.raises(ValueError, match="at least two problems"):
        plot_profile(usual())


def test_there_is_no_profile_where_nobody_arrived():
    c = comparison(result(f"p{p}", f"o{i}", [1.0] * 6, steps=[INF] * 6) for p in range(2) for i in range(2))
    assert "profile" not in [name for name, _, _ in pictures(c)]
    assert "profile" in [name for name, _, _ in pictures(several(2))]


def test_styles_and_strange_comparisons_can_be_drawn():
    one = comparison([result("moons", "A", [0.1])])
    nothing = comparison([result("moons", name, [INF] * 3, steps=[INF] * 3, medians=[INF] * 5) for name in "AB"])
    names = comparison([result("$p_1$", EVIL, [0.1] * 6), result("$p_1$", "_hidden", [0.2] * 6)])
    for c in (one, nothing, names):
        for style in ("paper", "slides"):
            for _, _, figure in pictures(c, style):
                assert drawn(figure).get_figwidth() <= 6.7
    with pytest.raises(ValueError, match="style must be 'paper' or 'slides', got 'poster'"):
        plot_bands(one, "moons", "poster")


# The page ---------------------------------------------------------------------------------------------------------------


class Seen(HTMLParser):
    """Tags, ids, attributes that could ask for something, and the texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.asks, self.texts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.asks += [
            v for k, v in found.items() if k in ("src", "href", "xlink:href") and not v.startswith(("#", "data:"))
        ]
        assert not any(name.startswith("on") for name in found), found

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_comparison(several(), tmp_path_factory.mktemp("page") / "c.html").read_text()


def test_the_page_has_everything_and_asks_for_nothing(page):
    seen = Seen(page)
    assert seen.asks == []
    assert len(seen.ids) == len(set(seen.ids))
    assert seen.tags.count("figure") == 11
    assert seen.tags.count("table") == 6
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    text = " ".join(seen.texts)
    for part in (
        "Lion (0.1) was best at the edge",
        "ends lower than SGD",
        "Friedman's test",
        "How it was done",
        "8 fresh seeds",
        "area of profile",
    ):
        assert part in text
    numbers = re.search(r'<script type="application/json" id="comparison">(.*?)</script>', page, re.S)[1]
    assert Comparison.from_json(json.loads(numbers)).result("p0", "Adam").best_lr == 0.01


def test_references_inside_the_pictures_resolve(page):
    ids = set(Seen(page).ids)
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert references
    assert references <= ids


def test_names_on_the_page_are_text(tmp_path):
    evil = comparison([result(EVIL, EVIL, [0.1] * 6), result(EVIL, "B", [0.2] * 6)], (facts(EVIL, places=("<b>here",)),))
    evil = replace(evil, versions={"<i>": EVIL})
    for r in evil.results:
        r.tuned.__dict__["ended_at"] = np.zeros(6, int)
    page = write_comparison(evil, tmp_path / "c.html").read_text()
    seen = Seen(page)
    assert "img" not in seen.tags
    assert "b" not in seen.tags
    assert "i" not in seen.tags
    assert seen.tags.count("script") == 2
    assert any("<b>here" in text for text in seen.texts)


def test_the_page_is_the_same_every_time(tmp_path):
    drawn = [[("moons-curves", "curves", plot_bands(usual(), "moons"))] for _ in range(2)]
    one, two = (write_comparison(usual(), tmp_path / "c.html", figures).read_bytes() for figures in drawn)
    assert one == two
    assert b"<figure><svg" in one


def test_a_winner_is_bold_and_a_tie_is_not(tmp_path):
    tie, winner = usual(), usual(12, ("Adam", "Lion", "SGD"), (0, 0.2, 0.3))
    assert '<tr class="leader">' not in write_comparison(tie, tmp_path / "c.html", []).read_text()
    assert write_comparison(winner, tmp_path / "c.html", []).read_text().count('<tr class="leader"><th scope="row">') == 1


def test_places_that_a_page_cannot_be_written_to(tmp_path):
    with pytest.raises(ValueError, match=r"it is a folder; name a file such as comparison.html in it"):
        write_comparison(usual(), tmp_path)
    with pytest.raises(ValueError, match="there is no folder"):
        write_comparison(usual(), tmp_path / "no" / "c.html")


# Walks ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def walked():
    return compare(["adam"], on="quadratic-10", grid=[0.01, 0.1], tuning_seeds=2, seeds=6, steps=40)


def test_walks_are_those_of_the_chosen_settings(walked):
    ax = drawn(plot_walks(walked, "quadratic-10")).axes[0]
    for name, kind in (("sgd-momentum", partial(SGD, momentum=0.9)), ("adam", Adam)):
        expected = descend(quadratic(10), partial(kind, lr=walked.result("quadratic-10", name).best_lr), 40).positions
        found = [
            line for line in ax.lines if len(line.get_xdata()) == 41 and line.get_color() == look(walked, name)["color"]
        ]
        assert len(found) == 1
        np.testing.assert_allclose(np.transpose(found[0].get_data()), expected)
        assert found[0].get_marker() == look(walked, name)["marker"]


def test_long_walks_are_thin_and_the_longest_lies_below():
    c = compare(["sgd"], on="rosenbrock", grid=[1e-4, 1e-3], tuning_seeds=2, seeds=6, steps=150)
    figure = drawn(plot_walks(c, "rosenbrock"))
    ax = figure.axes[0]
    assert ax.get_title() == "rosenbrock, one walk each from (-1.2, 1)"
    assert ax.get_legend() is None
    labels = [found.get_text() for found in figure.legends[0].texts]
    assert labels == [*(f"{n}, lr {c.result('rosenbrock', n).best_lr:g}" for n in c.optimizers), "start", "minimum"]
    walks = [found for found in ax.lines if len(found.get_xdata()) == 151]
    assert all(found.get_markevery() == [150] and found.get_alpha() < 1 for found in walks)
    ways = [np.hypot(*np.diff(found.get_data(), axis=1) / np.array([[4.0], [4.0]])).sum() for found in walks]
    assert walks[np.argmax(ways)].get_zorder() < walks[np.argmin(ways)].get_zorder()


def test_walks_only_where_they_mean_something(walked):
    assert [name for name, _, _ in pictures(walked)][-1] == "quadratic-10-walks"
    for other in (
        usual(),
        replace(walked, results=walked.results[:1]),
        replace(walked, optimizers=("sgd-momentum", "mine")),
    ):
        assert not any(name.endswith("walks") for name, _, _ in pictures(other))
        with pytest.raises(
            ValueError, match="walks are drawn on landscapes of this package that all optimizers finished, not on"
        ):
            plot_walks(other, other.problems[0].name)


def test_a_landscape_does_not_make_the_page_large(walked, tmp_path):
    assert write_comparison(walked, tmp_path / "c.html").stat().st_size < 400_000
