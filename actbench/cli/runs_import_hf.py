"""`actbench runs import-hf`: a published BERT or RoBERTa as a finished pre-training run."""

from __future__ import annotations

from typing import Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, SetOption, print_json, say


def import_hf(
    model: Annotated[
        str, typer.Argument(help="A checkpoint of BERT or RoBERTa: its folder, or the hub's ID or ID@REVISION.")
    ],
    changes: SetOption = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Take a BERT or RoBERTa of the Hugging Face hub or a folder in, as a run to fine-tune, measure and draw.

    Its activations can be swapped; the command tells how much that changes its logits.

    Example: actbench runs import-hf bert-base-uncased --set model.activation.name=raf
    """
    from actbench.training.import_model import import_model
    from actbench.training.known_model import PREFIX, known_recipe, plan_import

    run = import_model(plan_import(known_recipe(model.removeprefix(PREFIX), changes or []), runs), say)
    facts = {"run": run.id, "folder": str(run.folder), **run.info["origin"], **run.summary}
    if as_json:
        print_json(facts)
        return
    from actbench.cli.show import print_facts

    print_facts(facts)
