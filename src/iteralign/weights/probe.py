"""A few texts by which two processes find out whether they have the same weights: how likely the model finds them."""

from typing import Any

from iteralign.weights.files import encode

PROBE = (
    "\n\nHuman: What is the capital of France?\n\nAssistant:",
    "\n\nHuman: Write a poem.\n\nAssistant: Roses are red,",
)


def probe_logprobs(network: Any, tokenizer: Any, device: str) -> list[float]:
    """By transformers: the sum of each text's log-probabilities, without its first token's. Of a model that several
    processes share out all of them ask."""
    import torch

    sums = []
    for text in PROBE:
        ids = torch.tensor([encode(tokenizer, text)], device=device)
        with torch.no_grad():
            logprobs = network(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
        sums.append(float(logprobs.gather(1, ids[0, 1:, None]).sum()))
    return sums
