from .few_rows_linear import *
