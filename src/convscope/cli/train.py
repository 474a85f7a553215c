"""``convscope train``: data in, a trained and judged network out."""

import contextlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from torch import nn

from convscope.cli.evaluation_report import report
from convscope.cli.progress_bar import counting
from convscope.cli.recipe_flags import with_recipe_flags
from convscope.data import Dataset
from convscope.data.folders.layout import Layout
from convscope.data.folds import to_train_on
from convscope.errors import ArgumentError, NotFiniteError, WriteError
from convscope.execution import explain, keep_freed_memory
from convscope.models import LoadedWeights
from convscope.terminal import Screen, json_text, say
from convscope.train.checkpoint import LATEST
from convscope.train.planning import Plan, plan
from convscope.train.recipe import Recipe
from convscope.train.reporting.run_report import report as report_of
from convscope.train.run import Run
from convscope.train.run_folder import (
    CHECKPOINT,
    FILM,
    SET_ASIDE,
    RunFolder,
    check_free,
    free_name,
)
from convscope.train.training.cross_validation import cross_validate
from convscope.train.training.events import Listener
from convscope.train.training.film_keeper import FilmKeeper
from convscope.train.training.fitting import fit, more_epochs, resume
from convscope.train.training.learning_rate_search import RateSearch, find_rate
from convscope.train.training.progress_bars import default_listeners
from convscope.train.training.tracking import MLflow, TensorBoard
from convscope.viz.report import REPORT, save_report

_STOPPED = 130  # what a shell expects of a program that was interrupted


@with_recipe_flags
def train(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="digits (default, built in), mnist, fashion-mnist, cifar10, or a "
            "folder of images.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A name from `convscope models`; by default one that suits."),
    ] = None,
    model_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Of the model, such as width=16."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE|RUN",
            help=f"{Recipe.model_fields['start'].description} By default imagenet "
            "for a folder of color photographs.",
        ),
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Begin with random weights.")
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="A named recipe or a TOML file."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder to make; by default runs/DATA-MODEL-1, -2, ..."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run in that folder.")
    ] = False,
    resume_run: Annotated[
        Path | None,
        typer.Option(
            "--resume", metavar="RUN", help="Go on with a run that was interrupted."
        ),
    ] = None,
    moved_data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="NEW", help="With --resume: where its data are now."
        ),
    ] = None,
    find_lr: Annotated[
        bool,
        typer.Option("--find-lr", help="Try learning rates, suggest one, and stop."),
    ] = False,
    explain_setting: Annotated[
        bool,
        typer.Option("--explain", help="Print what runs each layer, and how fast."),
    ] = False,
    size: Annotated[
        int | None, typer.Option(help="Resize images to this height and width.")
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="Part of the images to watch training on.")
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Part of the images to judge the result on.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Judge every image, by a network that has not seen it: train one for "
            "each of so many parts that are left out in turn, then one on all images."
        ),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(help="With --folds: part the images so often anew.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop if an image cannot be read.")
    ] = False,
    layout: Annotated[
        Layout, typer.Option(help="classes: folders named like parts are classes.")
    ] = "auto",
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Shortest time between two checkpoints.")
    ] = 60.0,
    film: Annotated[
        bool,
        typer.Option("--film", help="Keep filters and maps of each epoch for a film."),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write event files into the run.")
    ] = False,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="Log to MLflow (MLFLOW_TRACKING_URI).")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Fit a temperature to the validation images, so that probabilities "
            "mean what they say; no class changes.",
        ),
    ] = False,
    with_report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write RUN/report.html.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
    *,
    recipe_changes: dict[str, Any],
) -> None:
    """Train a network on DATA, judge it, and keep it in a run folder.

    Example: convscope train photos/ --minutes 5
    """
    keep_freed_memory()
    screen = Screen(stderr=True)
    if resume_run is not None:
        others = (data, model, model_option, recipe, run, size, validation, test)
        given = any(value is not None for value in (*others, weights, folds, repeats))
        longer = recipe_changes.pop("epochs", None)
        if given or from_scratch or force or find_lr or strict or recipe_changes:
            raise ArgumentError(
                "train: --resume goes on with the run's own data, model and recipe. "
                "Leave the other arguments out, or train a new run."
            )
        done = _gone_on(
            resume_run,
            moved_data,
            longer,
            checkpoint_seconds,
            film,
            tensorboard,
            mlflow,
        )
        _judge(done, done.data(), as_json, calibrate, with_report)
        return
    if moved_data is not None:
        raise ArgumentError(
            "train: --data says where the data of a run are that --resume goes on "
            f"with. To train on {moved_data}, leave out --data."
        )

    _require_sense(folds, repeats, test, find_lr, calibrate)
    if film and folds is not None:
        raise ArgumentError(
            "train: --film and --folds exclude each other: a film is of one network. "
            "Leave one out."
        )
    if from_scratch and weights is not None:
        raise ArgumentError(
            f"train: --weights={weights} and --from-scratch contradict each other. "
            "Leave one of them out."
        )
    if from_scratch or weights is not None:
        recipe_changes["start"] = weights
    if run is not None and not find_lr:
        check_free(run, force=force)
    with counting() as (bar, _):
        made = plan(
            "digits" if data is None else data,
            model,
            recipe,
            model_options=_options(model_option or []),
            size=size,
            validation=validation if folds is None else None,
            test=test,
            strict=strict,
            layout=layout,
            progress=bar,
            **recipe_changes,
        )
    if calibrate and not len(made.data.val):
        raise ArgumentError(
            "train: --calibrate needs validation images, and there are none. Give a "
            "share to them (--validation 0.1)."
        )
    place = run or free_name(Path("runs"), f"{made.data.name}-{made.model}")
    _introduce(made, place, screen, folds, repeats or 1)
    if folds is not None:
        listeners = _listeners(place, made.recipe, False, tensorboard, mlflow)
        with _told_how_to_go_on(place):
            done = cross_validate(
                made,
                folds=folds,
                repeats=repeats or 1,
                validation=validation,
                folder=place,
                force=force,
                listeners=listeners,
                checkpoint_seconds=checkpoint_seconds,
            )
        _judge(done, done.data(), as_json, calibrate, with_report)
        return
    net = made.network(lambda loaded: _tell(loaded, screen))
    if find_lr:
        _show_search(find_rate(net, made.data, made.recipe), as_json)
        return
    if explain_setting:
        screen.print(_explained(net, made.data, made.recipe))
    listeners = _listeners(place, made.recipe, film, tensorboard, mlflow)
    with _told_how_to_go_on(place):
        done = fit(
            net,
            made.data,
            made.recipe,
            folder=place,
            force=force,
            listeners=listeners,
            checkpoint_seconds=checkpoint_seconds,
        )
    _judge(done, made.data, as_json, calibrate, with_report)


def _gone_on(
    run: Path,
    data: str | None,
    epochs: int | None,
    checkpoint_seconds: float,
    film: bool,
    tensorboard: bool,
    mlflow: bool,
) -> Run:
    """The rest of an interrupted run, or more epochs for a finished one."""
    place = RunFolder.open(run)
    into = run
    if epochs is not None:
        place.require_finished()
        into = free_name(run.parent, f"{run.name}-longer")
    goes_on = epochs is None and (place.path / FILM).exists()
    kept = (film or goes_on, tensorboard, mlflow)
    listeners = _listeners(into, place.spec.recipe, *kept)
    how: dict[str, Any] = {"listeners": listeners, "data": data}
    with _told_how_to_go_on(into):
        if epochs is None:
            return resume(run, **how, checkpoint_seconds=checkpoint_seconds)
        how |= {"into": into, "checkpoint_seconds": checkpoint_seconds}
        return more_epochs(run, epochs, **how)


def _listeners(
    place: Path, recipe: Recipe, film: bool, tensorboard: bool, mlflow: bool
) -> list[Listener]:
    """What shows training, and what else is to hear of it."""
    listeners = [*default_listeners()]
    if film:
        listeners.append(FilmKeeper(place))
    if tensorboard:
        listeners.append(TensorBoard(place / "tensorboard"))
    if mlflow:
        listeners.append(MLflow(place.name, recipe))
    return listeners


def _options(texts: list[str]) -> dict[str, Any]:
    """``["width=16"]`` to ``{"width": 16}``."""
    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ArgumentError(f"--model-option={text!r} is not KEY=VALUE.")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def _require_sense(
    folds: int | None,
    repeats: int | None,
    test: float | None,
    find_lr: bool,
    calibrate: bool,
) -> None:
    """Refuses flags that do not go with folds, or need them."""
    if folds is None and repeats is not None:
        raise ArgumentError(
            f"train: --repeats={repeats} says how often to part the images into folds. "
            "Say into how many: --folds 5."
        )
    if folds is not None and test is not None:
        raise ArgumentError(
            f"train: --folds judges every image, so that --test={test} has no meaning. "
            "Leave one of them out, or put the images that are to be kept apart into a "
            "folder test."
        )
    if folds is not None and find_lr:
        raise ArgumentError(
            "train: --find-lr only tries learning rates. Leave out --folds."
        )
    if folds is not None and calibrate:
        raise ArgumentError(
            "train: --calibrate needs validation images that nothing else is told by, "
            "and --folds trains on all. Leave one of them out."
        )


def _counts(data: Dataset, folds: int | None, repeats: int) -> str:
    """How many images of which form are for what."""
    channels, height, width = data.input_shape
    form = f"images of {height} x {width} x {channels}"
    if folds is None:
        parts = f"{len(data.train):,} train, {len(data.val):,} val"
        return f"{parts}, {len(data.test):,} test {form}"
    judged = sum(len(data.parts[name]) for name in to_train_on(data))
    times = f", parted {repeats} times" if repeats > 1 else ""
    return f"{judged:,} {form} in {folds} folds{times}"


def _introduce(
    made: Plan, place: Path, screen: Screen, folds: int | None, repeats: int
) -> None:
    """Says what the plan is, before it is carried out."""
    data, recipe = made.data, made.recipe
    for note in made.notes:
        screen.print(note)
    counts = _counts(data, folds, repeats)
    screen.print(f"{data.name}: {counts}, {len(data.classes)} classes")
    notes = [n for n in data.notes if folds is None or n not in data.part_notes]
    for note in notes:
        screen.print(f"  {note}", style="dim")
    if folds is not None:
        apart = ""
        if "test" in data.named_parts:
            apart = f" Its {len(data.test):,} test images are judged once, by that one."
        screen.print(
            f"  {folds * repeats} networks are trained to judge by, each without the "
            f"images of one fold, then the one that is kept, on all.{apart}",
            style="dim",
        )
    if data.set_aside:
        count = len(data.set_aside)
        screen.print(
            f"  {count} file{'s' * (count > 1)} could not be used; the list is in "
            f"{place / SET_ASIDE}",
            style="yellow",
        )
    plural = "s" * (recipe.epochs > 1)
    length = f"{recipe.epochs} epoch{plural}"
    if recipe.minutes is not None:
        each = " for each training" if folds is not None else ""
        length = f"{recipe.minutes:g} min{each}"
    if recipe.head_only:
        screen.print(f"model: {made.why}")
        screen.print(f"recipe: the last layer alone, seed {recipe.seed}")
        return
    screen.print(f"model: {made.why}")
    screen.print(
        f"recipe: {length}, batch {recipe.batch_size}, {recipe.optimizer} at "
        f"{recipe.learning_rate:g}, {recipe.schedule}, seed {recipe.seed}"
    )
    screen.print(f"augmentation: {recipe.augmentation}")


def _tell(loaded: LoadedWeights, screen: Screen) -> None:
    """What was loaded of the weights to begin with, and what was not."""
    for line in str(loaded).splitlines():
        screen.print(line, style="dim")


def _explained(net: nn.Module, data: Dataset, recipe: Recipe) -> str:
    return str(
        explain(
            net,
            data.input_shape,
            batch_size=recipe.batch_size,
            device=recipe.device,
            precision=recipe.precision,
            optimize=recipe.optimize,
        )
    )


@contextlib.contextmanager
def _told_how_to_go_on(place: Path) -> Iterator[None]:
    """Ctrl-C, a diverging loss and a full disk end with what to do next."""
    go_on = f"convscope train --resume {shlex.quote(str(place))}"
    try:
        yield
    except KeyboardInterrupt:
        begun = RunFolder(place).has_begun
        what = f"stopped; go on with: {go_on}" if begun else "stopped before training"
        say(f"\n{what}", error=True)
        raise typer.Exit(_STOPPED) from None
    except NotFiniteError as error:
        kept = place / CHECKPOINT / LATEST
        raise NotFiniteError(f"{error} The last good checkpoint is {kept}.") from None
    except WriteError as error:
        begun = RunFolder(place).has_begun
        hint = f" Then go on with: {go_on}" if begun else ""
        raise WriteError(f"{error}{hint}") from None


def _judge(
    run: Run, data: Dataset, as_json: bool, calibrate: bool, with_report: bool
) -> None:
    """What the network is worth and what to do with it."""
    if calibrate:
        _calibrated(run, data)
    written = None
    if with_report and run.folder is not None:
        found = report_of(run, data)
        written = save_report(found, run.folder / REPORT)[0]
        evaluation = found.evaluation
    elif run.fold_results:
        evaluation = run.evaluate()
    else:
        evaluation = run.evaluate(data, data.part_to_judge)
    if as_json:
        values: dict[str, Any] = {
            "run": str(run.folder),
            "model": run.spec.model.name,
            "epochs": len(run.history),
            "evaluation": evaluation.to_dict(),
        }
        if written is not None:
            values["report"] = str(written)
        typer.echo(json_text(values))
        return
    console = Screen()
    console.print()
    for each in report(evaluation):
        console.print(each, crop=False)
    place = shlex.quote(str(run.folder))
    console.print("\nNext steps", style="bold")
    if written is not None:
        say(f"see where it fails  {written}")
    say(f"evaluate it again   convscope evaluate {place}")
    say(f"predict new images  convscope predict {place} IMAGE...")
    say(f"see its layers      convscope summary {place}")


def _calibrated(run: Run, data: Dataset) -> None:
    found = run.calibrate(data)
    say(
        f"calibrated: temperature {found.value:.3f}; on {found.images:,} validation "
        f"images the calibration error was {found.error_before:.1%} and is "
        f"{found.error_after:.1%}",
        error=True,
    )


def _show_search(found: RateSearch, as_json: bool) -> None:
    if as_json:
        typer.echo(json_text(asdict(found)))
        return
    console = Screen()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("learning rate", justify="right")
    table.add_column("loss", justify="right")
    table.add_column("")
    top, room = max(found.losses), min(30, max(console.width - 26, 4))
    for index in range(0, len(found.rates), max(len(found.rates) // 20, 1)):
        bar = "█" * max(round(room * found.losses[index] / top), 1)
        table.add_row(f"{found.rates[index]:.2e}", f"{found.losses[index]:.4f}", bar)
    console.print(table)
    console.print(f"suggested: --learning-rate {found.suggestion:g}", style="bold")
