# %% [markdown]
# # 1. Hello: data, a net, a picture
#
# **You will** train a small network to tell two interleaved half-moons apart, and draw what it has learnt.
#
# **You will learn** the five lines that every training loop in the world is made of.
#
# **You need** Python. Run the file with `python tutorials/01_hello.py`, or cell by cell in VS Code or Jupyter.

# %%
from pathlib import Path

import numpy as np

import tinynet as tn
from monitor import plot_decision_boundary
from optimizers import Adam

# %% [markdown]
# ## Look at the data first
#
# Every row of `x` is a point in the plane; `y` says which moon it comes from. We keep a fifth of the points aside, to
# find out later whether the network has understood the moons or only memorised the points.

# %%
x, y = tn.datasets.moons(500, noise=0.2, seed=0)
x_train, x_test, y_train, y_test = tn.preprocessing.train_test_split(x, y, test_size=0.2, stratify=y, seed=0)
print("x", x_train.shape, x_train.dtype, " y", y_train.shape, " classes", np.unique(y))

# %% [markdown]
# ## A net is a function with numbers in it
#
# `MLP([2, 32, 32, 2])` takes 2 numbers to 32, to 32, to 2. The last two are called *logits*: the larger one is the net's
# answer. At first the weights are random, so the answers are worth nothing: the loss is near log 2 = 0.693, which is
# what you get by always saying "fifty-fifty".

# %%
model = tn.MLP([2, 32, 32, 2], activation="tanh", seed=0)
print(model.summary())
print(f"loss before training: {tn.cross_entropy(model(x_train), y_train).item():.3f}")

# %% [markdown]
# ## The five lines
#
# 1. compute the loss: how wrong are the answers?
# 2. forget the old gradients
# 3. walk back: how does the loss change with every single weight?
# 4. move every weight a little downhill
# 5. again

# %%
optimizer = Adam(model.parameters(), lr=1e-2)
for step in range(300):
    loss = tn.cross_entropy(model(x_train), y_train)  # 1
    optimizer.zero_grad()  # 2
    loss.backward()  # 3
    optimizer.step()  # 4
    if step % 50 == 0:
        print(f"step {step:3d}  loss {loss.item():.4f}")

# %% [markdown]
# ## Did it understand?
#
# The test points were never used above. `predict` answers logits; the larger one wins.

# %%
right = tn.predict(model, x_test).argmax(axis=1) == y_test
print(f"{right.mean():.0%} of {len(right)} test points right")
assert right.mean() > 0.9

# %% [markdown]
# ## The picture
#
# Colour is the net's answer at every point of the plane, pale where it is unsure. The border between the colours is
# curved because `tanh` is: without it, two layers would be one, and the border a straight line.

# %%
figure = plot_decision_boundary(lambda p: tn.softmax(tn.predict(model, p)), x_test, y_test, "two moons, test points")
pictures = Path("pictures")
pictures.mkdir(exist_ok=True)
figure.savefig(pictures / "01_hello.png")
print("saved pictures/01_hello.png")

# %% [markdown]
# ## On your own
#
# - Set `activation="identity"`. How good can a straight line be? Where does it fail?
# - Train on 20 points instead of 400 (`moons(25, ...)`). What happens to the border, and to the test score?
# - Replace `Adam(..., lr=1e-2)` by `SGD(..., lr=0.1)`. How many steps does it need for the same loss?
#
# **Next:** [02_backprop.py](02_backprop.py) opens line 3.
