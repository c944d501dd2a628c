"""A random generator with some draws fixed beforehand."""

from typing import Any

import numpy as np


class ScriptedRng(np.random.Generator):
    """``fixed`` gives the results of some draws, by method and arguments; the seed gives the rest.

    ``("uniform", 0.1, 0.35)`` names ``uniform(0.1, 0.35)``, ``("uniform",)`` any other ``uniform``.
    A list gives its items one by one, then its last again and again. A fixed draw still advances
    the generator, so the draws after it stay the same.
    """

    def __init__(self, seed: int, fixed: dict[tuple[Any, ...], Any]):
        super().__init__(np.random.PCG64(seed))
        self._fixed = {k: list(v) if isinstance(v, list) else [v] for k, v in fixed.items()}

    def _fixed_or(self, name: str, args: tuple[Any, ...], drawn: Any) -> Any:
        answers = None
        for key in ((name, *map(_plain, args)), (name,)):
            answers = answers or self._fixed.get(key)
        if answers is None:
            return drawn
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def random(self, *args: Any, **kw: Any) -> Any:
        return self._fixed_or("random", args, super().random(*args, **kw))

    def uniform(self, *args: Any, **kw: Any) -> Any:
        return self._fixed_or("uniform", args, super().uniform(*args, **kw))

    def normal(self, *args: Any, **kw: Any) -> Any:
        return self._fixed_or("normal", args, super().normal(*args, **kw))

    def integers(self, *args: Any, **kw: Any) -> Any:
        return self._fixed_or("integers", args, super().integers(*args, **kw))

    def choice(self, *args: Any, **kw: Any) -> Any:
        return self._fixed_or("choice", args, super().choice(*args, **kw))


def _plain(value: Any) -> Any:
    """A list as a tuple, which a dictionary can look up."""
    return value if np.isscalar(value) else tuple(value)
