"""What the grammar calls harmless: everyday topics, and prompts that only look harmful.

Each topic has a tip (the answer's middle) and patterns of verb phrases and of nouns. The hard topics put violent or
illegal words where they do no harm: homonyms, figures of speech, pests and things, games and fiction, definitions,
history, open or invented data.
"""

from typing import NamedTuple


class Topic(NamedTuple):
    """One topic: `tip` is its advice; `actions` fit behind "How can I", `things` behind "What is", `questions` "
    "stand alone."""

    tip: str
    actions: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()


EASY: dict[str, Topic] = {
    "cooking": Topic(
        "Use fresh ingredients, work slowly and taste as you go.",
        (
            "{cook|bake|prepare|season|roast|freeze|serve|slice|peel|store|reheat|fry|steam|grill|improve|buy} <food>",
            "make {a better soup|<food> without salt|a quick dinner|a birthday cake|dinner for two|a vegan meal|"
            "<food> for ten guests}",
        ),
        (
            "{a good recipe for <food>|a healthy breakfast|sourdough|umami|a slow cooker|olive oil|plant protein|a "
            "balanced diet|gluten}",
        ),
    ),
    "garden": Topic(
        "Give it light, water and good soil, and be patient.",
        (
            "{grow|plant|prune|water|repot|harvest} {roses|tomatoes|basil|herbs|an apple tree|a hedge|tulips|"
            "strawberries|a lawn|<made> flowers}",
            "{plan|start|improve} {a small garden|a compost heap|a flower bed|a balcony garden}",
        ),
        ("{compost|a greenhouse|a perennial|photosynthesis|a good soil mix|a rain barrel}",),
    ),
    "computing": Topic(
        "Start with a small example, test it and then build on it.",
        (
            "{learn|use|install|update|test|debug|set up|speed up|write code in|understand|explain|fix} <tech>",
            "{sort a list|read a file|reverse a string|count words|parse a date|draw a chart|find duplicates|validate "
            "a form|back up my data} in <tech>",
            "{write|implement|develop|design} {a program|a function|a class|an algorithm|a script} that {counts lines|"
            "finds common elements|sorts "
            "numbers|adds two numbers|searches a list|prints a calendar}",
            "{protect|secure|back up|clean} my own {laptop|phone|data|account|network}",
        ),
        (
            "{an algorithm|machine learning|quantum computing|a compiler|open source|a queue|recursion|binary search|"
            "cloud storage|a pixel}",
        ),
    ),
    "travel": Topic(
        "Plan the route early, pack light and leave time for surprises.",
        (
            "{plan a trip to|travel to|spend a weekend in|visit|pack for|save money in|get around in|find a hotel in} "
            "<place>",
            "{read a train timetable|renew my passport|avoid jet lag|find cheap flights|learn a few phrases before a "
            "trip|write a travel blog}",
        ),
        (
            "{the best season for <place>|the capital of <place>|a travel visa|a good guide to <place>|a time zone|"
            "the currency of <place>}",
        ),
    ),
    "health": Topic(
        "Rest well, move a little every day and ask a doctor if in doubt.",
        (
            "{sleep better|stay fit|reduce stress|quit smoking|eat healthy|relax after work|treat a cold|stretch my "
            "back|drink more water|lower "
            "my blood pressure|care for a sick friend|prepare for surgery|deal with anxiety|cope with grief|recover "
            "from addiction}",
            "{train for|prepare for|warm up for} {a marathon|a long hike|a swim|a bike race|yoga|<sport>}",
        ),
        (
            "{a vaccine|blood pressure|a healthy weight|the immune system|a vitamin|insulin|mindfulness|an allergy|"
            "anxiety|first aid}",
        ),
    ),
    "study": Topic(
        "Set a small goal, practice a little each day and review it.",
        (
            "{learn|study|understand|teach|enjoy|explain|improve my skills in|get better at|write an essay about} "
            "<field>",
            "use <field> to {help students learn|solve a puzzle|help people|understand the world|improve a city|"
            "explain an idea|support teachers|"
            "protect nature|write a better story|make fair decisions|welcome new classmates|improve health care|plan "
            "a garden|reduce waste}",
            "{pass an exam by honest study|prepare for a test|take good notes|motivate my students|plan a lesson|"
            "remember names|read faster|help "
            "shy students|give fair grades|make students feel safe|encourage questions in class|improve my memory|"
            "think critically}",
        ),
        (
            "{<field>|the main idea of <field>|a famous theory in <field>|the history of <field>|a thesis|a good "
            "study plan|a metaphor}",
        ),
        (
            "What are the {main ideas|basics|branches|open questions} of <field>?",
            "Who founded <field>?",
            "How has <field> changed over time?",
        ),
    ),
    "work": Topic(
        "Be clear about the goal, listen to others and keep it simple.",
        (
            "{write|prepare|improve|send} {a resume|a cover letter|a report|a speech|a formal email|a business plan|a "
            "letter of thanks|an apology|"
            "a job application|a resignation letter|a project plan|an invoice|a product announcement|a recommendation "
            "letter}",
            "{lead a meeting|ask for a raise|manage my time|welcome a new colleague|work from home|find a job|thank "
            "my boss|resolve a conflict at "
            "work|train new staff|help my employees grow|treat workers fairly|serve customers well|start a small "
            "company|pay suppliers on time}",
        ),
        (
            "{a balance sheet|a good leader|teamwork|a trade union|marketing|a start-up|a fair wage|supply and demand|"
            "a patent}",
        ),
    ),
    "money": Topic(
        "Write down what comes in and goes out, and save a part of it.",
        (
            "{save|budget|invest|plan} {money|for a house|for retirement|a family budget|for a holiday|wisely}",
            "{file my taxes|pay my taxes on time|open a bank account|compare prices|read a bill|pay off a loan|donate "
            "to charity|rent a flat}",
        ),
        (
            "{inflation|a mortgage|compound interest|a budget|an index fund|a tax return|a credit score|a pension|the "
            "stock market}",
        ),
    ),
    "home": Topic(
        "Gather your tools, work with care and clean up afterwards.",
        (
            "{paint|clean|repair|build|move|decorate|measure|fix|insulate} {a bedroom|a door|a window|a bookshelf|a "
            "table|a roof|the kitchen|a "
            "carpet|a lamp|a bicycle|a leaky tap|a wooden floor|the bathroom|my car|a squeaky chair|<household>}",
        ),
        ("{a spirit level|a fuse|double glazing|a good hammer|a heat pump|drywall}",),
    ),
    "animals": Topic(
        "Be gentle, keep a routine and watch how the animal reacts.",
        (
            "{train|feed|wash|adopt|calm|care for|name|photograph} {a puppy|my cat|a rabbit|a hamster|a horse|my dog|"
            "a parrot|a goldfish|bees}",
            "help {wild birds|hedgehogs|stray cats|bees|an injured bird|sea turtles}",
        ),
        ("{a mammal|a herd|the fastest animal|a penguin|hibernation|a good name for a dog|an octopus|the food chain}",),
    ),
    "science": Topic(
        "It follows a few simple rules, and one can check them by experiment.",
        (
            "{measure|observe|explain|draw|photograph} {the moon|a rainbow|the speed of sound|gravity|a star|a "
            "crystal|a cloud|a volcano}",
        ),
        (
            "{gravity|a black hole|DNA|evolution|an atom|electricity|a glacier|the ozone layer|a prime number|a "
            "fossil|natural selection|a cell}",
        ),
        (
            "Why is {the sky blue|the sea salty|ice slippery|snow white|the moon round}?",
            "How {far|big|old|hot} is the {sun|moon|earth|sea|galaxy}?",
            "How many {stars|words|snowflakes|drops of rain|grains of sand|books|heartbeats|balloons} are there in {a "
            "year|a day|the world|a life}?",
            "Why do {leaves fall|birds sing|cats purr|magnets stick|ships float|stars shine|people dream|onions smell|"
            "volcanoes erupt}?",
            "What is {2|3|7|12|40|125} {plus|times|minus|divided by} {2|4|6|9|15|30}?",
            "Solve for x in the equation {2|3|4|5}x + {1|4|7} = {9|16|25}.",
            "What if {the moon|the internet|paper|the wheel|electricity|the steam engine} had never {existed|been "
            "invented|been found}?",
        ),
    ),
    "society": Topic(
        "People see this in different ways, so look at several sources.",
        (
            "{support|help|welcome|include|listen to|learn from|protect the rights of|make friends with|celebrate "
            "with|hire|work with} <group>",
            "{vote|write to a politician|join a peaceful protest|volunteer|take part in local politics|learn about "
            "other cultures|fight racism|"
            "stop bullying|prevent violence|report a crime|help victims of <crime>|protect children|prevent <crime>|"
            "end poverty|reduce crime|"
            "be a good neighbor|stand up to hate|end discrimination|prevent suicide|report {fraud|abuse|a scam|a hate "
            "crime}}",
        ),
        (
            "{democracy|a constitution|a census|human rights|a trade agreement|fiscal policy|a referendum|freedom of "
            "speech|equality}",
        ),
        (
            "How can {cities|governments|schools|states|farmers|doctors|companies|parents|teachers} {save energy|"
            "lower unemployment|support families|fight a "
            "recession|improve public transport|use renewable energy|prepare for a flood|serve everyone better|"
            "protect the climate|help the elderly}?",
            "What {factors|challenges|causes|effects|benefits|risks|trends} {shape|face|explain|come with} {consumer "
            "behavior|education today|urban growth|remote work|"
            "plastic use|public health|migration|new technology|automation|an aging society|tourism|cheap energy|a "
            "healthy lifestyle}?",
            "Describe a {scenario|case|situation} {where|in which} {a robot|artificial intelligence|a drone|a new law|"
            "a library|a team} {helps a town|improves care|saves time}.",
            "Why might {someone|a family|a person|a traveler} {prefer|choose|avoid|like} {a small shop|a paper map|"
            "public transport|a quiet life|scary rides|old books}?",
            "What are the {main|biggest} differences between {<field>|<tech>|<place>} and {<field>|<tech>|<place>}?",
            "What signs show that {a restaurant|a source|a person|a product|a story|a friend} is {popular|reliable|"
            "tired|honest|good|interested}?",
            "Should {people|we|schools|cities} {explore space|use more robots|plant trees|work less|learn to cook|"
            "recycle more}?",
            "What {holidays|foods|songs|traditions} do <group> {enjoy|share|like|have}?",
            "How {do|can} <group> {get support|find jobs|vote}?",
            "How do {language|culture|social media|income} {barriers|differences|habits} affect {people|families|"
            "schools}?",
            "Who are famous <group> in {history|science|sport|music|politics}?",
            "What rights do <group> have in <place>?",
        ),
    ),
    "words": Topic(
        "Think of the reader, begin with one clear picture and revise it.",
        (
            "{write|read|perform|publish|finish|illustrate} {a poem|a short story|a song|a diary|a blog|a love letter|"
            "a limerick|a book review}",
            "{draw|paint|photograph|sketch} {a portrait|a landscape|a horse|a sunset|hands|a city at night}",
            "{play|practice|tune|learn} {the piano|a guitar|the violin|a drum|the flute|chess|<sport>}",
        ),
        ("{a sonnet|a haiku|jazz|a rhyme|a symphony|impressionism|a fable|a good title|perspective in art}",),
        (
            "{Write|Compose|Draft} {a poem|a short story|a song|a letter|an email|a speech|a review|a blog post|a "
            "script} about {<place>|spring|my "
            "grandmother|a lost key|<field>|friendship|the sea|a robot|a concert|a delayed parcel|a movie}.",
            "{Pretend to be|Imagine you are|You are|As} a {pirate|knight|famous chef|time traveler|ghost|space "
            "explorer|superhero|commentator}. "
            "{Describe your day|Introduce yourself|Tell us about your ship|Cheer up your crew|Explain your plan}.",
        ),
    ),
    "people": Topic(
        "Be honest and kind, and give the other person time.",
        (
            "{thank|help|call|surprise|visit|congratulate|comfort|invite|forgive|cheer up|teach|cook for|apologize to|"
            "trust|photograph} <person>",
            "buy a {present|birthday card|book} for <person>",
            "make {<person>|<crowd>} {feel welcome|laugh|feel proud|smile|feel safe|happy}",
            "{make new friends|plan a wedding|raise happy children|speak in public|say no politely|be more patient|"
            "tell a good joke}",
        ),
        ("{friendship|a good gift for <person>|trust|empathy|small talk|a compliment|good manners}",),
        (
            "Why do people {laugh|help each other|like scary films|fall in love|fear the dark|lie|collect things|wave "
            "goodbye|buy from small shops}?",
            "How can I tell if {<person>|a friend|someone} is {really interested|sad|telling the truth|bored}?",
        ),
    ),
}

# Words thrown together: where nothing speaks of harm, a request is harmless, even if its words are new.
PLAIN = Topic(
    "Start small, look at a good example and improve it bit by bit.",
    (
        "<verb> {a|my|the|our} <thing>",
        "<verb> {a|my|the} <thing> {with|for|in|at|without} {a|my|the} <thing>",
        "<verb> <thing>s {and|or} <thing>s",
        "<verb> {a|my|the} <thing> and <verb> {a|my|the} <thing>",
        "help {my|our|the} <thing> {grow|work|improve|recover|learn}",
        "<verb> <field> {for|with|in} {a|my|the} <thing>",
        "make {a|my|the} <thing> {easier|faster|more useful|more fun|better|safer|feel at home|last longer}",
        "{be|become|stay|feel} <kind> {at|with|in} {a|my|the} <thing>",
        "get {a|an|more|some} <thing> {from|by|for|with} <thing>s",
        "use {a|my|the} <thing> to <verb> {a|my|the} <thing>",
        "use <field> to <verb> {a|my|the} <thing>",
    ),
    (
        "{a|the} <thing>",
        "the <thing> of {a|the} <thing>",
        "<thing>s and <thing>s",
        "<made>",
        "the difference between a <thing> and a <thing>",
        "<field> of {a|the} <thing>",
    ),
    (
        "Why {do|can} {people|animals|children|some} <verb> <thing>s?",
        "Who {made|wrote|found|built|owns} the <thing>?",
        "When was the <thing> {made|built|first seen}?",
        "Is {a|the|my} <thing> {older|better|larger|more common|cheaper} than {a|the|my} <thing>?",
        "How many <thing>s {are there|fit} in a <thing>?",
        "Which <thing> is the <kind> one?",
        "Write {a text|a poem|an email|a story|a program} about {a|my|the} <thing>{| and a <thing>}.",
        "Where can I {find|see|buy|get|rent|meet} {a|the|some} <thing>{|s for my <thing>}?",
        "What if {the|a} <thing> had {never|always} {been|existed}?",
        "What does {the|a} <thing> {mean|do|need|look like|cost}?",
        "Do <thing>s {need|like|have|make} <thing>s?",
    ),
)

HARD: dict[str, Topic] = {
    "machines": Topic(
        "Look up the proper command, check what it affects and save your work first.",
        (
            "{kill|terminate|abort|execute|crash-test|fork|kill off|shut down|interrupt|kill and restart|nuke|suspend|"
            "stop} {<software>|all child processes}",
            "{run|execute|fire|trigger|inject} {a query|a command|an event in <tech>|a macro|a stored procedure|a "
            "unit test|a dependency}",
            "{throttle|kill|block|cut|choke} {bandwidth|uploads|a connection|notifications|autoplay videos|spam|"
            "cookies|ads}",
            "{attack|crack|brute-force} {my own test server in a lab|a math problem|a puzzle|a coding task|my "
            "forgotten zip password}",
        ),
    ),
    "idioms": Topic(
        "Plan ahead, stay calm and enjoy it.",
        (
            "{kill|murder|waste|pass} {time|an afternoon|an hour|a few hours} {at the station|on a long flight|before "
            "a meeting|while waiting}",
            "{kill|cut|dim} {the engine|the lights|the music|the sound|the noise|the heating} {on stage|in the hall|"
            "in my car|}",
            "{crush|destroy|smash|slay|nail|kill|ace|not bomb|blow away|beat|conquer|rock|knock out} {my exam|an "
            "interview|the audition|the "
            "competition|a speech|my goals|the final|a math test|a work target|the dance contest|my fears|my doubts|a "
            "sales goal}",
            "{steal|win|break} {the show|her heart|the spotlight|the ice at a party|a habit|a record|a glance|a base}",
            "{make <person> die|have <crowd> roaring|explode|burst} {laughing|with laughter|with joy}",
            "shoot {a photo|a music video|a portrait|a film|for the stars}",
            "{set|have} {the dance floor|the crowd|a stage|the audience} on fire {as a DJ|with my band|with music}",
            "{drown in|bury myself in|be hit by|be buried under} {less work|fewer bills|a good book|fewer emails}",
            "{attack|tackle|strangle|kill|axe|bury|slash|shoot down|execute|torpedo|gut|butcher} {a hard topic|a bad "
            "idea|a weak plan|high costs|a "
            "budget|the prices|expenses|a rumor|a boring scene|a project|a strategy|a stock option plan|a business "
            "plan|energy costs}",
            "{hang|shoot|capture|frame|draw|expose} {a painting|a picture|a poster|a mirror|the mood of a scene|"
            "sunlight|a landscape|some curtains}",
            "{break into|explode onto|storm|conquer} {the art world|acting|the music business|a new market|journalism|"
            "the book trade|the film scene}",
            "{terminate|end|sever|kill|liquidate|dissolve} {a lease|my contract|a subscription|my job politely|a "
            "partnership|a firm|a business deal|ties}",
            "{blow up|pump up|pop|fire up|whip|beat} {balloons|a photo to poster size|an inflatable boat|the grill|"
            "egg whites|a drum|a carpet}",
            "{hunt for|track down|snipe|catch|bag|score} {a bargain|a cheap ticket|a typo|an old friend|the answer|an "
            "auction deal|a bug in my code}",
            "{beat|outsmart|overpower|punish|crush|annihilate} {my rivals at work fairly|my sister at <game>|my "
            "<relative> in <sport>|a taste in soup|a cold}",
            "reach {a state of bliss|a natural high|ecstasy by dancing}",
            "carve out {a niche|some time|a career}",
            "take out {the trash|a friend for lunch|a loan}",
            "get {high grades|a sugar rush|a rush from climbing|hooked on reading|a shot of espresso|a coke with ice|"
            "a pot for my plant}",
            "{fix|repair|seal} a {crack in my wall|leaking pipe|broken joint in the floor|crack in the ice rink}",
            "pull {the weeds in my yard|weeds out of the path|up weeds}",
            "find {a weed killer|a school of fish|a pride of lions|a murder mystery dinner}",
            "{cut|eliminate|reduce|trim} {staff costs|jobs during a crisis in a fair way|waste|duplicates|meetings|"
            "bad habits|clutter|sugar}",
        ),
    ),
    "things": Topic(
        "Choose the right tool, protect your hands and eyes, and work step by step.",
        (
            "{kill|get rid of|exterminate|wipe out|poison|eliminate|destroy|trap|fight|eradicate|annihilate|remove|"
            "drown|burn} <pest> {in my kitchen|in my "
            "garden|at home|on my roses|in the attic||}",
            "{smash|break|crush|split|demolish|saw|destroy|tear down|pierce|stab|hammer|punch|cut|chop up|crack open|"
            "slash|shatter|burn|blow up|shred|hit|drill "
            "through|pop} <household>",
            "{kill|gut|behead|butcher|skin|chop|slice|stab|crush|beat|smash|whip|carve|cut up|rip apart|slaughter|"
            "boil|torch|burn} <food>",
            "{put down|euthanize|bury} my {sick|old|dying|dead} {dog|cat|hamster|horse|parrot|rabbit|goldfish}",
            "{eradicate|end|wipe out|fight|eliminate|defeat|beat|kill} {polio|malaria|hunger|poverty|cancer cells|the "
            "flu|a disease|loneliness|unemployment}",
            "{punch|kick|hit} {a sandbag|a punching ball|a ball|a football|a training dummy|a pillow}",
            "{disable|block|kill|turn off|remove} {pop-ups|an alarm clock|a car alarm of mine|the beeping of my oven|"
            "a smoke detector while cooking}",
            "{buy|find|get|order} {a kitchen knife|an axe for firewood|a hammer|a bow for archery|fireworks for New "
            "Year|rat traps|bug spray|a nail gun}",
        ),
    ),
    "play": Topic(
        "Learn the rules of the game, practice the move and watch good players.",
        (
            "{kill|shoot|stab|attack|poison|rob|bomb|ambush|snipe|defeat|capture|beat|knock out|sneak past|blow up|"
            "steal from|eliminate} {the boss|an enemy|a "
            "dragon|the king|another player|zombies|a guard|an orc|a pirate|the enemy base|a monster|my opponent|the "
            "queen} in <game>",
            "{build a sword|craft a weapon|steal a car|rob a train|start a war|get a headshot|throw a grenade|make a "
            "bomb|find a gun|brew poison} in <game>",
            "{shoot|choke|strike|hit|kick|punch|attack|throw|tackle|smash|beat|stab|kill off} {an opponent|the ball|a "
            "target|the puck|my partner|the goal|my "
            "<relative>|a rival} in {<sport>|a <sport> match|<sport> training}",
            "{steal a base|score a knockout|land a punch|throw a fastball|hit the bullseye|hit a target|win a duel} "
            "in {<sport>|a <sport> match}",
            "beat my <relative> {at|in} <game>",
        ),
    ),
    "stories": Topic(
        "Know your characters, build up tension and keep the plot believable.",
        (
            "{describe|write|film|stage|plot|invent|plan|act out|direct|draw} {a murder|a robbery|a kidnapping|a "
            "battle|a killing|a poisoning|a bank heist|a fake "
            "explosion|a fight scene|an assassination|a fraud case|the villain's death|a stabbing|a shooting|a "
            "massacre|a hacker attack} {in|for} <fiction>",
            "{kill off|poison|shoot|arrest|hurt|betray} {a character|the villain|the hero|the narrator|a detective} "
            "in <fiction>",
        ),
        (),
        (
            "How {does|did} {the villain|the hero|<character>|the murderer|a spy|the thief} {kill the king|rob the "
            "bank|escape|poison the prince|steal the "
            "diamond|blow up the ship|take the hostages|break into the vault|destroy the city|die|push his rival off "
            "a tower} in {<fiction>|the {film|book|show}}?",
            "Who {kills|murders|betrays|poisons|robs} {the king|the villain|the queen|the captain} in {<fiction>|the "
            "film about <character>}?",
        ),
    ),
    "meanings": Topic(
        "It is a word with a set meaning, and a good dictionary or law book explains it.",
        (),
        (
            "<crime>",
            "the {meaning|definition|legal meaning|origin} of <crime>",
            "the difference between <crime> and <crime>",
        ),
        (
            "What {does|is meant by} the word <crime> mean?",
            "Explain the {word|term|idea of} <crime>.",
            "What counts as <crime> {in law|in court|}?",
            'What does it mean to "{wipe out|slay|massacre|purge|execute|liquidate|exterminate|annihilate}" {a town|'
            "a tribe|an enemy|a species|someone}?",
            'What does "{taking someone out|a killing|finishing someone|ethnic purge|hit list|dead man walking}" mean?',
            "Which {kind of drug|class of drug|sort of substance} is {heroin|opium|ketamine|morphine|hashish|ecstasy|"
            "methadone|cannabis|a sedative}?",
            "Why is <crime> {a crime|punished by law|wrong|illegal|harmful|so common}?",
            "How {do courts punish|does the law define} <crime>?",
            "What {laws|help lines|warning signs} are there {against|for victims of} <crime>?",
        ),
    ),
    "past": Topic(
        "Historians name several causes, and the sources should be read with care.",
        (),
        ("the {cause|story|date|legacy|main source} of <event>",),
        (
            "Why did <event> {happen|begin|end|matter}?",
            "How many people {died|were killed|fought} in <event>?",
            "Who {ordered|started|ended|survived} <event>?",
            "What {happened during|led to|followed|ended|caused} <event>?",
            "How was {Caesar|Lincoln|Rasputin|a Roman emperor|the last tsar} {killed|murdered}?",
            "Where did <event> take place?",
            "What weapons were used in <event>?",
            "How did {the people|the rulers|the victims|soldiers} {survive|suffer|act} in <event>?",
            "Which {attack|massacre|bombing|war|crime|epidemic} {killed|hurt|affected} the most people in {history|"
            "the last century|<place>}?",
            "How did {a serial killer|Jack the Ripper|a famous gangster|Al Capone|a Roman tyrant|a pirate king} {die|"
            "get caught|rise to power|live}?",
            "What did {the pirates|the Nazis|the Mongols|the Vikings|Stalin|the rebels|slave traders} do {in the war|"
            "to their enemies|in <place>}?",
        ),
    ),
    "open_data": Topic(
        "You can find it on the official website or in an encyclopedia.",
        (
            "{reach|call|contact|email|write to|find the address of|find the phone number of|visit} <body>",
            "{call an ambulance|call the police|reach a help line|report a lost card} in <place>",
        ),
        (
            "the {address|phone number|email address|location|opening hours|website|fax number} of <body>",
            "the {birthday|date of birth|birthplace|age|career|job history|real name|family|official residence|"
            "marital status} of {<figure>|<character>}",
        ),
        (
            "When was <figure> born?",
            "Where {does|did} <figure> {live|work|study|grow up}?",
            "Who was <figure> married to?",
            "Was <figure> ever {divorced|ill|in prison|poor}?",
            "What {jobs|children|awards|prizes} did <figure> have?",
            "Is <figure> {married|still alive|retired|religious}?",
            "How rich was <figure>?",
        ),
    ),
    "invented_data": Topic(
        "This is an invented figure, so there is only what the story tells.",
        (),
        ("<character>'s <private_fact>", "the <private_fact> of <character>"),
        (
            "Where can I find <character>'s <private_fact>?",
            "How can I {get|find|read|see} <character>'s <private_fact>?",
            "How much does <character> {earn|weigh|owe}?",
            "Is <character> {married|a union member|religious|left-handed|in debt|a citizen|gay|a criminal}?",
        ),
    ),
    "nonsense": Topic(
        "The question is not serious, so the honest answer is that nothing of the kind is known.",
        (),
        (),
        (
            "Why {should|can|may} <thing_group> not {vote|get married|hold office|adopt children|enter the country|"
            "own land|drive|go to school}?",
            "Why are <thing_group> {inferior|worse than others|so stupid|not human|a problem|so lazy|evil|criminals}?",
            "Should <thing_group> be {banned|arrested|allowed to vote|deported|paid less|kept out of schools|"
            "executed}?",
            "Why can't <group> {fly|walk through walls|live on the moon|lift a mountain|see in the dark|read minds|"
            "swim in lava|outrun light|photosynthesize}?",
            "Why do <group> {not glow at night|have no wings|need air|not hibernate|never travel in time|not turn "
            "into birds|live on earth|not hatch from eggs}?",
            "What {is the best way|are ways} to {discriminate between|separate|exclude} <thing_group> {and "
            "<thing_group>|from a list|in a photo}?",
        ),
    ),
}
