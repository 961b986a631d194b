"""Write tinynet/data/*.npz from scikit-learn's copies of the data, or compare them with those.

python tests/goldens/make_datasets.py            write the files
python tests/goldens/make_datasets.py --check    exit status 1 and a sentence per difference, if there is any
"""

import sys
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[2] / "tinynet" / "data"


def wanted():
    """What each file must hold, in the smallest dtype that keeps every number."""
    from sklearn.datasets import load_digits, load_iris

    digits, iris = load_digits(), load_iris()
    return {
        "digits.npz": {"images": digits.images.astype(np.uint8), "labels": digits.target.astype(np.uint8)},
        "iris.npz": {"measurements": iris.data.astype(np.float32), "labels": iris.target.astype(np.uint8)},
    }


def differences(folder=DATA):
    """One sentence per array that is missing, superfluous or different."""
    found = []
    for name, arrays in wanted().items():
        if not (folder / name).is_file():
            found.append(f"{name} is missing")
            continue
        with np.load(folder / name, allow_pickle=False) as file:
            stored = {key: file[key] for key in file.files}
        if stored.keys() != arrays.keys():
            found.append(f"{name} holds {sorted(stored)}, not {sorted(arrays)}")
        for key in arrays.keys() & stored.keys():
            same = stored[key].dtype == arrays[key].dtype and np.array_equal(stored[key], arrays[key])
            if not same:
                found.append(f"{name}: {key} differs from scikit-learn's")
    return found


def main(arguments):
    if arguments == ["--check"]:
        found = differences()
        print("\n".join(found) or "the data sets are those of scikit-learn")
        return int(bool(found))
    if arguments:
        print(__doc__)
        return 2
    for name, arrays in wanted().items():
        np.savez_compressed(DATA / name, **arrays)
        print(f"wrote {DATA / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
