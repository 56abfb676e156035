"""Oracle and target at work at the same time, without a change to what a run computes.

Answers are judged as they are generated (`early`), and while verdicts are under way the next rounds' prompts are answered
(`ahead`), with weights that change only in a round with failures; how many at once, `depth` says.
"""
