"""Makes the pictures of the README and of comparing.md from real runs: python docs/make_pictures.py"""

import tempfile
from pathlib import Path

from tinynet.comparison import compare
from tinynet.comparison.pictures import plot_bands, plot_sensitivity
from tinynet.experiment import Experiment, Settings

HERE = Path(__file__).parent / "pictures"
WANTED = {
    "digits": (Settings(data="digits"), {"curves.png": "digits-curves.png"}),
    "spirals": (
        Settings("spirals", hidden=(64, 64), optimizer="sgd", momentum=0.9, l2=1e-4, epochs=200, seed=3),
        {"boundary.png": "spirals-boundary.png"},
    ),
}

for name, (settings, pictures) in WANTED.items():
    experiment = Experiment(settings)
    run = experiment.train(watch=experiment.usual_watch)
    with tempfile.TemporaryDirectory() as folder:
        for path in experiment.draw(run, Path(folder)):
            if path.name in pictures:
                path.replace(HERE / pictures[path.name])
    print(name, run.meta["test"])

comparison = compare(on="digits")
plot_sensitivity(comparison, "digits").savefig(HERE / "compare-rates.png")
plot_bands(comparison, "digits").savefig(HERE / "compare-curves.png")
