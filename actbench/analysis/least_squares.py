"""Networks of one hidden layer, fitted to points: those of all seeds at once, in fp64.

Shapes: S seeds, P parameters of one network, W its width, D dimensions of the input, N points.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from actbench.activations import Activation, create, get

STEPS = 200
PATIENCE, GAIN = 40, 1e-4  # ends where no seed's loss has fallen by this share within so many steps
DAMPING, EASED, RAISED, RIDGE = 1e-2, 1 / 3, 4.0, 1e-12

Predict = Callable[[Tensor, Tensor], Tensor]  # (P,), (D,) -> ()


class Network:
    """sum_j v_j act(w_j . x + b_j) + c, and with a gated activation act(gate, value) of two such projections.

    All of it, the activation's coefficients too, lies in one vector of P numbers.
    """

    def __init__(self, activation: str, width: int, dimensions: int):
        self.width, self.dimensions = width, dimensions
        self.projections = 2 if get(activation).gated else 1
        self._plain = _Plain(create(activation, width=width).double().eval())
        self._start = {name: p.detach().clone() for name, p in self._plain.named_parameters()}
        rows = self.projections * width
        self._shapes: dict[str, tuple[int, ...]] = {
            "weights": (rows, dimensions), "biases": (rows,), "out": (width,), "constant": (),
            **{name: tuple(p.shape) for name, p in self._start.items()},
        }  # fmt: skip

    @property
    def parameters(self) -> int:
        """P."""
        return sum(prod(shape) for shape in self._shapes.values())

    @property
    def linear(self) -> slice:
        """Where the parameters lie that the network is linear in: v and c."""
        first = self.projections * self.width * (self.dimensions + 1)
        return slice(first, first + self.width + 1)

    def start(self, seed: int) -> Tensor:
        """(P,): each unit's line or plane of zero input lies through a point drawn from [-1, 1]^D.

        The seed decides it, whatever the activation; its coefficients start as they do in a model.
        """
        random = np.random.default_rng(seed)
        rows = self.projections * self.width
        weights = random.normal(size=(rows, self.dimensions))
        weights *= 2 / np.linalg.norm(weights, axis=1, keepdims=True)
        biases = -(weights * random.uniform(-1, 1, size=(rows, self.dimensions))).sum(1)
        out = random.normal(size=self.width) / np.sqrt(self.width)
        drawn = [torch.from_numpy(x.reshape(-1)) for x in (weights, biases, out, np.zeros(1))]
        return torch.cat([*drawn, *(p.reshape(-1) for p in self._start.values())])

    def predict(self, parameters: Tensor, x: Tensor) -> Tensor:
        """(P,), (D,) -> (): the network's value at one point."""
        parts, at = {}, 0
        for name, shape in self._shapes.items():
            parts[name] = parameters[at : at + prod(shape)].view(shape)
            at += prod(shape)
        before = (parts["weights"] @ x + parts["biases"]).view(self.projections, self.width)
        own = {name: parts[name] for name in self._start}
        return parts["out"] @ functional_call(self._plain, own, tuple(before)) + parts["constant"]


class _Plain(nn.Module):
    """An activation's function itself, without what makes a model's passes fast."""

    def __init__(self, activation: Activation):
        super().__init__()
        self.activation = activation

    def forward(self, *inputs: Tensor) -> Tensor:
        y: Tensor = self.activation.compute(*inputs)
        return y


def predictions(predict: Predict) -> Callable[[Tensor, Tensor], Tensor]:
    """What maps parameters (S, P) and points (N, D) to the values (S, N)."""
    together: Callable[[Tensor, Tensor], Tensor] = vmap(vmap(predict, (None, 0)), (0, None))
    return together


def fit(network: Network, starts: Tensor, x: Tensor, y: Tensor, steps: int = STEPS) -> Tensor:
    """(S, P) starts -> (S, P) parameters with a least mean square error at the points x (N, D), y (N,).

    Levenberg and Marquardt's method, each seed with a damping of its own (Marquardt 1963, *An algorithm for
    least-squares estimation of nonlinear parameters*): a step is taken where it lowers the error, else damped more.
    What the network is linear in is solved for after every step, as in variable projection (Golub & Pereyra 1973).
    """
    value, slopes = predictions(network.predict), vmap(vmap(grad(network.predict), (None, 0)), (0, None))

    def best_outputs(parameters: Tensor) -> Tensor:
        features = slopes(parameters, x)[..., network.linear]  # (S, N, W + 1)
        solved = parameters.clone()
        solved[:, network.linear] = _least_squares(features, y.expand(len(parameters), -1), RIDGE)
        return solved

    parameters = best_outputs(starts)
    damping = torch.full((len(starts),), DAMPING, dtype=starts.dtype)
    error = value(parameters, x) - y
    loss = error.square().mean(1)
    best, since = loss.clone(), 0
    for _ in range(steps):
        tried = best_outputs(parameters - _least_squares(slopes(parameters, x), error, damping))
        tried_error = value(tried, x) - y
        tried_loss = tried_error.square().mean(1)
        lower = tried_loss < loss  # False for nan
        parameters = torch.where(lower[:, None], tried, parameters)
        error, loss = torch.where(lower[:, None], tried_error, error), torch.where(lower, tried_loss, loss)
        damping = (damping * torch.where(lower, EASED, RAISED)).clamp(1e-15, 1e12)
        since += 1
        if bool((loss < (1 - GAIN) * best).any()):
            best, since = loss.clone(), 0
        if since >= PATIENCE:
            break
    return parameters


def _least_squares(jacobian: Tensor, target: Tensor, damping: Tensor | float) -> Tensor:
    """(S, N, P), (S, N) -> (S, P): the damped least squares solution; damping in units of the mean squared column."""
    normal = jacobian.mT @ jacobian
    scale = damping * normal.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
    damped = normal + torch.diag_embed(scale[:, None].expand(-1, normal.shape[-1]))
    solution, _ = torch.linalg.solve_ex(damped, jacobian.mT @ target[..., None])
    return solution[..., 0]
