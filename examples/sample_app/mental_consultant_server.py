"""A language model with a role and a memory of its own: it asks nine questions on how one feels.

python mental_consultant_server.py --config consultant.toml --port 7635

This is an example of a tool with state. It is no medical device, and its result is no diagnosis.
Its questions follow the subjects of the PHQ-9, in words of our own that nobody has validated.
"""

import argparse
import json
import sys
from typing import Any

import uvicorn

from xtalk import Xtalk
from xtalk.agent import Tool
from xtalk.errors import XtalkError
from xtalk_server import create_app

PROMPT = """\
You are a warm, patient listener in a spoken conversation. Speak in short plain sentences, one
question at a time. You are a program, no doctor and no therapist: say so when you begin and when
you are asked, and never name a diagnosis or a medicine.

When the user agrees to look at how the last two weeks have been, call mental_questionnaire without
an answer. Ask the question that it returns, listen, and call it with the number that fits what the
user said. Do this until it is finished. When it is unclear which number fits, ask; never guess, and
never answer for the user. In the end say the message and the recommendation in your own words,
leaving nothing out.

If the user says at any time that they may hurt themselves or somebody else, stop the questions and
tell them plainly to call the emergency number or a crisis line of their country, now, and to stay
with a person whom they trust.
"""

QUESTIONS = (
    "How often did you take little pleasure in what you do, or could not be bothered with it?",
    "How often did you feel sad, empty, or without hope?",
    "How often did you sleep badly, wake too early, or sleep far more than you need?",
    "How often were you tired, or had hardly any strength?",
    "How often did you have no appetite, or eat much more than is good for you?",
    "How often did you think badly of yourself, or that you let yourself or others down?",
    "How often was it hard to keep your mind on something, such as a film or a page of a book?",
    "How often did you move or talk so slowly that others could notice it, or were so restless "
    "that you could not keep still?",
    "How often did you think that it would be better to be dead, or think of hurting yourself?",
)
RISK = 8  # the index of the question on self-harm: any answer but 0 outweighs the score

ANSWERS = range(4)
SCALE = "0 is never, 1 is on some days, 2 is on most days, 3 is almost every day"
ASK = f"Ask how it was in the last two weeks, then call again with the answer: {SCALE}."
AGAIN = f"Nothing was noted: the answer must be 0, 1, 2 or 3 ({SCALE}). Ask once more."

TIERS = (  # from this score on
    (20, "severe", "Please see a doctor or a therapist in the next days."),
    (15, "moderately severe", "Please make an appointment with a doctor or a therapist soon."),
    (10, "moderate", "It would be good to talk about this with a doctor or a therapist."),
    (5, "mild", "Watch how it goes on, and talk to somebody if it lasts or grows."),
    (
        0,
        "minimal",
        "Keep doing what does you good, and talk to somebody if you are worried.",
    ),
)
HELP_NOW = (
    "You had thoughts of death or of hurting yourself. Please get help now and do not stay alone "
    "with it: call the emergency number or a crisis line of your country, or go to the nearest "
    "emergency department, and tell a person whom you trust."
)
NO_DIAGNOSIS = "This is an example program and no diagnosis; only a professional can make one."


class Questionnaire:
    """The questions of one conversation: which is next, and what was answered."""

    def __init__(self) -> None:
        self._answers: list[int] = []
        self._asked = False

    def call(self, answer: int | None = None) -> str:
        """The next step as JSON; without an answer the present one again."""
        instruction = ASK
        if self._asked and answer is not None and len(self._answers) < len(QUESTIONS):
            if answer in ANSWERS:
                self._answers.append(answer)
            else:
                instruction = AGAIN
        self._asked = True
        finished = len(self._answers) == len(QUESTIONS)
        return json.dumps(self._result() if finished else self._question(instruction))

    def _question(self, instruction: str) -> dict[str, Any]:
        index = len(self._answers)
        return {
            "finished": False,
            "question_index": index + 1,
            "total_questions": len(QUESTIONS),
            "question": QUESTIONS[index],
            "instruction": instruction,
        }

    def _result(self) -> dict[str, Any]:
        score = sum(self._answers)
        _, severity, advice = next(tier for tier in TIERS if score >= tier[0])
        return {
            "finished": True,
            "score": score,
            "max_score": 3 * len(QUESTIONS),
            "severity": severity,
            "recommendation": HELP_NOW if self._answers[RISK] else advice,
            "message": f"The answers add up to {score} of 27, which is {severity}. {NO_DIAGNOSIS}",
        }


def mental_questionnaire() -> Tool:
    """A fresh tool. Without an argument it is a factory: each session calls it once."""
    return Tool(
        name="mental_questionnaire",
        description="Asks nine questions on how the user has felt, one after another. Call it "
        "without an answer to begin or to hear the question again, then with each answer.",
        parameters={
            "answer": {
                "type": ["integer", "null"],
                "enum": [*ANSWERS, None],
                "default": None,
                "description": SCALE,
            }
        },
        call=Questionnaire().call,
        instant=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a listener that asks nine questions.")
    parser.add_argument("--config", metavar="FILE", required=True, help="TOML or JSON")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7635)
    arguments = parser.parse_args()

    # Arguments win over the file: the model is the file's, the words that it is given are ours.
    role = {"llm_agent": {"params": {"system_prompt": PROMPT}}}
    xtalk = Xtalk.from_config(arguments.config, arguments=role)
    xtalk.add_agent_tools([mental_questionnaire])
    app = create_app(xtalk)
    uvicorn.run(app, host=arguments.host, port=arguments.port, ws="websockets-sansio")


if __name__ == "__main__":
    try:
        main()
    except XtalkError as problem:
        sys.exit(str(problem))
