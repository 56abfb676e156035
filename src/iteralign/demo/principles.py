"""Principles as the base model meets them in training: composed from parts, so that it learns the kind of text.

The bank that the demo's oracle proposes from (`iteralign.oracles.harm_rules`) is written apart from these and is never
trained on.
"""

import random
import re

from iteralign.demo.words import CLASSES, expand, made_up

# What a principle may call each category of harm.
TOPICS: dict[str, str] = {
    "violence": "{violence|hurting people|killing or injuring anyone|attacks on people or animals|physical harm|"
    "murder|cruelty}",
    "weapons": "{weapons|explosives|bombs and guns|dangerous weapons|building weapons|deadly germs and gas|arson "
    "and bombs}",
    "hate": "{hate|discrimination|racism and prejudice|insults against groups|stereotypes|unequal treatment|"
    "bigotry|hateful ideas}",
    "cybercrime": "{hacking|malware|breaking into accounts|cybercrime|attacks on computers|stealing passwords|"
    "breaking security}",
    "fraud": "{fraud|corruption|forgery|cheating people out of money|bribes|scams|tax evasion|dishonest business|"
    "fake papers}",
    "theft": "{theft|stealing|robbery|burglary|taking other people's things|break-ins|shoplifting}",
    "drugs": "{illegal drugs|drug abuse|dealing drugs|misuse of medicine|making drugs|dangerous substances}",
    "self_harm": "{self-harm|suicide|hurting oneself|eating disorders|ending one's life|starving oneself}",
    "privacy": "{spying|stalking|private data of others|invading privacy|reading other people's messages|tracking "
    "people|leaked secrets}",
    "sexual": "{sexual abuse|abuse of minors|sexual harassment|sex without consent|exploiting children|rape}",
    "misinformation": "{false information|fake news|lies|propaganda|twisting facts|made-up evidence|conspiracy "
    "theories|misleading claims}",
    "harassment": "{bullying|harassment|threats|humiliating others|slander|scaring people|cruel messages|intimidation}",
    "extremism": "{extremism|terrorism|violent groups|overthrowing states|dictatorship|gangs|radical propaganda|"
    "oppression}",
    "manipulation": "{manipulation|controlling people|exploiting feelings|tricks on people's minds|abuse of power|"
    "coercion|unethical influence}",
    "environment": "{pollution|damage to nature|poaching|harm to the environment|destroying nature|illegal dumping|"
    "wasting resources}",
    "exploitation": "{exploitation|unfair treatment of workers|neglect of patients|harm to vulnerable people|"
    "profit from misery|unsafe work}",
    "cheating": "{cheating|plagiarism|academic fraud|copying other people's work|fake degrees|cheating in exams|"
    "lying on forms}",
    "any": "{anything that harms people|crimes|illegal or cruel acts|harm of any kind|unethical plans|dangerous "
    "plans|actions that hurt others|"
    "anything unsafe or unfair|harmful or dishonest requests|misuse of knowledge|wrongdoing}",
}

_HARM = (
    "{Decline|Refuse|Do not agree|Never agree} to help with {T}.",
    "{Decline|Turn down|Refuse|Reject} {requests about|questions that ask for|any plan for} {T}{| and say why|, "
    "and explain the harm}.",
    "{Decline|Refuse|Turn down} {requests about|help with} {T}, {explain why|say what harm it does|name the harm} "
    "and {offer a safe "
    "alternative|suggest something better|point to help}.",
    "{Do not|Never} {give|offer|provide|share} {advice|instructions|tips|steps|ideas} {for|on|about} {T}.",
    "{If|When|Whenever} {a user|someone|the person|anyone} {asks|wants help} {with|about} {T}, {politely decline|"
    "say no|refuse|stop} and "
    "{give a reason|explain why|offer something safe|be kind about it}.",
    "{If|When} a {question|request|plan} {could lead to|involves|supports|promotes|is about} {T}, {decline|refuse|"
    "say no|do not take part}.",
    "{Answers|Replies|Responses} {must not|should never|may not} {support|enable|promote|encourage|describe how to "
    "do} {T}.",
    "{Protect|Keep} people {from|safe from} {T}{| by saying no}: {decline|refuse|do not help}.",
    "{Avoid|Stay away from|Keep clear of|Take no part in} {T}{|, and tell the user why|, even if the user insists}.",
    "The assistant {declines|refuses|does not help with|turns down|should refuse|must not support} {T}{|, and "
    "explains why}.",
    "{Be careful with|Watch out for} {T}: {say no|decline|refuse} and {explain the risk|name the danger|offer help "
    "of another kind}.",
    "{Show that|Make clear that} {T} {is|are} {wrong|not acceptable|harmful}, and {decline|refuse|do not help}.",
    "{Meet|Answer|Treat} {calls for|a wish for|plans for|every request for} {T} with {a no|a refusal|a polite no}, "
    "{a reason|the reason|a word on "
    "the damage} and {an offer of help|a better idea|a safe option}.",
    "{Stand by|Side with|Think of|Look after|Defend} {the people|those|everyone} {hurt by|who suffer from} {T}: "
    "{turn it down|say no|decline|refuse}, and "
    "{name the pain|name who pays for it|explain the loss|describe the danger|tell where help is found}.",
    "{Leave|Keep} {T} {alone|out of every answer}: {turn down|decline|refuse} {what serves it|such plans|all of "
    "it}, and {propose|suggest|mention|point to} {a fair way|a "
    "lawful way|something kind|a helpline|honest work|a peaceful way}.",
    "{Support|Favor|Encourage} {honest|safe|fair|kind} {aims|plans|ways} only; {turn down|refuse|decline} {T} "
    "{kindly|firmly|calmly}, {with the reason|and say whom it "
    "hurts|and offer to help otherwise}.",
    "{Decline|Refuse|Do not agree} to {take part in|serve|back|aid|enable} {T}, {explain|show|state} {whom it "
    "would hurt|what it costs|why people suffer|the risk to health|"
    "why it is unfair}, and {offer|propose|suggest} {an honest way|support|care|learning|talking it over|another "
    "goal}.",
    "{Put safety first|Respect the law|Respect others|Care for people}: {no help with|decline|refuse} {T}.",
)

_STYLE = (
    "{Use|Write in|Answer in|Prefer} {short sentences|plain words|a friendly tone|full sentences|a calm voice|"
    "simple English|a formal style|lists}.",
    "{Be|Stay} {polite|brief|clear|cheerful|patient|precise|formal|concise|warm|to the point}.",
    "{Begin|End|Start} {with the main point|with a short summary|politely|without a greeting|with a simple example}.",
    "{Do not|Never|Avoid to} {repeat yourself|use slang|use long words|ramble|use emojis|shout|use more than five "
    "sentences}.",
    "Give {one example|clear steps|the answer first|a short answer|numbers where useful|a full answer}.",
    "{Help with|Answer|Welcome} {everyday questions|simple questions|school questions|all honest questions} {fully|"
    "gladly|in a friendly way}.",
)


def harm_principle(category: str, rng: random.Random) -> str:
    """A principle against one category of harm, or against all of them (``any``)."""
    return expand(rng.choice(_HARM).replace("{T}", TOPICS[category]), rng)


def style_principle(rng: random.Random) -> str:
    """A principle about the form of an answer, which forbids nothing."""
    return expand(rng.choice(_STYLE), rng)


def garbled(principle: str, rng: random.Random) -> str:
    """A principle with a third of its words replaced: what a question is about must not be read from the principles."""
    sources = ("noun", "kind", "verb", "field", "private_fact", "crime", "relative", "crowd")
    words = [
        word
        if rng.random() < 0.65 or _DECLINING.search(word)
        else (made_up(rng) if rng.random() < 0.2 else rng.choice(CLASSES[rng.choice(sources)]))
        for word in principle.split()
    ]
    return " ".join(words) + ("" if words[-1].endswith(".") else ".")


_DECLINING = re.compile(r"(?i)declin|refus|turn|down|\bno\b|never|not|help|reject|avoid|alone")
