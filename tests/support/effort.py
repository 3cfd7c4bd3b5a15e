"""How much work something is, in units of other work of the same run: the same on a slow machine and a busy one."""

import time
from collections.abc import Callable


def effort(work: Callable[[], object], times: int = 5) -> float:
    """Give the least processor time, in seconds, that this thread spent on one run of `work`.

    What other processes take meanwhile is not in it. It means something only beside another one.
    """
    took = []
    for _ in range(times):
        begin = time.thread_time()
        work()
        took.append(time.thread_time() - begin)
    return min(took)
