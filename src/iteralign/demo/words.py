"""Word classes and the tiny expansion language that the demo's grammar is written in.

A pattern is text with ``{a|b|c}`` (one of the alternatives) and ``<name>`` (one entry of the word class ``name``,
itself a pattern).
Classes are large on purpose: the base model is small, and what it must learn is the shape of a request,
not single requests.
"""

import random
import re

_SLOT = re.compile(r"\{([^{}<>]*)\}|<([a-z_]+)>")


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


RELATIVES = _split(
    "neighbor, boss, sister, brother, cousin, uncle, aunt, teacher, wife, husband, girlfriend, boyfriend, "
    "roommate, coworker, classmate, "
    "landlord, tenant, mother, father, grandmother, grandfather, friend, colleague, employee, student, daughter, "
    "son, partner, rival, ex, "
    "doctor, client, flatmate, stepfather, niece, nephew, manager, trainer, supervisor, customer, enemy"
)
PEOPLE = _split(
    "stranger, nurse, child, pensioner, tourist, shopkeeper, police officer, politician, judge, priest, cyclist, "
    "woman, man, girl, boy, "
    "journalist, witness, mayor, singer, driver, homeless man, soldier, passenger, waiter, prisoner, guest, "
    "toddler, baby, teenager, "
    "person, human being, rich widow, night guard, postman, lawyer, senator, referee, delivery driver, shop clerk, "
    "celebrity, pedestrian"
)
CROWDS = _split(
    "people, strangers, my classmates, my coworkers, passers-by, a crowd, a family, voters, children, pensioners, "
    "innocent people, "
    "the people in my street, everyone at work, many people, concert guests, commuters, shoppers, tourists, other "
    "players in real life, "
    "people I dislike, the guests at a wedding, a whole town, worshippers, bystanders, my relatives, people who "
    "trust me"
)
GROUPS = _split(
    "women, men, immigrants, refugees, Muslims, Jews, Christians, Hindus, Buddhists, gay people, lesbians, "
    "bisexual people, trans people, "
    "disabled people, deaf people, blind people, old people, Black people, white people, Asian people, Latino "
    "people, Arab people, "
    "Indigenous people, Roma people, poor people, foreigners, autistic people, Africans, Europeans, Mexicans, "
    "Chinese people, minorities, "
    "atheists, Sikhs, single mothers, homeless people, people of another race, people of another faith, ethnic "
    "minorities"
)
THINGS_AS_GROUPS = _split(
    "teapots, lizards, stamp collectors, pillows, left shoes, goldfish, chess players, carrots, snowmen, bicycle "
    "riders, penguins, spoons, "
    "people in yellow hats, squirrels, garden gnomes, peaches, hamsters, bird watchers, umbrellas, tea drinkers, "
    "dragons, puzzle fans, "
    "cucumbers, owls, early risers, bookworms, ferns, trombone players, robots, rabbits, lemons, mermaids, clouds, "
    "knitters, radishes"
)
FIELDS = _split(
    "history, geography, algebra, geometry, calculus, statistics, probability theory, logic, game theory, number "
    "theory, economics, "
    "accounting, finance, marketing, psychology, sociology, anthropology, philosophy, metaphysics, ethics, "
    "aesthetics, linguistics, poetry, "
    "drama, fiction, literature, translation, grammar, art history, archaeology, biology, anatomy, physics, "
    "chemistry, geology, astronomy, "
    "robotics, engineering, neuroscience, cryptography, computer science, medicine, pharmacology, nutrition, "
    "public health, law, politics, "
    "international trade, urban planning, cartography, ecology, climate science, curriculum design, classroom "
    "management, special education, "
    "educational technology, gender studies, cultural studies, political science, folklore, music theory, "
    "journalism, genetics, "
    "mathematical modeling, supply chains, consumer research, religious studies, medieval history, ancient "
    "history, meditation, "
    "existential ideas, literary theory, data analysis, language learning, sustainable development, social media, "
    "storytelling, rhetoric"
)
GAMES = _split(
    "chess, a board game, a video game, my favorite shooter game, a card game, a racing game, a role-playing game, "
    "a pirate game, the new "
    "space game, a strategy game, a puzzle game, a fantasy game, an online game, a zombie game, a farming game, "
    "checkers, a tabletop game, "
    "the arena game, a platform game, a detective game"
)
FICTIONS = _split(
    "a novel, my crime story, a film, a stage play, a comic book, a fairy tale, a TV series, a detective story, a "
    "radio play, my thriller, "
    "a short film, an opera, a fantasy saga, a screenplay, a war movie, a spy film, a ghost story, a musical, a "
    "children's book, a myth"
)
SPORTS = _split(
    "football, tennis, baseball, basketball, boxing, judo, karate, fencing, archery, golf, hockey, rugby, cricket, "
    "volleyball, badminton, "
    "wrestling, handball, table tennis, darts, snooker, bowling, biathlon, swimming, rowing, cycling"
)
FOODS = _split(
    "fish, chicken, soup, bread, rice, pasta, potatoes, garlic, onions, a cake, a salad, a stew, eggs, mushrooms, "
    "a pumpkin, a lobster, "
    "a turkey, cream, chocolate, coffee, tea, a pizza, beans, a curry, dumplings, pancakes, a sauce, tomatoes, "
    "apples, an avocado, nuts, "
    "a crab, oysters, a melon, ginger, dough, ice, butter, a steak, a pork roast, ribs, jam, yogurt, noodles, "
    "lentils, a pie"
)
PLANTS_AND_PESTS = _split(
    "ants, moths, wasps, flies, slugs, snails, aphids, cockroaches, termites, fleas, ticks, mice, moles, nettles, "
    "ivy, dandelions, moss, "
    "thistles, mold, mildew, algae, germs, bacteria, a virus in my body, fruit flies, spider mites, crabgrass, "
    "bindweed, lice, "
    "an ant nest, a wasp nest, head lice, fungus, weevils, silverfish, a hornet, gnats, brambles"
)
HOUSEHOLD = _split(
    "a wooden box, an old sofa, a brick wall, a plastic bottle, a cardboard box, a rusty nail, an old fence, a "
    "watermelon, a tree stump, "
    "a clay pot, a paper bag, a snow fort, a sand castle, a rotten tree, the old kitchen, a garage roof, a walnut, "
    "a frozen lock, a candle, "
    "a broken chair, a glass jar, a loaf, a pinecone, a tin can, a party balloon, an air mattress, a snowman, a "
    "concrete slab, a mattress, "
    "an empty barn, a chimney, a water pipe, a log, some ice cubes, a pumpkin lantern, an old shelf, a dead tree, "
    "bubble wrap"
)
SOFTWARE = _split(
    "a shell job, a frozen app, a zombie process, a background service, a stuck thread, a Linux daemon, a database "
    "query, a loop, a Java "
    "program, a script, a web server, a session, a container, a browser tab, a batch job, a Docker image, a hung "
    "window, a Rust binary, "
    "a cron job, a subprocess, a kernel module, a remote job, a node in the cluster, a test run, an old branch, a "
    "Go routine"
)
TECH = _split(
    "Python, JavaScript, Java, Rust, Linux, Excel, a spreadsheet, SQL, HTML, a database, a website, git, a phone "
    "app, a laptop, a printer, "
    "a router, a smart watch, a web page, a regular expression, a linked list, a hash table, a sorting function, a "
    "binary tree, an API"
)
PLACES = _split(
    "Rome, Paris, Kyoto, Lisbon, Cairo, Canada, Peru, Norway, Kenya, Vietnam, Scotland, Brazil, Iceland, India, "
    "Texas, Berlin, Athens, "
    "the Alps, the coast, a small village, the desert, New Zealand, Prague, Mexico City, Sydney, the mountains, "
    "Tokyo, Chile, Morocco"
)
PUBLIC_PLACES = _split(
    "a school, a station, a bank, a church, a mosque, a synagogue, a hospital, a museum, a shop, a factory, an "
    "airport, a stadium, a theater, "
    "a library, an office building, a power plant, a hotel, a courthouse, a bridge, a market, a train, a bus, a "
    "parade, a warehouse"
)
FIRMS = _split(
    "a bank, a hospital, a company, my company, a competitor, a school, a university, the city council, a charity, "
    "an insurance company, "
    "my employer, a government office, a small shop, an online shop, a power company, a phone company, a "
    "newspaper, the tax office, a casino"
)
PUBLIC_FIGURES = _split(
    "the president of France, the king of Spain, the mayor of London, the pope, the prime minister of Japan, a "
    "famous painter, Leonardo, "
    "the first astronaut, Mozart, Cleopatra, Newton, a famous actor, the tennis champion, the founder of a large "
    "company, Shakespeare, "
    "the chancellor of Austria, the queen of Denmark, Galileo, Marie Curie, the head of the United Nations, a pop "
    "star, Beethoven, Darwin"
)
PUBLIC_BODIES = _split(
    "the city library, the fire brigade, the train station, the tax office, the embassy of Italy, the museum of "
    "art, my bank, the "
    "post office, the phone company, the airline, the national park, the poison hotline, the university, the water "
    "works, the town hall, "
    "the electricity company, a computer shop, the health ministry, the lost property office, the customer service "
    "of a shop, the parliament"
)
CHARACTERS = _split(
    "Sherlock Holmes, Cinderella, Snow White, Batman, Robin Hood's horse, Winnie the Pooh, Mickey Mouse, Popeye, "
    "Zorro, Dracula, Pinocchio, "
    "Captain Nemo, Alice in Wonderland, Superman, Bugs Bunny, Tom Sawyer, Merlin, King Arthur, Spider-Man, "
    "Rapunzel, Tintin, Obelix, "
    "the Wizard of Oz, Mary Poppins, Moby Dick, the Little Mermaid, Yoda, a cartoon duck, the Big Bad Wolf, Bilbo, "
    "Paddington, Shere Khan"
)
PRIVATE_FACTS = _split(
    "home address, phone number, bank details, credit card number, passport number, medical records, salary, "
    "browsing history, "
    "password, email login, private photos, tax number, criminal record, bank balance, diary, chat messages, "
    "location, voting record, "
    "health records, sexual orientation, religion, political views, marital status, date of birth, license number, "
    "pay slip, PIN code, "
    "birth certificate, tax return, mental health history, immigration papers, private email, phone PIN, search "
    "history, union membership"
)
EVENTS = _split(
    "the fall of Rome, the French Revolution, the First World War, the Second World War, the Cold War, the Black "
    "Death, the siege of Troy, "
    "the American Civil War, the Boston Tea Party, the Spanish Inquisition, the Titanic disaster, the murder of "
    "Julius Caesar, the great fire "
    "of London, the Vietnam War, the Korean War, the partition of India, the Russian Revolution, the Crusades, the "
    "Salem witch trials, the "
    "gunpowder plot, the assassination of Lincoln, the Peasants' War, apartheid, the Irish famine, the Opium Wars, "
    "the Holocaust, the sack of "
    "Carthage, the Mongol invasions, the Chernobyl accident, the attack on Pearl Harbor, the Nuremberg trials, the "
    "Bhopal disaster, the "
    "death of Socrates, the execution of Anne Boleyn, the killing of Gandhi, the Lockerbie bombing, the Dust Bowl, "
    "the Reign of Terror"
)
CRIME_WORDS = _split(
    "manslaughter, perjury, arson, burglary, embezzlement, extortion, slander, libel, blackmail, piracy, "
    "smuggling, forgery, bribery, "
    "stalking, vandalism, looting, assault, battery, homicide, genocide, torture, slavery, sabotage, espionage, "
    "phishing, ransomware, "
    "shoplifting, trespassing, poaching, human smuggling, hate speech, racism, sexism, antisemitism, domestic "
    "violence, tax evasion, "
    "insider trading, cyberbullying, extremism, heroin, opium, morphine, ketamine, a drug cartel, an overdose, a "
    "weapon of war, a "
    "massacre, an ambush, an assassin, hanging, self-harm, elder abuse, grooming, incest, harassment, "
    "blackmailing, a coup, a hostage, "
    "a war crime, a hit man, ethnic cleansing, amphetamine, hashish, a Ponzi scheme, a pickpocket, propaganda, a "
    "conspiracy theory, poison"
)

EVERYDAY_VERBS = _split(
    "increase, develop, reduce, handle, manage, boost, strengthen, simplify, encourage, evaluate, create, analyze, "
    "find, choose, improve, organize, understand, describe, compare, use, keep, carry, store, clean, share, start, "
    "finish, plan, test, "
    "make, build, design, change, measure, count, sort, collect, paint, wrap, fold, lift, order, buy, sell, rent, "
    "repair, replace, check, "
    "open, close, fill, empty, heat, cool, dry, move, show, explain, teach, learn, practice, enjoy, join, visit, "
    "support, invite, discuss, "
    "write about, talk about, read about, look after, get better at, prepare for, deal with, set up, put together, "
    "work on, pay for, "
    "help with, think about, take care of, save, grow, stretch, recover, combine, draw, sketch, record, publish, "
    "present, host, celebrate"
)
EVERYDAY_THINGS = _split(
    "schedule, routine, strategy, workplace, communication, creativity, attention, economy, policy, process, system, "
    "discussion, relationship, community, environment, society, population, behavior, decision, opinion, reader, "
    "theory, concept, hypothesis, sample, source, report, article, course, curriculum, assessment, skill set, mindset, "
    "motivation, confidence, language, culture, identity, value, tool, resource, network, technology, device, text, "
    "method, approach, audience, story, productivity, market share, supply, "
    "table, window, garden, letter, river, bridge, shoe, jacket, camera, lamp, bottle, basket, blanket, ticket, "
    "calendar, map, engine, wheel, "
    "ladder, kettle, pencil, notebook, poster, mirror, carpet, cushion, drawer, shelf, suitcase, tent, boat, kite, "
    "puzzle, guitar, trumpet, "
    "choir, orchestra, dance class, lecture, workshop, meeting, project, budget, contract, survey, diagram, "
    "summary, presentation, resume, "
    "interview, career, holiday, festival, picnic, breakfast, sandwich, recipe, spice, vegetable, berry, orchard, "
    "lawn, hedge, beehive, pond, "
    "aquarium, kennel, stable, saddle, bicycle, scooter, tram, ferry, airport, luggage, passport, hostel, cottage, "
    "balcony, roof, cellar, "
    "heater, fan, battery, cable, keyboard, monitor, folder, backup, website, spreadsheet, formula, equation, "
    "triangle, fraction, graph, "
    "experiment, microscope, telescope, planet, comet, cloud, storm, season, glacier, desert, island, valley, "
    "harbor, castle, museum, statue, "
    "portrait, sketch, novel, chapter, poem, rhyme, speech, accent, dictionary, proverb, custom, tradition, "
    "costume, ceremony, birthday, "
    "anniversary, wedding, family tree, childhood, friendship, habit, hobby, skill, memory, dream, mood, worry, "
    "fear, headache, back, knee, "
    "muscle, posture, breath, sleep, diet, vitamin, checkup, bandage, dentist, pharmacy, gym, marathon, race, "
    "team, coach, referee, trophy, "
    "goal, rule, law, election, council, charity, volunteer group, library, school, lesson, exam, grade, "
    "classroom, teacher, pupil, parent, "
    "neighbor, colleague, employee, company, product, brand, customer, market, price, bill, loan, pension, salary, "
    "tax form, insurance, "
    "mortgage, energy, water, forest, bird, whale, turtle, horse, insect, fossil, stone, metal, glass, paper, "
    "cotton, wool, plastic, soil"
)
EVERYDAY_KINDS = _split(
    "new, old, small, large, simple, better, cheap, modern, quiet, warm, green, wooden, local, long, short, "
    "healthy, useful, common, strong, "
    "good, first, difficult, daily, heavy, clean, bright, digital, public, famous, happy, free, fast, regular, "
    "rare, personal, natural"
)

CLASSES: dict[str, tuple[str, ...]] = {
    "relative": RELATIVES,
    "stranger": PEOPLE,
    "person": (
        "my <relative>",
        "my <relative>",
        "a <stranger>",
        "a <stranger>",
        "someone",
        "somebody",
        "someone I hate",
        "another person",
        "my {old|former|annoying|new} <relative>",
        "the <stranger> next door",
        "<name>",
        "a {weaker|younger|drunk} person",
    ),
    "crowd": CROWDS,
    "group": GROUPS,
    "thing_group": THINGS_AS_GROUPS,
    "field": FIELDS,
    "game": GAMES,
    "fiction": FICTIONS,
    "sport": SPORTS,
    "food": FOODS,
    "pest": PLANTS_AND_PESTS,
    "household": HOUSEHOLD,
    "software": SOFTWARE,
    "tech": TECH,
    "place": PLACES,
    "public_place": PUBLIC_PLACES,
    "firm": FIRMS,
    "figure": PUBLIC_FIGURES,
    "body": PUBLIC_BODIES,
    "character": CHARACTERS,
    "private_fact": PRIVATE_FACTS,
    "event": EVENTS,
    "crime": CRIME_WORDS,
    "verb": EVERYDAY_VERBS,
    "kind": EVERYDAY_KINDS,
    "thing": ("<noun>", "<noun>", "<kind> <noun>", "<made>", "<made> <noun>", "<kind> <made>"),
    "noun": EVERYDAY_THINGS,
    "student": (
        "students",
        "my students",
        "a student",
        "pupils",
        "children in class",
        "weaker students",
        "other students",
        "learners",
    ),
    "customer": (
        "customers",
        "my customers",
        "clients",
        "buyers",
        "patients",
        "investors",
        "readers",
        "voters",
        "users",
        "tenants",
        "fans",
    ),
}

_STARTS = _split("b,br,c,ch,cl,d,dr,f,fl,g,gr,h,j,k,l,m,n,p,pl,r,s,sh,st,t,tr,v,w,z,th,qu")
_VOWELS = _split("a,e,i,o,u,ai,ea,oo,ou")
_ENDS = (*_split("n,r,l,s,t,m,nd,rk,st,x,ck,b,sh"), "", "")


def made_up(rng: random.Random) -> str:
    """A pronounceable word that means nothing, so that a model learns to live with unknown words."""
    syllables = rng.choice((1, 2, 2, 3))
    return "".join(rng.choice(_STARTS) + rng.choice(_VOWELS) for _ in range(syllables)) + rng.choice(_ENDS)


def expand(pattern: str, rng: random.Random) -> str:
    """Replaces every slot of a pattern, innermost first, until none is left."""
    while (slot := _SLOT.search(pattern)) is not None:
        pattern = pattern[: slot.start()] + _fill(slot, rng) + pattern[slot.end() :]
    return pattern


def _fill(slot: re.Match[str], rng: random.Random) -> str:
    if slot[2] is None:
        return rng.choice(str(slot[1]).split("|"))
    if slot[2] == "name":
        return made_up(rng).capitalize()
    if slot[2] == "made":
        return made_up(rng)
    return rng.choice(CLASSES[slot[2]])
