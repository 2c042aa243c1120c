"""A team whose threads multiply matrices: each sets up what products of its kind of CPU need, and takes it down."""

from ..memory.team import Team, in_team
from .amx import begin_tiles, end_tiles
from .isa import Isa


def in_product_team[
    Body: def(mut Team) -> None, //, isa: Isa
](n_threads: Int, phases: Int, body: Body):
    """As `in_team`; with AMX each thread has configured its tiles before the body, and releases them after it."""

    def with_products(mut team: Team) {imm}:
        comptime if isa.has_amx:
            begin_tiles()
        body(team)
        comptime if isa.has_amx:
            end_tiles()

    in_team(n_threads, phases, with_products)
