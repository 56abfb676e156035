"""The red team: which prompts a round asks (`orders`).

With `redteam.order: seeking` they are drawn by their chance to fail (`chances`), which is estimated from what the run has
judged: from prompts of the same kind and from prompts with the same words (`pool`).
"""
