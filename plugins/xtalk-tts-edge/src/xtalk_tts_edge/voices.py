"""The voices that a conversation may ask for by name: some of the several hundred there are."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["LANGUAGES", "VOICES", "find"]

NAMES = {
    "zh-CN": "Xiaoyi Xiaoxiao Yunjian Yunxi Yunxia Yunyang",
    "zh-CN-liaoning": "Xiaobei",
    "zh-CN-shaanxi": "Xiaoni",
    "zh-HK": "HiuGaai HiuMaan WanLung",
    "zh-TW": "HsiaoChen HsiaoYu YunJhe",
    "en-US": "Ana Andrew Aria Ava Brian Christopher Emma Eric Guy Jenny Michelle Roger Steffan",
    "en-GB": "Libby Maisie Ryan Sonia Thomas",
    "de-DE": "Amala Conrad Katja Killian",
    "fr-FR": "Denise Eloise Henri",
    "es-ES": "Alvaro Elvira",
    "it-IT": "Diego Elsa Isabella",
    "pt-BR": "Antonio Francisca",
    "ru-RU": "Dmitry Svetlana",
    "hi-IN": "Madhur Swara",
    "ja-JP": "Keita Nanami",
    "ko-KR": "InJoon SunHi",
}

VOICES = tuple(
    f"{locale}-{name}Neural" for locale, names in NAMES.items() for name in names.split()
)
LANGUAGES = tuple(dict.fromkeys(locale.partition("-")[0] for locale in NAMES))


def find(name: str, voices: Iterable[str]) -> str | None:
    """The voice of this name, or of this given name alone ("Katja"), in any case; or None."""
    wanted = name.strip().casefold()
    for voice in voices:
        given = voice.rpartition("-")[2].removesuffix("Neural")
        if wanted in (voice.casefold(), given.casefold()):
            return voice
    return None
