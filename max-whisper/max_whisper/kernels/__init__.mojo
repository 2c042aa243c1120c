"""Mojo operations that graphs call; README.md is the map."""

from .operations.beams import *
from .operations.convolutions import *
from .operations.cross_keys_values import *
from .operations.decoder_step import *
from .operations.encoder import *
from .operations.few_rows_linear import *
from .operations.greedy import *
from .operations.log_mel import *
