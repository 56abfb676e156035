"""Preference: verified revisions become likelier than failed answers, compared with reference weights (trl's DPOTrainer).

What the reference weights find of the rows is reckoned once, before the first step: no second model is held while training.
"""

import contextlib
import logging
import math
from collections.abc import Sequence
from typing import Any

from iteralign.errors import TrainingDiverged
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import DpoSettings, TrainingSettings
from iteralign.trainers.resident import ResidentTrainer
from iteralign.trainers.rows import PairRow, make_pairs
from iteralign.trainers.training import Objective, ours
from iteralign.weights.model import LocalModel

log = logging.getLogger(__name__)


class Preferred(Objective):
    """The chosen answer of each pair; with a share of sft's loss on it, and a rail where it loses probability none the less."""

    def rows(self, model: LocalModel, examples: Sequence[TrainingExample], settings: TrainingSettings) -> list[PairRow]:
        return make_pairs(model, examples, settings.max_length, settings.answer_tokens)

    def compared_with(self, settings: TrainingSettings, start: Checkpoint, base: Checkpoint) -> Checkpoint:
        return base if settings.dpo.reference == "base" else start

    def trainer(self, settings: TrainingSettings, reference: Any, arguments: dict[str, Any], **common: Any) -> Any:
        from trl.trainer.dpo_config import DPOConfig

        config = DPOConfig(
            max_length=None,
            beta=settings.dpo.beta,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, settings.dpo.sft_weight],
            # Else trl loads the trainee's weights a second time; with an adapter, it would hash all weights for its cache.
            precompute_ref_log_probs=settings.method == "full" and reference is None,
            **arguments,
        )
        return _trainer_class()(settings.dpo, args=config, ref_model=reference, **common)

    def check(self, trainer: Any, round_number: int) -> None:
        """The rail on falling probabilities of the preferred answers."""
        dpo, before, after = trainer.dpo, trainer.before, trainer.after
        log.info("Preferred answers in round %d: %.3f nats a token before, %.3f after.", round_number, before, after)
        if dpo.max_drop is None or not math.isfinite(after) or after >= before - dpo.max_drop:
            return  # what is not finite shows in loss and weights, too
        raise TrainingDiverged(
            f"Training diverged in round {round_number}: the answers to be preferred became less likely, from {before:.3f} to "
            f"{after:.3f} nats a token, which is more than training.dpo.max_drop ({dpo.max_drop:g}). The weights of the round "
            "before stay in use. Lower the learning rate, raise training.dpo.beta or training.dpo.sft_weight."
        )


class DPO(ResidentTrainer):
    """Direct preference optimisation in this process."""

    objective = Preferred()


def _trainer_class() -> Any:
    """DPOTrainer on rows that are token ids already; it knows how likely the preferred answers were before and are after."""
    import torch
    import transformers
    from trl.trainer.dpo_trainer import DPOTrainer

    class Trainer(ours(DPOTrainer)):  # type: ignore[misc, unused-ignore]
        def __init__(self, dpo: DpoSettings, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.dpo = dpo
            self.before = self.after = math.nan
            self.rows: Any = arguments["train_dataset"]
            chosen, rejected = self._of_reference()
            self.train_dataset = self.rows.add_column("ref_chosen_logps", chosen).add_column(
                "ref_rejected_logps", rejected
            )
            self.precompute_ref_logps = True
            self.add_callback(Measured(self))

        def _of_reference(self) -> tuple[list[float], list[float]]:
            network: Any = self.model
            adapted = hasattr(network, "peft_config")
            if adapted:
                network.delete_adapter("ref")  # trl's copy: the adapter itself is still as it was
            bare = adapted and self.dpo.reference == "base"
            with network.disable_adapter() if bare else contextlib.nullcontext():
                found = self.log_probs(self.ref_model or network)
            if self.ref_model is None and not bare:
                self.before = self.per_token(found[0])  # the trainee is its own reference
            self.ref_model: Any = None
            return found

        def log_probs(self, model: Any) -> tuple[list[float], list[float]]:
            """Of the chosen and of the rejected answers, row by row, the sum over their tokens; the same in each process."""
            model.eval()
            found: list[Any] = []
            for batch in self.get_eval_dataloader(self.rows):
                labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
                read = {name: batch[name] for name in ("input_ids", "attention_mask")}
                with torch.no_grad(), self.accelerator.autocast():
                    output = model(**read, labels=labels, use_cache=False, fused_lm_head=True)
                pairs = torch.stack(output.log_probs.sum(dim=1).chunk(2), dim=1)
                found.append(self.accelerator.gather_for_metrics(pairs).float().cpu())
            chosen, rejected = torch.cat(found).unbind(dim=1)
            return chosen.tolist(), rejected.tolist()

        def note_before(self) -> None:
            if math.isnan(self.before):
                self.before = self.per_token(self.log_probs(self.model)[0])

        def note_after(self) -> None:
            self.after = self.per_token(self.log_probs(self.model)[0])

        def per_token(self, chosen: list[float]) -> float:
            """Mean log-probability of a token of the chosen answers, in nats."""
            return sum(chosen) / sum(len(ids) for ids in self.rows["chosen_ids"])

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
            return dataset  # trl's way keeps them in a file, which processes with temporary directories of their own don't find

    class Measured(transformers.TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Asks while the weights lie where training has them, on GPUs in parts."""

        def __init__(self, trainer: Any) -> None:
            self.trainer = trainer

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.trainer.note_before()

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.trainer.note_after()

    return Trainer
