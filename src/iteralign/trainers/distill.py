"""Self-distillation: the model learns to answer by itself as the base model does under the principles (trl's SDFTTrainer).

In each step the model answers its prompts as it is, and learns at every token of its answer what the base model, which has
the principles in its context, would have said there.
"""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

from iteralign.errors import TrainingDiverged
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.resident import ResidentTrainer
from iteralign.trainers.rows import TeacherRow, TokenRow, make_teacher_rows
from iteralign.trainers.training import Objective, ours
from iteralign.weights.model import LocalModel

_MIN_P = 0.1  # without it, one sampled token in a hundred is one that nobody would say, and what follows it is salad


class Distilled(Objective):
    """The principles are in the teacher's prompt alone. On benign prompts it has none, and teaches what the base model says."""

    compares_throughout = True

    def rows(
        self, model: LocalModel, examples: Sequence[TrainingExample], settings: TrainingSettings
    ) -> list[TeacherRow]:
        return make_teacher_rows(model, examples, settings.max_length)

    def compared_with(self, settings: TrainingSettings, start: Checkpoint, base: Checkpoint) -> Checkpoint:
        return base

    def trainer(self, settings: TrainingSettings, reference: Any, arguments: dict[str, Any], **common: Any) -> Any:
        trainer_class = _trainer_class()
        from trl.experimental.sdft import SDFTConfig

        config = SDFTConfig(
            max_completion_length=min(settings.distill.max_new_tokens, *common["train_dataset"]["room"]),
            num_generations=1,
            steps_per_generation=1,
            min_p=_MIN_P,
            distillation_mode="full_logits",
            distillation_alpha=settings.distill.alpha,
            teacher_model_kind="base",
            **arguments,
        )
        return trainer_class(reference, args=config, **common)

    def tokens(self, trainer: Any, rows: Sequence[TokenRow], settings: TrainingSettings) -> int:
        """The prompts, and what was sampled, which student and teacher read."""
        return super().tokens(trainer, rows, settings) + 2 * int(trainer.sampled_in_all())


class Distill(ResidentTrainer):
    """Self-distillation in this process."""

    objective = Distilled()


def _trainer_class() -> Any:
    """SDFTTrainer on prompts that are token ids already, the teacher's too, with a teacher that it is given."""
    import torch
    import transformers

    # That the teacher is the model without its adapter, as we want it.
    logging.getLogger("trl.experimental.sdft.sdft_trainer").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its interface may change, which our pinned version's does not
        from trl.experimental.sdft.sdft_trainer import DemonstrationTeacherContextBuilder, SDFTTrainer

    class TeacherPrompts(DemonstrationTeacherContextBuilder):  # type: ignore[misc, unused-ignore]
        def _compose_teacher_prompt(self, prompt: Any, privileged_context: Any) -> Any:
            return privileged_context

    class Trainer(ours(SDFTTrainer)):  # type: ignore[misc, unused-ignore]
        def __init__(self, teacher: Any, **arguments: Any) -> None:
            self.teacher = teacher
            self.sampled = 0
            super().__init__(**arguments)
            self.teacher_context_builder = TeacherPrompts(self)

        def sampled_in_all(self) -> Any:
            """Tokens of all answers, of all processes."""
            return self.accelerator.reduce(torch.tensor(self.sampled, device=self.args.device))

        def _setup_teacher_model(self) -> None:
            # An adapter's base is the model without it; trl would load any other by its name, which need not be there.
            self.teacher_model: Any = self.model
            if self.teacher is not None:
                self.teacher_model = self.accelerator.prepare_model(self.teacher, evaluation_mode=True)

        def _tokenize_prompts(self, prompts: Any) -> Any:
            return prompts

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return transformers.Trainer._get_train_sampler(self, dataset)  # trl's leaves out rows that fill no batch

        def _generate(self, prompt_ids: Any) -> Any:
            try:
                prompts, answers = super()._generate(prompt_ids)
            except RuntimeError as error:
                if "probability tensor" not in str(error):
                    raise
                raise TrainingDiverged(
                    "Training diverged: the weights no longer say what the next token of an answer is. The weights of the "
                    "round before stay in use. Lower the learning rate or use a longer warm-up."
                ) from error
            self.sampled += sum(len(answer) for answer in answers)
            return prompts, answers

    return Trainer
