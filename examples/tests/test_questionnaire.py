"""The tool of mental_consultant_server.py, by itself."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[1] / "sample_app" / "mental_consultant_server.py"

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


@pytest.fixture
def ask(program: dict[str, Any]) -> Ask:
    """The questionnaire of a new conversation."""
    tool = program["mental_questionnaire"]()
    return lambda **arguments: json.loads(tool.invoke(arguments))


def answered(ask: Ask, answers: list[int]) -> dict[str, Any]:
    step = ask()
    for answer in answers:
        step = ask(answer=answer)
    return step


def test_it_asks_nine_different_questions_in_order(ask: Ask) -> None:
    steps = [ask(), *(ask(answer=0) for _ in range(8))]
    assert [step["question_index"] for step in steps] == list(range(1, 10))
    assert len({step["question"] for step in steps}) == 9
    for step in steps:
        assert step["finished"] is False
        assert step["total_questions"] == 9
        assert "3 is almost every day" in step["instruction"]


@pytest.mark.parametrize(
    ("answers", "score", "severity"),
    [
        ([0] * 9, 0, "minimal"),
        ([1] * 4 + [0] * 5, 4, "minimal"),
        ([1] * 5 + [0] * 4, 5, "mild"),
        ([3] * 3 + [0] * 6, 9, "mild"),
        ([2] * 5 + [0] * 4, 10, "moderate"),
        ([2] * 7 + [0] * 2, 14, "moderate"),
        ([3] * 5 + [0] * 4, 15, "moderately severe"),
        ([3] * 6 + [1, 0, 0], 19, "moderately severe"),
        ([3] * 6 + [2, 0, 0], 20, "severe"),
        ([3] * 9, 27, "severe"),
    ],
)
def test_the_score_has_a_severity(ask: Ask, answers: list[int], score: int, severity: str) -> None:
    result = answered(ask, answers)
    assert result["finished"] is True
    assert (result["score"], result["max_score"], result["severity"]) == (score, 27, severity)
    assert severity in result["message"] and "no diagnosis" in result["message"]
    assert ("emergency" in result["recommendation"]) == bool(answers[8])


@pytest.mark.parametrize("answer", [1, 2, 3])
def test_thoughts_of_self_harm_outweigh_a_low_score(ask: Ask, answer: int) -> None:
    result = answered(ask, [0] * 8 + [answer])
    assert result["severity"] == "minimal"
    assert "get help now" in result["recommendation"]
    assert "doing what does you good" not in result["recommendation"]


@pytest.mark.parametrize("wrong", [-1, 4, 1.5, "two", [1]])
def test_a_wrong_answer_is_not_noted(ask: Ask, wrong: Any) -> None:
    first = ask()
    again = ask(answer=wrong)
    assert again["question"] == first["question"]
    assert "must be 0, 1, 2 or 3" in again["instruction"]
    assert ask(answer=1)["question_index"] == 2


def test_no_answer_repeats_the_question(ask: Ask) -> None:
    ask()
    second = ask(answer=3)
    assert ask() == ask(answer=None) == second


def test_an_answer_before_the_first_question_answers_nothing(ask: Ask) -> None:
    assert ask(answer=3)["question_index"] == 1


def test_the_result_stays(ask: Ask) -> None:
    result = answered(ask, [1] * 9)
    assert ask() == ask(answer=3) == result


def test_each_conversation_has_its_own(program: dict[str, Any]) -> None:
    one, other = program["mental_questionnaire"](), program["mental_questionnaire"]()
    one.invoke({})
    one.invoke({"answer": 2})
    assert json.loads(other.invoke({}))["question_index"] == 1
