"""The checks that measure: gradients, rounding, the ends of the range, and the compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from actbench.activations import blocks
from actbench.activations.base import Activation
from actbench.activations.check_subject import Broken, Subject, in_a_line, nudge

STEP = 1e-5  # of the finite differences
DIFFERENCE = 1e-6  # between a gradient and finite differences in fp64; this and the next relative to 1 + |gradient|
SAME = 1e-8  # between two ways to the same gradient in fp64
COMPILED = 1e-4  # between compiled and eager in fp32
ROUNDINGS = 1.5  # of the narrow type, relative to the value: 1 is that of the result itself
SMALL = 0.1  # values below are measured as if they were so large
FAR = 1e4


def gradient(subject: Subject) -> str:
    """Autograd of `compute` against central differences in fp64, by each input and each coefficient."""
    worst = 0.0
    for way, sharing in subject.sharings().items():
        module, inputs = _in_fp64(subject, 3, **sharing)
        found = _gradients(module.compute, module, inputs)
        expected = _differences(module, inputs)
        worst = max(worst, _within(DIFFERENCE, found, expected, f"{way}finite differences"))
    return f"within {worst:.1e} of finite differences in fp64"


def backward(subject: Subject) -> str:
    """The module's own backward pass against autograd of `compute`: over several blocks, and with parts frozen."""
    worst = 0.0
    for way, sharing in subject.sharings().items():
        module, inputs = _in_fp64(subject, blocks.BLOCK // subject.width + 1, **sharing)
        found, expected = (_gradients(function, module, inputs) for function in (module, module.compute))
        worst = max(worst, _within(SAME, found, expected, f"{way}autograd of compute"))
    module, inputs = _in_fp64(subject, 3)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(False)
        found, expected = (_gradients(function, module, inputs) for function in (module, module.compute))
        worst = max(worst, _within(SAME, found, expected, f"with {name} frozen, autograd of compute"))
        parameter.requires_grad_(True)
    return f"within {worst:.1e} of autograd of compute in fp64"


def low_precision(subject: Subject, dtype: torch.dtype) -> str:
    """Narrow inputs give the fp64 result rounded, near zero and far from it."""
    module, exact = subject.make(), subject.make().double()
    worst, unit = 0.0, torch.finfo(dtype).eps / 2
    for reach in (8.0, 200.0):
        inputs = subject.inputs(40, subject.width, reach=reach, dtype=dtype)
        with torch.no_grad():
            got, expected = module(*inputs).double(), exact(*(x.double() for x in inputs))
        held = expected.abs() < 0.99 * torch.finfo(dtype).max
        off = (got - expected).abs() / expected.abs().clamp(min=SMALL) / unit
        worst = max(worst, off[held].nan_to_num(nan=torch.inf).max().item())
    words = f"{worst:.2f} roundings from fp64 ({worst * unit:.1e} relative)"
    if worst > ROUNDINGS:
        raise Broken(f"{words}: more than {ROUNDINGS}")
    return words


def far_out(subject: Subject) -> str:
    """Rows of 0, of 1e4 and of -1e4 have finite values and gradients in fp32."""
    module, said = subject.make(), []
    for value in (0.0, FAR, -FAR):
        inputs = [torch.full((2, subject.width), value) for _ in subject.inputs(1)]
        output = module(*inputs)[0, 0].item() + 0.0  # no -0
        said.append(f"f({value:g}) = {output:.3g}")
        found = _gradients(module, module, inputs)
        bad = [name for name, grad in found.items() if not torch.isfinite(grad).all()]
        if not abs(output) < torch.inf or bad:
            raise Broken(f"{said[-1]}" + (f", with a gradient by {bad[0]} that is not finite" if bad else ""))
    return ", ".join(said)


def nan(subject: Subject) -> str:
    """What is no number comes out as none, and touches no other row."""
    module, count = subject.make(), len(subject.inputs(1))
    for index in range(count):
        inputs = subject.inputs(3, subject.width)
        inputs[index][1, 5] = torch.nan
        output = module(*inputs)
        if not output[1, 5].isnan():
            raise Broken(f"nan comes out as {output[1, 5].item():.3g}")
        output[1, slice(None) if module.whole_row else 5] = 0
        if output.isnan().any():
            raise Broken("one nan makes others")
    return "nan comes out as nan"


def infinity(subject: Subject) -> str:
    """What becomes of one infinite input."""
    module, said = subject.make(), []
    for value in (torch.inf, -torch.inf):
        inputs = subject.inputs(2, subject.width)
        inputs[0][0, 0] = value
        said.append(f"f({value:g}) = {module(*inputs)[0, 0].item() + 0.0:.3g}")
    return ", ".join(said)


def compiled(subject: Subject) -> str:
    """One graph, forward and backward, in training and in evaluation, whose numbers are those without a compiler."""
    module, inputs = subject.make(), subject.inputs(6, subject.width)
    torch.compiler.reset()  # the limit of recompiles is that of all activations together
    fast = torch.compile(module, fullgraph=True, backend="aot_eager")
    try:
        module.train()
        fast(*inputs)
        module.eval()
        fast(*inputs)
    except Exception as error:
        raise Broken(f"not one graph: {in_a_line(error)}") from error
    with torch.no_grad():
        pairs = [{"the output": function(*inputs)} for function in (fast, module)]
    worst = _within(COMPILED, pairs[0], pairs[1], "eager")
    found, expected = (_gradients(function, module, inputs) for function in (fast, module))
    return f"one graph, within {max(worst, _within(COMPILED, found, expected, 'eager')):.1e} of eager"


def _in_fp64(subject: Subject, rows: int, **sharing: object) -> tuple[Activation, list[Tensor]]:
    module = subject.make(**sharing).double()
    nudge(module)
    return module, subject.inputs(rows, subject.width, dtype=torch.float64)


def _loss(output: Tensor) -> Tensor:
    """A sum in which no two elements weigh the same."""
    weights = torch.cos(torch.arange(output.numel(), dtype=torch.float64)).to(output.dtype)
    return (output * weights.view_as(output)).sum()


def _leaves(module: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    learnable = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    names = ("x",) if len(inputs) == 1 else ("gate", "value")
    return {**dict(zip(names, inputs, strict=True)), **learnable}


def _gradients(function: Callable[..., Tensor], module: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """By each input and each coefficient that is not frozen, by name."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    leaves = _leaves(module, inputs)
    found = torch.autograd.grad(_loss(function(*inputs)), list(leaves.values()), allow_unused=True)
    return {name: torch.zeros_like(x) if g is None else g for (name, x), g in zip(leaves.items(), found, strict=True)}


@torch.no_grad()
def _differences(module: Activation, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in _leaves(module, inputs).items():
        slopes, flat = torch.zeros_like(tensor), tensor.view(-1)
        for i, start in enumerate(flat.tolist()):
            ends = []
            for step in (STEP, -STEP):
                flat[i] = start + step
                ends.append(_loss(module.compute(*inputs)))
            flat[i] = start
            slopes.view(-1)[i] = (ends[0] - ends[1]) / (2 * STEP)
        found[name] = slopes
    return found


def _within(limit: float, found: dict[str, Tensor], expected: dict[str, Tensor], what: str) -> float:
    """The largest distance, relative to 1 + |expected|. Raises Broken when it is over the limit."""
    apart = {name: ((found[name] - expected[name]).abs() / (1 + expected[name].abs())) for name in expected}
    worst = {name: value.nan_to_num(nan=torch.inf).max().item() for name, value in apart.items()}
    name = max(worst, key=lambda key: worst[key])
    if worst[name] > limit:
        by = name if name.startswith("the ") else f"the gradient by {name}"
        raise Broken(f"{by} is {worst[name]:.1e} from {what}")
    return worst[name]
