# %% [markdown]
# # 3. Learning curves: read a training run like a doctor reads a chart
#
# **You will** train the same net three times, once well and twice badly, and tell which is which from the curves alone.
#
# **You will learn** what overfitting and too high a learning rate look like, and what to do about each.

# %%
from pathlib import Path

import numpy as np

import tinynet as tn
from monitor import plot_learning_curves
from monitor.pictures.style import COLOURS, canvas
from optimizers import L2, SGD, Adam

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

# %% [markdown]
# ## The problem
#
# Noisy moons: the classes overlap, so no net can be right about every point. Whoever gets every *training* point right
# has learnt the noise.

# %%
x, y = tn.datasets.moons(2000, noise=0.3, seed=1)
x_train, x_val, y_train, y_val = tn.preprocessing.train_test_split(x, y, test_size=0.5, stratify=y, seed=0)


def train(name, optimizer, rows, epochs=60, hidden=(32, 32), **options):
    """Train one net on the first `rows` training points; returns the recorded run."""
    model = tn.MLP([2, *hidden, 2], seed=0)
    return tn.fit(
        model,
        (x_train[:rows], y_train[:rows]),
        loss="cross_entropy",
        optimizer=optimizer(model.named_parameters()),
        epochs=epochs,
        batch_size=32,
        validation=(x_val, y_val),
        metrics=["accuracy"],
        recorder=tn.monitor.Recorder(root=None, name=name),
        **options,
    )


# %% [markdown]
# ## Healthy
#
# Both curves fall together and flatten out. The gap between them is small: what was learnt holds for new points.

# %%
healthy = train("healthy", lambda p: Adam(p, lr=3e-3, penalty=L2(1e-2)), rows=1000)

# %% [markdown]
# ## Overfitting
#
# A large net, 40 points, many epochs. The training loss goes to nothing, while the validation loss turns round and
# *rises*: the net grows ever more certain about points that it gets wrong.

# %%
overfit = train("overfit", lambda p: Adam(p, lr=1e-2), rows=40, hidden=(128, 128), epochs=200)

# %% [markdown]
# ## Too high a learning rate
#
# Each step jumps over the valley. The loss jitters, sits far above the healthy one, or explodes.

# %%
too_high = train("rate too high", lambda p: SGD(p, lr=2.5, momentum=0.9), rows=1000)

# %% [markdown]
# ## Read them
#
# Before you look at the picture: what do the numbers say?

# %%
for run in (healthy, overfit, too_high):
    steps, values = run.series("val/loss")
    best = int(np.argmin(values))
    _, train_loss = run.series("train/loss")
    jitter = np.abs(np.diff(train_loss[len(train_loss) // 2 :])).mean()
    print(
        f"{run.name:>14}: train {train_loss[-1]:6.3f}  val {values[-1]:6.3f}  best val {values[best]:6.3f} at {best} of "
        f"{len(values) - 1} epochs  jitter {jitter:.4f}"
    )

_, val = healthy.series("val/loss")
assert val[-1] < 1.1 * val.min(), "healthy: the end is about as good as the best"
_, val = overfit.series("val/loss")
assert val[-1] > 2 * val.min(), "overfit: the end is far worse than the best"
_, loss = too_high.series("train/loss")
assert loss[-1] > 1.2 * healthy.last("train/loss"), "too high a rate: it never gets down"

# %% [markdown]
# | what you see | what it is | what to try |
# |---|---|---|
# | training low, validation turns up | overfitting | more data, a smaller net, L2, dropout, stop at the best epoch |
# | both high, both flat | underfitting, or too low a rate | a larger net, a higher rate, more epochs |
# | training jumps about, or explodes | the rate is too high | divide it by 3; warm up; clip |
# | both low and together | healthy | stop, and test once on the test set |

# %%
figure, axes = canvas(1, 3, (8, 2.6))
for ax, run in zip(axes.flat, (healthy, overfit, too_high), strict=True):
    for part, style, label, colour in (("train", "-", "training", COLOURS[0]), ("val", "--", "validation", COLOURS[1])):
        _, epochs, values = run.points(f"{part}/loss")
        ax.plot(epochs, values, style, color=colour, label=label)
    ax.set(title=run.name, xlabel="epoch", ylim=(0, 1.5))
axes[0, 0].set_ylabel("loss")
axes[0, 0].legend(frameon=False)
figure.savefig(pictures / "03_learning_curves.png")
plot_learning_curves(healthy).savefig(pictures / "03_healthy.png")
print("saved pictures/03_learning_curves.png and pictures/03_healthy.png")

# %% [markdown]
# ## On your own
#
# - Cure the overfitting three ways: `rows=1000`; `penalty=L2(0.1)`; `callbacks=[EarlyStopping(patience=10)]` (from
#   `monitor`). Which gives the best validation loss?
# - Find the largest learning rate of SGD that still trains well. What does momentum 0.9 do to it? (It should become about
#   ten times smaller. Why?)
# - Make a net that underfits. How small must it be on this problem?
#
# **Next:** [04_comparing_optimizers.py](04_comparing_optimizers.py) asks which optimizer is best, and what can be said.
