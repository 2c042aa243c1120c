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
