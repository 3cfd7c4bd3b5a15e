"""Texts that nobody can read, or that look like others: no act takes one in."""

UNREADABLE = {
    "empty": "",
    "spaces": "   ",
    "escape": "a\x1b[2Jb",
    "bell": "a\x07",
    "newline": "one\ntwo",
    "c1": "a\x9bb",
    "no-break space": "a\xa0b",
    "soft hyphen": "a\xadb",
    "bidi": "a\u202eb",
    "isolate": "a\u2066b",
    "line separator": "a\u2028b",
    "zero width": "a\u200bb",
    "bom": "\ufeffa",
    "tag": "a\U000e0041",
    "private": "a\ue000",
    "hangul filler": "\u3164",
    "choseong filler": "a\u115f",
    "halfwidth filler": "a\uffa0",
    "braille blank": "\u2800\u2800",
    "khmer vowel": "a\u17b4",
    "grapheme joiner": "a\u034fb",
    "variation selector": "a\ufe0f",
    "last variation selector": "a\ufe00b",
    "mongolian selector": "a\u180b",
    "zalgo": "a" + "\u0301" * 5,
    "mark on nothing": "\u0301a",
}
READABLE = (
    "found open", "Wartung für Halle 3", "点検", "проверка", "בדיקה", "ตรวจสอบที่นี่", "e\u0301te\u0301", "क्षत्रिय", "\\x1b",
    "a|b: c", "4711",
)  # fmt: skip
