"""One suite for a lesson's exercises: starter -> not attempted, solution -> correct, each wrong
idea -> its message, and nothing that an answer does breaks the notebook."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from reclab.learn.exercise import Exercise, Task
from reclab.learn.probe import CORRECT, NOT_ATTEMPTED, NOT_YET, Probe


def defined(code: str) -> Any:
    """What a cell with this code leaves behind under its own name."""
    space: dict[str, Any] = {"np": np}
    exec(code, space)
    return [value for name, value in space.items() if name not in ("np", "__builtins__")][-1]


def state(task: Task, *answer: Any) -> tuple[str, str]:
    """What the check says of an answer: its outcome, and its words in one line."""
    ex = Exercise(task)
    card = ex.check(*answer)
    return ex.state, " ".join(str(card).split())


def as_shown(task: Task) -> Any:
    """The solution's function, defined by the text that the reader sees."""
    code = str(Exercise(task).solution()).split("\n", 1)[1]
    body = code[: code.index(" ".join(task.why.split()[:3]))]
    return defined("\n".join(line[2:] for line in body.splitlines()))


class Hostile:
    """Raises on nearly every touch."""

    def _fail(self, *args, **kwargs):
        raise RuntimeError("touched")

    __repr__ = __str__ = __eq__ = __len__ = __iter__ = __bool__ = __float__ = __call__ = _fail
    __getattr__ = __array__ = __getitem__ = __contains__ = __hash__ = _fail


class ExerciseContract:
    """A lesson's ``exercises``; ``fewest`` wrong ideas of one that is written; ``no_arrays``: ids
    of those that take no array to be changed."""

    exercises: tuple[Task, ...]
    fewest = 4
    no_arrays: tuple[str, ...] = ()

    @classmethod
    def cases(cls, name: str) -> list[Any]:
        """What a test that asks for ``task``, ``written``, ``changing`` or ``wrong`` is given."""
        written = [task for task in cls.exercises if isinstance(task.judge, Probe)]
        return {
            "task": list(cls.exercises),
            "written": written,
            "changing": [task for task in written if task.id not in cls.no_arrays],
            "wrong": [(task, idea) for task in written for idea in task.judge.misconceptions],
        }[name]

    def test_the_starter_runs_and_counts_as_not_attempted(self, task):
        reached, message = state(task, defined(task.starter))
        assert reached == NOT_ATTEMPTED
        assert "starter is unchanged" in message

    def test_every_exercise_has_hints_a_solution_and_a_reason(self, task):
        ex = Exercise(task)
        shown = [str(ex.hint()) for _ in range(len(task.hints) + 1)]
        assert len(task.hints) >= 3
        assert len(set(shown)) == len(shown)
        assert "Hint 1 of" in shown[0] and "No more hints" in shown[-1]
        assert task.why.split()[0] in str(ex.solution())

    def test_the_solution_as_it_is_shown_is_correct(self, written):
        reached, message = state(written, as_shown(written))
        assert reached == CORRECT, message

    def test_each_wrong_idea_gets_its_own_message(self, wrong):
        task, idea = wrong
        reached, message = state(task, idea.computes)
        assert reached == NOT_YET
        assert f"Likely: {idea.name}. {idea.message}" in message
        assert "On the case" in message

    def test_each_written_exercise_knows_several_wrong_ideas(self, written):
        assert len({idea.message for idea in written.judge.misconceptions}) >= self.fewest

    @pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, RecursionError])
    def test_whatever_the_answer_raises_is_told_in_words(self, task, error):
        def raises(*_):
            raise error("from the answer")

        for answer in (raises, Hostile(), lambda *_: Hostile(), Hostile):
            assert state(task, answer)[0] == NOT_YET

    @pytest.mark.parametrize(
        "value",
        ["", "ab", b"x", 3, np.nan, [], [1, 2], (), {}, np.zeros((2, 2)), object(), print,
         ([1], "x"), [[1], [2, 3]]],
    )  # fmt: skip
    def test_values_of_any_kind_are_told_to_be_none(self, task, value):
        for answer in (value, lambda *_: value):
            reached, message = state(task, answer)
            assert reached == NOT_YET
            assert "could not be examined" not in message

    def test_a_loop_without_end_is_stopped_and_named(self, written):
        def for_ever(*_):
            while True:
                pass

        reached, message = state(dataclasses.replace(written, limit_s=0.2), for_ever)
        assert reached == NOT_YET
        assert "Too slow: stopped after 0.2 s" in message
        assert written.judge.cases[0].name in message

    def test_an_answer_that_changes_its_input_is_told(self, changing):
        def in_place(*args):
            found = changing.solution(*args)
            first = args[0]
            if first.size:
                first[...] = ~first if first.dtype == bool else first[::-1] + 1
            return found

        assert "changes its input" in state(changing, in_place)[1]
