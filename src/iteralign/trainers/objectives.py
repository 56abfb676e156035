"""Which trainer a `training.objective` has."""

from iteralign.settings.training import Objective
from iteralign.trainers.distill import Distill
from iteralign.trainers.dpo import DPO
from iteralign.trainers.resident import ResidentTrainer
from iteralign.trainers.sft import SFT

TRAINERS: dict[Objective, type[ResidentTrainer]] = {"sft": SFT, "dpo": DPO, "distill": Distill}
