from .alone import *
from .beams import *
from .convolutions import *
from .cross_attention import *
from .decoder import *
from .encoder import *
from .few_rows_linear import *
from .greedy import *
