"""Make a failing history shorter, as long as it fails: delta debugging over its steps.

Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE TSE 28(2), 2002.
"""

from collections.abc import Awaitable, Callable

from cli.faults.history import History

Fails = Callable[[History], Awaitable[bool]]


async def shrink(history: History, fails: Fails, plays_max: int) -> History:
    """The shortest history found that fails as well, after so many plays at the most.

    What is left may not be the shortest there is: a race that a play happens to miss counts as none.
    """
    steps, parts, plays = list(history.steps), 2, 0
    while len(steps) > 1 and plays < plays_max:
        size = -(-len(steps) // parts)
        for begin in range(0, len(steps), size):
            shorter = steps[:begin] + steps[begin + size :]
            plays += 1
            if await fails(history.with_steps(shorter)):
                steps, parts = shorter, max(parts - 1, 2)
                break
            if plays >= plays_max:
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(steps))
    return history.with_steps(steps)
