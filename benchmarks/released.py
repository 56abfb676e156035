"""A faithful model of the released procedure, as METHOD describes it, with our own parts: what is slow is its order.

Each round loads the model anew, asks the oracle one request at a time, trains in a fresh process that loads the model
again, pads its rows as asked, writes the weights every 10 steps and at the end, and judges the revisions a second time
without using the result. Generation itself is iteralign's (all 20 prompts in a batch), which favours it.

    python benchmarks/released.py MODEL ORACLE_URL OUT --rounds 5 [--padding 4096]
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import scene


def run(model: Path, url: str, out: Path, rounds: int, padding: int) -> dict[str, Any]:
    """All rounds; seconds by stage, optimiser steps and rows."""
    clock = scene.Clock()
    with clock("start"):
        import torch
        import transformers  # noqa: F401

        from iteralign.oracles.client import ChatClient
        from iteralign.oracles.llm import LLMOracle
        from iteralign.prompts.forms import prompt_form
        from iteralign.records import RedTeamPrompt, Sampling, Verdict
        from iteralign.settings.oracle import EndpointSettings, OracleSettings
        from iteralign.steps.examples import examples
        from iteralign.steps.propose import propose
        from iteralign.steps.respond import respond
        from iteralign.steps.revise import revise
        from iteralign.targets.transformers import TransformersTarget
        from iteralign.weights.model import LocalModel

        torch.set_num_threads(1)
    oracle = LLMOracle(
        OracleSettings(kind="rules"), ChatClient(EndpointSettings(model="simulated", base_url=url, concurrency=1))
    )
    form, sampling = prompt_form("plain"), Sampling(**scene.SAMPLING | {"stop": tuple(scene.SAMPLING["stop"])})
    prompts = [RedTeamPrompt(id=str(n), question=q) for n, q in enumerate(scene.questions(rounds * scene.GROUP))]
    adopted: list[Any] = []
    rows_in_all = steps = 0
    for number in range(rounds):
        with clock("loading"):
            local = LocalModel(str(model), root=out, device="cpu", dtype="float32")
            target = TransformersTarget(local)
            local.at(local.base)
        with clock("answering"):
            group = prompts[number * scene.GROUP : (number + 1) * scene.GROUP]
            responses = respond(target, form, group, sampling)
        with clock("judging"):
            verdicts: list[Verdict] = [oracle.judge([response])[0] for response in responses]
        failures = [verdict for verdict in verdicts if verdict.label == "unacceptable"]
        if not failures:
            continue
        with clock("proposing"):
            adopted += propose(oracle, failures, adopted, number)
        with clock("answering again"):
            revisions = revise(target, form, failures, adopted, sampling)
        with clock("judging again"):
            for revision in revisions:
                oracle.judge([revision.response])
        with clock("training"):
            rows = [row.model_dump(mode="json") for row in examples(form, revisions, [], [], number)]
            place = out / f"{number:04d}"
            place.mkdir(parents=True)
            (place / "rows.json").write_text(json.dumps(rows))
            command = [sys.executable, __file__, "--train", str(model), str(place), "--padding", str(padding)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
            steps += int(done.stdout.split()[-1])
            rows_in_all += len(rows)
        model = place / "model"
    return {"seconds": clock.seconds, "cpu_seconds": clock.cpu_seconds, "steps": steps, "rows": rows_in_all}


def train(model: Path, place: Path, padding: int) -> None:
    """The training process of one round; prints the optimiser steps."""
    import torch
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from iteralign.records import TrainingExample
    from iteralign.trainers.rows import make_rows
    from iteralign.weights.model import LocalModel

    torch.set_num_threads(1)
    local = LocalModel(str(model), root=place, device="cpu", dtype="float32")
    examples = [
        TrainingExample.model_validate_json(json.dumps(row)) for row in json.loads((place / "rows.json").read_text())
    ]
    rows = [{"input_ids": row.input_ids, "labels": row.labels} for row in make_rows(local, examples, 4096)]
    settings = scene.TRAINING
    trainer = SFTTrainer(
        model=local.at(local.base).requires_grad_(True),
        args=SFTConfig(
            output_dir=str(place / "trainer"),
            learning_rate=settings["learning_rate"],
            num_train_epochs=settings["epochs"],
            per_device_train_batch_size=settings["batch_size"],
            lr_scheduler_type=settings["scheduler"],
            warmup_steps=settings["warmup_ratio"],
            save_strategy="steps",
            save_steps=10,
            max_length=None,
            pad_to_multiple_of=padding or None,
            dataset_kwargs={"skip_prepare_dataset": True},
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
        ),
        processing_class=local.tokenizer,
        train_dataset=Dataset.from_list(rows),
    )
    trainer.train()
    trainer.save_model(str(place / "model"))
    local.tokenizer.save_pretrained(str(place / "model"))
    print(trainer.state.global_step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("rest", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--padding", type=int, default=0, help="pad rows to a multiple of this; 0: longest of the batch"
    )
    parser.add_argument("--train", action="store_true")
    given = parser.parse_args()
    if given.train:
        train(given.model, Path(given.rest[0]), given.padding)
    else:
        url, out = given.rest
        print(json.dumps(run(given.model, url, Path(out), given.rounds, given.padding)))


if __name__ == "__main__":
    main()
