"""What is found to be no text, and what is left alone: answers of people and models, in several languages."""

import random

import pytest

from iteralign.text.degenerate import is_degenerate, what_is_wrong

ORDINARY = {
    "english": """Bread rises because yeast eats the sugar in the dough and gives off gas. The gas is caught in the dough,
        which must be kneaded until it is firm enough to hold it. Leave it in a warm place for an hour, then knead
        it once more, and bake it in a hot oven until the crust is brown and sounds hollow when you knock on it from
        below.""",
    "german": """Brot geht auf, weil die Hefe den Zucker im Teig frisst und dabei Gas abgibt. Das Gas wird im Teig gefangen,
        den man so lange kneten muss, bis er fest genug ist, um es zu halten. Man lässt ihn eine Stunde an einem
        warmen Ort stehen, knetet ihn noch einmal und backt ihn im heißen Ofen, bis die Kruste braun ist und hohl
        klingt, wenn man klopft.""",
    "finnish": """Leipä kohoaa, koska hiiva syö taikinan sokerin ja tuottaa kaasua. Kaasu jää taikinaan, jota pitää vaivata
        niin kauan, että se on tarpeeksi sitkeää. Anna taikinan kohota tunnin ajan lämpimässä paikassa, vaivaa se
        vielä kerran ja paista leipä kuumassa uunissa, kunnes kuori on ruskea ja leipä kumisee, kun sitä koputtaa
        pohjasta. Anna leivän jäähtyä ennen kuin leikkaat sitä, koska kuuma leipä murenee.""",
    "turkish": """Ekmek kabarır, çünkü maya hamurdaki şekeri yer ve gaz çıkarır. Gaz hamurun içinde kalır; hamur onu tutacak
        kadar sıkı olana kadar yoğrulmalıdır. Hamuru bir saat sıcak bir yerde bırakın, sonra bir kez daha yoğurun ve
        kabuk kızarana kadar sıcak bir fırında pişirin. Ekmek soğumadan kesmeyin, çünkü sıcak ekmek ufalanır ve
        bıçağa yapışır.""",
    "russian": """Хлеб поднимается, потому что дрожжи едят сахар в тесте и выделяют газ. Газ остаётся в тесте, которое нужно
        месить, пока оно не станет достаточно плотным, чтобы его удержать. Оставьте тесто на час в тёплом месте,
        потом вымесите его ещё раз и пеките хлеб в горячей печи, пока корка не станет коричневой и хлеб не зазвучит
        глухо, если постучать.""",
    "chinese": """面包会发起来，是因为酵母吃掉面团里的糖，放出气体。气体留在面团里，所以面团要揉到足够结实，才能把气体
        留住。把面团放在温暖的地方一个小时，然后再揉一次，放进热的烤箱里，烤到外皮变成棕色，敲一敲底部，声音
        是空的，面包就好了。面包凉了以后再切，因为热的面包容易碎。""",
    "japanese": """パンがふくらむのは、酵母が生地の中の糖を食べてガスを出すからです。ガスは生地の中に残るので、それを保
        てるほど生地がしっかりするまでこねる必要があります。暖かい場所に一時間置いてから、もう一度こねて、皮
        が茶色になるまで熱いオーブンで焼きます。冷めてから切ってください。""",
    "hindi": """रोटी इसलिए फूलती है क्योंकि खमीर आटे की चीनी खाता है और गैस छोड़ता है। गैस आटे में रह जाती है,
        इसलिए आटे को तब तक गूँधना चाहिए जब तक वह इतना मज़बूत न हो जाए कि गैस को रोक सके। आटे को एक घंटे
        के लिए गरम जगह पर रखिए, फिर उसे एक बार और गूँधिए और गरम तंदूर में तब तक पकाइए जब तक ऊपर का रंग
        भूरा न हो जाए। रोटी को ठंडा होने के बाद काटिए।""",
    "a numbered list": "Things to take along:\n"
    + "\n".join(f"{n}. {thing}" for n, thing in enumerate(("water", "bread", "a map", "a lamp", "shoes"), 1)),
    "code": "To run the commands one by one:\n" + "\n".join(f"EXECUTE procedure_{n} WITH value_{n};" for n in range(8)),
}
SALAD = """Ledger Hominique supper Joshua floridates stratteral commis ante kadil not yei Russia dome scoglo blinxt
    department quintal finale slip ravine inc semi doubt human violations delivering caju carriers ducks final item coach
    unbelieved religious fibres stopping messages neural pith nuance governments recon hammer vesper written decree oscillate
    magnesium fjord whisper tangent brisket oblong vapour citadel quaver mollusc"""


@pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY.keys())
def test_an_ordinary_answer_is_left_alone(text: str) -> None:
    assert what_is_wrong(text) is None


@pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY.keys())
def test_what_is_said_five_times_is_found_wherever_it_ends(text: str) -> None:
    assert is_degenerate(f"Well. {' '.join([text] * 5)} And so on, to whatever comes next in another place")


@pytest.mark.parametrize(
    "start", ["", "I'm sorry, but I can't help with that, since somebody could be hurt by it. " * 2]
)
def test_words_without_connection_are_found(start: str) -> None:
    assert what_is_wrong(start + SALAD) == "the answer's words have no connection"


def test_the_reason_says_what_is_wrong() -> None:
    assert what_is_wrong(" \n") == "the answer is empty"
    assert what_is_wrong("no " * 40) == what_is_wrong("!" * 80) == "the answer repeats itself endlessly"
    lines = [f"I'm here to help you with whatever you need, {random.Random(n).random()}." for n in range(12)]
    assert what_is_wrong("\n".join(lines)) == "the answer says the same over and over"


def test_few_words_are_not_enough_to_tell() -> None:
    assert what_is_wrong(" ".join(SALAD.split()[:30])) is None
