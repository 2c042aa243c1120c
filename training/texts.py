"""The sentences that `nano` learns: a small context-free grammar of everyday English.

`RULES` maps a name to its productions. In a production `{name}` stands for one of the productions of that name and
`(a|b|)` for one of the alternatives, which may be empty. Text is lower case without punctuation, numbers are words.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable

ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

HELD_OUT_SHARE = 16
"""One sentence in this many is never trained on."""

_WORD_LISTS = """
name: john mary peter anna david sarah michael emma robert laura james alice thomas julia george helen frank
    maria henry lucy paul grace sam kate ben rose
city: london paris berlin rome boston chicago dublin madrid tokyo moscow sydney vienna oxford denver seattle
    athens
country: england france germany italy spain japan china canada russia india brazil mexico
day: monday tuesday wednesday thursday friday saturday sunday
month: january february march april may june july august september october november december
ordinal: first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth twentieth
color: red blue green yellow black white brown orange purple pink gray gold silver
animal: dog cat horse cow bird fish mouse lion tiger bear wolf fox rabbit snake monkey elephant duck chicken
    sheep goat pig spider bee frog
food: bread butter cheese milk eggs rice soup salad pizza chicken beef fish apples bananas grapes cake sugar
    salt pepper coffee tea water juice wine chocolate potatoes tomatoes onions honey cookies
room: kitchen bedroom bathroom garage garden office hallway basement dining_room living_room
device: lights lamp heater fan radio television oven computer camera door window alarm phone printer music
    speaker
object: book table chair box key letter picture bottle glass cup knife bag hat coat shoe ring clock map ticket
    flag rope stone ball paper pencil basket mirror hammer bell candle blanket
place: school market station hospital library park river beach forest mountain bridge church bank hotel airport
    museum farm village castle island city street house theater harbor factory restaurant store
adjective: big small old new young happy sad tired hungry angry quiet loud fast slow cold warm hot dark bright
    heavy light empty full clean dirty strong weak beautiful strange famous rich poor kind brave clever lazy
    wooden broken tall short
person: man woman boy girl teacher doctor farmer soldier king queen child baby friend brother sister mother
    father neighbor student driver singer captain lawyer nurse painter baker sailor stranger uncle aunt
did: saw found lost took bought sold broke carried held opened closed moved painted watched followed wanted
    liked loved hated forgot remembered brought sent hid threw caught dropped washed cleaned fixed
went: walked ran slept laughed cried waited jumped danced sang smiled fell stood sat talked shouted arrived left
    returned stopped worked played swam listened
adverb: slowly quickly quietly again today yesterday together alone carefully suddenly early late often never
    always soon happily
weather: rain snow wind fog sunshine storms clouds thunder frost heat
skies: sunny cloudy rainy windy stormy cold warm hot cool dry wet foggy
where: near behind under over in by beside through across around inside outside
daytime: morning afternoon evening night
genre: jazz rock classical country folk piano guitar quiet happy sad
unit: minutes hours seconds days weeks months years miles meters dollars cents pounds degrees inches gallons
pronoun: i we they he she you it
modal: can could should would will must might
do: open close find read write buy sell bring take make help see hear call ask tell show keep leave send wash
    cook eat drink move carry fix hold
topic: history science music art sport money politics health nature school weather travel work food language law
    war love time space
plural: people books houses birds children trees ships cars horses
comparison: bigger smaller older better faster heavier
"""


def _read_word_lists(text: str) -> dict[str, list[str]]:
    """Lists of the form `name: word word`; an underscore stands for a space inside an entry."""
    lists = re.findall(r"^(\w+): (.*(?:\n .*)*)", text, re.MULTILINE)
    return {name: [word.replace("_", " ") for word in words.split()] for name, words in lists}


RULES: dict[str, list[str]] = {
    **_read_word_lists(_WORD_LISTS),
    "time": [
        "{1-12} o'clock",
        "{1-12} (fifteen|thirty|forty five|ten|twenty|fifty|oh five)(| in the {daytime})",
        "(half past|quarter to|quarter past) {1-12}",
        "(noon|midnight)",
    ],
    "date": ["the {ordinal} of {month}", "{month} the {ordinal}", "{day} the {ordinal}"],
    "thing": ["(the|the|my|your|his|her|our|their|this|that) (|{adjective} )({object}|{person}|{animal}|{place})"],
    "a thing": ["a (|{adjective} |{color} )({object}|{animal})"],
    "who": [
        "{name}",
        "the {person}",
        "the {adjective} {person}",
        "my {person}",
        "{pronoun}",
    ],
    "sentence": [
        "(|please |can you )turn (on|off) the (|{room} ){device}",
        "(|please )(open|close|lock|check) the {room} {device}(| at {time}| in {1-99} {unit})",
        "(set an alarm for|wake me up at|remind me at|the train leaves at|the meeting starts at"
        "|dinner is at) {time}(| on {day}| tomorrow)",
        "(set a timer for|wait for|it takes|it is about) {number} {unit}",
        "(play some|i want to hear some|stop the) {genre} music(| in the {room}| please)",
        "call ({name}|my {person}) (now|tomorrow|on {day}|at {time}|this {daytime})",
        "the weather in ({city}|{country}) is {skies} and {skies}(| today| this {daytime})",
        "(will there be|there will be|expect) {weather} in {city} on {day}",
        "it is {number} degrees (outside|inside|in {city}|in the {room})",
        "(add|buy|i need|we have no) {food}( and {food}| {food} and {food})"
        "( to the shopping list|| for dinner| for breakfast)",
        "(my number is|the code is|dial|call|room) {digits}",
        "{digits}",
        "(the price is|it costs|she paid|they won|the answer is) {number}( dollars| pounds|)",
        "{who} {did} {thing}(| {adverb}| {where} {thing}| on {day}| in {city})",
        "{who} {did} {a thing} {where} the ({place}|{room})",
        "{who} {went} ({adverb}|{where} the {place}|with {name}|for {number} {unit})",
        "the {adjective} ({animal}|{person}) {went} {where} the {adjective} {place}",
        "there (is {a thing}|are {number} {plural}) {where} the {place}",
        "(where|what|who|when|how|why) is {thing}(| today| now)",
        "(do|did|why do|how do|when did) (you|we|they|i) {do} {thing}",
        "{pronoun} {modal}(| not) {do} {thing}(| {adverb}| before {day}| after {time})",
        "{name} and {name} (are|were|went) (in|to) ({city}|{country}|the {place})",
        "(i|we|they|you) (like|want|need|love|know|think about|talk about|read about) "
        "({topic}|{food}|{thing})( and {topic}| because it is {adjective}|)",
        "(today is|my birthday is|the party is on|we leave on|they met on) {date}(| at {time})",
        "{name} was born in (nineteen|eighteen|two thousand and) {10-99}",
        "the {color} ({object}|{animal}) is {comparison} than the {color} one",
        "(take the|the) {ordinal} (street|door|bridge|train|bus|turn) on the (left|right) (after|before) the {place}",
        "(how far is it to|the next flight to|the bus to|drive to) {city}( from {city}| at {time}| on {day})",
        "good {daytime} {name}(| how are you| welcome to {city}| please sit down| what time is it)",
        "(thank you very much|yes|no|hello|goodbye|i do not know|see you {day}|never mind"
        "|of course|what did you say|i am sorry|please repeat that|excuse me)(| {name})",
    ],
}


def _below_hundred(rng: random.Random, low: int, high: int) -> str:
    number = rng.randint(low, high)
    if number < 10:
        return ONES[number]
    if number < 20:
        return TEENS[number - 10]
    return TENS[number // 10 - 2] + (f" {ONES[number % 10]}" if number % 10 else "")


def _number(rng: random.Random) -> str:
    kind = rng.random()
    below = _below_hundred(rng, 1, 99)
    if kind < 0.5:
        return below
    if kind < 0.7:
        return f"{rng.choice(ONES[1:])} hundred{rng.choice(['', f' and {below}', f' {below}'])}"
    if kind < 0.85:
        thousands = _below_hundred(rng, 1, 30)
        return f"{thousands} thousand{rng.choice(['', f' {rng.choice(ONES[1:])} hundred'])}"
    if kind < 0.93:
        return f"{below} million"
    return f"{below} point {' '.join(rng.choices(ONES, k=rng.randint(1, 3)))}"


NUMBERS: dict[str, Callable[[random.Random], str]] = {
    "number": _number,
    "digits": lambda rng: " ".join(rng.choices(ONES, k=rng.randint(1, 7))),
    "1-12": lambda rng: _below_hundred(rng, 1, 12),
    "1-99": lambda rng: _below_hundred(rng, 1, 99),
    "10-99": lambda rng: _below_hundred(rng, 10, 99),
}

_INNERMOST = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{([^}]*)\}")


def expand(production: str, rng: random.Random) -> str:
    """Draw one text of `production`."""
    while match := _INNERMOST.search(production):
        choice = rng.choice(match[1].split("|"))
        production = production[: match.start()] + choice + production[match.end() :]

    def slot(match: re.Match[str]) -> str:
        name = match[1]
        return NUMBERS[name](rng) if name in NUMBERS else expand(rng.choice(RULES[name]), rng)

    text = _SLOT.sub(slot, production)
    return re.sub(r"\ba (?=[aeiou])", "an ", re.sub(r" +", " ", text).strip())


def _terminals() -> list[str]:
    words = set(ONES + TEENS + TENS + ["hundred", "thousand", "million", "point"])
    for productions in RULES.values():
        for production in productions:
            words.update(re.findall(r"[a-z']+", _SLOT.sub(" ", production)))
    return sorted(words | {"an"})


VOCABULARY = _terminals()
"""Every word that the grammar can say."""


def sentence(rng: random.Random) -> str:
    """A sentence of the grammar."""
    return expand(rng.choice(RULES["sentence"]), rng)


def random_words(rng: random.Random) -> str:
    """Words without grammar, so that the model must listen rather than guess."""
    return " ".join(rng.choices(VOCABULARY, k=rng.randint(3, 8)))


def is_held_out(text: str) -> bool:
    """Whether `text` belongs to the sentences that training never sees.

    A property of the text itself (its CRC-32), so that every script agrees on it without a list. One and two words, and
    plain digit strings, are too few to keep apart.
    """
    words = text.split()
    if len(words) < 3 or all(word in ONES for word in words):
        return False
    return zlib.crc32(text.encode()) % HELD_OUT_SHARE == 0


def training_text(rng: random.Random) -> str:
    """A text for training: three quarters grammar, the rest random words and digit strings."""
    while True:
        kind = rng.random()
        if kind < 0.8:
            text = sentence(rng)
        elif kind < 0.93:
            text = random_words(rng)
        else:
            text = " ".join(rng.choices(ONES, k=rng.randint(1, 9)))
        if not is_held_out(text):
            return text


def held_out_sentence(rng: random.Random) -> str:
    """A sentence of the grammar that training never sees."""
    while True:
        text = sentence(rng)
        if is_held_out(text):
            return text
