# %% [markdown]
# # 2. Backprop: how one number knows about a thousand weights
#
# **You will** take `loss.backward()` apart: draw the graph, undo broadcasting by hand, and check every gradient of a net
# against the definition of the derivative.
#
# **You will learn** that backpropagation is the chain rule, a list, and nothing else.

# %%
from pathlib import Path

import numpy as np

import tinynet as tn

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

# %% [markdown]
# ## A graph of five calls
#
# Every call on a Tensor that requires a gradient is remembered: which function, on what, with what answer.

# %%
w = tn.Tensor(np.array([[0.5], [-1.0]]), requires_grad=True, name="w")
b = tn.Tensor(np.array([0.25]), requires_grad=True, name="b")
x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

loss = (np.tanh(x @ w + b) ** 2).mean()
tn.draw_graph(loss).savefig(pictures / "02_graph.png")
print("saved pictures/02_graph.png")

# %% [markdown]
# ## Walking back by hand
#
# Start with 1, the slope of the loss with respect to itself, and multiply by one rule of calculus per call, from the
# last to the first. Compare with the lines of `tinynet/rules.py`: they are the same.

# %%
z = x @ w.data + b.data
h = np.tanh(z)
g = np.full((3, 1), 1 / 3)  # mean: each of 3 elements has a third of the say
g = g * 2 * h  # square: 2 h
g = g * (1 - h * h)  # tanh: 1 - tanh(z)^2
by_hand = x.T @ g  # matmul: each weight collects what its inputs carried (and add passes g on)

loss.backward()
print("by hand  ", by_hand.ravel())
print("backward ", w.grad.ravel())
assert np.allclose(by_hand, w.grad, rtol=1e-12)

# %% [markdown]
# ## Broadcasting, undone
#
# `b` is one number, but it was added to three rows: NumPy repeated it. Each copy gets a gradient, and the gradient of the
# one number is their sum. *The transpose of repeating is adding up*. tinynet does this once, in `graph.py`, for every
# operation; forgetting it is the most common bug in home-made engines.

# %%
print("gradient of each copy of b", g.ravel(), " sum", g.sum(), " backward", b.grad)
assert np.allclose(g.sum(), b.grad, rtol=1e-12)

# %% [markdown]
# ## Why the order matters
#
# `c` below is reached from `a` along four paths. Walk back in the order in which you meet the nodes, and `b` passes on its
# gradient before it has all of it. Walk from the last call made to the first, and it cannot happen.

# %%
a = tn.Tensor([1.0], requires_grad=True)
b2 = a + a
c = b2 + b2
c.sum().backward()
print("a + a + a + a has the slope", a.grad)
assert a.grad.tolist() == [4.0]

# %% [markdown]
# ## Every gradient of a net against finite differences
#
# The derivative is what (L(w + h) - L(w - h)) / 2h tends to. So move each weight a little, both ways, and look. This
# costs two evaluations per weight, where `backward` costs about two in all: that is why we have backpropagation.

# %%
x, y = tn.datasets.moons(40, noise=0.1, seed=0)
x = x.astype(np.float64)
tn.set_default_dtype("float64")
model = tn.MLP([2, 4, 2], activation="tanh", seed=0)
tn.set_default_dtype("float32")


def loss_now():
    return tn.cross_entropy(model(x), y)


loss_now().backward()
errors = []
print(f"{'weight':>22}  {'backward':>12}  {'difference':>12}  {'error':>8}")
for name, parameter in model.named_parameters():
    for index in np.ndindex(parameter.shape):
        h, before = 1e-5, parameter.data[index]
        parameter.data[index] = before + h
        up = loss_now().item()
        parameter.data[index] = before - h
        down = loss_now().item()
        parameter.data[index] = before
        slope = (up - down) / (2 * h)
        errors.append(abs(slope - parameter.grad[index]))
        print(f"{name + str(list(index)):>22}  {parameter.grad[index]:12.8f}  {slope:12.8f}  {errors[-1]:8.1e}")
print(f"{len(errors)} gradients, worst error {max(errors):.1e}")
assert max(errors) < 1e-9

# %% [markdown]
# `tn.gradcheck` does this for you, more carefully: two step sizes combined to cancel the error of the first, random
# directions, and a refusal at kinks. Use it in your tests.

# %%
assert tn.gradcheck(lambda t: np.log(1 + np.exp(t)), [-1.0, 0.0, 2.0], order=2)

# %% [markdown]
# ## The picture: how small should h be?
#
# Too large, and the curve bends between the two points (error ~ h²). Too small, and rounding eats the digits (error
# ~ 1e-16/h). The best step lies between, and even it gives only about ten digits. The gradient from `backward` has all.

# %%
from monitor.pictures.style import COLOURS, canvas

steps = np.logspace(-13, 0, 80)
error = [abs((np.sin(1 + h) - np.sin(1 - h)) / (2 * h) - np.cos(1)) for h in steps]
figure, axes = canvas(1, 1, (5.4, 3.6))
axes[0, 0].loglog(steps, np.maximum(error, 1e-17), ".", color=COLOURS[0])
axes[0, 0].set(xlabel="step h", ylabel="error of the difference", title="the slope of sin at 1, by differences")
figure.savefig(pictures / "02_backprop.png")
print("saved pictures/02_backprop.png")

# %% [markdown]
# ## On your own
#
# - Draw the graph of `tn.cross_entropy(tn.MLP([2, 3, 2])(x), y)`. Find the weights. Why are there fewer nodes than you
#   would write by hand?
# - Write `tanh` as `(exp(t) - exp(-t)) / (exp(t) + exp(-t))` with NumPy functions on a Tensor. Same gradient? Try t = 1000.
# - `tn.grad(tn.grad(np.sin))(0.3)`: the rules are differentiated by the rules. What should it be?
#
# **Next:** [03_learning_curves.py](03_learning_curves.py) reads three trainings by their curves.
