"""``convscope show``: looking into a network; one file for each thing to see."""

import typer

from convscope.cli.command import Command
from convscope.cli.show_arithmetic import arithmetic
from convscope.cli.show_field import field
from convscope.cli.show_film import film
from convscope.cli.show_filters import filters
from convscope.cli.show_graph import graph
from convscope.cli.show_health import health
from convscope.cli.show_maps import maps
from convscope.cli.show_patches import patches
from convscope.cli.show_pooling import pooling
from convscope.cli.show_unit import unit
from convscope.cli.show_why import why

app = typer.Typer(
    no_args_is_help=True, help="Draw what is inside a network, or a run of one."
)
app.command(cls=Command, short_help="A convolution in motion.")(arithmetic)
app.command(cls=Command, short_help="The filters of a convolution.")(filters)
app.command(cls=Command, short_help="Why a number is what it is.")(unit)
app.command(cls=Command, short_help="What in a picture speaks for its class.")(why)
app.command(cls=Command, short_help="What layers give for a picture.")(maps)
app.command(cls=Command, short_help="Dead units, saturation, gradients.")(health)
app.command(cls=Command, short_help="What channels look for in the data.")(patches)
app.command(cls=Command, short_help="What one unit sees of the input.")(field)
app.command(cls=Command, short_help="Layers, and what flows between them.")(graph)
app.command(cls=Command, short_help="Filters and maps through training.")(film)
app.command(cls=Command, short_help="Who wins a max pooling, and the gradient.")(
    pooling
)
