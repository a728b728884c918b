"""Lines on which every form of a tokenizer must give the same ids: many scripts, code, odd spaces.

Written for this purpose. Not exhaustive: equal maps, merges and scores are the proof; the corpus
catches what the files do not say (a library's own normalization, prefix spaces, fallbacks).
"""

from typing import Final

LINES: Final[tuple[str, ...]] = (
    "The ship asked for pratique before it entered the harbour.",
    "Ein Schiff bittet um freie Praktika; größer, schöner, Straße.",
    "Le navire demande la libre pratique : « déjà vu », œuvre, naïve.",
    "El barco pidió la libre plática. ¿Señor? ¡Sí!",
    "Корабль запросил разрешение на вход в порт.",
    "Το πλοίο ζήτησε ελευθεροκοινωνία.",
    "船は検疫のあと、入港許可を求めた。",
    "这艘船在检疫之后请求进港许可。",
    "배는 검역 후 입항 허가를 요청했다.",
    "طلبت السفينة إذن الدخول بعد الحجر الصحي.",
    "הספינה ביקשה אישור כניסה לנמל.",
    "जहाज़ ने बंदरगाह में प्रवेश की अनुमति माँगी।",
    "เรือขออนุญาตเข้าท่าเรือหลังกักกัน",
    "Con tàu xin phép vào cảng sau khi kiểm dịch.",
    "def f(x: int) -> int:\n    return x * 2  # twice\n",
    "SELECT * FROM ships WHERE name = 'Elsa' AND year >= 1999;",
    '{"key": [1, 2.5, null, true], "text": "a\\nb"}',
    "if (a && b) { c += 1; } else { d[i]--; }",
    "https://example.org/a/b?c=d&e=f#g",
    "0 1 12 123 1234 12345 3.14159 1,000,000 -7 1e-9 0x1F",
    "😀 👍🏽 👩‍👩‍👧 🇩🇪 ✈️ ❤️",
    " leading space, trailing space ",
    "two  spaces   three    four",
    "tab\there\tand\tthere",
    "line\nbreak\r\nand carriage",
    "ALL CAPS, MiXeD cAsE, camelCaseName, snake_case_name",
    "don't can't I'll we've he's",
    "ﬁ ﬂ ① ㎏ ｆｕｌｌ ｗｉｄｔｈ",
    "e\u0301 versus \u00e9, A\u030a versus \u00c5",
    "zero\u200bwidth\u200djoin\ufeffmark",
    "\u202eright to left override\u202c",
    "control \x01\x02\x7f characters",
    "¡™£¢∞§¶•ªº–≠ œ∑´®†¥¨ˆøπ",
    "a" * 200,
    "𐍈 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠜎 𓀀",
    "",
    " ",
    "\n\n\n",
)
