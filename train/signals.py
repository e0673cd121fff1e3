"""Signals that end a run: SIGTERM and SIGHUP are as Ctrl-C, and training puts them off until its checkpoint is kept."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]  # as there are


@dataclass
class Stop:
    """Whether a signal has come."""

    asked: bool = False


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def as_interrupts(handler: Callable[[int, FrameType | None], None] = interrupt) -> Iterator[None]:
    """Let `handler` take the signals that end a program, in its main thread.

    Those that are ignored (nohup) or have a handler of somebody else's are left to them.
    """
    usual: tuple[Any, ...] = (signal.SIG_DFL, signal.default_int_handler, interrupt)
    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in ENDING if here}
    before = {number: former for number, former in before.items() if former in usual}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


@contextmanager
def put_off(off: bool = True) -> Iterator[Stop]:
    """Note a signal instead of being interrupted, for as long as something must not be; a second Ctrl-C interrupts."""
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.asked = True

    if not off:
        yield stop
        return
    with as_interrupts(note):
        yield stop
