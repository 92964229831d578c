"""What the loaders use of aiodataloader's undocumented behaviour. Apart, so that an upgrade is checked in one place."""

import asyncio


def dispatch_task() -> asyncio.Task[None] | None:
    """Return the task that runs the current ``batch_load_fn``, to cancel the call that it makes.

    aiodataloader runs each dispatch in a task of its own, does not return it, and keeps no reference to it.
    """
    return asyncio.current_task()
