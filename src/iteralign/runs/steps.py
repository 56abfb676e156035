"""The steps of a run's rounds: what `algorithm.iteralign` calls. Each result is kept, or read back where it was kept before.

Settings end here: the steps themselves (`iteralign.steps`) take plain arguments and touch no files.
"""

from collections.abc import Callable, Sequence

from iteralign import layout
from iteralign.constitution.bench import Bench
from iteralign.constitution.doubles import compare
from iteralign.constitution.gate import try_out
from iteralign.constitution.ledger import adopt, in_force
from iteralign.constitution.review import Reviewer, review
from iteralign.constitution.twins import Twins, answer_and_judge
from iteralign.lookahead.ahead import LookAhead
from iteralign.lookahead.early import EarlyJudge
from iteralign.records import Checkpoint, Principle, RedTeamPrompt, Response, Revision, TrainingExample, Verdict
from iteralign.redteam.forms import in_forms
from iteralign.redteam.growth import Growth
from iteralign.redteam.orders import Order
from iteralign.rundir.stages import Stages
from iteralign.runs import build
from iteralign.runs.measuring import Measuring
from iteralign.runs.parts import Parts
from iteralign.scoreboard import guard_rails
from iteralign.scoreboard.guard_rails import Standing
from iteralign.scoreboard.measurement import Measurement
from iteralign.settings.settings import Settings
from iteralign.steps.examples import examples
from iteralign.steps.finetune import finetune
from iteralign.steps.judge import acceptable, judge
from iteralign.steps.place import chosen_place, try_places
from iteralign.steps.propose import propose
from iteralign.steps.reflect import reflect
from iteralign.steps.respond import answers
from iteralign.text.abstentions import says_something


class RunSteps:
    """What the rounds of a run have in common. Rounds are begun in their order, also those that an earlier attempt has done,
    so that all comes out the same."""

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        stages: Callable[[int], Stages],
        order: Order,
        *,
        held_out: Sequence[RedTeamPrompt] = (),
        benign_held_out: Sequence[RedTeamPrompt] = (),
        reviewer: Reviewer | None = None,
        growth: Growth | None = None,
        twins: Twins | None = None,
    ) -> None:
        """`stages(-1)` keeps what comes before the first round. `held_out` and `benign_held_out` are measured on. Without a
        `reviewer` nobody is asked about principles, without `growth` no prompts are written, without `twins` no twins."""
        self.settings = settings
        self.parts = parts
        self.stages = stages
        self.reviewer = reviewer
        self.early = EarlyJudge(parts.oracle, apart=build.shares_a_cpu(settings, parts.model))
        self.order = order
        self.growth = growth
        self.twins = twins
        self.ahead = LookAhead(parts.target, self.early, parts.form, settings.sampling, settings.lookahead)
        self.measuring = Measuring(settings, parts, self.early, stages, held_out, benign_held_out)
        self.similarity = build.build_similarity(settings)
        self.gate = build.build_gate(settings) if settings.constitution.gate.enabled else None
        self.doubles = build.build_doubles(settings)
        self.form = parts.form
        """Puts principles where they stand in this run."""
        self.benign: list[Response] = []
        """The base model's own acceptable answers to benign prompts that say something, for replay and trials of principles."""

    def baseline(self, base: Checkpoint, benign: Sequence[RedTeamPrompt]) -> Measurement:
        """Before the first round: the base model answers the `benign` prompts, and is measured."""
        target, form, keep, sampling = self.parts.target, self.form, self.stages(-1), self.settings.sampling
        target.load(base)
        inputs = [form.render_helping(prompt) for prompt in benign]
        responses = keep(layout.RESPONSES, answers, target, form, benign, inputs, sampling, self.early.ask)
        verdicts = keep(layout.VERDICTS, judge, self.early, responses)
        self.benign = [one.response for one in acceptable(verdicts) if says_something(one.response.text)]
        return self.measuring.first(base, form)

    def place(
        self,
        base: Checkpoint,
        prompts: Sequence[RedTeamPrompt],
        benign: Sequence[RedTeamPrompt],
        given: Sequence[Principle],
    ) -> None:
        """Where the settings say `auto`, the base model shows where principles stand best: those the run was given, or one that
        fits most harm."""
        if self.settings.form.principles != "auto":
            return
        how = self.settings.revision
        self.parts.target.load(base)
        trials = self.stages(-1)(
            layout.PLACES,
            try_places,
            self.parts.target,
            self.early,
            self.parts.form,
            prompts,
            benign,
            in_force(given) or [build.build_trial_principle(self.settings)],
            self.settings.sampling,
            max_principles=how.max_principles,
            max_refusals=self.settings.constitution.gate.max_refusals,
            min_fixed=self.settings.constitution.gate.min_fixed,
            must_decline=self.settings.revision.must_decline,
            seed=self.settings.seed,
            similarity=self.similarity,
            told=self.early.ask,
        )
        self.form = self.parts.form.placing(chosen_place(trials))

    def begin(self, number: int, weights: Checkpoint) -> "RoundSteps":
        """The steps of a round whose target has these weights."""
        return RoundSteps(self, number, weights)


class RoundSteps:
    """Implements `algorithm.Steps`."""

    def __init__(self, run: RunSteps, number: int, weights: Checkpoint) -> None:
        self.run, self.settings, self.number, self.weights = run, run.settings, number, weights
        self.target, self.oracle, self.form = run.parts.target, run.parts.oracle, run.form
        self.keep = run.stages(number)
        self._verdicts: list[Verdict] = []
        self._trained = False

    def choose(self) -> Sequence[RedTeamPrompt]:
        """The round's prompts, by the run's order; those of coming rounds may be answered with them."""
        growth, order = self.run.growth, self.run.order
        if growth is not None:
            grown = self.keep(layout.GROWN, growth.written, self.number)
            growth.add(self.number, grown)
            order.add(in_forms(grown, self.settings.redteam.forms))
        coming = order.coming(self.number, self.weights, self.keep)
        self.run.ahead.begin(self.number, self.weights, coming)
        return coming[0]

    def answer_and_judge(self, prompts: Sequence[RedTeamPrompt]) -> list[Verdict]:
        """The target's answers to the round's prompts, in their order, judged; coming rounds may be answered meanwhile."""
        done = self.keep.kept(layout.RESPONSES, layout.VERDICTS)  # verdicts have their responses in them
        responses = [] if done else self.keep(layout.RESPONSES, self.run.ahead.respond, prompts)
        self._verdicts = self.keep(layout.VERDICTS, self.run.ahead.judge, responses)
        self.run.order.judged(self._verdicts)
        if self.run.growth is not None:
            self.run.growth.judged(self._verdicts)
        return self._verdicts

    def last(self) -> bool:
        """Whether no round follows, since all prompts were asked or hardly any of the rest would fail."""
        return self.run.order.last(self.number)

    def discover(
        self, failures: Sequence[Verdict], earlier: Sequence[Verdict], ledger: Sequence[Principle]
    ) -> list[Principle]:
        """The round's principles with what became of each: proposed, compared with the known, tried, reviewed, adopted."""
        how, number, known = self.settings.constitution, self.number, in_force(ledger)
        twins = self.run.twins.answered() if self.run.twins is not None else []
        given = self.target, self.run.early, self.form, failures, earlier, self.run.benign, self.settings.sampling
        bench = Bench(
            *given,
            told=self.run.early.ask,
            twins=twins,
            base=self.weights == self.run.parts.base,
            must_decline=self.settings.revision.must_decline,
        )
        found = [principle for principle in ledger if principle.status == "proposed"]  # given, to be tried first
        if how.propose:
            shown = acceptable(self._verdicts) if how.contrast else []
            asked = self.oracle, failures, known, number
            found += self.keep(layout.PROPOSALS, propose, *asked, wording=how.wording, contrast=shown)
        if self.run.doubles is not None:
            found = self.keep(layout.DISTINCT, compare, self.oracle, found, known, self.run.doubles)
        if self.run.gate is not None:
            found = self.keep(layout.TRIED, try_out, bench, found, self.run.gate, number)
        if self.run.reviewer is not None:
            found = review(self.keep, self.run.reviewer, bench, found, known, self.run.gate, number)
        principles = self.keep(layout.PRINCIPLES, adopt, found, number)
        if self.run.twins is not None:
            new = in_force(principles)
            self.run.twins.add(new, failures, self.keep(layout.TWINS, self._twins, self.run.twins, new, failures))
        return principles

    def _twins(self, twins: Twins, new: Sequence[Principle], failures: Sequence[Verdict]) -> list[Verdict]:
        """Harmless questions that look like failures, as the base model answers them."""
        written, base = twins.written(new, failures), self.run.parts.base
        given = self.target, self.run.early, self.run.parts.form, base, self.weights, written, self.settings.sampling
        return answer_and_judge(*given, self.run.early.ask)

    def reflect(
        self, failures: Sequence[Verdict], principles: Sequence[Principle], earlier: Sequence[TrainingExample]
    ) -> list[Revision]:
        """The failed prompts answered again with principles in the context, all tries, judged."""
        how = self.settings.revision
        return self.keep(
            layout.REVISIONS,
            reflect,
            self.target,
            self.run.early,
            self.form,
            failures,
            principles,
            self.settings.sampling,
            earlier,
            mode=how.mode,
            max_principles=how.max_principles,
            tries=how.tries,
            temperature=how.temperature,
            best_of=how.best_of,
            must_decline=how.must_decline,
            similarity=self.run.similarity,
            told=self.run.early.ask,
        )

    def examples(self, revisions: Sequence[Revision], earlier: Sequence[TrainingExample]) -> list[TrainingExample]:
        """What the round trains on: these revisions, some of what was trained on earlier, some benign answers."""
        how = self.settings.training
        return self.keep(
            layout.EXAMPLES,
            examples,
            self.form,
            revisions,
            earlier,
            self.run.benign,
            self.number,
            twins=self.run.twins.new if self.run.twins is not None else (),
            earlier_twins=self.run.twins.earlier if self.run.twins is not None else (),
            replay=how.replay,
            min_replay=how.min_replay,
            benign_share=how.benign_share,
            min_benign=how.min_benign,
            preferred=how.objective == "dpo",
            taught=how.objective == "distill",
            seed=self.settings.seed,
        )

    def finetune(self, start: Checkpoint, examples: Sequence[TrainingExample]) -> tuple[Checkpoint, str | None]:
        """The trained weights; or `start`, and why the training came to nothing."""
        trainer, directory = self.run.parts.trainer, self.keep.directory
        made = self.keep(layout.CHECKPOINT, finetune, trainer, self.target, start, examples, directory, self.number)
        if made.problem is not None:
            return start, made.problem
        self._trained = True
        return made, None

    def measure(self, weights: Checkpoint) -> Measurement | None:
        """After a training, and at the end; None where it is not due."""
        return self.run.measuring.after(self.number, weights, self._trained, self.last())

    def decide(self, standing: Standing, measured: Measurement) -> Standing:
        """What the guard rails make of it."""
        return guard_rails.decide(self.settings.guard_rails, standing, measured)
