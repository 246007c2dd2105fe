"""Numbers in English words, and sums of them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

__all__ = ["figures", "result", "value"]

UNITS = {"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
UNITS |= {"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13}
UNITS |= {"fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18}
TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70}
TENS |= {"eighty": 80, "ninety": 90}
VALUES = {"a": 1, **UNITS, "nineteen": 19, **TENS}


def value(words: str) -> Fraction:
    """ "two hundred and six", "a hundred", "twelve", "3.5" -> the number."""
    if words[0].isdigit():
        return Fraction(words)
    total = 0
    for word in words.split():
        if word == "hundred":
            total *= 100
        elif word != "and":
            total += VALUES[word]
    return Fraction(total)


def result(numbers: Sequence[Fraction], operators: Sequence[str]) -> Fraction:
    """Multiplication and division first; ZeroDivisionError as in any arithmetic."""
    terms = [numbers[0]]
    for operator, number in zip(operators, numbers[1:], strict=True):
        if operator == "times":
            terms[-1] *= number
        elif operator == "divided by":
            terms[-1] /= number
        else:
            terms.append(number if operator == "plus" else -number)
    return sum(terms, Fraction(0))


def figures(number: Fraction) -> str:
    """ "7", "2.5", "about 3.333"."""
    if number.denominator == 1:
        return str(number.numerator)
    rounded = round(number, 3)
    text = f"{float(rounded):.3f}".rstrip("0").rstrip(".")
    return text if rounded == number else f"about {text}"
