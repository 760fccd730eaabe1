"""TASK_SETS: everything that `codegemma eval run` can score, by name."""

from serving.evaluation.task_sets.babelcode.babelcode import BABELCODE
from serving.evaluation.task_sets.humaneval import HUMANEVAL
from serving.evaluation.task_sets.infilling import INFILLING
from serving.evaluation.task_sets.mbpp import MBPP
from serving.evaluation.task_sets.task_set import TaskSet

TASK_SETS: dict[str, TaskSet] = {each.name: each for each in (HUMANEVAL, MBPP, *INFILLING, *BABELCODE)}
