"""Activations are found, made and refused by name, and a user's own file is one of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from actbench.activations import Activation, available, create, get, option_problems, register, source_file
from actbench.errors import BadInput

CATALOGUE = [
    "apl", "geglu", "gelu", "glu", "leaky_relu", "leaky_relu2", "mish", "poly_norm", "poly_norm_glu", "poly_prelu",
    "poly_relu", "poly_relu_norm", "polycom", "prelu", "raf", "rbf", "reglu", "relu", "relu2", "sigmoid", "silu",
    "splash", "srelu", "swiglu", "swish_beta", "tanh", "xielu",
]  # fmt: skip


def test_the_catalogue_is_available_by_its_names() -> None:
    assert set(CATALOGUE) <= set(available())
    assert available() == sorted(available())
    assert all(get(name).name == name for name in CATALOGUE)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gellu", {}, "unknown activation 'gellu' (did you mean 'gelu'?)"),
        ("polynorm", {}, "unknown activation 'polynorm' (did you mean 'poly_norm'?)"),
        ("zzz", {}, "known: apl, geglu, gelu"),
        ("raf", {"degree": (5, 4)}, "raf.degree: unknown option (did you mean 'degrees'?)"),
        ("relu", {"slope": 0.1}, "relu.slope: unknown option (this activation has no options)"),
        ("poly_norm", {"order": "three"}, "poly_norm.order: input should be a valid integer"),
        ("poly_norm", {"order": 0}, "poly_norm.order: input should be greater than or equal to 1, not 0"),
        ("poly_norm", {"norm": "l1"}, "poly_norm.norm: input should be 'rms' or 'l2', not 'l1'"),
        ("raf", {"degrees": 5}, "raf.degrees: input should be a list, not 5"),
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
