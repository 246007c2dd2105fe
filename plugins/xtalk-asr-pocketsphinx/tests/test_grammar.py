"""Grammars: from phrases, their words, and the errors that name what is unknown."""

from __future__ import annotations

import pytest
from xtalk_asr_pocketsphinx.asr import PocketSphinx
from xtalk_asr_pocketsphinx.grammar import from_phrases, words

from xtalk.errors import ConfigError, ModelError


def test_the_words_of_a_grammar() -> None:
    jsgf = """#JSGF V1.0 UTF-8 en;
    grammar a.test; // said of the file
    import <other.rule>;
    /* a longer
       remark */
    public <top> = /0.5/ hello {greeting} | /2/ (good | nice) <time of day> [please]* ;
    <time of day> = "morning" | it's+ ;"""
    assert words(jsgf) == ["hello", "good", "nice", "please", "morning", "it's"]


def test_phrases_become_a_grammar() -> None:
    assert words(from_phrases(["What time is it?", "Hello, there!"])) == [
        "what", "time", "is", "it", "hello", "there",
    ]  # fmt: skip


@pytest.mark.parametrize("phrases", [[], ["?!"]])
def test_no_words_at_all_are_an_error(phrases: list[str]) -> None:
    with pytest.raises(ConfigError, match="no words"):
        PocketSphinx(phrases=phrases)


def test_unknown_words_are_named_when_it_is_built() -> None:
    with pytest.raises(ConfigError, match="blorft, xqzt"):
        PocketSphinx(phrases=["hello xqzt", "blorft"])


def test_unknown_words_are_named_when_the_grammar_is_set() -> None:
    recogniser = PocketSphinx()
    with pytest.raises(ConfigError, match=": blorft\\."):
        recogniser.set_grammar("#JSGF V1.0;\ngrammar g;\npublic <g> = hello blorft;\n")


def test_a_word_with_a_pronunciation_is_known() -> None:
    PocketSphinx(phrases=["hello blorft"], pronunciations={"blorft": "B L AO R F T"})


def test_grammar_and_phrases_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="not both"):
        PocketSphinx(grammar="#JSGF V1.0;", phrases=["hello"])


@pytest.mark.parametrize(
    ("grammar", "pronunciations"),
    [("this is no grammar", None), ("#JSGF V1.0;\ngrammar g;\npublic <g> = hey;", {"hey": "ZZ"})],
)
def test_what_pocketsphinx_refuses_is_said(
    grammar: str, pronunciations: dict[str, str] | None, capfd: pytest.CaptureFixture[str]
) -> None:
    recogniser = PocketSphinx(grammar=grammar, pronunciations=pronunciations)
    with pytest.raises(ModelError, match="could not load"):
        recogniser.recognize(bytes(32000))
    recogniser.close()
