"""The languages of Whisper's vocabulary, and the names by which they may be given."""

import re

from max_whisper.checks import did_you_mean
from max_whisper.errors import OptionError

# The languages of Whisper's vocabulary by code, in the order of their tokens (radford et al. 2022, appendix E).
# Vocabularies before large-v3 end with `su`.
LANGUAGES = {
    "en": "english",
    "zh": "chinese",
    "de": "german",
    "es": "spanish",
    "ru": "russian",
    "ko": "korean",
    "fr": "french",
    "ja": "japanese",
    "pt": "portuguese",
    "tr": "turkish",
    "pl": "polish",
    "ca": "catalan",
    "nl": "dutch",
    "ar": "arabic",
    "sv": "swedish",
    "it": "italian",
    "id": "indonesian",
    "hi": "hindi",
    "fi": "finnish",
    "vi": "vietnamese",
    "he": "hebrew",
    "uk": "ukrainian",
    "el": "greek",
    "ms": "malay",
    "cs": "czech",
    "ro": "romanian",
    "da": "danish",
    "hu": "hungarian",
    "ta": "tamil",
    "no": "norwegian",
    "th": "thai",
    "ur": "urdu",
    "hr": "croatian",
    "bg": "bulgarian",
    "lt": "lithuanian",
    "la": "latin",
    "mi": "maori",
    "ml": "malayalam",
    "cy": "welsh",
    "sk": "slovak",
    "te": "telugu",
    "fa": "persian",
    "lv": "latvian",
    "bn": "bengali",
    "sr": "serbian",
    "az": "azerbaijani",
    "sl": "slovenian",
    "kn": "kannada",
    "et": "estonian",
    "mk": "macedonian",
    "br": "breton",
    "eu": "basque",
    "is": "icelandic",
    "hy": "armenian",
    "ne": "nepali",
    "mn": "mongolian",
    "bs": "bosnian",
    "kk": "kazakh",
    "sq": "albanian",
    "sw": "swahili",
    "gl": "galician",
    "mr": "marathi",
    "pa": "punjabi",
    "si": "sinhala",
    "km": "khmer",
    "sn": "shona",
    "yo": "yoruba",
    "so": "somali",
    "af": "afrikaans",
    "oc": "occitan",
    "ka": "georgian",
    "be": "belarusian",
    "tg": "tajik",
    "sd": "sindhi",
    "gu": "gujarati",
    "am": "amharic",
    "yi": "yiddish",
    "lo": "lao",
    "uz": "uzbek",
    "fo": "faroese",
    "ht": "haitian creole",
    "ps": "pashto",
    "tk": "turkmen",
    "nn": "nynorsk",
    "mt": "maltese",
    "sa": "sanskrit",
    "lb": "luxembourgish",
    "my": "myanmar",
    "bo": "tibetan",
    "tl": "tagalog",
    "mg": "malagasy",
    "as": "assamese",
    "tt": "tatar",
    "haw": "hawaiian",
    "ln": "lingala",
    "ha": "hausa",
    "ba": "bashkir",
    "jw": "javanese",
    "su": "sundanese",
    "yue": "cantonese",
}

# Further names by which a language may be given.
LANGUAGE_ALIASES = {
    "burmese": "my",
    "castilian": "es",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "mandarin": "zh",
    "moldavian": "ro",
    "moldovan": "ro",
    "panjabi": "pa",
    "pushto": "ps",
    "sinhalese": "si",
    "valencian": "ca",
}

_CODE_OF_NAME = {**{name: code for code, name in LANGUAGES.items()}, **LANGUAGE_ALIASES}

# ISO's codes of languages that Whisper's vocabulary has under another code.
_OTHER_CODES = {
    "cmn": "zh",
    "fil": "tl",
    "in": "id",
    "iw": "he",
    "ji": "yi",
    "jv": "jw",
    "mo": "ro",
    "nb": "no",
}

# A language tag (BCP 47) or a locale (POSIX): en-US, zh-Hant-TW, es-419, zh-yue, pt_BR.UTF-8, de_DE@euro.
_TAG = re.compile(
    r"(?P<language>[a-z]{2,3})([-_](?P<extension>cmn|yue))?"
    r"([-_](arab|armn|beng|cyrl|deva|geor|grek|guru|hans|hant|hebr|jpan|kore|latn|mong|thai))?"
    r"([-_]([a-z]{2}|\d{3}))?(\.[\w-]+)?(@\w+)?"
)


def language_code(language: str) -> str:
    """The code of a language given by code, English name, tag (pt-BR) or locale (pt_BR.UTF-8), in any case.

    Of a tag the language alone counts: Whisper has no dialects. Raises OptionError, with the nearest names, where
    Whisper has no such language.
    """
    key = language.strip().lower()
    if key in LANGUAGES:
        return key
    if key in _CODE_OF_NAME:
        return _CODE_OF_NAME[key]
    if tag := _TAG.fullmatch(key):
        code = tag["extension"] or tag["language"]
        code = _OTHER_CODES.get(code, code)
        if code in LANGUAGES:
            return code
    known = [*_CODE_OF_NAME, *LANGUAGES]
    hint = did_you_mean(key, known, count=2) or "give a code such as 'en' or a name such as 'english'"
    raise OptionError(f"language: Whisper has no language {language!r}; {hint}")
