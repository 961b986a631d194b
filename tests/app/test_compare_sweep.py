"""All runs of one optimizer at once: each is what it would be alone, starts where its seed says, and is told truly."""

from dataclasses import replace

import numpy as np
import pytest

import tinynet as tn
from optimizers import EMA, LBFGS, SGD, Adagrad, Adam, Lookahead, Muon, ScheduleFreeSGD
from optimizers.landscapes import Landscape
from tinynet.comparison.contenders import CONTENDERS
from tinynet.comparison.problems import PROBLEMS, SUITES, LandscapeProblem, NetProblem, find_problems
from tinynet.comparison.sweep import sweep

XOR = NetProblem(
    "xor", "four corners", 0.5, 40, 8, lambda: (tn.datasets.xor(64), tn.datasets.xor(32, seed=1)), (2, 8, 2), batch_size=16
)
LINE = NetProblem(
    "line",
    "a sine",
    0.1,
    20,
    8,
    lambda: (tn.datasets.sine(64), tn.datasets.sine(32, seed=1)),
    (1, 8, 1),
    "tanh",
    "mse_loss",
)


def rates(*lrs):
    return {"lr": np.array(lrs)}


# Each as it would be alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.parametrize("problem", [XOR, replace(PROBLEMS["rosenbrock"], steps=60)], ids=lambda p: p.name)
def test_each_run_is_what_it_would_be_alone(name, problem):
    lrs, seeds = [1e-3, 0.03, 0.3, 0.03], [5, 5, 9, 9]
    together = sweep(problem, CONTENDERS[name], rates(*lrs), seeds)
    for r, (lr, seed) in enumerate(zip(lrs, seeds, strict=True)):
        alone = sweep(problem, CONTENDERS[name], rates(lr), [seed])
        assert np.allclose(together.curves[r], alone.curves[0], rtol=1e-6, atol=0)
        assert together.steps_to_target[r] == alone.steps_to_target[0]


def test_a_run_is_what_fit_does():
    runs = sweep(XOR, Adam, rates(0.03, 0.1), [3, 4])
    (x, y), validation = XOR.data()
    model = tn.MLP(XOR.sizes, seed=4)
    run = tn.fit(
        model, (x, y), loss="cross_entropy", optimizer=Adam(model.parameters(), 0.1), epochs=10, batch_size=16,
        validation=validation, seed=4,
    )  # fmt: skip
    assert np.allclose(runs.curves[1], run.series("val/loss")[1][::2], rtol=1e-6)  # 4 batches an epoch, a point every 8
    assert runs.curves.shape == (2, len(XOR.measured_at)) == (2, 6)


def test_a_walk_is_what_descend_does():
    problem = replace(PROBLEMS["beale"], steps=50, every=1)
    runs = sweep(problem, SGD, rates(0.001, 0.002), [0, 1])
    start = np.random.default_rng(1).uniform(*np.array(problem.landscape.bounds).T)
    walk = tn.optimizers.descend(problem.landscape, lambda p: SGD(p, 0.002), 50, start)
    assert np.allclose(runs.curves[1], walk.values, rtol=1e-9)


def test_what_is_around_an_optimizer_is_evaluated_where_it_wants_to_be():
    for make in (
        lambda p, lr: Lookahead(SGD(p, lr)),
        lambda p, lr: EMA(SGD(p, lr)),
        lambda p, lr: ScheduleFreeSGD(p, lr),
    ):
        both = sweep(XOR, make, rates(0.1, 1e30), [1, 2])
        assert both.diverged.tolist() == [False, True]
    plain, averaged = (
        sweep(XOR, make, rates(0.1), [1]).curves for make in (SGD, lambda p, lr: EMA(SGD(p, lr), decay=0.99))
    )
    assert plain[0, 0] == averaged[0, 0]
    assert plain[0, -1] != averaged[0, -1]


# The same for all -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [*PROBLEMS.values(), LINE], ids=lambda p: p.name)
def test_the_seed_gives_the_start_and_nothing_else_does(problem):
    starts = [
        sweep(replace(problem, steps=1), make, rates(1e-3, 1e-2, 1e-3), [4, 4, 6]).curves[:, 0] for make in (SGD, Adam)
    ]
    assert starts[0].tolist() == starts[1].tolist()
    assert starts[0][0] == starts[0][1] != starts[0][2]
    assert np.isfinite(starts[0]).all()
    assert (starts[0] > problem.target).all()


def test_the_seed_gives_the_batches_and_the_noise():
    for problem in (XOR, PROBLEMS["noisy-quadratic"]):
        one, other = sweep(replace(problem, steps=16), SGD, rates(0.01, 0.01), [4, 4]).curves
        assert one.tolist() == other.tolist()
    runs = PROBLEMS["noisy-quadratic"].begin([4, 5])
    assert not np.array_equal(runs.noise[:, 0], runs.noise[:, 1])
    assert runs.noise.std() == pytest.approx(1, abs=0.05)


def test_every_step_has_noise_of_its_own():
    problem = replace(PROBLEMS["noisy-quadratic"], steps=3)
    runs = problem.begin([8])
    noise = np.random.default_rng(8)
    x = noise.uniform(*np.array(problem.landscape.bounds).T)
    assert runs.point.data.tolist() == [x.tolist()]
    optimizer = SGD(runs.parameters, np.array([0.1]))
    for k in range(3):
        x = x - 0.1 * (np.array([1, 10]) * x + noise.standard_normal(2))
        runs.step(optimizer, k)
        assert np.allclose(runs.point.data[0], x, rtol=1e-12)
    assert runs.measure() == pytest.approx(x[0] ** 2 / 2 + 5 * x[1] ** 2)


def test_more_steps_go_on_from_fewer():
    short, long = (sweep(replace(XOR, steps=n), Adam, rates(0.03), [0]).curves[0] for n in (16, 32))
    assert short.tolist() == long[:3].tolist()


# What is told -----------------------------------------------------------------------------------------------------------


def test_the_target_is_noticed_at_the_first_step_that_reaches_it():
    problem = replace(PROBLEMS["quadratic-10"], steps=60, every=1)
    runs = sweep(problem, SGD, rates(0.1, 1e-4), [0, 0])
    reached = int(np.argmax(runs.curves[0] <= problem.target))
    assert runs.steps_to_target.tolist() == [reached, np.inf]
    assert 0 < reached < 60
    assert sweep(replace(problem, target=1e9), SGD, rates(0.1), [0]).steps_to_target.tolist() == [0]
    coarse = sweep(replace(problem, every=7), SGD, rates(0.1), [0])
    assert coarse.steps_to_target.tolist() == [reached]  # every step is looked at, whatever the curve keeps
    assert coarse.curves[0].tolist() == runs.curves[0][[*range(0, 60, 7), 60]].tolist()


def test_a_run_that_diverges_is_infinitely_bad_from_then_on():
    problem = replace(PROBLEMS["rosenbrock"], steps=40, every=1)
    runs = sweep(problem, SGD, rates(1e-4, 1.0, 1e-4), [0, 0, 1])
    assert runs.diverged.tolist() == [False, True, False]
    lost = int(np.argmax(np.isinf(runs.curves[1])))
    assert 0 < lost < 20
    assert np.isinf(runs.curves[1, lost:]).all()
    assert np.isinf(runs.final[1])
    assert np.isfinite(runs.best[1])
    without = sweep(problem, SGD, rates(1e-4, 1e-4), [0, 1])
    assert runs.curves[[0, 2]].tolist() == without.curves.tolist()


def ramp(height, slope=lambda x: 1 + 0 * x):
    """A walk to the left from 1 to 0, in steps of lr; `height` and `slope` may fail on the way."""
    landscape = Landscape(
        "ramp", lambda x, y: height(x), lambda x, y: (slope(x), 0 * y), [(-9, 0)], ((0, 1), (0, 1)), (1, 0), ""
    )
    return LandscapeProblem("ramp", "", -5.0, steps=10, every=1, landscape=landscape, box=((1, 1), (0, 0)))


def test_a_value_that_is_the_target_has_reached_it():
    assert sweep(replace(ramp(lambda x: x), target=1.0), SGD, rates(0.1), [0]).steps_to_target.tolist() == [0]


@pytest.mark.parametrize("fault", [np.inf, np.nan])
def test_a_fault_in_the_metric_is_never_made_good(fault):
    band = ramp(lambda x: np.where((x > 0.45) & (x < 0.55), fault, x))
    runs = sweep(band, SGD, rates(0.1, 0.001), [0, 0])
    assert runs.curves[0].tolist() == pytest.approx([1, 0.9, 0.8, 0.7, 0.6, *[np.inf] * 6])
    assert np.isfinite(runs.curves[1]).all()


@pytest.mark.parametrize("fault", [np.inf, np.nan])
def test_a_fault_in_the_gradient_is_one_though_the_metric_looks_well(fault):
    wall = ramp(lambda x: x, lambda x: np.where(x < 0.55, fault, 1.0))
    runs = sweep(wall, SGD, rates(0.1, 0.001), [0, 0])
    assert runs.curves[0].tolist() == pytest.approx([1, 0.9, 0.8, 0.7, 0.6, 0.5, *[np.inf] * 5])
    assert np.isfinite(runs.curves[1]).all()


def test_if_all_diverge_it_ends_early():
    runs = sweep(replace(PROBLEMS["rosenbrock"], steps=10**9, every=10**7), SGD, rates(1.0, 2.0), [0, 0])
    assert runs.diverged.all()
    assert np.isinf(runs.curves[:, 1:]).all()


def test_where_a_walk_ended():
    runs = sweep(PROBLEMS["himmelblau"], SGD, rates(*[0.01] * 30, 1e-9), range(31))
    minima = tn.optimizers.himmelblau.minima
    assert set(runs.ended_at[:30].tolist()) == {0, 1, 2, 3}
    assert runs.ended_at[30] == -1
    assert PROBLEMS["himmelblau"].facts().places[1] == f"({minima[1][0]:.4g}, {minima[1][1]:.4g})"
    runs = sweep(PROBLEMS["rastrigin"], SGD, rates(*[1e-3] * 30), range(30))
    heights = np.array([np.sum(np.square(PROBLEMS["rastrigin"].places[i])) for i in runs.ended_at])
    assert (runs.ended_at >= 0).all()  # each in the dent of a pair of whole numbers, whose floor is about as high as that
    assert np.allclose(runs.final, np.maximum(heights, 1e-12), rtol=0.02, atol=1e-9)
    assert sweep(XOR, SGD, rates(0.1), [0]).ended_at is None


def test_near_a_place_is_within_reach_of_it():
    runs = PROBLEMS["himmelblau"].begin([0] * 4)
    runs.point.data = tn.optimizers.himmelblau.minima + np.array([[0.09, 0], [0, -0.09], [0.11, 0], [0.08, 0.08]])
    assert runs.places().tolist() == [0, 1, -1, -1]


def test_heights_below_rounding_are_equal():
    runs = sweep(PROBLEMS["quadratic-10"], SGD, rates(0.1, 0.05), [0, 0])
    assert runs.final.tolist() == [1e-12, 1e-12]


# The problems -----------------------------------------------------------------------------------------------------------


def test_every_landscape_can_be_solved_and_is_not_solved_at_the_start():
    for name in SUITES["toy2d"]:
        lrs = np.logspace(-3, 0, 7)
        hits = [
            sweep(PROBLEMS[name], make, rates(*lrs), [0] * 7).steps_to_target for make in (CONTENDERS["nesterov"], Adam)
        ]
        assert np.isfinite(hits).any() or name == "rastrigin", name  # where it takes luck
        assert np.min(hits) > 0


def test_suites_and_names():
    assert SUITES["all"] == (*SUITES["toy2d"], *SUITES["small"])
    assert [p.name for p in find_problems("toy2d")] == list(SUITES["toy2d"])
    assert [p.name for p in find_problems(["moons", XOR])] == ["moons", "xor"]
    for name, problem in PROBLEMS.items():
        facts = problem.facts()
        assert facts.name == name
        assert facts.measured_at[0] == 0
        assert facts.measured_at[-1] == facts.steps


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: find_problems("mons"), "unknown problem 'mons': did you mean 'moons'.* toy2d"),
        (lambda: find_problems(3), "unknown problem 3"),
        (lambda: find_problems([]), "there is no problem to compare on"),
        (lambda: find_problems(["moons", "small"]), "two problems have one name: moons"),
        (lambda: replace(XOR, steps=0), "xor: steps must be a whole number of updates, at least 1, got 0"),
        (lambda: replace(XOR, every=2.5), "xor: every must be a whole number"),
        (lambda: replace(XOR, target=np.nan), "xor: target must be a finite number, got nan"),
        (lambda: replace(XOR, batch_size=100).begin([0]), "a batch of 100 needs as many examples, there are 64"),
        (lambda: replace(XOR, loss="mse").begin([0]), "unknown loss 'mse'"),
        (
            lambda: sweep(XOR, lambda p, lr: Adam(p), rates(0.1, 0.2), [0, 1]),
            "Adam was given an array of 2 rates and does not",
        ),
        (lambda: sweep(XOR, LBFGS, rates(0.1), [0]), "LBFGS takes one step for all that it moves"),
        (lambda: sweep(XOR, Muon, rates(0.1), [0]), "Muon moves matrices, and 'layers.0.bias'"),
        (lambda: sweep(XOR, SGD, rates(0.1, -0.2), [0, 1]), "lr must lie in .*, got -0.2 for replica 1"),
    ],
)
def test_refused_with_a_clear_message(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


# Known winners ----------------------------------------------------------------------------------------------------------

RATE_OF_MOMENTUM = 4 / (1 + np.sqrt(1000)) ** 2
MOMENTUM = ((np.sqrt(1000) - 1) / (np.sqrt(1000) + 1)) ** 2


@pytest.mark.parametrize("name", ["quadratic-1000", "quadratic-1000-rotated"])
def test_momentum_is_as_much_faster_as_theory_says(name):
    """Polyak 1964: with the best rates the error shrinks per step by (k - 1) / (k + 1) without momentum, and by the same of
    sqrt(k) with it. From a height of about 500 to 1e-4 that is some 3,000 steps against some 150."""
    problem = replace(PROBLEMS[name], steps=5000)
    seeds = range(9)
    plain = sweep(problem, SGD, rates(*[2 / 1001] * 9), seeds).steps_to_target
    heavy = sweep(
        problem, lambda p, lr: SGD(p, lr, momentum=MOMENTUM), rates(*[RATE_OF_MOMENTUM] * 9), seeds
    ).steps_to_target
    contraction = [(1000 - 1) / (1000 + 1), (np.sqrt(1000) - 1) / (np.sqrt(1000) + 1)]
    starts = sweep(replace(problem, steps=1), SGD, rates(*[1e-9] * 9), seeds).curves[:, 0]
    expected = np.log(np.sqrt(1e-4 / starts)) / np.log(contraction[0])
    assert np.allclose(plain, np.ceil(expected), atol=1, rtol=0.01)  # an exact law: both directions shrink alike
    assert (heavy < plain / 10).all()
    assert (heavy > np.log(np.sqrt(1e-4 / starts)) / np.log(contraction[1]) * 0.9).all()


def test_adagrad_wins_along_the_axes_and_loses_when_they_turn():
    grid = np.repeat(np.logspace(-2, 1, 7), 9)
    medians = {}
    for name in ("quadratic-1000", "quadratic-1000-rotated"):
        for kind, make in (("adagrad", Adagrad), ("momentum", CONTENDERS["sgd-momentum"])):
            lrs = grid if kind == "adagrad" else grid / 10
            runs = sweep(PROBLEMS[name], make, rates(*lrs), [*range(9)] * 7)
            medians[name, kind] = np.median(runs.steps_to_target.reshape(7, 9), axis=1).min()
    assert medians["quadratic-1000", "adagrad"] < medians["quadratic-1000", "momentum"] / 5
    assert np.isinf(medians["quadratic-1000-rotated", "adagrad"])
    assert medians["quadratic-1000-rotated", "momentum"] < 300
