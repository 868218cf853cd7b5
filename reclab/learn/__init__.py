"""What a lesson needs around the system itself.

exercise("2.1")   a task with a check that explains, hints and a solution   exercise.py
predict(...)      a guess before the measurement, compared after it         predict.py
progress()        the states of the exercises                               exercise.py
live, live_01 …   the reader's own component in the running system          live.py, live_01.py …
glossary("DIN")   one line for each term of the chapter                     glossary.py
"""

from reclab.learn.exercise import Exercise, exercise, progress
from reclab.learn.glossary import glossary
from reclab.learn.predict import Prediction, predict

__all__ = ["Exercise", "Prediction", "exercise", "glossary", "predict", "progress"]
