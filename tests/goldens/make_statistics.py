"""Records what SciPy and statsmodels answer, for tests of the comparison's statistics that then need neither.

    python tests/goldens/make_statistics.py            # writes statistics.json beside this file
    python tests/goldens/make_statistics.py --check    # exit status 1 and a sentence per difference, if there is any

It needs numpy, scipy and statsmodels. The file holds their versions and, per case, the numbers that went in and what came
out. With ties or zeros SciPy's "exact" table does not apply, so the signed-rank test is asked for all patterns of signs
(`PermutationMethod`) there, and for its normal approximation in large samples.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.multitest import multipletests

FILE = Path(__file__).with_name("statistics.json")
ALL = stats.PermutationMethod(n_resamples=2**13)  # more than the patterns that there are: then all are counted


def signed_rank(rng: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for n in (1, 3, 6, 10, 25, 50, 60, 200):
        plain = rng.normal(0.3, 1, n).round(6)
        method = "exact" if n <= 50 else "asymptotic"
        answer = stats.wilcoxon(plain, method=method)
        for zeros in ("wilcox", "pratt"):
            found.append(_case(plain, zeros, answer))
    for n in (4, 7, 10, 12):
        tied = rng.integers(-3, 5, n).astype(float)
        tied[0] = 0
        for zeros in ("wilcox", "pratt"):
            found.append(_case(tied, zeros, stats.wilcoxon(tied, zero_method=zeros, method=ALL)))
    for n in (80, 150):
        tied = rng.integers(-6, 9, n).astype(float)
        for zeros in ("wilcox", "pratt"):
            found.append(_case(tied, zeros, stats.wilcoxon(tied, zero_method=zeros, method="asymptotic")))
    return found


def _case(d: np.ndarray, zeros: str, answer: Any) -> dict[str, Any]:
    return {"d": d.tolist(), "zeros": zeros, "statistic": float(answer.statistic), "pvalue": float(answer.pvalue)}


def many(rng: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for problems, k in ((2, 3), (5, 4), (12, 8), (40, 15)):
        for tied in (False, True):
            table = rng.normal(size=(problems, k)) + 0.3 * np.arange(k)
            table = table.round(0 if tied else 6)
            statistic, pvalue = stats.friedmanchisquare(*table.T)
            ranks = np.mean([stats.rankdata(row) for row in table], axis=0)
            q = np.abs(ranks[:, None] - ranks) / np.sqrt(k * (k + 1) / (6 * problems)) * np.sqrt(2)
            pairs = stats.studentized_range.sf(q, k, np.inf)
            found.append(
                {"results": table.tolist(), "ranks": ranks.tolist(), "pairs": pairs.tolist()}
                | {"statistic": float(statistic), "pvalue": float(pvalue)}
            )
    return found


def corrected(rng: np.random.Generator) -> list[dict[str, Any]]:
    lists = [rng.uniform(0, top, n).round(5) for n, top in ((1, 1), (5, 0.1), (7, 0.05), (28, 0.02), (28, 1))]
    lists.append(np.array([0.01, 0.01, 0.04, 0.04, 1.0]))
    return [{"p": p.tolist(), "holm": multipletests(p, method="holm")[1].tolist()} for p in lists]


def tails() -> list[list[float]]:
    return [[x, k, float(stats.chi2.sf(x, k))] for k in range(1, 15) for x in (0.0, 0.01, 1.0, 7.5, 40.0, 200.0)]


def record() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__},
        "signed rank": signed_rank(rng),
        "many problems": many(rng),
        "holm": corrected(rng),
        "chi-square": tails(),
    }


def main() -> None:
    found = json.loads(json.dumps(record()))
    if "--check" not in sys.argv:
        FILE.write_text(json.dumps(found, indent=None, separators=(",", ":")) + "\n")
        return
    kept = json.loads(FILE.read_text())
    wrong = [name for name in found if name != "versions" and not _close(found[name], kept.get(name))]
    for name in wrong:
        print(f"{name}: differs from {FILE.name} (made with {kept['versions']}, now {found['versions']})")
    sys.exit(1 if wrong else 0)


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(_close, a, b))
    return a == b or (isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1e-9))


if __name__ == "__main__":
    main()
