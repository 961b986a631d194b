"""compare(): equal budgets, fresh seeds, the same answer however often it is broken off, and a file that says it all."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest

import tinynet as tn
from optimizers import LBFGS, SGD, Adam, ClipNorm
from tinynet.comparison import protocol
from tinynet.comparison.contenders import CONTENDERS, USUAL, Contender
from tinynet.comparison.problems import PROBLEMS, LandscapeProblem, NetProblem
from tinynet.comparison.protocol import GRID, compare
from tinynet.comparison.results import Comparison, ComparisonError, ProblemFacts, Result, Runs, Trial
from tinynet.comparison.sweep import sweep

QUICK = {"on": "quadratic-10", "grid": [0.01, 0.1, 1.0], "tuning_seeds": 2, "seeds": 3, "steps": 40}
XOR = NetProblem("xor", "corners", 0.5, 24, 8, lambda: (tn.datasets.xor(64), tn.datasets.xor(32, seed=1)), (2, 8, 2))


def told(comparison):
    """Everything but the times."""
    data = comparison.to_json()
    for result in data["results"]:
        for runs in (result["tuned"], result["default"]):
            if runs is not None:
                runs.pop("seconds_per_step")
    return json.dumps(data)


# The protocol -----------------------------------------------------------------------------------------------------------


def test_the_usual_protocol():
    assert np.allclose(GRID, np.logspace(-5, 1, 13), rtol=1e-12)
    comparison = compare(["adam", "sgd"], on="quadratic-10", steps=30)
    assert comparison.optimizers == ("sgd-momentum", "adam", "sgd")  # the baseline runs too
    assert (comparison.baseline, comparison.budget, comparison.grid) == ("sgd-momentum", 13, GRID)
    assert comparison.tuning_seeds == (0, 1, 2, 3, 4)
    assert comparison.seeds == tuple(range(5, 17))
    assert not set(comparison.seeds) & set(comparison.tuning_seeds)
    for name, result in comparison.on("quadratic-10").items():
        assert [trial.hyper for trial in result.trials] == [{"lr": lr} for lr in GRID]
        assert all(trial.losses.shape == (5,) for trial in result.trials)
        assert result.tuned.curves.shape == result.default.curves.shape == (12, 3)
        assert result.default.hyper == {"lr": CONTENDERS[name].default_lr}
        assert result.tuned.seconds_per_step > 0
    assert comparison.versions.keys() == {"python", "numpy", "machine"}


def test_what_it_tells_is_what_the_runs_did():
    comparison = compare({"mine": Adam}, baseline="mine", **QUICK)
    result = comparison.result("quadratic-10", "mine")
    problem = replace(PROBLEMS["quadratic-10"], steps=40)
    for trial in result.trials:
        runs = sweep(problem, Adam, {"lr": np.full(2, trial.hyper["lr"])}, [0, 1])
        assert trial.losses.tolist() == runs.final.tolist()
        assert trial.steps_to_target.tolist() == runs.steps_to_target.tolist()
        assert trial.median == np.median(runs.final)
    assert result.chosen == int(np.argmin([trial.median for trial in result.trials]))
    fresh = sweep(problem, Adam, {"lr": np.full(3, result.best_lr)}, [2, 3, 4])
    assert result.tuned.curves.tolist() == fresh.curves.tolist()
    usual = sweep(problem, Adam, {"lr": np.full(3, 1e-3)}, [2, 3, 4])
    assert result.default.curves.tolist() == usual.curves.tolist()
    assert result.setting == "Adam(betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0)"


def test_every_optimizer_meets_the_same_starts_and_batches():
    comparison = compare(["sgd", "adam", "lion"], **{**QUICK, "on": ["rosenbrock", XOR]})
    for problem in ("rosenbrock", "xor"):
        starts = [r.tuned.curves[:, 0].tolist() for r in comparison.on(problem).values()]
        assert len(starts) == 4
        assert all(start == starts[0] for start in starts)


def test_seeds_count_from_the_seed():
    comparison = compare(["sgd"], **QUICK, seed=100)
    assert (comparison.tuning_seeds, comparison.seeds) == ((100, 101), (102, 103, 104))
    assert told(comparison) != told(compare(["sgd"], **QUICK))


@pytest.mark.parametrize("budget", [1, 3, 9])
def test_every_optimizer_has_the_same_budget(budget):
    comparison = compare(["sgd", "adam", "rmsprop", "nesterov"], **QUICK, budget=budget)
    assert {len(r.trials) for r in comparison.results} == {budget} == {comparison.budget}
    for result in comparison.results:
        lrs = [trial.hyper["lr"] for trial in result.trials]
        assert lrs == sorted(lrs)
        if budget == 1:
            assert lrs == [result.default.hyper["lr"]]
            assert result.tuned.curves.tolist() == result.default.curves.tolist()
        else:
            assert (lrs[0], lrs[-1]) == (0.01, 1.0)
    if budget == 9:
        assert len(comparison.result("quadratic-10", "sgd").rates) == 9
        adam = comparison.result("quadratic-10", "adam")
        assert [trial.hyper["beta1"] for trial in adam.trials] == [0.8, 0.9, 0.95] * 3
        assert adam.rates.tolist() == [0.01, 0.1, 1.0]
        assert adam.sensitivity.shape == (3,)


def test_a_grid_of_one_rate_is_tried_and_not_the_default():
    comparison = compare(["adam"], **{**QUICK, "grid": [0.3]})
    assert [[trial.hyper for trial in result.trials] for result in comparison.results] == [[{"lr": 0.3}]] * 2
    assert comparison.result("quadratic-10", "adam").tuned.hyper == {"lr": 0.3}


def test_the_second_hyperparameter_reaches_the_optimizer_and_the_default_is_the_middle():
    wide, narrow = (compare(["adam"], **QUICK, budget=budget).result("quadratic-10", "adam") for budget in (9, 3))
    problem = replace(PROBLEMS["quadratic-10"], steps=40)
    for trial in wide.trials:
        alone = sweep(
            problem,
            lambda p, lr, b=trial.hyper["beta1"]: Adam(p, lr, betas=(b, 0.999)),
            {"lr": np.full(2, trial.hyper["lr"])},
            [0, 1],
        )
        assert np.allclose(trial.losses, alone.final, rtol=1e-9)
    assert np.allclose([t.losses for t in wide.trials[1::3]], [t.losses for t in narrow.trials], rtol=1e-9)
    assert np.allclose(wide.default.curves, narrow.default.curves, rtol=1e-9)


def test_every_value_of_a_second_hyperparameter_makes_another_run():
    for result in compare(["nesterov", "rmsprop", "adadelta", "adamax"], **QUICK, budget=9).results:
        losses = [tuple(trial.losses) for trial in result.trials[:3]]  # of one rate
        assert len(set(losses)) == 3, result.optimizer


@pytest.mark.parametrize("name", CONTENDERS)
def test_the_default_of_a_second_hyperparameter_is_in_the_middle(name):
    contender = CONTENDERS[name]
    if contender.second is not None:
        key, (less, default, more) = contender.second
        assert less < default < more
        usual = contender([protocol_point()], lr=0.1).param_groups[0]
        assert default == (usual["betas"][0] if key == "beta1" else usual[key])


def protocol_point():
    from optimizers.trajectories import Point

    return Point(np.zeros((2, 2)))


def test_eight_usual_optimizers_have_names_defaults_and_settings():
    assert len(USUAL) == 8
    assert all(CONTENDERS[name].default_lr for name in CONTENDERS)
    assert CONTENDERS["sgd-momentum"].setting == "SGD(momentum=0.9, dampening=0.0, weight_decay=0.0)"
    assert CONTENDERS["adadelta"].default_lr == 1.0
    clipped = Contender("mine", lambda p, lr: SGD(p, lr, clip=ClipNorm(1.0)))
    assert clipped.setting == CONTENDERS["sgd"].setting + " with ClipNorm(max_norm=1.0, replicas=False)"
    assert clipped.default_lr is None


# Choosing ---------------------------------------------------------------------------------------------------------------


def test_of_equal_medians_the_faster_then_the_smaller_rate_is_chosen():
    flat = LandscapeProblem("flat", "no slope", -1.0, steps=5, landscape=replace(PROBLEMS["quadratic-10"].landscape))
    tie = compare(["sgd"], **{**QUICK, "on": "quadratic-10", "grid": [0.08, 0.1, 0.12], "steps": 300}).result(
        "quadratic-10", "sgd"
    )
    assert len({trial.median for trial in tie.trials}) == 1  # all at the floor
    steps = [np.median(trial.steps_to_target) for trial in tie.trials]
    assert tie.chosen == int(np.argmin(steps)) != 0
    never = compare(["sgd"], **{**QUICK, "on": replace(flat, box=((0.0, 1e-9), (0.0, 1e-9)))}).result("flat", "sgd")
    assert len({trial.median for trial in never.trials[:2]}) == 1
    assert never.chosen == 0


def test_an_optimizer_that_diverges_at_every_rate_is_told_and_does_no_harm():
    comparison = compare(["sgd", "adam"], on="rosenbrock", grid=[1.0, 10.0], tuning_seeds=2, seeds=2, steps=60)
    sgd = comparison.result("rosenbrock", "sgd")
    assert sgd.failed
    assert sgd.chosen == 0
    assert sgd.tuned.diverged.all()
    assert np.isinf(sgd.tuned.curves[:, -1]).all()
    assert np.isinf(sgd.tuned.steps_to_target).all()
    assert not comparison.result("rosenbrock", "adam").failed


def test_settings_are_ranked_by_medians_that_one_bad_run_does_not_spoil(monkeypatch):
    fake = {0.01: [3.0, 3.0, 3.0], 0.1: [1.0, np.inf, 2.0], 1.0: [np.inf, np.inf, 0.0]}

    def runs(problem, make, hyper, seeds):
        curves = np.array([[fake[lr][seed % 3]] for lr, seed in zip(hyper["lr"], seeds, strict=True)])
        return Runs({}, curves, np.full(len(seeds), np.inf), None, 1.0)

    monkeypatch.setattr(protocol, "sweep", runs)
    result = compare({"sgd": lambda p, lr: SGD(p, lr)}, baseline="sgd", **{**QUICK, "tuning_seeds": 3}).results[0]
    assert [trial.median for trial in result.trials] == [3.0, 2.0, np.inf]
    assert result.best_lr == 0.1


def test_half_of_the_runs_diverging_is_a_median_of_infinity():
    trial = Trial({"lr": 1.0}, np.array([1.0, np.inf]))
    assert trial.median == np.inf
    assert trial.diverged.tolist() == [False, True]
    assert Trial({"lr": 1.0}, np.array([1.0, 2.0, np.inf])).median == 2.0


def test_a_target_never_met():
    result = compare(["sgd"], **{**QUICK, "on": replace(PROBLEMS["quadratic-10"], target=-1.0)}).results[0]
    assert np.isinf(result.tuned.steps_to_target).all()


def test_the_edge_of_the_grid_is_told():
    runs = Runs({"lr": 0.1}, np.ones((1, 1)), np.ones(1), None, 1.0)

    def result(chosen, *lrs):
        return Result("p", "o", "", tuple(Trial({"lr": lr}, np.ones(1)) for lr in lrs), chosen, runs, None)

    assert result(0, 0.1, 0.2, 0.3).at_edge
    assert result(2, 0.1, 0.2, 0.3).at_edge
    assert not result(1, 0.1, 0.2, 0.3).at_edge
    assert not result(0, 0.1).at_edge


# One's own --------------------------------------------------------------------------------------------------------------


def test_functions_and_problems_of_ones_own():
    comparison = compare(
        {"warm": lambda params, lr: SGD(params, lr, momentum=0.5), "adam": "adam"}, baseline="warm", **{**QUICK, "on": XOR}
    )
    assert comparison.optimizers == ("warm", "adam")
    assert comparison.result("xor", "warm").default is None  # it has no default rate
    assert comparison.result("xor", "adam").default is not None
    assert comparison.problem("xor").metric == "validation loss"


# Broken off and gone on with --------------------------------------------------------------------------------------------


def test_the_bits_are_the_same_when_it_is_broken_off(tmp_path, monkeypatch):
    whole = compare(["sgd", "adam"], **{**QUICK, "on": ["rosenbrock", XOR]})
    store, calls = tmp_path / "store.jsonl", []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 6:  # two batches each: in the middle of the third of six
            raise KeyboardInterrupt
        return sweep(*args)

    monkeypatch.setattr(protocol, "sweep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(["sgd", "adam"], **{**QUICK, "on": ["rosenbrock", XOR]}, store=store)
    assert len(store.read_text().splitlines()) == 2
    seen = []
    resumed = compare(
        ["sgd", "adam"], **{**QUICK, "on": ["rosenbrock", XOR]}, store=store, progress=lambda *said: seen.append(said)
    )
    assert len(calls) == 6 + 8
    assert told(resumed) == told(whole)
    assert [said[:2] for said in seen] == [(n, 6) for n in (2, 3, 4, 5, 6)]
    again = compare(["sgd", "adam"], **{**QUICK, "on": ["rosenbrock", XOR]}, store=store)
    assert len(calls) == 14
    assert again.to_json() == resumed.to_json()


def test_other_settings_are_run_anew(tmp_path, monkeypatch):
    store, calls = tmp_path / "store.jsonl", []
    monkeypatch.setattr(protocol, "sweep", lambda *args: calls.append(args) or sweep(*args))
    compare(["sgd"], **QUICK, store=store)
    assert len(calls) == 4
    changed = (
        {"steps": 41}, {"grid": [0.01, 0.1, 0.9]}, {"seeds": 4}, {"tuning_seeds": 3}, {"seed": 1}, {"budget": 1},
        {"on": replace(PROBLEMS["quadratic-10"], target=1.0)},
    )  # fmt: skip
    for other in changed:
        calls.clear()
        compare(["sgd"], **{**QUICK, **other}, store=store)
        assert len(calls) == 4, other
    for other in ({"nesterov": True, "momentum": 0.1}, {"clip": ClipNorm(1.0)}):
        calls.clear()
        compare({"sgd": lambda p, lr=0.01, of=other: SGD(p, lr, **of)}, **QUICK, store=store)
        assert len(calls) == 2, other  # the baseline's are there


def test_two_problems_are_told_apart_by_what_they_are():
    other = lambda: (tn.datasets.xor(64, seed=5), tn.datasets.xor(32, seed=1))
    kinds = [
        XOR,
        *(replace(XOR, **{k: v}) for k, v in {"data": other, "sizes": (2, 9, 2), "batch_size": 8, "every": 4}.items()),
    ]
    valley = PROBLEMS["rosenbrock"]
    noisy = replace(valley.landscape, noise=0.1)
    kinds += [
        valley,
        replace(valley, landscape=noisy),
        replace(valley, box=((0, 1), (0, 1))),
        replace(valley, places=((1, 1),)),
    ]
    kinds += [replace(valley, landscape=replace(PROBLEMS["beale"].landscape, name="rosenbrock"))]
    assert len({problem.fingerprint() for problem in kinds}) == len(kinds)
    assert replace(XOR).fingerprint() == XOR.fingerprint()


def test_a_store_whose_lines_are_broken_is_mended(tmp_path):
    store = tmp_path / "store.jsonl"
    whole = compare(["sgd", "adam"], **QUICK, store=store)
    lines = store.read_bytes().splitlines(keepends=True)
    store.write_bytes(lines[0] + b"\xff\x00 garbage\n" + lines[1][:40])
    assert told(compare(["sgd", "adam"], **QUICK, store=store)) == told(whole)


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
from tinynet.comparison import compare
try:
    compare(["sgd"], on="quadratic-10", grid=[0.1], tuning_seeds=1, seeds=2, steps=20, store=sys.argv[1])
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files there have no limit of size")
def test_a_full_disk_is_told_and_what_was_finished_is_kept(tmp_path):
    store = str(tmp_path / "store.jsonl")
    ran = subprocess.run([sys.executable, "-c", FULL, store], capture_output=True, text=True)
    assert f"cannot write {store!r}: File too large. What it holds is good: free some space, and call again" in ran.stdout
    few = {"on": "quadratic-10", "grid": [0.1], "tuning_seeds": 1, "seeds": 2, "steps": 20}
    assert told(compare(["sgd"], **few, store=store)) == told(compare(["sgd"], **few))


def test_processes_and_threads_change_no_number():
    alone = compare(["sgd"], **{**QUICK, "on": ["rosenbrock", "quadratic-10"]})
    with ThreadPoolExecutor(2) as pool:
        assert told(compare(["sgd"], **{**QUICK, "on": ["rosenbrock", "quadratic-10"]}, executor=pool)) == told(alone)
    assert told(compare(["sgd"], **{**QUICK, "on": ["rosenbrock", "quadratic-10"]}, executor=2)) == told(alone)


def test_progress_says_how_long():
    seen = []
    compare(["sgd"], **QUICK, progress=lambda done, total, text: seen.append((done, total, text)))
    assert [(done, total) for done, total, _ in seen] == [(0, 2), (1, 2), (2, 2)]
    assert seen[0][2] == "0 of 2"
    assert seen[1][2].startswith("1 of 2, about ")
    assert seen[1][2].endswith(" left")
    assert seen[2][2] == "2 of 2"


def test_the_time_left_goes_by_how_much_work_is_left(monkeypatch):
    seen, clock = [], iter([0.0, 100.0, 110.0, 140.0])  # begun, nothing of ours done, one part done, two
    monkeypatch.setattr(protocol.time, "perf_counter", lambda: next(clock))
    tell = protocol._with_time_left(lambda *said: seen.append(said[2]), [5, 1, 2, 60])
    for done in (1, 2, 3):
        tell(done, 4)
    assert seen == ["1 of 4", "2 of 4, about 10 min left", "3 of 4, about 13 min left"]


# The file ---------------------------------------------------------------------------------------------------------------


def test_there_and_back(tmp_path):
    comparison = compare(["sgd"], on=["rosenbrock", "himmelblau"], grid=[0.01, 10.0], tuning_seeds=2, seeds=2, steps=40)
    path = comparison.save(tmp_path / "comparison.json")
    text = path.read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not strict JSON"))
    assert '"inf"' in text
    again = Comparison.load(path)
    assert again.to_json() == comparison.to_json()
    for a, b in zip(again.results, comparison.results, strict=True):
        assert type(a) is Result
        assert a.tuned.curves.tolist() == b.tuned.curves.tolist()
        assert [trial.median for trial in a.trials] == [trial.median for trial in b.trials]
    ended = again.result("himmelblau", "sgd").tuned.ended_at
    assert ended.dtype.kind == "i"
    assert again.problems[0] == ProblemFacts(**asdict(again.problems[0])) or again.problems[0].measured_at == (0, 20, 40)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ('{"schema": "tinynet-comparison/1", "resu', "is not JSON"),
        ("[]", "its schema is None"),
        ('{"schema": "tinynet-comparison/99"}', "its schema is 'tinynet-comparison/99', not 'tinynet-comparison/1'"),
        ('{"schema": "tinynet-comparison/1"}', "broken comparison: KeyError 'results'"),
        ('{"schema": "tinynet-comparison/1", "results": 3}', "broken comparison: TypeError"),
        ("\xff\xfe", "is not JSON"),
    ],
)
def test_a_file_that_is_none(tmp_path, text, said):
    path = tmp_path / "other.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ComparisonError, match=said) as caught:
        Comparison.load(path)
    assert "other.json" in str(caught.value)


def test_a_result_whose_numbers_are_words_is_refused(tmp_path):
    data = compare(["sgd"], **QUICK).to_json()
    for break_it in (
        lambda r: r["trials"][0]["losses"].__setitem__(0, "many"),
        lambda r: r.__setitem__("chosen", 99),
        lambda r: r["tuned"].pop("curves"),
        lambda r: r.__setitem__("trials", []),
    ):
        broken = json.loads(json.dumps(data))
        break_it(broken["results"][0])
        with pytest.raises(ComparisonError, match="broken comparison"):
            Comparison.from_json(broken)


def test_looking_up():
    comparison = compare(["sgd"], **QUICK)
    with pytest.raises(KeyError, match="there is no result of 'adam' on 'quadratic-10'"):
        comparison.result("quadratic-10", "adam")
    assert list(comparison.on("quadratic-10")) == ["sgd-momentum", "sgd"]
    assert comparison.on("moons") == {}


# Bad input --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"optimizers": ["adm"]}, "unknown optimizer 'adm': did you mean 'adam'"),
        ({"optimizers": []}, "there is no optimizer to compare"),
        ({"optimizers": ["adam", "adam"]}, "a name twice: adam, adam"),
        ({"optimizers": {"mine": 3}}, r"optimizers\['mine'\] must be a function \(parameters, lr\) -> optimizer"),
        ({"optimizers": Adam}, "optimizers must be names, or functions by name"),
        ({"optimizers": {"mine": lambda p, lr: Adam(p)}}, "Adam was given an array of 1 rates and does not have them"),
        ({"optimizers": {"lbfgs": LBFGS}}, "LBFGS takes one step for all that it moves"),
        ({"baseline": "adm"}, "unknown baseline 'adm': did you mean 'adam'"),
        ({"on": "mons"}, "unknown problem 'mons': did you mean 'moons'"),
        ({"grid": []}, r"grid must list the learning rates to try, such as \[0.001, 0.01, 0.1\], got \[\]"),
        ({"grid": 0.1}, "grid must list the learning rates to try"),
        ({"grid": [0.1, -0.1]}, "grid: a learning rate must be a positive and finite number, got -0.1"),
        ({"grid": [0.0]}, "a positive and finite number, got 0.0"),
        ({"grid": [np.nan]}, "a positive and finite number, got nan"),
        ({"grid": ["0.1"]}, "a positive and finite number, got '0.1'"),
        ({"grid": [0.1, 0.1]}, "grid: 0.1 is in it twice"),
        ({"budget": 4}, "budget must be 1, 3 or 9 trials for a grid of 3 rates .* got 4"),
        ({"budget": True}, "budget must be 1, 3 or 9"),
        ({"grid": [0.1], "budget": 2}, r"budget must be 1 or 3 trials for a grid of 1 rate \(the grid, the grid with"),
        ({"optimizers": {"mine": lambda p, lr: Adam(p, lr)}, "budget": 1}, "a budget of 1 trial is for the default rate, and 'mine'"),
        ({"seeds": 1}, "seeds must be at least 2, got 1: one run cannot say what is chance"),
        ({"seeds": 0}, "seeds must be at least 2, got 0: one run"),
        ({"seeds": 2.0}, "seeds must be a whole number, got 2.0"),
        ({"tuning_seeds": 0}, "tuning_seeds must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_refused_with_a_clear_message_before_anything_runs(given, text, monkeypatch):
    monkeypatch.setattr(protocol, "sweep", lambda *args: pytest.fail("it ran"))
    with pytest.raises((ValueError, TypeError), match=text):
        compare(**{"optimizers": ["sgd"], **QUICK, **given})


def test_an_optimizer_of_ours_may_have_another_name():
    comparison = compare({"one": "adam", "other": "adam"}, baseline="one", **QUICK)
    assert comparison.optimizers == ("one", "other")
    one, other = comparison.result("quadratic-10", "one"), comparison.result("quadratic-10", "other")
    assert one.best_lr == other.best_lr
    assert np.array_equal(one.tuned.curves, other.tuned.curves)


def test_it_is_reached_from_the_top():
    """Though it is imported only when it is asked for, and a folder beside the engine has another name."""
    code = (
        "import sys, tinynet as tn; assert 'tinynet.comparison' not in sys.modules; "
        "assert callable(tn.compare) and callable(tn.search) and callable(tn.compare); tn.Comparison.load; "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
