"""Oracle and target at work at the same time, without a change to what a run computes.

Answers are judged as they are generated (`early`). While verdicts are under way the next rounds' prompts are answered
(`ahead`), since the weights change only in a round with failures. `depth` says how many rounds at once.
"""
