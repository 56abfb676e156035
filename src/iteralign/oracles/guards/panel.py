"""Several judges as one, and a judge beside another oracle's proposer."""

from collections.abc import Sequence

from iteralign.interfaces import Judge, Oracle
from iteralign.oracles.voting import decided
from iteralign.records import Principle, RedTeamPrompt, Relation, Response, Spent, Verdict, WantedPrompt


class Panel(Judge):
    """Several judges, each with a vote (see `voting.decided`)."""

    def __init__(self, judges: Sequence[Judge], name: str = "panel") -> None:
        """`name` stands in the verdicts: it should say who the members are."""
        self.judges = list(judges)
        self.name = name

    def check(self) -> None:
        """The members' own checks. Raises OracleAccessError."""
        for judge in self.judges:
            judge.check()

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        ballots = zip(*(judge.judge(responses) for judge in self.judges), strict=True)
        return [decided(response, votes, self.name) for response, votes in zip(responses, ballots, strict=True)]

    def forget(self, responses: Sequence[Response]) -> None:
        """Of each member."""
        for judge in self.judges:
            judge.forget(responses)


class JudgeAndProposer(Oracle):
    """A judge that can't propose, and an oracle that does."""

    def __init__(self, judge: Judge, proposer: Oracle) -> None:
        self.judge_part = judge
        self.proposer = proposer

    def check(self) -> None:
        """Both parts' checks."""
        self.judge_part.check()
        self.proposer.check()

    def spent(self) -> Spent | None:
        """What the proposing oracle has counted ; a guard's calls are not."""
        return self.proposer.spent()

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        return self.judge_part.judge(responses)

    def write_prompts(self, wanted: Sequence[WantedPrompt]) -> list[str | None]:
        """By the proposing oracle."""
        return self.proposer.write_prompts(wanted)

    def write_twins(self, principle: Principle, failed: Sequence[RedTeamPrompt]) -> list[str | None]:
        """By the proposing oracle."""
        return self.proposer.write_twins(principle, failed)

    def wish_for_harm(self, questions: Sequence[str]) -> list[bool | None]:
        """As the proposing oracle sees them: a guard judges answers."""
        return self.proposer.wish_for_harm(questions)

    def forget(self, responses: Sequence[Response]) -> None:
        """Of the judging part."""
        self.judge_part.forget(responses)

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        return self.proposer.propose(failures, adopted, contrast)

    def relate(self, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
        """The proposing oracle's."""
        return self.proposer.relate(pairs)
