"""Turns at a device: one thread at a time, in the order of asking."""

import threading
import time

import pytest

from max_whisper.runtime.turns import Turns


def waiting(turns: Turns, count: int) -> None:
    """Wait until so many threads wait for their turn."""
    while len(turns._waiting) < count:
        time.sleep(0.001)


def test_threads_get_their_turns_in_the_order_in_which_they_ask() -> None:
    turns, order = Turns(), list[int]()

    def take(number: int) -> None:
        with turns:
            order.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(5)]
    with turns:
        for number, thread in enumerate(threads):
            thread.start()
            waiting(turns, number + 1)
    with turns:  # asked for after the others
        assert order == list(range(5))
    for thread in threads:
        thread.join()


def test_a_thread_may_take_its_turn_again() -> None:
    turns, done = Turns(), threading.Event()

    def take() -> None:
        with turns:
            done.set()

    with turns:
        with turns:
            thread = threading.Thread(target=take)
            thread.start()
            waiting(turns, 1)
        assert not done.is_set()
    thread.join(10)
    assert done.is_set()


def test_an_error_ends_the_turn() -> None:
    turns, taken = Turns(), threading.Event()

    def take() -> None:
        with turns:
            taken.set()

    with pytest.raises(ValueError, match="within"), turns:
        raise ValueError("within")
    thread = threading.Thread(target=take)
    thread.start()
    thread.join(10)
    assert taken.is_set()


def test_no_two_threads_compute_at_once() -> None:
    turns, inside, most = Turns(), 0, 0

    def compute() -> None:
        nonlocal inside, most
        for _ in range(200):
            with turns:
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=compute) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_an_interrupt_while_the_turn_is_handed_over_keeps_nobody_waiting() -> None:
    """Ctrl-C reaches a thread that waits just after its turn has come."""
    turns, taken = Turns(), threading.Event()

    class InterruptedGate:
        """In place of the lock for which the thread waits: its turn comes, and then an interrupt."""

        def __init__(self) -> None:
            self._was_taken = False

        def acquire(self) -> None:
            if self._was_taken:
                holder.__exit__(None, None, None)
                raise KeyboardInterrupt
            self._was_taken = True

        def release(self) -> None:
            pass

    class Holder:
        def __exit__(self, *_: object) -> None:
            with turns._mutex:
                turns._depth -= 1
                turns._pass_on()

    holder = Holder()
    turns._owner, turns._depth = -1, 1  # some other thread's turn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("max_whisper.runtime.turns.threading.Lock", InterruptedGate)
        with pytest.raises(KeyboardInterrupt), turns:
            pass

    def take() -> None:
        for _ in range(2):
            with turns:
                pass
        taken.set()

    with turns:
        pass
    thread = threading.Thread(target=take)
    thread.start()
    thread.join(10)
    assert taken.is_set()
