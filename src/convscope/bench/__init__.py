"""Ours beside the peers on this machine: equality first, then time.

==============  ===============================================================
`job`           the work, who takes part, how each did
`networks`      the networks, and plain ones as a list for other libraries
`race`          starts everybody, compares, takes turns
`process`       one entrant in a process of its own; ``worker.py`` runs there
`record`        what is kept, and the table
`growth`        how the cost grows with batch, channels, size, depth and threads
`limits`        the machine's own limits, measured
`libraries/`    one file per library
==============  ===============================================================
"""

from convscope.bench.growth import growth, growth_table
from convscope.bench.job import ENTRANTS, Entrant, Job, Result
from convscope.bench.race import race
from convscope.bench.record import record, table

__all__ = [
    "ENTRANTS",
    "Entrant",
    "Job",
    "Result",
    "growth",
    "growth_table",
    "race",
    "record",
    "table",
]
