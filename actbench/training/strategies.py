"""How a model is spread over processes: DDP, each has all of it; FSDP2, each has a part of every tensor.

FSDP splits what is kept: weights, gradients, moments. It does not split what is computed: before a block runs, its
weights are put together, and the rows of every hidden state are whole. So what looks at whole rows, as PolyNorm's norm
does, needs nothing of its own. Coefficients of activations stay whole, in fp32, on every process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from actbench.config import Recipe
from actbench.config.placement import learning, slot_names
from actbench.nn.build import activation_parameters
from actbench.training.world import World


def strategy_for(recipe: Recipe, world: World) -> Strategy | str:
    """Lightning's strategy for this run."""
    if world.size == 1:
        return "auto"
    if recipe.hardware.strategy == "fsdp":
        return Sharded(world)
    # Blocks are compiled one by one: to cut their graphs at DDP's buckets as well gains nothing.
    torch._dynamo.config.optimize_ddp = False
    return DDPStrategy(find_unused_parameters=_leaves_out(recipe), broadcast_buffers=False)


def _leaves_out(recipe: Recipe) -> bool:
    """Whether some parameter has no part in some step's loss: BERT's pooler, and frozen coefficients."""
    learnt = learning(recipe.optimizer, slot_names(recipe.model.family, recipe.model.n_layers)).values()
    return recipe.model.family == "bert" or any(own.frozen or own.unfreeze_after for own in learnt)


def shard(model: nn.Module, mesh: Any) -> None:
    """Splits a model over the mesh, block by block, and what is left as one; but not its activations' coefficients."""
    whole = activation_parameters(model)
    for block in model.layers:  # type: ignore[union-attr]
        fully_shard(block, mesh=mesh, ignored_params=whole)
    fully_shard(model, mesh=mesh, ignored_params=whole)


def clip(parameters: list[nn.Parameter], limit: float) -> Tensor:
    """Clips by the norm over all gradients, whole ones and those that lie on several processes; returns that norm."""
    parts = [p for p in parameters if isinstance(p.grad, DTensor)]
    whole = [p for p in parameters if p.grad is not None and not isinstance(p.grad, DTensor)]
    of_parts = get_total_norm([p.grad for p in parts])  # type: ignore[misc]
    norm = of_parts.full_tensor() if isinstance(of_parts, DTensor) else of_parts
    if whole:
        norm = torch.hypot(norm, get_total_norm([p.grad for p in whole]))  # type: ignore[misc]
    if math.isfinite(limit):
        for some in (parts, whole):
            clip_grads_with_norm_(some, limit, norm)
    return norm


def put_together(value: Any, keep: bool) -> Any:
    """Nested dicts and lists with every split tensor whole, on the CPU. All processes call it.

    One that does not `keep` them gets None for each.
    """
    if isinstance(value, DTensor):
        whole = value.full_tensor()
        return whole.cpu() if keep else None
    if isinstance(value, Tensor):
        return value.detach().cpu() if keep else None
    if isinstance(value, Mapping):
        return {key: put_together(part, keep) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(put_together(part, keep) for part in value)
    return value


def own_part(tensor: Tensor) -> Tensor:
    """What lies in this process of a tensor, split or whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class Sharded(ModelParallelStrategy):
    """FSDP2. Its checkpoints are whole, in one file, and look as those of a single process."""

    def __init__(self, world: World):
        super().__init__(data_parallel_size=world.size, tensor_parallel_size=1, save_distributed_checkpoint=False)
        self.world = world

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Lightning calls load_optimizer_state_dict."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Whole in the first process."""
        return dict(put_together(self.lightning_module.state_dict(), self.world.first))

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Whole in the first process."""
        plain = getattr(optimizer, "_optimizer", optimizer)
        return dict(put_together(plain.state_dict(), self.world.first))

    def load_checkpoint(self, checkpoint_path: Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Mapped, not read: each process takes its part of every tensor."""
        return dict(torch.load(checkpoint_path, map_location="cpu", mmap=True, weights_only=True))

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Each tensor split as the model's own."""
        own = self.lightning_module.state_dict()
        split = {name: _split(whole, own[name]) for name, whole in checkpoint["state_dict"].items()}
        self.lightning_module.load_state_dict(split, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Moments split as their weights."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            moments = {
                number: {key: _split(value, parameters[number]) for key, value in of_one.items()}
                for number, of_one in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": moments})


def _split(whole: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, of which `like` shows how it is split; a scalar stays whole."""
    if not isinstance(like, DTensor) or whole.shape != like.shape:
        return whole
    return distribute_tensor(whole.to(like.to_local().device), like.device_mesh, like.placements, src_data_rank=None)
