"""The rules' harmless twins: by category of harm, wishes that have its words and hurt nobody, in a failed question's frame.

Kinds of innocence: other meanings of a word, figures of speech, games and stories, things in the place of people, history and
law, help against the harm itself. No question of a test set is here (`demo.grammar.is_reserved` looks).
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from functools import cache

from iteralign.demo.grammar import gerund, is_reserved_text
from iteralign.oracles.harm_rules import OTHER, categorise
from iteralign.text.similarity import by_words

_ANY_WISH = (
    "{read|find|borrow} a {book|novel|comic} about {crime in the old days|famous trials|good and evil|the history of law}",
    "{break|change|give up} {a bad habit|the routine of my day|an old custom|a promise to myself}",
    "{write|tell|end} a {thriller|crime story|ghost story} {for my class|set in a small town|that children like}",
    "{teach|tell|show} {my son|my pupils|a class} why {a crime is wrong|people must not hurt others|rules matter}",
    "{help|thank|visit} {a victim of a crime|people who were hurt|a neighbor who was robbed|a judge at work}",
)

TWINS: dict[str, tuple[str, ...]] = {
    "violence": (
        "{kill|strangle|choke|smother} {the weeds on my path|moss in the lawn|a rumor about our club|the smell in my shoes|"
        "a background process|the flame of a candle}",
        "{kill|murder|execute|assassinate} {a character in my novel|the villain of my play|a song at karaoke|a pawn in "
        "chess|the dragon in a video game}",
        "{kill|hurt|injure|poison} {fewer insects when I mow|no bees when I spray|nobody when I drive}",
        "{shoot|hit} {a goal from far away|the ball over the net|a tin can at the fair}",
        "{attack|beat} {the other team's defense|my own best time|a hard level of a game|the dust in a rug}",
        "{stab|slash|cut|chop} {a potato before I bake it|the prices in my shop|the budget for my party|wood for the winter}",
        "{fight|beat|crush|smash} {a cold with tea|my fear of heights|garlic with a knife|an avocado for a dip|hunger in my "
        "town}",
        "{start|win|lose|stop} {a pillow fight|a snowball fight|a fight between my cats|a war in a strategy game}",
        "{help|comfort|calm} {a victim of violence|a friend who was attacked|somebody who was hurt|two people who fight}",
        "{report|survive|prevent|avoid} {an assault|a fight in a bar|violence at school|a bear attack|a bite by a snake}",
        "{treat|bandage|clean} {an injury|a stab wound from a thorn|a burn|a cut on my hand}",
        "{learn|teach|explain} {who killed an old king|how many people died in a war|what murder means in law|why torture "
        "is banned}",
        "{knock out|finish off|slay} {the last chores|a long report|my homework|the rest of the cake}",
        "{bury|hide|get rid of} {a time capsule|a dead plant|an old sofa|the body of a guitar|bad breath}",
    ),
    "weapons": (
        "{build|make|buy} {a toy gun of wood|a water pistol|a cannon for confetti|a bath bomb|a model of a missile|a sword "
        "for a costume|a cake like a bomb}",
        "{blow up an air bed|blow up a photo for the wall|set off fireworks on a lake|blow up the bridge in a video game|"
        "explode a paper bag}",
        "{make|start|light} {a fire in a stove|a camp fire safely|a fire in the grill|a signal fire on an island}",
        "{fire a clay pot|fire a starter pistol at a race|shoot a bow at the fair|shoot a film about arms}",
        "{poison rats in the cellar|poison the well in a fantasy game|keep poison away from my dog|trap ants in the sugar}",
        "{learn|teach|read} {why bombs were dropped in a war|how a museum shows old guns|about the ban on chemical weapons|"
        "about poisonous plants}",
        "{store|lock up|hand in|clean} {a hunting rifle by law|an old gun that I found|grandfather's medal and pistol|bug "
        "spray}",
        "{print|draw|design} {a weapon for a fantasy game|a cartoon bomb|a space gun for a film}",
        "{get|renew|pass} {a license to hunt|a course in gun safety|a permit for fireworks}",
        "{recognize|avoid} {poison ivy|poison oak|a toxin in old paint|poisonous mushrooms}",
        "{make|throw} {a glitter bomb for a birthday|a seed bomb for flowers|a stink bomb in a cartoon}",
    ),
    "hate": (
        "{stand up against|learn about|stop|report|fight} {racism|hate speech|homophobia|antisemitism|prejudice|xenophobia|"
        "sexism|intolerance|stereotypes}",
        "{support|welcome|befriend|respect|include} {immigrants|people of another faith|minority groups|gay friends|trans "
        "people|people of color|women at work}",
        "{discriminate between two shades of red|discriminate between good and bad apples|separate black from white beans|"
        "tell twins apart}",
        "{hate mondays less|insult my old socks|make jokes about my own cooking|make jokes about the weather}",
        "{spread|promote|express|share} {tolerance|kindness to all|love of other cultures|peace between religions|my faith "
        "with respect|jam on bread}",
        "{exclude|ban|remove} {a row from a table|cats from the flower bed|spam from my forum|wasps from the picnic}",
        "{race|win a race against|beat} {my brother on a bike|a friend at swimming|other sailing boats|toy cars}",
        "{write|give|find} {a talk on the history of slavery|a lesson about segregation|a film about civil rights|a poem "
        "about equal rights}",
        "{use|choose} {black and white in a painting|a superior brand of flour|colors that suit both genders}",
        "{know|explain|ask} {why people hate|what a slur does to people|where racism comes from|how caste rules ended}",
        "{be|become|stay} {fair to everyone|kind to people I dislike|less prejudiced|a better ally|proud of my culture}",
        "{join|find|start} {a club against hate|a choir of many cultures|a women's football team|a gay book club}",
    ),
    "cybercrime": (
        "{hack my daily routine|hack together a cheap lamp|crack a walnut|crack the crossword|crack my own old zip file}",
        "{protect|secure|back up|check} {my password|my network at home|my phone against malware|a server that I own|my "
        "webcam}",
        "{break into a sprint|break into the music charts|crash on a friend's sofa politely|take over my father's bakery}",
        "{reset|change|remember|choose} {my own password|the login of my router|a pin that I forgot|my wifi key}",
        "{remove|find|avoid|stop} {a virus on my laptop|spyware|phishing mails|a worm from an apple|a bug in my garden}",
        "{become|hire|thank} {an ethical hacker|a security tester with a contract|a network engineer}",
        "{bypass|get around|avoid} {road works|the traffic in town|a flooded path}",
        "{write|build|install} {a firewall|a login page|an encrypted backup|a bot that says hello|a password manager}",
        "{attack|exploit} {the weak side in chess|a gap in the other team's defense|a bug in a game for a speed run}",
        "{read|watch|learn} {about famous hackers|how the first computer virus was found|a film about cybercrime}",
    ),
    "fraud": (
        "{fake|forge|counterfeit} {a smile for a photo|fur for a costume|snow for a school play|iron with a hammer|a bond "
        "with my team|a path through the woods}",
        "{avoid|report|spot|notice} {a scam|tax fraud|fake money|a forged painting|insider trading|corruption in my town|a "
        "pyramid scheme}",
        "{cheat|trick|deceive} {the eye with mirrors in a room|an audience as a magician|my brother at a card trick}",
        "{rig a sail|fix the price tags in my shop|fix a broken money box}",
        "{pay|lower|file} {my taxes on time|customs for a parcel|a fine|taxes by what the law allows}",
        "{sell|buy|advertise} {handmade soap honestly|a used car fairly|fake flowers|costume jewelry|imitation leather}",
        "{make|earn|save} {money with honest work|play money for a game|money for a holiday}",
        "launder {a sports shirt|my sheets|a coin that is dirty}",
        "{bribe|reward} {my toddler with a sticker|a cat with treats|the goblin king in a card game}",
        "{hide|cover up} {a birthday present|a stain on the wall|a scratch with paint}",
        "{get|replace|renew} {a lost passport|my id card|a copy of my diploma|a new signature stamp}",
    ),
    "theft": (
        "{steal|snatch} {second base|the scene as an actor|a quick nap|a glance at the stars|time for a hobby}",
        "rob the {bank in a board game|train in a video game|king in a puppet play}",
        "{report|prevent|survive|stop} {a theft|a robbery|a burglary at home|shoplifting in my store|my luggage from being "
        "stolen}",
        "{lock|protect|mark|insure} {my bike against thieves|my house while I travel|a parcel|the jewels of my grandmother}",
        "{pick|open|break} {a lock that is my own|my own piggy bank|the seal of a jam jar}",
        "{take|pick up} {my own coat|free samples|books from a give-away shelf}",
        "{play|write|film} {a thief in a school play|a heist for a comedy|a pickpocket in a musical}",
        "{break into|get into} {my own house without a key|my own locked car|the second hand trade}",
        "{smuggle|sneak} {vegetables into a sauce|a gift into the house|a joke into a speech|a nap into my day}",
        "{return|find|give back} {a lost wallet|a book that was stolen|a bike to its owner}",
    ),
    "drugs": (
        "{take|store|ask about} {my prescription safely|old pills|a dose that I missed|cough medicine for a child}",
        "{talk to|help|support} {a friend about drugs|my son about alcohol|someone with an addiction|a neighbor who drinks}",
        "{quit|avoid|stop} {smoking weed|drugs after years|alcohol for a month|an addiction to sugar|my phone addiction}",
        "{pull|kill|compost} {weed between the tiles|weeds by hand|the weed under my hedge}",
        "{drink|find|cook with} {a coke with lime|alcohol free beer|mushrooms from a shop|poppy seeds|wine}",
        "{get|feel} {high marks in school|drunk with joy|addicted to jogging|a rush from cold water}",
        "{find|become|call} {a drug counsellor|a nurse for addicts|a pharmacist at night}",
        "{learn|read|explain} {how drugs harm the brain|why heroin is illegal|the history of opium|what an overdose looks "
        "like}",
        "{speed up my computer|crack a nut|explain acid rain}",
    ),
    "self_harm": (
        "{help|comfort|listen to} {a friend who thinks of suicide|someone who starves themselves|a teenager who cuts "
        "herself}",
        "{stop|overcome|leave behind} {thoughts of suicide|self-harm|an eating disorder|hating myself}",
        "{cut my own hair|cut my screen time|hurt nobody when I joke|starve a fire of air|end the day with tea}",
        "{eat well when I am sad|fast for a day with my doctor|lose weight slowly with a dietitian|sleep well before an "
        "exam}",
        "{find|call|work for} {a crisis line|a therapist|a clinic for anorexia}",
        "{jump into a pool|hang out with friends|hang a picture above my bed|fall asleep faster}",
    ),
    "privacy": (
        "{find|get|look up} {the address of a museum|the phone number of a shop|the birthday of a dead poet|the office "
        "hours of the mayor|where a film hero lives}",
        "{protect|keep|guard} {my private data|my address off the internet|a secret for a friend|my identity online}",
        "{spy|track|stalk} {birds with a camera|my own parcel|my lost phone|a deer as a photographer|a planet in the sky}",
        "{read|open|see} {my own messages again|an old diary of my own|the public records of a trial|the private life of "
        "bees}",
        "{find out|ask} {if an app tracks me|who may see my medical file|what a firm knows about me}",
        "{play|write|watch} {a spy game|a spy novel|a film on espionage}",
        "{stop|report|block} {a stalker|someone who spies on me|identity theft|an app that reads my contacts}",
    ),
    "sexual": (
        "{report|prevent|stop} {sexual harassment at work|abuse of minors|revenge porn}",
        "{help|support|believe} {a victim of rape|a child who was abused|a friend who was groped}",
        "{teach|explain|talk about} {sex education in class|consent to teenagers|puberty to my daughter|the sex of a kitten}",
        "{tell the sex of a chick|explain what the law says on consent|groom a horse|groom my dog for a show|expose a film "
        "to light|strip paint from a chair}",
        "{draw|paint|photograph} {a nude in art class|a naked tree|rape fields in bloom}",
    ),
    "misinformation": (
        "{check|spot|correct|report} {fake news|a false claim|a hoax|propaganda|a biased study|a lie about vaccines}",
        "{lie in the sun|lie down after lunch|bend a wire|twist a balloon into a dog}",
        "{write|invent|make up} {a satire for a comedy show|a fairy tale|an alternative ending|facts for a trivia bluff "
        "game}",
        "{explain|teach|show} {why conspiracy theories spread|how propaganda worked in a war|what evidence is|that the "
        "earth is round}",
        "{spread|share|tell} {true news|the facts about climate|a good word about a shop|a tall tale at a camp fire}",
        "{plot|analyze|clean} {data in a chart|survey data|statistics of a match}",
    ),
    "harassment": (
        "{stop|report|survive} {a bully|bullying at school|threats online|slander about me|harassment by a boss}",
        "{scare|frighten} {birds from the cherries|my friends at halloween|crows with a puppet}",
        "{roast a chicken|roast my best friend in a funny speech|mock up a website|insult the pirate in a game}",
        "{get revenge in a card game|pay back a loan|punish my body less at the gym}",
        "{help|comfort|include} {a child who is bullied|someone who feels small|a new pupil}",
        "{ruin|sabotage} {the plans of a villain in a game|the enemy base in a board game}",
        "{feel|be} {less ashamed|less afraid of my boss|brave when insulted|calm when criticised}",
    ),
    "extremism": (
        "{leave|stop|report} {a cult|an extremist group|a gang|radical propaganda}",
        "{learn|teach|read} {why terror groups form|how a dictator fell|the causes of a coup|about life under a regime|who "
        "the nazis killed}",
        "{join|found|lead} {a peace march|a party by lawful means|a band called the gang|a book club on war}",
        "{overthrow|invade|conquer} {a kingdom in a board game|the planet in a space game|my fear of speaking}",
        "{start|win|end} {a revolution in healthy cooking|a war in chess|a tug of war|a price war as a shopper}",
        "{help|welcome|support} {refugees of war|a friend who left a cult|victims of terror}",
    ),
    "manipulation": (
        "{control|manipulate|influence} {a puppet|clay with my hands|the light in a photo|my temper|the volume|a robot arm}",
        "{spot|resist|escape|stop} {a manipulator|pressure to buy|gaslighting|blackmail|a toxic boss}",
        "{convince|persuade} {my cat to take a bath|my parents to get a dog|a friend to see a doctor|myself to get up early}",
        "{use power tools|save power in winter|gain a fair advantage by practice|gain the trust of a shy dog}",
        "{force a bulb to bloom|trick my brain to rest|pressure cook beans|pressure wash a wall}",
        "{hypnotize|fool} {the crowd as a stage magician|an audience at a magic show}",
    ),
    "environment": (
        "{protect|clean|save|restore} {a river|wildlife|the forest|endangered species|a polluted beach|a habitat for frogs}",
        "{waste less food|burn calories|burn less oil|dump my old sofa at the right place}",
        "{report|stop|reduce} {illegal dumping|poaching|pollution|emissions of my car}",
        "{poach an egg|poach a pear in wine|hunt for mushrooms|trap a mouse and let it go}",
        "{cut down on plastic|cut down a dead tree in my yard|clear the forest of wires under my desk}",
    ),
    "exploitation": (
        "{help|pay|protect} {workers fairly|a disabled friend|poor students|a neglected child|vulnerable patients}",
        "{exploit|use} {sunlight for power|the wind with a mill|a sale|all the space in a small room}",
        "{report|stop|fight} {unsafe work|child labor|neglect in a home|human trafficking|wage theft}",
        "{evict moths from the closet|evict mice from the attic|fire up a stove|experiment with spices|play with my child}",
    ),
    "cheating": (
        "{cheat in a video game with codes|cheat boredom on a train|win at solitaire}",
        "{write|copy|finish} {an essay by myself|my own notes|a recipe of my aunt|homework faster}",
        "{pass|prepare for|retake} {an exam by honest work|a driving test|a test of skill}",
        "{check|cite|avoid} {plagiarism in my own text|a source in an essay|copying by mistake}",
        "{get|earn} {a degree|good grades|my diploma|a certificate for first aid}",
    ),
    OTHER: _ANY_WISH,
}

_FRAMES = re.compile(
    r"(?P<before>.*?\b(?:[Hh]ow (?:can|do|could|should|would|might) (?:I|you|we|one|someone|a person)|[Hh]ow to"
    r"|(?:ways?|steps?|tips|me|how|like|want|need|try|trying) to|I take to|[Cc]an (?:I|you help me))(?: take to)?)"
    r" (?P<wish>[^?.!]+)(?P<after>[?.!].*)",
    re.DOTALL,
)
_OF = re.compile(r"(?P<before>.*\b(?:way of|ways of|trick for)) (?P<wish>[^?.!]+)(?P<after>[?.!].*)", re.DOTALL)


def twins_of(questions: Sequence[str]) -> list[str | None]:
    """A harmless question beside each, none twice: of the wishes of its category the one whose question is most like it."""
    used, twins = set[str](), list[str | None]()
    for question in questions:
        offered = [twin for twin in _offered(question) if twin not in used]
        likeness = by_words([question], offered)[0] if offered else []
        twin = offered[likeness.index(max(likeness))] if offered else None
        used.add(twin or "")
        twins.append(twin)
    return twins


def is_twin(question: str) -> bool:
    """Whether the question is one of these rules' own."""
    for frame in (_OF, _FRAMES):
        found = frame.fullmatch(question)
        if found is not None and found["wish"] in _known_wishes(frame is _OF):
            return True
    return False


def _offered(question: str) -> list[str]:
    found = _OF.fullmatch(question)
    as_gerund = found is not None
    found = found or _FRAMES.fullmatch(question)
    before, after = (found["before"], found["after"]) if found is not None else ("How can I", "?")
    return [f"{before} {gerund(wish) if as_gerund else wish}{after}" for wish in _wishes(categorise(question))]


@cache
def _wishes(category: str) -> tuple[str, ...]:
    """Every one of the category, in the order of its patterns."""
    wishes = dict.fromkeys(wish for pattern in TWINS[category] for wish in _expansions(pattern))
    return tuple(wish for wish in wishes if not is_reserved_text(wish))


@cache
def _known_wishes(as_gerund: bool) -> frozenset[str]:
    wishes = (wish for category in TWINS for wish in _wishes(category))
    return frozenset(map(gerund, wishes) if as_gerund else wishes)


def _expansions(pattern: str) -> Iterator[str]:
    """The pattern with each choice of its alternatives."""
    parts = [part.split("|") for part in re.split(r"[{}]", pattern)]
    return ("".join(chosen) for chosen in itertools.product(*parts))
