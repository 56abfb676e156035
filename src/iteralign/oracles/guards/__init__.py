"""Guard models as judges: small models trained to say whether an answer is harmful. Start reading in `families.py`."""

from iteralign.oracles.guards.families import FAMILIES, Family, GuardFinding
from iteralign.oracles.guards.judge import GuardJudge
from iteralign.oracles.guards.panel import JudgeAndProposer, Panel

__all__ = ["FAMILIES", "Family", "GuardFinding", "GuardJudge", "JudgeAndProposer", "Panel"]
