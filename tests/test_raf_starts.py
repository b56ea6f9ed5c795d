"""RAF starts where RAFT does, or at a fit to any other function, and refuses what does not fit together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from actbench.activations import Activation, create, expand
from actbench.errors import BadInput

# RAFT's starts: version A, degrees (5, 4), as in the rational-activations package and UKPLab/2022-RAFT.
RAF_STARTS = {
    "gelu": (
        [-0.0012423594497499122, 0.5080497063245629, 0.41586363182937475,
         0.13022718688035761, 0.024355900098993424, 0.00290283948155535],
        [-0.06675015696494944, 0.17927646217001553, 0.03746682605496631, 1.6561610853276082e-10],
    ),
    "relu": (
        [0.029963801610813613, 0.6168978366891341, 2.37534759733888,
         3.0659900472408443, 1.5246831881677423, 0.2528070864040542],
        [-1.191550121923625, 4.4080487697236626, 0.9110357113686055, 0.34884977946384615],
    ),
    "leaky_relu": (
        [0.029792778657264946, 0.6183735264987601, 2.323309062531321,
         3.051936237265109, 1.4854203263828845, 0.2510244961111299],
        [-1.1419548357285474, 4.393159974992486, 0.8714712309957245, 0.34719662339598834],
    ),
    "swish": (
        [3.054879741161051e-07, 0.5000007853744493, 0.24999783422824703,
         0.05326628273219478, 0.005803034571292244, 0.0002751961022402342],
        [-4.111554955950634e-06, 0.10652899335007572, -1.2690007399796238e-06, 0.0005502331264140556],
    ),
    "tanh": (
        [-1.0804622559204184e-08, 1.0003008043819048, -2.5878199375289335e-08,
         0.09632129918392647, 3.4775841628196104e-09, 0.0004255709234726337],
        [-0.0013027181209176277, 0.428349017422072, 1.4524304083061898e-09, 0.010796648111337176],
    ),
    "sigmoid": (
        [0.4999992534599381, 0.25002157564685185, 0.14061924500301096,
         0.049420492431596394, 0.00876714851885483, 0.0006442412789159799],
        [2.1694506382753683e-09, 0.28122766100417684, 1.0123620714203357e-05, 0.017531988049946],
    ),
}  # fmt: skip
RAF_GELU = {  # values of the gelu start
    -6: -0.452412685928, -3: -0.008186174197, -2: -0.045993269002, -1: -0.157540781326, -0.5: -0.153432097108,
    0: -0.001242359450, 0.5: 0.345966871745, 1: 0.841575708138, 2: 1.954441078343, 3: 2.995818035560,
    6: 6.288526546249,
}  # fmt: skip
RAF_GELU_SLOPES = {-1: -0.07839201597, 0.5: 0.8679005746, 2: 1.0859328122}


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def raf(start: str = "gelu") -> Activation:
    """The published start in float64: the module itself rounds its coefficients to fp32."""
    activation = create("raf", init=start).double()
    with torch.no_grad():
        for parameter, published in zip(activation.parameters(), RAF_STARTS[start], strict=True):
            parameter.copy_(tensor(published))
    return activation


def test_rafs_gelu_start_has_the_published_values_and_slopes() -> None:
    x = tensor(list(RAF_GELU))
    torch.testing.assert_close(raf()(x), tensor(list(RAF_GELU.values())), rtol=0, atol=1e-9)
    x = tensor(list(RAF_GELU_SLOPES)).requires_grad_()
    raf()(x).sum().backward()
    torch.testing.assert_close(x.grad, tensor(list(RAF_GELU_SLOPES.values())), rtol=0, atol=1e-9)
    grid = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    assert (raf()(grid) - F.gelu(grid)).abs().max().item() == pytest.approx(0.004136480, abs=1e-8)


@pytest.mark.parametrize("start", RAF_STARTS)
def test_the_starts_of_version_a_are_the_published_coefficients(start: str) -> None:
    for name in (start, start.replace("swish", "silu")):
        activation = create("raf", init=name)
        numerator, denominator = RAF_STARTS[start]
        assert activation.numerator.tolist() == torch.tensor(numerator).tolist()
        assert activation.denominator.tolist() == torch.tensor(denominator).tolist()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"degrees": (3, 2)}, 1e-2),
        ({"version": "B"}, 5e-4),
        ({"version": "C"}, 5e-4),
        ({"version": "N"}, 1.3e-3),
        ({"range": (-2.0, 5.0)}, 1e-3),
        ({"degrees": (6, 5), "init": "swish"}, 1e-6),
        ({"degrees": (6, 5), "init": "prelu"}, 6e-3),
    ],
)
def test_other_starts_are_fitted_on_the_range(options: dict[str, object], error: float) -> None:
    activation, target = (
        create("raf", **options),
        create({"swish": "silu"}.get(options.get("init"), options.get("init", "gelu"))),
    )
    x = torch.linspace(*options.get("range", (-3, 3)), 601)
    with torch.no_grad():
        assert (activation(x) - target(x)).abs().max().item() < error
    assert torch.equal(create("raf", **options).numerator, activation.numerator)


RATIO = """
import torch
from actbench.activations import Activation
class Ratio(Activation):
    def compute(self, x):
        return (1 + x - x**3) / (1 + 0.5 * x.abs() + 0.2 * x**2)
"""


def test_a_rational_function_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(RATIO, encoding="utf-8")
    init = f"{tmp_path}/mine.py:Ratio"
    activation = create("raf", degrees=(3, 2), init=init)
    torch.testing.assert_close(activation.numerator.detach(), torch.tensor([1.0, 1.0, 0.0, -1.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(activation.denominator.detach(), torch.tensor([0.5, 0.2]), atol=1e-5, rtol=0)
    (tmp_path / "mine.py").write_text(RATIO.replace("1 + x", "2 + x"), encoding="utf-8")
    assert create("raf", degrees=(3, 2), init=init).numerator[0].item() == pytest.approx(2, abs=1e-5)


def test_a_recipe_holds_the_fit_to_a_file_and_not_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(RATIO, encoding="utf-8")
    [options] = expand("raf", {"degrees": [3, 2], "init": f"{tmp_path}/mine.py:Ratio", "sharing": 4})
    assert set(options) == {"degrees", "sharing", "numerator", "denominator"}
    assert options["denominator"] == pytest.approx([0.5, 0.2], abs=1e-5)
    assert expand("raf", {"init": "tanh"}) == [{"init": "tanh"}]


@pytest.mark.parametrize("name", ["glu", "polycom"])
def test_no_option_leads_to_code_that_a_run_does_not_keep(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(RATIO, encoding="utf-8")
    with pytest.raises(BadInput, match="does not ship with actbench"):
        create(name, inner=f"{tmp_path}/mine.py:Ratio")


def test_a_start_is_fitted_also_where_tensors_hold_no_values(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(RATIO.replace("1 + x", "torch.ones(()) + x"), encoding="utf-8")
    for init in ("swish_beta", f"{tmp_path}/mine.py:Ratio"):  # one has coefficients, one makes tensors as it computes
        with torch.device("meta"):
            assert create("raf", degrees=(3, 2), init=init).numerator.is_meta
        assert torch.isfinite(create("raf", degrees=(3, 2), init=init).numerator).all()


def test_the_module_and_the_fitter_load_scipy_only_to_fit() -> None:
    code = "import actbench.activations.rational as r, sys; r.RAF(); sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"degrees": (5, 4), "numerator": [1.0], "denominator": [1.0]}, "need 6 numerator and 4 denominator"),
        ({"degrees": (0, 1), "numerator": [1.0, 2.0], "denominator": [1.0]}, "need 1 numerator and 1"),
        ({"version": "C", "numerator": [1.0] * 6, "denominator": [1.0] * 4}, "need 6 numerator and 5 denominator"),
        ({"numerator": [1.0] * 6}, "both numerator and denominator"),
        ({"denominator": [1.0] * 4}, "both numerator and denominator"),
        ({"init": "relu", "numerator": [1.0] * 6, "denominator": [1.0] * 4}, "init 'relu' or coefficients, not both"),
        ({"init": "gleu"}, "init: unknown activation 'gleu' (did you mean '"),
        ({"init": "swiglu"}, "'swiglu' is gated"),
        ({"init": "poly_norm"}, "'poly_norm' is a function of whole rows"),
        ({"init": "nowhere/mine.py:Ratio"}, "no such file: nowhere/mine.py"),
        ({"range": (1.0, 3.0)}, "range must go from a negative to a positive number, not from 1.0 to 3.0"),
        ({"degrees": (5, 0), "numerator": [1.0] * 6, "denominator": []}, "greater than or equal to 1"),
        ({"degrees": (-1, 1), "numerator": [], "denominator": [1.0]}, "greater than or equal to 0"),
        ({"version": "E"}, "'A', 'B', 'C', 'D' or 'N'"),
        ({"outside": "flat"}, "'extrapolate' or 'linear'"),
    ],
)
def test_raf_refuses_what_does_not_fit(options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        create("raf", **options)
    assert said in str(caught.value)
