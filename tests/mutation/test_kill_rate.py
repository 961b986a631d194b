"""The script that counts noticed mistakes still works: a handful of planted ones is noticed, and a right rule is not."""

import os
import random

import kill_rate
import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="mistakes are planted in forked processes")

TEXT = "def f(a, b):\n    return g(a, axis=0) - b\n"


@pytest.mark.parametrize("mutant", random.Random(5).sample(kill_rate.rule_mutants(), 10), ids=lambda m: m.label)
def test_a_changed_rule_is_noticed(mutant):
    assert kill_rate.notice_rule(mutant).startswith("test_ops::test_value_and_gradient")


def test_an_unchanged_rule_is_not(monkeypatch):
    monkeypatch.setitem(kill_rate.CHANGES, "twice", lambda d, operand: d)
    assert kill_rate.notice_rule(next(m for m in kill_rate.rule_mutants() if m.change == "twice")) is None


def test_changes_of_the_source_are_found_and_made():
    mutants = kill_rate.source_mutants({"m": TEXT})
    made = [kill_rate.changed("m", TEXT, m.n) for m in mutants]
    assert len(set(made)) == len(made) == 6
    assert made[0] == "def f(a, b):\n    return g(a, axis=0) + b"
    assert {"def f(a, b):\n    return g(a) - b", "def f(a, b):\n    return a - b"} <= set(made)


def test_every_excuse_is_for_a_change_that_is_still_made():
    made = [m.label for m in kill_rate.source_mutants({k: path.read_text() for k, path in kill_rate.SOURCES.items()})]
    excuses = [start for starts in kill_rate.EQUIVALENT.values() for start in starts]
    assert not [start for start in excuses if not any(label.startswith(start) for label in made)]


def test_a_changed_module_is_noticed():
    text = kill_rate.SOURCES["tinynet.rules"].read_text()
    mutants = [m for m in kill_rate.source_mutants({"tinynet.rules": text}) if "rule(np.sin," in m.label]
    rows = [f"test_ops::test_value_and_gradient[{i}]" for i in range(12)]
    assert kill_rate.notice_source(mutants[-1], text, rows).startswith("test_ops")


def notice_in_samples(what):
    """Who of the tests of test_flow.py on the stand-in notices a change of the mask of np.tril and np.triu?"""
    text = kill_rate.SOURCES["tinynet.compositions"].read_text()
    made = kill_rate.source_mutants({"tinynet.compositions": text})
    (mutant,) = [m for m in made if f": {what}" in m.label and "np.tri(" in m.label]
    return kill_rate.notice_source(mutant, text, [f"test_flow::test_every_sample_of_the_table[{i}]" for i in range(300)])


def test_a_mistake_that_only_another_device_shows_is_noticed():
    assert notice_in_samples("same_device(...)").startswith("test_flow")
    assert notice_in_samples("dtype= left out") is None  # which makes no difference
