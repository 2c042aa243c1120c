"""Threads that go through a step together, phase by phase, as an OpenMP team goes through its loops.

To wake threads for each phase would take longer than many phases do. Here they are woken once. A phase has items, of
which each thread takes the next one when it has done one, so that a slower core does fewer; and no phase waits for a
thread that has not come yet: whoever is there does all, and one that comes late finds it done.
"""

from max.algorithm import sync_parallelize
from std.atomic import Atomic, Ordering
from std.ffi import external_call
from std.math import max
from std.memory import alloc
from std.os import abort
from std.sys import CompilationTarget, inlined_assembly

from .tiles import at, begin_products, end_products, store

comptime LINES_APART = 128  # bytes between what different threads write: two lines of a cache, which come in pairs
comptime PHASE = 2 * LINES_APART
comptime SPINS = 1000  # looks, 50 us at most, after which a thread that waits lets others have its core


@fieldwise_init
struct Team:
    """The team as one of its threads sees it."""

    var thread: Int
    var phase: Int  # the next one's counts: items taken and, further on, items done and whether it is over
    var end: Int  # of all counts

    def share[
        Work: def(Int) -> None, Then: def() -> None, //
    ](mut self, items: Int, work: Work, then: Then):
        """Do the work of all items, and after it, once, what is to be done then."""
        if self.phase == self.end:
            abort("a team has more phases than it was made for")
        var taken = at[DType.int64](self.phase)
        var done = at[DType.int64](self.phase + LINES_APART)
        self.phase += PHASE
        var turns = max(items, 1)  # where there is no item, somebody says so
        while True:
            var item = Int(Atomic.fetch_add[ordering=Ordering.RELAXED](taken, 1))
            if item >= turns:
                break
            if item < items:
                work(item)
            if Int(Atomic.fetch_add[ordering=Ordering.ACQUIRE_RELEASE](done, 1)) == turns - 1:
                then()
                Atomic.store[ordering=Ordering.RELEASE](done, Int64(turns + 1))
        var spins = 0
        while Int(Atomic.load[ordering=Ordering.ACQUIRE](done)) <= turns:
            spins += 1
            if spins < SPINS:
                _pause()
            else:
                _ = external_call["sched_yield", Int32]()

    def share[Work: def(Int) -> None, //](mut self, items: Int, work: Work):
        """Do the work of all items."""

        def nothing() {imm}:
            pass

        self.share(items, work, nothing)


def in_team[
    Work: def(mut Team) -> None, //, instructions: StaticString
](n_threads: Int, phases: Int, work: Work):
    """Do some work, which has at most so many phases, in a team of so many threads."""
    var counts = alloc[UInt8](phases * PHASE, alignment=LINES_APART)
    var first = Int(counts)
    for phase in range(phases):
        store(first + phase * PHASE, Int64(0))
        store(first + phase * PHASE + LINES_APART, Int64(0))

    def task(thread: Int) {imm}:
        begin_products[instructions]()
        var team = Team(thread, first, first + phases * PHASE)
        work(team)
        end_products[instructions]()

    sync_parallelize(task, n_threads)
    counts.free()


@always_inline
def _pause():
    """Tell the core that a thread waits."""
    comptime if CompilationTarget.is_x86():
        inlined_assembly["pause", NoneType, constraints="", has_side_effect=True]()
    else:
        inlined_assembly["yield", NoneType, constraints="", has_side_effect=True]()
