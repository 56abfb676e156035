"""Every stage and file of a run directory by its name: here and nowhere else. docs/run-directory.md says what each holds."""

from typing import Generic, TypeVar

from iteralign.records import (
    Checkpoint,
    Draw,
    PlaceTrial,
    Principle,
    Record,
    RedTeamPrompt,
    Response,
    Revision,
    TextScore,
    TrainingExample,
    Verdict,
)

R = TypeVar("R", bound=Record)


class Stage(str, Generic[R]):
    """A stage of a round: its name, which its file has too, and the records that it leaves."""

    kind: type[R]
    doing: str
    """What a person reads while it is computed."""
    in_full: str
    """The same where there is room for more."""

    def __new__(cls, name: str, kind: type[R], doing: str, in_full: str | None = None) -> "Stage[R]":
        made = super().__new__(cls, name)
        made.kind, made.doing, made.in_full = kind, doing, in_full or doing
        return made

    @property
    def file(self) -> str:
        """Its file: one record, or records as JSON lines."""
        return f"{self}.json" if self.kind is Checkpoint else f"{self}.jsonl"

    def sitting(self, number: int) -> "Stage[R]":
        """That of one sitting of a review, from 1."""
        return Stage(f"{self}-{number}", self.kind, f"{self.doing}, sitting {number}")


GROWN = Stage("0_grown", RedTeamPrompt, "writing prompts")
DRAWS = Stage("0_draws", Draw, "choosing prompts")
PLACES = Stage("0_places", PlaceTrial, "trying places for principles")
"""Before the first round alone."""
RESPONSES = Stage("1_responses", Response, "answering")
VERDICTS = Stage("2_verdicts", Verdict, "judging")
PROPOSALS = Stage("3a_proposals", Principle, "proposing principles")
DISTINCT = Stage("3b_distinct", Principle, "comparing principles")
TRIED = Stage("3c_tried", Principle, "trying principles")
REVIEWED = Stage("3d_review", Principle, "review by a person")
TRIED_AGAIN = Stage("3e_tried", Principle, "trying edited principles")
PRINCIPLES = Stage("3_principles", Principle, "adopting principles")
TWINS = Stage("3f_twins", Verdict, "writing harmless twins")
REVISIONS = Stage("4_revisions", Revision, "answering again", "answering again, second judgement")
EXAMPLES = Stage("5_examples", TrainingExample, "gathering examples")
CHECKPOINT = Stage("6_checkpoint", Checkpoint, "fine-tuning")
HELD_OUT_VERDICTS = Stage("7_held_out", Verdict, "measuring held-out", "measuring: held-out red teaming")
BENIGN_VERDICTS = Stage("8_benign", Verdict, "measuring benign", "measuring: benign prompts")
SHOWN = Stage("8a_shown", Response, "answering behind examples")
"""The texts of the capability check, where principles stand among examples; before the first round alone."""
CAPABILITY = Stage("9_capability", TextScore, "measuring capability", "measuring: capability check")

STAGES: tuple[Stage[Record], ...] = (  # type: ignore[assignment]  # a stage is only read from
    *(GROWN, DRAWS, PLACES, RESPONSES, VERDICTS, PROPOSALS, DISTINCT, TRIED, REVIEWED, TRIED_AGAIN, PRINCIPLES),
    *(TWINS, REVISIONS, EXAMPLES, CHECKPOINT, HELD_OUT_VERDICTS, BENIGN_VERDICTS, SHOWN, CAPABILITY),
)
"""In the order of a round."""


def stage_named(name: str) -> Stage[Record] | None:
    """The stage of this name, also of a sitting's; None where there is none."""
    stage, _, sitting = name.partition("-")
    found = next((one for one in STAGES if one == stage), None)
    return found.sitting(int(sitting)) if found is not None and sitting.isdecimal() else found


BASELINE, ROUNDS = "baseline", "rounds"
ADAPTER, FULL_WEIGHTS = "adapter", "checkpoint"
"""In a round's directory."""
ROUND_METRICS = "metrics.json"


def round_directory(number: int) -> str:
    """Of a round, relative to the run; -1: of what comes before the first."""
    return BASELINE if number < 0 else f"{ROUNDS}/{number:04d}"


def review_sheet(sitting: int | str) -> str:
    """Where a person decides, in a round's directory."""
    return f"review-{sitting}.yaml"


PROMPTS, HELD_OUT, BENIGN, BENIGN_HELD_OUT = PROMPT_SETS = "prompts", "held_out", "benign", "benign_held_out"
GIVEN_CONSTITUTION = "given_constitution"


def begun_with(name: str) -> str:
    """The file of a prompt set, or of the constitution that the run was given."""
    return f"{name}.jsonl"


LOCK = ".lock"
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
MANIFEST = "manifest.jsonl"
METRICS = "metrics.jsonl"
GUARD_RAILS = "guard_rails.jsonl"
CONSTITUTION, CONSTITUTION_TO_READ = "constitution.yaml", "constitution.md"
REPORT, CARDS, MODEL_CARD, DATASET_CARD = "report.html", "cards", "model_card.md", "dataset_card.md"
MODEL = "model"
MODEL_SIGNATURE, MANIFEST_SIGNATURE = "model.sig", "manifest.sig"
REVIEW, REVIEWED_CONSTITUTION = "review.yaml", "reviewed_constitution.yaml"
"""Of a finished run."""
LABELS = "labels.jsonl"
"""What people say of its answers."""
ORACLE, TENSORBOARD = "oracle", "tensorboard"
DIRECTORIES = (BASELINE, ROUNDS, MODEL, ORACLE, TENSORBOARD)
"""In which there is something of the run's own."""
ATTEMPTS, TIMINGS, WARNINGS, TRACKED = "attempts.jsonl", "timings.jsonl", "warnings.jsonl", "tracked.jsonl"
CALLS, ENDPOINTS, REPLIES = f"{ORACLE}/calls.jsonl", f"{ORACLE}/endpoints.json", f"{ORACLE}/replies.sqlite"
LOGS = (ATTEMPTS, TIMINGS, WARNINGS, TRACKED, CALLS)
"""Files that only grow."""

OURS = (CONFIG, "*.json", "*.jsonl", "constitution.*", REPORT, "baseline/*", "rounds/*", "model/*")
IN_FLUX = ("oracle/*", "tensorboard/*", REPORT)
"""What changes at any time while a process works on the run: checked once it has ended."""
NOT_OURS = (MANIFEST, LABELS, "*.part", "*.part/*", f"rounds/*/{review_sheet('*')}", "*-wal", "*-shm", *LOGS)
"""Labels and a review sheet belong to the people who fill them in; what was decided in a review stands in its stage."""
WEIGHTS = ("rounds/*/adapter/*", "rounds/*/checkpoint/*", "model/*")
"""Written before their entries."""
BIG = ("rounds/*/checkpoint/*", "model/*")
"""Whole models: hashed when they are loaded, and by `iteralign verify`."""
DROPPED = ("rounds/*/checkpoint/*",)
"""With `training.keep: last` these go without an entry that says so."""
DERIVED = (METRICS, REPORT, GUARD_RAILS, CONSTITUTION, CONSTITUTION_TO_READ)
"""Written again from the rounds."""
IN_ROUNDS = (f"{BASELINE}/", f"{ROUNDS}/")

BEFORE_START = {LOCK, f"{CONFIG}.part", ORACLE, MANIFEST}
"""What may lie in a directory whose run was killed before it wrote its settings."""
WHILE_STARTING = {
    *(CONFIG, ATTEMPTS, WARNINGS, f"{ENVIRONMENT}.part"),
    *(begun_with(name) + part for name in (*PROMPT_SETS, GIVEN_CONSTITUTION) for part in ("", ".part")),
}
"""And besides, before `RunDirectory.start` had come to its end."""
