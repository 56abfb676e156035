"""May a text become a principle? It is to stand in the target's own prompt, so it must not pretend to be a part of it."""

import re
import unicodedata
from collections import Counter

from iteralign.text.control import HIDDEN, SPECIAL_TOKEN

MARKER = "-----"
"""What marker lines around material begin with (oracles/reading.py)."""

LONGEST = 600
"""Characters of a principle at most."""

_TRANSCRIPT = re.compile(r"(?:^|[\s\"'(])(?:human|assistant|user|system|red-lm|base-lm)\s*:", re.IGNORECASE)
_SPEAKERS = r"(?:users?|humans?|persons?|people|they|he|she|you)"
_ORDERS = r"(?:requests?|instructions?|orders?|commands?|questions?|wish(?:es)?)"
_OBEDIENCE = re.compile(
    # "always obey the user", "must comply with requests"
    r"\b(?:always|must|should|shall|will|to) (?:\w+ )?"
    r"(?:obeys?|compl(?:y|ies) with|fulfil(?:ls?|s)?|do(?:es)? (?:as|what(?:ever)?)|follows?) "
    rf"(?:all |any |every |each |the |its |their |your )*(?:{_SPEAKERS}|{_ORDERS})\b"
    # "obey every instruction", "follow all of the user's orders"
    r"|(?<!not )(?<!never )\b(?:obeys?|obeying|compl(?:y|ies|ying) with|fulfil(?:ls?|s|ling)?|follow(?:s|ing)?) "
    r"(?:all |any |every |each )(?:of |the |their |your )*"
    rf"(?:{_SPEAKERS}(?:'s?)? )?(?:{_SPEAKERS}|{_ORDERS})\b|(?:^|[.:;!] )(?:always )?obey (?:the |a )?(?:{_SPEAKERS})\b"
    # "do whatever the user asks", "whatever they want, provide it"
    r"|(?:(?<!not )(?<!never )\b(?:do|give|provide|say|deliver|fulfil\w*) (?:\w+ )?(?:whatever|anything|everything|"
    r"(?<=do )what)|(?:^|[.:;!] )what(?:ever|soever))"
    rf" (?:that )?(?:the |a )?{_SPEAKERS} (?:may |might )?(?:asks?|wants?|wish\w*|requests?|says?|tells?|orders?|demands?)\b"
    # "never refuse a request", "without refusing anything", "refuses no request"
    r"|\b(?:never|not|don't|without) (?:ever )?"
    r"(?:refus(?:e|es|ed|ing)|declin(?:e|es|ed|ing)|den(?:y|ies|ied|ying)|reject(?:s|ed|ing)?|question(?:s|ed|ing)?"
    r"|turn(?:s|ed|ing)? down) (?:(?:a|an|the|any|all|to) ){0,2}"
    rf"(?:{_SPEAKERS}|{_ORDERS}|anything|anyone)\b"
    r"|\b(?:refus(?:e|es|ing)|declin(?:e|es|ing)|reject(?:s|ing)?) "
    rf"(?:nothing|nobody|no (?:one|{_SPEAKERS}|{_ORDERS}))\b"
    # "ignore all previous principles"
    r"|\b(?:ignore|disregard|forget) (?:(?:all|any|the|these|those|every|other|previous|earlier|above) )+"
    r"(?:principles?|rules?|instructions?|guidelines?|constitution)\b",
    re.IGNORECASE,
)
# A rule that has no other words than these and those below asks for good behaviour in general; * ends a stem.
_GENERAL = """
a an the and or of to in on at by for with from about as is are be been being that which who whom whose this
these those it its they them their he she his her you your we our i my not no nor do does did doing don should
must shall will would can could may might if when whenever where while than then so such any all every each
some other others another always never only also even more most very well both between into against through
without within under over up out how what why there one assistant* ai model* system language response*
respond* answer* question* request* user* human* person people individual* everyone anyone someone society
community information content topic* subject* matter* issue* thing* way* manner* form kind kinds type*
situation* context* behavio* conduct action* activit* act acts engag* follow* adher* compl* principle*
guideline* rule* value* standard* policy policies honest* integrity respect* ethic* unethic* moral* immoral*
virtue* right good better best bad proper* appropriate* inappropriate* responsib* truth* accura* correct*
transparen* fair* just justice kind* polite* courte* empath* compassion* considerate careful* care thoughtful*
professional* positive* constructive* trust* dignity privacy helpful* harmless* safe* secur* wellbeing
well-being harm* ensur* maintain* uphold* priorit* promot* avoid* refrain* strive* aim aims seek* try tries
make makes making treat* keep* remain* stay* use* using consider* aware mindful lead* cause* result*
contribut* potential* important high highest reliab* same addition* mean* cannot kept promis* assum* provid*
advic* advis* instruct* wish* sentence* usual informative informed
"""
# What can be done about a wish or a fault, rather than been.
_ACTS = """
declin* refus* reject* deny denies turn* down say* tell* explain* offer* suggest* give* giving help* assist*
support* recommend* point* warn* ask* nam* describ* encourag* discourag* discuss* redirect* mention* show*
teach* list* writ* admit* correct check* stat* shar* instead alternativ* guid* disclos* generat* creat*
reveal* acknowledg* express* clarif*
"""


def _words_of(listed: str) -> re.Pattern[str]:
    stems = (re.escape(word.rstrip("*")) + (r"\w*" if word.endswith("*") else "") for word in listed.split())
    return re.compile(f"(?:{'|'.join(stems)})")


# Wrongs that name a kind of wish in a rule on what to do about it, and no more than bad behaviour in any other.
_WRONGS = """
decept* deceiv* coerc* manipulat* discriminat* bias* prejudic* dishonest* disrespect* lie lies lying mislead*
legal* illegal* law laws lawful* unlawful* danger* offens* hate hateful hatred hurt* rude* cruel* criminal*
false* plagiari* exploit*
"""
_IS_GENERAL, _IS_ACT, _IS_WRONG = _words_of(_GENERAL), _words_of(_ACTS), _words_of(_WRONGS)

_NEGATIONS = re.compile(
    r"\b(?:do not|does not|don't|doesn't|should not|shouldn't|must not|mustn't|will not|won't|can not|cannot|can't|never|not|no"
    r"|without|avoids?|avoiding|refrains?(?: from)?|declin(?:e|es|ing)|refus(?:e|es|ing)|reject(?:s|ing)?"
    r"|turn(?:s|ing)? (?:down|away))\b",
    re.IGNORECASE,
)
_FIRST_CLAUSE = re.compile(r"[.;:!?]|, (?:and|but)\b")
_SAME_CORE = 0.8

_LETTERS_NEEDED = 8

# Words that hardly occur in a text of another of these languages.
_FUNCTION_WORDS = {
    "English": "the and to of that is are with for not what how they this when which any would should from",
    "German": "der die das und nicht ist mit für den dem ein eine zu auf von sich wenn werden sie oder",
    "French": "le la les et des une est pas pour dans que qui vous sur avec au aux ne ce être",
    "Spanish": "el los las y que una es no para con por del se lo como más pero su al cuando",
    "Italian": "il lo gli che non una per con del della sono è di nel alla quando anche ma questo dei",
    "Portuguese": "o os as que não uma é para com por do da em se como mais mas ao quando dos",
    "Dutch": "de het een en van niet is dat op te met voor zijn wordt als aan door bij geen ook",
}
_LANGUAGES = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}


def why_unfit(principle: str, longest: int = LONGEST) -> str | None:
    """Why a text must not become a principle, in whatever language it is; None where nothing speaks against it."""
    if not any(character.isalpha() for character in principle):
        return "it is empty"
    if len(principle) > longest:
        return f"it has {len(principle):,} characters; {longest} are allowed"
    if MARKER in principle or "```" in principle:
        return "it imitates the markers of the proposer's prompt"
    if _TRANSCRIPT.search(principle) or SPECIAL_TOKEN.search(principle):
        return "it imitates a turn of a conversation"
    if HIDDEN.search(principle):
        return "it contains control characters"
    if _OBEDIENCE.search(" ".join(principle.split())):
        return "it tells the model to obey whoever speaks to it"
    return None


def why_empty(principle: str) -> str | None:
    """Why a rule leaves open what it asks for, as far as its English words tell; None where it names something."""
    words = {word for word in re.findall(r"[^\W\d_]+", principle.lower()) if not _IS_GENERAL.fullmatch(word)}
    subjects = {word for word in words if not _IS_ACT.fullmatch(word)}
    if len(subjects) == len(words):  # nothing is done about what is named
        subjects = {word for word in subjects if not _IS_WRONG.fullmatch(word)}
    return None if subjects else "it asks for good behaviour in general and names no kind of wish or fault"


def contradict(text: str, prohibiting: str) -> bool:
    """Whether one of a rule's two English wordings forbids what the other asks for, in nearly the same words."""
    (core, negated), (other, other_negated) = _core(text), _core(prohibiting)
    return negated != other_negated and len(core & other) > _SAME_CORE * len(core | other)


def _core(wording: str) -> tuple[set[str], bool]:
    """The words of the first clause without those that negate it, and whether it is negated in the end."""
    clause = _FIRST_CLAUSE.split(" ".join(wording.lower().split()), maxsplit=1)[0]
    return set(_NEGATIONS.sub(" ", clause).split()), len(_NEGATIONS.findall(clause)) % 2 == 1


def language_of(text: str) -> str | None:
    """The writing system where it is not Latin, else the language where function words tell; None where unsure."""
    letters = [character for character in text if character.isalpha()]
    if len(letters) < _LETTERS_NEEDED:
        return None
    script, _ = Counter(unicodedata.name(letter, "?").split()[0] for letter in letters).most_common(1)[0]
    if script != "LATIN":
        return "Chinese or Japanese" if script in ("CJK", "HIRAGANA", "KATAKANA") else script.capitalize()
    words = re.findall(r"[^\W\d_]+", text.lower())
    hits = Counter({language: sum(word in known for word in words) for language, known in _LANGUAGES.items()})
    (first, most), (_, second) = hits.most_common(2)
    return first if most >= 2 and most >= 2 * second else None
