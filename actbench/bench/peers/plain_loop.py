"""A GPT and its training on one page, in the manner of nanoGPT (github.com/karpathy/nanoGPT), written to be fast.

Shapes: B batch, T time, D model width, H heads, V vocabulary. Modules are named as actbench's, to take its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actbench.bench.peers.gate import Gate
from actbench.bench.peers.orders import PretrainOrder, Report, last_quarter
from actbench.bench.peers.ours import say
from actbench.config.schema import GptSection
from actbench.nn.build import build
from actbench.training.plan import plan


class Attention(nn.Module):
    """Causal self-attention by torch's own function for it."""

    def __init__(self, section: GptSection):
        super().__init__()
        D = section.d_model
        self.n_heads, self.dropout = section.n_heads, section.dropout
        self.qkv, self.output = nn.Linear(D, 3 * D), nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        B, T, D = x.shape
        q, k, v = (each.view(B, T, self.n_heads, -1).transpose(1, 2) for each in self.qkv(x).split(D, dim=2))
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return self.output(y.transpose(1, 2).contiguous().view(B, T, D))


class FeedForward(nn.Module):
    """Up, GELU, down."""

    def __init__(self, section: GptSection):
        super().__init__()
        self.up, self.down = nn.Linear(section.d_model, section.d_ff), nn.Linear(section.d_ff, section.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """Both, each after a norm and beside a residual path."""

    def __init__(self, section: GptSection):
        super().__init__()
        self.attention, self.feed_forward = Attention(section), FeedForward(section)
        self.attention_norm = nn.LayerNorm(section.d_model, eps=section.norm_eps)
        self.feed_forward_norm = nn.LayerNorm(section.d_model, eps=section.norm_eps)
        self.dropout = nn.Dropout(section.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class PlainGpt(nn.Module):
    """GPT-2's layout with tied embeddings."""

    def __init__(self, section: GptSection, vocab_size: int, length: int):
        super().__init__()
        D = section.d_model
        self.tokens, self.positions = nn.Embedding(vocab_size, D), nn.Embedding(length, D)
        self.dropout = nn.Dropout(section.dropout)
        self.layers = nn.ModuleList(Block(section) for _ in range(section.n_layers))
        self.final_norm = nn.LayerNorm(D, eps=section.norm_eps)
        self.head = nn.ModuleDict({"decoder": nn.Linear(D, vocab_size, bias=False)})
        self.head["decoder"].weight = self.tokens.weight

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Token ids and the next ones, each (B, T) -> their mean negative log-likelihood."""
        x = self.dropout(self.tokens(tokens) + self.positions.weight[: tokens.shape[1]])
        for layer in self.layers:
            x = layer(x)
        logits = self.head["decoder"](self.final_norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def pretrain(order: PretrainOrder, gate: Gate) -> Report:
    """Whole model compiled, autocast where the machine gains by it, fused AdamW."""
    recipe = order.recipe
    planned = plan(recipe, order.folder, say)
    assert isinstance(recipe.model, GptSection) and recipe.budget.steps is not None
    hardware, optimizer_section = planned.hardware, recipe.optimizer
    torch.manual_seed(recipe.seed)
    model = PlainGpt(recipe.model, planned.vocab_size, recipe.batch.length)
    model.load_state_dict(build(recipe.model, planned.vocab_size, recipe.batch.length, recipe.seed).state_dict())
    model.to(hardware.device)
    compiled = torch.compile(model)
    decay = optimizer_section.weight_decay
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=optimizer_section.lr, betas=optimizer_section.betas, eps=optimizer_section.eps, fused=True
    )
    losses = []
    for position in range(recipe.budget.steps):
        batch = {name: field.to(hardware.device) for name, field in planned.stream.batch(position).items()}
        with hardware.autocast():
            loss = compiled(**batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), optimizer_section.clip_norm or float("inf"))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        gate.step_done()
    return Report(loss=last_quarter(torch.stack(losses).tolist()))
