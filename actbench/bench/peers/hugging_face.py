"""Hugging Face's Trainer, as its documentation has it, on the same data in the same order.

Shapes: B batch, T sequence length, M masked positions a sequence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

from actbench.bench.peers import weights
from actbench.bench.peers.gate import Gate
from actbench.bench.peers.orders import FinetuneOrder, PretrainOrder, Report, last_quarter
from actbench.bench.peers.ours import say
from actbench.config.schema import BertSection, Recipe
from actbench.data.batches import Batch
from actbench.data.encoding import EncodedExamples, encode, epoch_order
from actbench.data.glue import load_glue
from actbench.evaluation.load import load, recipe_of
from actbench.evaluation.metrics import score
from actbench.nn.bert import Bert
from actbench.nn.build import build
from actbench.nn.gpt import Gpt
from actbench.nn.hugging_face import bert as bert_weights
from actbench.store import Run
from actbench.training.finetune_plan import plan_finetuning
from actbench.training.plan import plan

Row = dict[str, Any]

UNSCORED = -100  # the label of a token that the loss leaves out


class InOrder(Trainer):
    """The Trainer, taking its rows as they come instead of in an order of its own."""

    def get_train_dataloader(self) -> DataLoader[Any]:
        """See Trainer."""
        size = self.args.per_device_train_batch_size
        return self.accelerator.prepare(DataLoader(self.train_dataset, size, collate_fn=self.data_collator))


def pretrain(order: PretrainOrder, gate: Gate) -> Report:
    """BertForMaskedLM or GPT2LMHeadModel, from the recipe's initial weights."""
    recipe = order.recipe
    planned = plan(recipe, order.folder, say)
    steps, optimizer = recipe.budget.steps, recipe.optimizer
    assert steps is not None
    model = language_model(build(recipe.model, planned.vocab_size, recipe.batch.length, recipe.seed), recipe)
    batches = (planned.stream.batch(position) for position in range(steps))
    arguments = _arguments(
        order.folder,
        per_device_train_batch_size=recipe.batch.sequences,
        max_steps=steps,
        learning_rate=optimizer.lr,
        lr_scheduler_type="constant",
        adam_beta1=optimizer.betas[0],
        adam_beta2=optimizer.betas[1],
        adam_epsilon=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.clip_norm or 0.0,
        bf16=order.bf16_and_compile,
        torch_compile=order.bf16_and_compile,
    )
    trainer = InOrder(model=model, args=arguments, train_dataset=[row for batch in batches for row in rows(batch)])
    gate.follow_optimizers()
    trainer.train()
    return Report(loss=last_quarter(_losses(trainer)))


def language_model(model: Bert | Gpt, recipe: Recipe) -> Any:
    """Hugging Face's model of the same size with the same weights."""
    section = recipe.model
    if isinstance(model, Bert):
        bert = BertForMaskedLM(_bert_config(recipe, len(model.tokens.weight)))
        weights.give(bert, bert_weights(model))
        return bert
    config = GPT2Config(
        vocab_size=len(model.tokens.weight),
        n_positions=recipe.batch.length,
        n_embd=section.d_model,
        n_layer=section.n_layers,
        n_head=section.n_heads,
        n_inner=section.d_ff,
        activation_function="gelu",
        resid_pdrop=section.dropout,
        embd_pdrop=section.dropout,
        attn_pdrop=section.dropout,
        layer_norm_epsilon=section.norm_eps,
        bos_token_id=None,
        eos_token_id=None,
    )
    gpt = GPT2LMHeadModel(config)
    weights.give(gpt, weights.gpt2(model))
    return gpt


def rows(batch: Batch) -> list[Row]:
    """A batch of ours as Hugging Face's rows: token ids (T,) and labels (T,)."""
    tokens = batch["tokens"]
    if "masked" in batch:
        labels = torch.full_like(tokens, UNSCORED).scatter(1, batch["masked"], batch["targets"])
    else:  # the model shifts them, and the Trainer divides by how many there are: the first has nothing before it
        labels = torch.cat((torch.full_like(tokens[:, :1], UNSCORED), tokens[:, 1:]), dim=1)
    return [{"input_ids": one, "labels": label} for one, label in zip(tokens, labels, strict=True)]


def finetune(order: FinetuneOrder, gate: Gate) -> Report:
    """BertForSequenceClassification from the same pre-trained weights, scored on the same examples."""
    settings, parent, task = order.settings, Run(order.parent), load_glue(order.task, order.glue)
    (planned,) = plan_finetuning(parent, [task], [0], settings, order.folder)
    file = parent.folder / "tokenizer.json"
    train = encode(file, planned.train_and_selection()[0], settings.length)
    orders = [epoch_order(len(train), planned.seed, epoch) for epoch in range(settings.epochs)]
    data = [row for each in orders for row in _examples(train, each, order.padding)]
    arguments = _arguments(
        order.folder,
        per_device_train_batch_size=settings.batch_size,
        max_steps=settings.epochs * -(-len(train) // settings.batch_size),
        learning_rate=settings.lr,
        lr_scheduler_type="linear",
        weight_decay=settings.weight_decay,
        max_grad_norm=0.0,  # as actbench's fine-tuning
    )
    collator: Any = default_data_collator
    if order.padding == "longest":
        collator = DataCollatorWithPadding(PreTrainedTokenizerFast(tokenizer_file=str(file), pad_token="[PAD]"))
    model = classifier(load(parent), recipe_of(parent), task.task.n_classes)
    trainer = InOrder(model=model, args=arguments, train_dataset=data, data_collator=collator)
    gate.follow_optimizers()
    trainer.train()
    examples = encode(file, next(iter(task.evaluation.values())), settings.length)
    outputs = trainer.predict(_examples(examples, range(len(examples)), order.padding))
    found = score(task.task, outputs.predictions.argmax(-1), examples.labels)
    losses = _losses(trainer)[-len(orders[-1]) // settings.batch_size :]
    return Report(loss=sum(losses) / len(losses), score=found[task.task.headline])


def classifier(model: Bert | Gpt, recipe: Recipe, n_classes: int) -> Any:
    """The encoder under a new classifier."""
    assert isinstance(model, Bert)
    reference = BertForSequenceClassification(_bert_config(recipe, len(model.tokens.weight), num_labels=n_classes))
    weights.give(reference, bert_weights(model), new=("classifier",))
    return reference


def _bert_config(recipe: Recipe, vocabulary: int, **more: Any) -> BertConfig:
    section = recipe.model
    assert isinstance(section, BertSection) and section.norm_placement == "post"
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=section.d_model,
        num_hidden_layers=section.n_layers,
        num_attention_heads=section.n_heads,
        intermediate_size=section.d_ff,
        max_position_embeddings=recipe.batch.length,
        hidden_dropout_prob=section.dropout,
        attention_probs_dropout_prob=section.dropout,
        layer_norm_eps=section.norm_eps,
        **more,
    )


def _arguments(folder: Path, **more: Any) -> TrainingArguments:
    """The Trainer's defaults, but for what is written while it trains."""
    return TrainingArguments(
        output_dir=str(folder / "trainer"),
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,  # as actbench's side
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **more,
    )


def _losses(trainer: Trainer) -> list[float]:
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def _examples(encoded: EncodedExamples, order: Any, padding: str) -> list[Row]:
    """Examples as a tokenizer returns them: padded to the same length, or left for the collator to pad."""
    found = []
    for number in order:
        start, stop = encoded.offsets[number], encoded.offsets[number + 1]
        more = encoded.length - int(stop - start) if padding == "max_length" else 0
        found.append(
            {
                "input_ids": encoded.tokens[start:stop].tolist() + more * [encoded.pad],
                "token_type_ids": encoded.segments[start:stop].tolist() + more * [0],
                "attention_mask": int(stop - start) * [1] + more * [0],
                "labels": int(encoded.labels[number]),
            }
        )
    return found
