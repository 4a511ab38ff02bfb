"""Experiments over HTTP, and the watch that follows their file and stops those that break a guardrail.

The file (``experiments.json``) is the truth: routes and command line write it, the watch looks at it every second. A
server that cannot read it goes on with what runs, and says so in its log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from endcap.config import PlacementConfig
from endcap.errors import ArtifactError, ConfigError, EndcapError, InvalidInput, NotFound
from endcap.feedback import guardrails
from endcap.feedback.experiments import INTERLEAVED, Experiment, Experiments, changed, check, started, stopped
from endcap.feedback.guardrails import Measured
from endcap.feedback.interleaving import Preference
from endcap.feedback.scoreboard import VariantResult
from endcap.learning.store import ModelStore
from endcap.models.linear import LinearRanker, Term
from endcap.policy import check_placement
from endcap.server.meters import WINDOW_S
from endcap.server.service import MAX_SLATE, Service
from endcap.server.trend import Points, Trend, point_of, units_of
from endcap.server.wire import Call, Reply, decode_as, encode
from endcap.slate.filter import compile_filter
from endcap.state import State
from endcap.stores.experiments import ExperimentStore

PERIOD_S = 1.0
CHECK_S = 5.0
NOTE_S = 60.0
MAX_CANDIDATES = 1_000
MAX_REASON = 500

_decode_experiment = msgspec.json.Decoder(Experiment).decode


class Stop(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an experiment is stopped, for the record."""

    reason: str = "stopped by hand"


_decode_stop = msgspec.json.Decoder(Stop).decode


class ExperimentList(Struct, frozen=True, kw_only=True):
    """Every experiment, ended ones too, in order of start."""

    experiments: list[Experiment]


class Results(Struct, frozen=True, kw_only=True):
    """What the variants brought so far; right at any time, however often it is read."""

    variants: dict[str, VariantResult]
    assigned: dict[str, int]  # units by the variant they were seen in first
    crossovers: int  # units seen in more than one variant, left out
    sample_ratio_p: float  # always-valid p-value of the units' shares
    sample_ratio_alarm: bool  # p < 0.001: something decides who is counted; believe nothing else before it is found


class ExperimentView(Struct, frozen=True, kw_only=True):
    """An experiment with its results and the service of the last two minutes."""

    experiment: Experiment
    results: Results | None  # null for interleaving, whose verdict is a preference
    preference: Preference | None  # of interleaving: which of the two variants earned more, slate by slate
    measured: dict[str, Measured]


# ---------------------------------------------------------------- shared with the command line


def refuse_unservable(
    experiment: Experiment, placements: Mapping[str, PlacementConfig], models: ModelStore, columns: tuple[str, ...]
) -> None:
    """Raise when a variant asks for what no slate could be made with: sources, filter, weights, numbers, ranker."""
    for name, variant in experiment.variants.items():
        placement = changed(experiment, name, placements[experiment.placement])
        where = f"experiments.{experiment.name}.{name}"
        check_placement(where, placement)
        if placement.filter:
            compile_filter(placement.filter)
        LinearRanker(columns, {column: Term(weight) for column, weight in placement.weights.items()})
        for setting, value, most in (
            ("n", placement.n, MAX_SLATE),
            ("candidates", placement.candidates, MAX_CANDIDATES),
        ):
            if not 1 <= value <= most:
                raise InvalidInput(f"{where}.{setting} is {value}; expected 1 to {most}", field="variants")
        if variant.ranker:
            models.ranker(variant.ranker, columns)


def start_in(
    directory: Path,
    experiment: Experiment,
    placements: Mapping[str, PlacementConfig],
    columns: tuple[str, ...],
    now: int,
) -> Experiment:
    """Check an experiment and let it run from ``now`` (epoch ms) on; a server of this directory follows in a second."""
    check(experiment, (), placements)
    refuse_unservable(experiment, placements, ModelStore(directory), columns)
    store = ExperimentStore(directory, Experiment)
    return store.change(lambda known: [*known, started(experiment, known, placements, now)])[-1]


def stop_in(directory: Path, name: str, reason: str, now: int) -> Experiment:
    """End an experiment. ``NotFound`` for an unknown name, ``InvalidInput`` for one that has ended."""
    if len(reason) > MAX_REASON:
        raise InvalidInput(f"the reason has {len(reason)} characters; expected at most {MAX_REASON}", field="reason")
    known = ExperimentStore(directory, Experiment).change(lambda known: stopped(known, name, reason, now))
    return next(one for one in known if one.name == name)


def results(experiment: Experiment, state: State) -> Results | Preference:
    """An experiment's results from the folded state; of interleaving, the preference."""
    labels = state.labels
    if experiment.kind == "interleave":
        return state.duels.preference(labels.get(f"variant:{experiment.name}/{INTERLEAVED}"))
    names = list(experiment.variants)
    numbers = [labels.get(f"variant:{experiment.name}/{name}") for name in names]
    report = state.scoreboard.report(numbers, [one.weight for one in experiment.variants.values()], experiment.planned)
    return Results(
        variants=dict(zip(names, report.variants, strict=True)),
        assigned=dict(zip(names, report.assigned, strict=True)),
        crossovers=report.crossovers,
        sample_ratio_p=report.sample_ratio_p,
        sample_ratio_alarm=report.sample_ratio_alarm,
    )


# ---------------------------------------------------------------- routes


def directory_of(service: Service) -> Path:
    """Where this server keeps its experiments."""
    directory = service.engine.directory
    if directory is None:
        raise NotFound("this server has no data directory, so it keeps no experiments; open the engine with one")
    return directory


async def listing(service: Service, _call: Call) -> Reply:
    """Every experiment."""
    return Reply(encode(ExperimentList(experiments=service.engine.experiments.all())))


async def show(service: Service, call: Call) -> Reply:
    """One experiment with its results."""
    experiment = service.engine.experiments.get(call.id)
    found = results(experiment, service.engine.state)
    view = ExperimentView(
        experiment=experiment,
        results=found if isinstance(found, Results) else None,
        preference=found if isinstance(found, Preference) else None,
        measured=service.meters.measured(experiment),
    )
    return Reply(encode(view))


async def history(service: Service, call: Call) -> Reply:
    """How one experiment's differences came to be."""
    name = service.engine.experiments.get(call.id).name
    return Reply(encode(Points(points=await asyncio.to_thread(Trend(directory_of(service)).read, name))))


async def start(service: Service, call: Call) -> Reply:
    """Check the experiment and start it, here at once."""
    experiment = decode_as(_decode_experiment, call.body)
    engine, directory = service.engine, directory_of(service)
    try:
        begun = await asyncio.to_thread(
            start_in, directory, experiment, service.config.placements, engine.columns, engine.runtime.now()
        )
    except (ConfigError, ArtifactError, NotFound) as wrong:  # of the body, whatever they are elsewhere
        raise InvalidInput(wrong.message, field="variants") from wrong
    await follow(service, directory)
    return Reply(encode(begun))


async def stop(service: Service, call: Call) -> Reply:
    """End the experiment, here at once."""
    reason = decode_as(_decode_stop, call.body).reason if call.body.strip() else Stop().reason
    directory = directory_of(service)
    ended = await asyncio.to_thread(stop_in, directory, call.id, reason, service.engine.runtime.now())
    await follow(service, directory)
    return Reply(encode(ended))


async def follow(service: Service, directory: Path) -> None:
    """Serve what the file says now."""
    found = await asyncio.to_thread(ExperimentStore(directory, Experiment).read)
    use(service, found)


def use(service: Service, experiments: Iterable[Experiment]) -> None:
    """Let these be the experiments of this server. Raises when one does not fit its settings, and changes nothing."""
    prepared = Experiments(experiments, service.config.placements)
    engine = service.engine
    running = [variant for one in prepared.all() if one.running for variant in one.variants.values()]
    numbers = {variant.ranker for variant in running if variant.ranker}
    if numbers:
        models = ModelStore(directory_of(service))
        engine.recommender.hold({number: models.ranker(number, engine.columns) for number in numbers})
    engine.experiments = prepared
    service.meters.watch(one for one in prepared.all() if one.running)


# ---------------------------------------------------------------- the watch


class ExperimentWatch:
    """Follows the file and the guardrails on behalf of one server."""

    def __init__(self, service: Service, directory: Path, say: Callable[[str, str], None]) -> None:
        """``say(event, message)`` writes to the log."""
        self._service = service
        self._directory = directory
        self._store = ExperimentStore(directory, Experiment)
        self._trend = Trend(directory)
        self._say = say
        self._seen: object = None  # the file as it was at the last look

    async def run(self) -> None:
        """Look again and again until cancelled."""
        clock = asyncio.get_running_loop().time
        checked = turned = noted = clock()
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.look()
            if clock() >= checked + CHECK_S:
                checked = clock()
                await self.check()
            if clock() >= noted + NOTE_S:
                noted = clock()
                await self.note()
            if clock() >= turned + WINDOW_S:
                turned = clock()
                self._service.meters.turn()

    async def look(self) -> None:
        """Run what the file names, if it changed since the last look."""
        seen = self._store.stamp()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            use(self._service, await asyncio.to_thread(self._store.read))
        except EndcapError as wrong:
            self._say("experiments_refused", f"{wrong.message}; what ran goes on")
            return
        names = [one.name for one in self._service.engine.experiments.all() if one.running]
        self._say("experiments", f"running: {', '.join(names) or 'none'}")

    async def check(self) -> None:
        """Stop what breaks a guardrail."""
        for experiment in self._service.engine.experiments.all():
            if not experiment.running:
                continue
            reason = guardrails.check(experiment.guardrails, self._service.meters.measured(experiment))
            if reason is None:
                continue
            now = self._service.engine.runtime.now()
            try:
                await asyncio.to_thread(stop_in, self._directory, experiment.name, reason, now)
            except EndcapError as wrong:
                self._say("experiment_not_stopped", f"{experiment.name}: {reason}; but {wrong.message}")
                continue
            self._say("experiment_stopped", f"{experiment.name}: {reason}")
            await self.look()

    async def note(self) -> None:
        """Keep a point of each running experiment's results, where one is due."""
        state, now = self._service.engine.state, self._service.engine.runtime.now()
        for experiment in self._service.engine.experiments.all():
            units = units_of(experiment, state)
            if not experiment.running or not self._trend.is_due(experiment.name, units, now):
                continue
            found = results(experiment, state)
            point = point_of(found.variants if isinstance(found, Results) else found, units, now)
            try:
                await asyncio.to_thread(self._trend.note, experiment.name, point)
            except OSError as wrong:
                self._say("experiment_not_noted", f"{experiment.name}: {wrong}; its results are not affected")
