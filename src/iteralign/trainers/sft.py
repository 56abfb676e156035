"""Supervised fine-tuning: the answers are learnt by heart, with loss on them alone, by trl's SFTTrainer."""

from collections.abc import Sequence
from typing import Any

from iteralign.records import TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.resident import ResidentTrainer
from iteralign.trainers.rows import AnswerRow, make_rows
from iteralign.trainers.training import Objective, ours
from iteralign.weights.model import LocalModel


class Supervised(Objective):
    """A verified revision is what the prompt is to be answered with."""

    def rows(
        self, model: LocalModel, examples: Sequence[TrainingExample], settings: TrainingSettings
    ) -> list[AnswerRow]:
        return make_rows(model, examples, settings.max_length, settings.answer_tokens)

    def trainer(self, settings: TrainingSettings, reference: Any, arguments: dict[str, Any], **common: Any) -> Any:
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        config = SFTConfig(
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            padding_free=packs(common["model"].config),
            **arguments,
        )
        return ours(SFTTrainer)(args=config, **common)


class SFT(ResidentTrainer):
    """Supervised fine-tuning in this process."""

    objective = Supervised()


def packs(config: Any) -> bool:
    """Whether rows may stand behind each other in one long row instead of being padded: with the flash kernels, which keep
    them apart. So does a mask, but it makes the long row cost more than the padding (15% on a CPU, docs/log.md)."""
    return str(config._attn_implementation).startswith("flash")
