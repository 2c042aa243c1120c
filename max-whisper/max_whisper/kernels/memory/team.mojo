"""A team of threads that goes through an operation together, phase by phase, as an OpenMP team goes through its loops.

To wake threads for each phase would take longer than many phases do. Here they are woken once. A phase has items. Each
thread takes the next item when it has done one, so that a slower core does fewer. No phase waits for a thread that has
not come yet: the threads that are there do all items, and one that comes late finds the phase done.

Called by every operation; those that multiply matrices go through instructions/product_team.mojo.
"""

from max.algorithm import sync_parallelize
from std.atomic import Atomic, Ordering
from std.ffi import external_call
from std.math import max
from std.os import abort
from std.sys import CompilationTarget, inlined_assembly

from .arena import Arena
from .views import View

comptime APART = 16  # int64 between counts that different threads write: two lines of a cache, which come in pairs
comptime SPINS = 1000  # looks, 50 us at most, after which a thread that waits lets others have its core


@fieldwise_init
struct Team:
    """The team as one of its threads sees it."""

    var thread: Int  # this one's number
    var phase: Int  # the next phase's number
    var counts: View[DType.int64]  # [phases, 2 * APART]: at 0 items taken; at APART items done, and one more at the end

    def share[
        Body: def(Int) -> None, Then: def() -> None, //
    ](mut self, items: Int, body: Body, then: Then):
        """Run the body of all items, and after the last one, once, `then`."""
        if self.phase == self.counts.rows:
            abort("a team has more phases than it was made for")
        var taken = self.counts.pointer(self.phase, 0)
        var done = self.counts.pointer(self.phase, APART)
        self.phase += 1
        var turns = max(items, 1)  # without any item one thread still has to run `then`
        while True:
            var item = Int(Atomic.fetch_add[ordering=Ordering.RELAXED](taken, 1))
            if item >= turns:
                break
            if item < items:
                body(item)
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

    def share[Body: def(Int) -> None, //](mut self, items: Int, body: Body):
        """Run the body of all items."""

        def nothing() {imm}:
            pass

        self.share(items, body, nothing)


def in_team[Body: def(mut Team) -> None, //](n_threads: Int, phases: Int, body: Body):
    """Run a body, which has at most so many phases, in each of so many threads."""
    var arena = Arena.allocate(phases * 2 * APART * 8)
    var counts = arena.take[DType.int64](phases, 2 * APART)
    counts.fill(0)

    def task(thread: Int) {imm}:
        var team = Team(thread, 0, counts)
        body(team)

    sync_parallelize(task, n_threads)
    arena.free()


@always_inline
def _pause():
    """Tell the core that a thread waits."""
    comptime if CompilationTarget.is_x86():
        inlined_assembly["pause", NoneType, constraints="", has_side_effect=True]()
    else:
        inlined_assembly["yield", NoneType, constraints="", has_side_effect=True]()
