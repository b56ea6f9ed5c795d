"""Activations compute what their papers define, in fp32 at least, and are found, made and refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from actbench.activations import Activation, available, create, get, option_problems, register, source_file
from actbench.errors import BadInput

SHIPPED = ("gelu", "poly_norm", "poly_relu", "raf", "relu", "silu", "swiglu", "tanh")

# Computed in float64 from the definitions in PolyCom (arXiv 2411.03884) and its released code. Weights are
# a_1, a_2, a_3; the unequal ones betray a swap.
X = [-2, -1, -0.5, 0, 0.5, 1, 2, 3]
THIRDS, UNEQUAL = [1 / 3, 1 / 3, 1 / 3], [0.2, 0.3, 0.5]
POLY = {  # name, options, weights, bias: values at X
    "poly_relu, thirds": (
        "poly_relu", {}, THIRDS, 0.0,
        [0, 0, 0, 0, 0.2916666666666667, 1, 4.666666666666667, 13],
    ),
    "poly_relu, unequal": (
        "poly_relu", {}, UNEQUAL, 0.1,
        [0.1, 0.1, 0.1, 0.1, 0.3375, 1.1, 5.7, 16.9],
    ),
    "poly_norm by RMS, thirds": (
        "poly_norm", {}, THIRDS, 0.0,
        [-0.33287087095083545, -0.15780215426573033, -0.08880562337200938, 0,
         0.13274044893342993, 0.3335414565114125, 1.0358280799335642, 2.2998657349315117],
    ),
    "poly_norm by RMS, unequal": (
        "poly_norm", {}, UNEQUAL, 0.1,
        [-0.22588597882116038, 0.002728723077655565, 0.04968798984853763, 0.1,
         0.18985335315674087, 0.3554366489434584, 1.0585474669056163, 2.4988412508840585],
    ),
    "poly_norm by L2, thirds": (
        "poly_norm", {"norm": "l2", "eps": 0.0}, THIRDS, 0.0,
        [-0.1176876521286948, -0.05579150114125009, -0.031397536725754516, 0,
         0.04693084380782106, 0.11792472946951627, 0.36622056544175957, 0.8131253860911908],
    ),
}  # fmt: skip
UPSTREAM = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]
GRADIENTS = {  # of sum(UPSTREAM * f(X)) with weights of a third: to x, to a_1 a_2 a_3, to a_0
    "poly_norm": (
        [0.4377931506148859, 0.1151998196492374, 0.08705352439655784, 0.1067520806388643,
         0.17254378274501314, 0.2826769250838608, 0.42533169336147975, -0.06176622234635487],
        [3.2826264796450775, 3.756427585501456, 3.2358639497750956],
        4.5,
    ),
    "poly_relu": (
        [0, 0, 0, 0, 0.5729166666666665, 1.5, 4.958333333333333, 11.333333333333334],
        [5.8125, 13.40625, 34.828125],
        4.5,
    ),
}  # fmt: skip
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


def poly(name: str, weights: list[float], bias: float = 0.0, **options: object) -> Activation:
    activation = create(name, order=len(weights), **options).double()
    with torch.no_grad():
        activation.weight.copy_(tensor(weights))
        activation.bias.fill_(bias)
    return activation


def raf(start: str = "gelu") -> Activation:
    """The published start in float64: the module itself rounds its coefficients to fp32."""
    activation = create("raf", init=start).double()
    with torch.no_grad():
        for parameter, published in zip(activation.parameters(), RAF_STARTS[start], strict=True):
            parameter.copy_(tensor(published))
    return activation


# The functions themselves.


@pytest.mark.parametrize("case", POLY)
def test_polynomials_have_the_papers_values(case: str) -> None:
    name, options, weights, bias, values = POLY[case]
    torch.testing.assert_close(poly(name, weights, bias, **options)(tensor(X)), tensor(values), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", GRADIENTS)
def test_polynomials_have_the_papers_gradients(name: str) -> None:
    to_x, to_weights, to_bias = GRADIENTS[name]
    activation, x = poly(name, THIRDS), tensor(X).requires_grad_()
    (activation(x) * tensor(UPSTREAM)).sum().backward()
    torch.testing.assert_close(x.grad, tensor(to_x), rtol=0, atol=1e-9)
    torch.testing.assert_close(activation.weight.grad, tensor(to_weights), rtol=0, atol=1e-9)
    torch.testing.assert_close(activation.bias.grad, tensor(to_bias), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["poly_relu", "poly_norm"])
def test_polynomials_start_at_one_over_the_order(name: str) -> None:
    assert create(name).weight.tolist() == pytest.approx([1 / 3] * 3)
    assert create(name, order=4).weight.tolist() == [0.25] * 4
    assert create(name).bias.item() == 0.0


def test_poly_norm_normalises_every_row_by_itself() -> None:
    activation, x = create("poly_norm").double(), torch.randn(3, 5, 8, dtype=torch.float64)
    rows = torch.stack([activation(row) for row in x.flatten(0, 1)]).view_as(x)
    torch.testing.assert_close(activation(x), rows)
    torch.testing.assert_close(activation(7 * x), activation(x), rtol=0, atol=1e-4)  # scale is lost


def test_poly_norms_curve_uses_the_norms_of_what_the_layer_receives() -> None:
    activation, inputs = create("poly_norm").double(), torch.randn(64, dtype=torch.float64)
    torch.testing.assert_close(activation.curve(inputs[:5], inputs), activation(inputs)[:5])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_poly_relu_of_order_one_is_relu(values: list[float]) -> None:
    x = tensor(values)
    assert torch.equal(create("poly_relu", order=1).double()(x), x.relu())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20))
def test_squares_and_cubes_of_relu_compose_to_those_of_x(values: list[float]) -> None:
    x = tensor(values)
    square, cube = poly("poly_relu", [0, 1]), poly("poly_relu", [0, 0, 1])
    torch.testing.assert_close(square(x) + square(-x), x**2)
    torch.testing.assert_close(cube(x) - cube(-x), x**3)


def test_rafs_gelu_start_has_the_published_values_and_slopes() -> None:
    x = tensor(list(RAF_GELU))
    torch.testing.assert_close(raf()(x), tensor(list(RAF_GELU.values())), rtol=0, atol=1e-9)
    x = tensor(list(RAF_GELU_SLOPES)).requires_grad_()
    raf()(x).sum().backward()
    torch.testing.assert_close(x.grad, tensor(list(RAF_GELU_SLOPES.values())), rtol=0, atol=1e-9)
    grid = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    assert (raf()(grid) - F.gelu(grid)).abs().max().item() == pytest.approx(0.004136480, abs=1e-8)


@pytest.mark.parametrize("start", RAF_STARTS)
def test_rafs_starts_are_the_published_coefficients(start: str) -> None:
    activation = create("raf", init=start)
    numerator, denominator = RAF_STARTS[start]
    assert activation.numerator.tolist() == torch.tensor(numerator).tolist()
    assert activation.denominator.tolist() == torch.tensor(denominator).tolist()


@pytest.mark.parametrize("start", RAF_STARTS)
def test_raf_is_version_a_for_every_start(start: str) -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    a, b = RAF_STARTS[start]
    above = sum(a_i * x**i for i, a_i in enumerate(a))
    below = 1 + sum((b_j * x**j).abs() for j, b_j in enumerate(b, start=1))
    torch.testing.assert_close(raf(start)(x), above / below, rtol=1e-12, atol=1e-12)


def test_raf_of_own_coefficients_and_degrees() -> None:
    activation = create("raf", degrees=(2, 1), numerator=[1.0, 2.0, 3.0], denominator=[-0.5]).double()
    x = tensor(X)
    torch.testing.assert_close(activation(x), (1 + 2 * x + 3 * x**2) / (1 + (0.5 * x).abs()))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"degrees": (3, 2)}, "published for degrees (5, 4) only"),
        ({"degrees": (5, 4), "numerator": [1.0], "denominator": [1.0]}, "need 6 numerator and 4 denominator"),
        ({"degrees": (0, 1), "numerator": [1.0, 2.0], "denominator": [1.0]}, "need 1 numerator and 1"),
        ({"numerator": [1.0] * 6}, "both numerator and denominator"),
        ({"denominator": [1.0] * 4}, "both numerator and denominator"),
        ({"init": "selu"}, "unknown init 'selu'"),
        ({"degrees": (5, 0), "numerator": [1.0] * 6, "denominator": []}, "greater than or equal to 1"),
        ({"degrees": (-1, 1), "numerator": [], "denominator": [1.0]}, "greater than or equal to 0"),
    ],
)
def test_raf_refuses_coefficients_that_do_not_fit(options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        create("raf", **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "reference"),
    [
        ("relu", {}, lambda x: x.clamp(min=0)),
        ("gelu", {}, lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))),
        ("gelu", {"approximate": "tanh"},
         lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))),
        ("silu", {}, lambda x: x / (1 + torch.exp(-x))),
        ("tanh", {}, lambda x: (1 - torch.exp(-2 * x)) / (1 + torch.exp(-2 * x))),
    ],
    ids=["relu", "gelu", "gelu by tanh", "silu", "tanh"],
)  # fmt: skip
def test_fixed_functions_equal_their_definitions(name: str, options: dict[str, str], reference) -> None:
    x = torch.linspace(-8, 8, 201, dtype=torch.float64)
    torch.testing.assert_close(create(name, **options)(x), reference(x), rtol=0, atol=1e-12)


def test_swiglu_equals_its_definition() -> None:
    gate, value = torch.randn(2, 7, 12, dtype=torch.float64)
    expected = gate / (1 + torch.exp(-gate)) * value
    torch.testing.assert_close(create("swiglu")(gate, value), expected, rtol=0, atol=1e-12)
    assert get("swiglu").gated
    torch.testing.assert_close(create("swiglu").curve(gate, value), F.silu(gate))


# Precision.


def _inputs(name: str) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(3 * torch.randn(16, 32, generator=generator) for _ in range(1 + get(name).gated))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", SHIPPED)
def test_low_precision_in_is_the_fp32_result_rounded(name: str, dtype: torch.dtype, autocast: bool) -> None:
    activation = create(name)
    low = tuple(x.to(dtype) for x in _inputs(name))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        got = activation(*low)
    assert got.dtype == dtype
    assert torch.equal(got, activation(*(x.float() for x in low)).to(dtype))


@pytest.mark.parametrize("name", SHIPPED)
def test_autocast_leaves_fp32_in_fp32(name: str) -> None:
    activation, inputs = create(name), _inputs(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = activation(*inputs)
    assert got.dtype == torch.float32
    assert torch.equal(got, activation(*inputs))


def test_what_compute_sees_is_never_narrower_than_fp32() -> None:
    seen: list[torch.dtype] = []

    class Spy(Activation):
        def compute(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((x @ x.mT).dtype)  # a product that autocast would narrow
            return x

    with torch.autocast("cpu", dtype=torch.bfloat16):
        for dtype in (torch.bfloat16, torch.float16):
            assert Spy()(torch.ones(2, 2, dtype=dtype)).dtype == dtype
    assert seen == [torch.float32, torch.float32]


def test_poly_norm_survives_cubes_that_fp16_cannot_hold() -> None:
    x = torch.full((1, 8), 100.0, dtype=torch.float16)
    assert torch.isfinite(create("poly_norm")(x)).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    count = 1 + get(name).gated
    inputs = torch.randn(count, 3, 5, generator=generator, dtype=torch.float64).requires_grad_().unbind()
    activation = create(name).double()
    with torch.no_grad():
        for parameter in activation.parameters():
            parameter += 0.1  # one of RAF's starts at 2e-10, where |b| has its kink
    assert torch.autograd.gradcheck(lambda *x: activation(*x[:count]), (*inputs, *activation.parameters()))


# Modules.


@pytest.mark.parametrize("name", SHIPPED)
def test_a_new_activation_draws_no_random_number(name: str) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()
    create(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before[1])


@pytest.mark.parametrize("name", SHIPPED)
def test_state_survives_a_round_trip(name: str) -> None:
    one, other = create(name), create(name)
    with torch.no_grad():
        for i, parameter in enumerate(one.parameters()):
            parameter.add_(0.1 * (i + 1))
    other.load_state_dict(one.state_dict())
    inputs = _inputs(name)
    assert torch.equal(one(*inputs), other(*inputs))
    assert len(list(one.parameters())) == len(one.state_dict())


def test_the_learnable_ones_have_the_papers_number_of_scalars() -> None:
    counts = {name: sum(p.numel() for p in create(name).parameters()) for name in available()}
    assert {name: n for name, n in counts.items() if n} == {"raf": 10, "poly_relu": 4, "poly_norm": 4}


# The registry.


def test_all_shipped_are_available_by_their_names() -> None:
    assert set(SHIPPED) <= set(available())
    assert available() == sorted(available())
    assert all(get(name).name == name for name in SHIPPED)
    assert all(get(name).__doc__ for name in SHIPPED)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gleu", {}, "unknown activation 'gleu' (did you mean 'gelu'?)"),
        ("polynorm", {}, "unknown activation 'polynorm' (did you mean 'poly_norm'?)"),
        ("zzz", {}, "known: gelu, poly_norm"),
        ("raf", {"degree": (5, 4)}, "raf.degree: unknown option (did you mean 'degrees'?)"),
        ("relu", {"slope": 0.1}, "relu.slope: unknown option (this activation has no options)"),
        ("poly_norm", {"order": "three"}, "poly_norm.order: input should be a valid integer"),
        ("poly_norm", {"order": 0}, "poly_norm.order: input should be greater than or equal to 1, not 0"),
        ("poly_norm", {"norm": "l1"}, "poly_norm.norm: input should be 'rms' or 'l2', not 'l1'"),
        ("raf", {"degrees": 5}, "raf.degrees: input should be a valid tuple, not 5"),
    ],
)
def test_a_bad_name_or_option_is_told_with_the_nearest(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        create(name, **options)
    assert said in str(caught.value)
    assert option_problems(name, options)


def test_all_bad_options_are_told_at_once() -> None:
    assert [key for key, _, _ in option_problems("poly_norm", {"order": 0, "norm": "l1", "esp": 1})] == [
        "order",
        "norm",
        "esp",
    ]
    assert option_problems("poly_norm", {"order": 2, "norm": "l2"}) == []


def test_a_taken_name_is_refused_and_stays_what_it_was() -> None:
    with pytest.raises(ValueError, match=r"'gelu' is already registered by actbench\.activations\.classic"):

        @register("gelu")
        class Mine(Activation):
            pass

    assert get("gelu").__name__ == "GELU"


CUBE = '''
import torch
from actbench.activations import Activation, register

@register("{name}")
class Cube(Activation):
    """A cube."""

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def compute(self, x):
        return self.scale * x**3
'''


def test_one_file_with_one_decorated_class_is_a_plug_in(tmp_path: Path) -> None:
    path = tmp_path / "cube.py"
    path.write_text(CUBE.format(name="own_cube"), encoding="utf-8")
    x = torch.linspace(-2, 2, 9)
    for name in (f"{path}:Cube", f"{path}:own_cube"):
        assert torch.equal(create(name, scale=2.0)(x), 2 * x**3)
        assert source_file(name) == path
    assert source_file("gelu") is None
    assert get(f"{path}:Cube") is get(f"{path}:own_cube")
    (problem,) = option_problems(f"{path}:Cube", {"scales": 1})
    assert problem == ("scales", "unknown option", "did you mean 'scale'?")
    assert create(f"{path}:Cube")(x.bfloat16()).dtype == torch.bfloat16


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "cube.py"
    path.write_text(CUBE.format(name="changing_cube"), encoding="utf-8")
    first = create(f"{path}:Cube")
    path.write_text(CUBE.format(name="changing_cube").replace("x**3", "x**5"), encoding="utf-8")
    second = create(f"{path}:Cube")
    two = torch.tensor(2.0)
    assert (first(two).item(), second(two).item()) == (8.0, 32.0)


@pytest.mark.parametrize(
    ("content", "attribute", "said"),
    [
        (None, "Cube", "no such file"),
        ("def broken(:\n", "Cube", "SyntaxError"),
        ("raise RuntimeError('boom')\n", "Cube", "RuntimeError: boom"),
        ("import no_such_module_anywhere\n", "Cube", "No module named 'no_such_module_anywhere'"),
        ("class Cube: pass\n", "Cube", "has no activation 'Cube'"),
        (CUBE.format(name="a_cube"), "Cub", "has no activation 'Cub' (did you mean 'Cube'?)"),
        (CUBE.format(name="gelu"), "Cube", "an activation named 'gelu' is already registered"),
        ("from actbench.activations import Activation\n", "Activation", "has no activation 'Activation'"),
    ],
    ids=["missing", "syntax", "raises", "imports", "no activation", "near miss", "clash", "imported class"],
)
def test_a_bad_plug_in_is_told_with_its_file(tmp_path: Path, content: str | None, attribute: str, said: str) -> None:
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        get(f"{path}:{attribute}")
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert option_problems(f"{path}:{attribute}", {})[0][0] == "name"


def test_a_name_with_a_colon_is_no_file_unless_it_ends_in_py() -> None:
    with pytest.raises(BadInput, match="unknown activation 'mine:Cube'"):
        get("mine:Cube")


def test_importing_the_package_imports_no_torch() -> None:
    code = "import actbench.activations, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
