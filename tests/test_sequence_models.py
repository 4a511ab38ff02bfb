"""The three sequence models: what is served equals what was trained, a run that was killed ends the same, odd input."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training deep models needs the extra torch")
pytest.importorskip("onnxruntime", reason="serving deep models needs the extra onnx")
pytest.importorskip("onnx", reason="storing deep models needs onnx")

from endcap.config import Config, DeepConfig  # noqa: E402
from endcap.errors import ArtifactError  # noqa: E402
from endcap.features.histories import Histories  # noqa: E402
from endcap.learning.boosting import TooFewExamples  # noqa: E402
from endcap.learning.networks import Lessons, fit_network, gru4rec, nextitnet, sasrec  # noqa: E402
from endcap.learning.networks.windows import BATCH, Course, Windows, cut  # noqa: E402
from endcap.learning.sequences import Sequences  # noqa: E402
from endcap.models.gru4rec import Gru4RecSource  # noqa: E402
from endcap.models.network import Network, NetworkSource, Window  # noqa: E402
from endcap.models.nextitnet import NextItNetSource  # noqa: E402
from endcap.models.sasrec import SasRecSource  # noqa: E402

SOURCES: dict[str, type[NetworkSource]] = {
    "gru4rec": Gru4RecSource, "nextitnet": NextItNetSource, "sasrec": SasRecSource
}  # fmt: skip
HOW = DeepConfig(dim=16, epochs=3, threads=1, seed=3)
ITEMS = 30


def walks(n_users: int = 120, length: int = 8) -> Lessons:
    """Everybody walks round a ring of items, one step at a time: the next item is known by construction."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, ITEMS, n_users)
    user = np.tile(np.arange(n_users), length).astype(np.int32)
    item = ((first[None, :] + np.arange(length)[:, None]) % ITEMS).ravel().astype(np.int32)
    n = user.shape[0]
    small = np.zeros(n, np.int8)
    columns: dict[str, Any] = {"hour": small, "device": small, "region": small.astype(np.int16)}
    data = Sequences(
        user=user, item=item, action=small + 1, ts_s=np.repeat(np.arange(length), n_users).astype(np.int64) * 60,
        session=user, placement=small.astype(np.int16),
        item_ids=[f"i{k}" for k in range(ITEMS)], regions=[], placements=[], **columns,
    )  # fmt: skip
    return Lessons(data, [None] * ITEMS)


def window(places: list[int], user: int = -1) -> Window:
    n = len(places)
    return Window(np.array(places, np.int32), np.zeros(n, np.int32), np.ones(n, np.int8), user)


def source_of(network: Network) -> NetworkSource:
    source = SOURCES[network.model](Histories(Config().covisit))
    source.network = network
    source.open(network)
    return source


def untrained(model: str, blocks: int = 1) -> tuple[Any, Network]:
    torch.manual_seed(5)
    ids = [f"i{k}" for k in range(ITEMS)]
    if model == "gru4rec":
        net: Any = gru4rec.Gru4Rec(ITEMS, 16).eval()
        torch.nn.init.normal_(net.bias.weight)
        return net, gru4rec.network_of(net, ids, {})
    if model == "nextitnet":
        net = nextitnet.NextItNet(ITEMS, 16).eval()
        return net, nextitnet.network_of(net, ids, {})
    net = sasrec.SasRec(ITEMS, 16, blocks=blocks).eval()
    return net, sasrec.network_of(net, ids, {})


def forward(model: str, net: Any, places: list[int]) -> np.ndarray:
    with torch.no_grad():
        if model == "gru4rec":
            state = torch.zeros(1, 16)
            for place in places:
                state = net.step(torch.tensor([place]), state)
            return np.append(state[0].numpy(), 1.0)
        found = net.last(torch.tensor([places]), torch.tensor([len(places)]))[0].numpy()
        return np.append(found, 1.0) if model == "nextitnet" else found


@pytest.mark.parametrize(("model", "blocks"), [("gru4rec", 1), ("nextitnet", 1), ("sasrec", 1), ("sasrec", 2)])
@settings(max_examples=20, deadline=None)
@given(places=st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=50))
def test_what_is_served_is_what_was_trained(model: str, blocks: int, places: list[int]) -> None:
    net, network = untrained(model, blocks)
    served = source_of(network).encode(window(places))
    assert served is not None
    np.testing.assert_allclose(served, forward(model, net, places), atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(places=st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=80))
def test_a_state_carried_on_equals_one_read_anew(places: list[int]) -> None:
    _, network = untrained("gru4rec")
    source, anew = source_of(network), source_of(network)
    for n in range(1, len(places) + 1):
        seen = places[max(0, n - 64) : n]
        carried, fresh = source.encode(window(seen, user=7)), anew.encode(window(seen))
        assert carried is not None
        assert fresh is not None
        np.testing.assert_allclose(carried, fresh, atol=1e-5)


def test_every_position_weighs_the_same_whatever_the_length_of_its_window() -> None:
    rng = np.random.default_rng(2)
    lengths = np.concatenate([np.full(BATCH, 2), np.full(BATCH, 12), [30]])  # three batches
    end = np.cumsum(lengths).astype(np.int64)
    place = rng.integers(0, ITEMS, int(end[-1])).astype(np.int32)
    none = np.zeros(0, np.int64)
    taught = Windows(place, end - lengths, end, none, none, none.astype(np.int32))
    net = untrained("sasrec")[0]
    course = Course(net, taught, seed=1)
    with torch.no_grad():
        losses = [float(loss) for loss in course.losses(0)]
        each = []
        for begin, stop in zip(taught.begin.tolist(), end.tolist(), strict=True):
            read = torch.from_numpy(place[None, begin:stop].astype(np.int64))
            user = net.read(read[:, :-1], torch.tensor([stop - begin - 1]))[0]
            each.append(torch.nn.functional.cross_entropy(user @ net.out.weight.T, read[0, 1:], reduction="none"))
    assert len(losses) == 3
    assert np.mean(losses) == pytest.approx(float(torch.cat(each).mean()), rel=1e-5)


def test_a_padded_batch_is_read_like_each_window_alone() -> None:
    for model in ("nextitnet", "sasrec"):
        net, _ = untrained(model)
        with torch.no_grad():
            both = net.last(torch.tensor([[1, 2, 3, 4], [5, 6, 6, 6]]), torch.tensor([4, 2]))
            alone = net.last(torch.tensor([[5, 6]]), torch.tensor([2]))
        np.testing.assert_allclose(both[1].numpy(), alone[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("model", list(SOURCES))
def test_the_same_data_and_seed_give_the_same_network(model: str) -> None:
    first, again = fit_network(model, walks(), HOW), fit_network(model, walks(), HOW)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert first.graphs == again.graphs


@pytest.mark.slow
@pytest.mark.parametrize("model", list(SOURCES))
def test_a_network_learns_the_way(model: str) -> None:
    first = fit_network(model, walks(1_000), DeepConfig(dim=16, epochs=40, threads=1, seed=3))
    source = source_of(first)
    right = 0
    for start in range(ITEMS):
        user = source.encode(window([(start + k) % ITEMS for k in range(4)]))
        right += int(np.argmax(first.vectors @ user)) == (start + 4) % ITEMS
    assert right > ITEMS // 2


@pytest.mark.parametrize("model", list(SOURCES))
def test_networks_survive_a_file_and_refuse_nan(model: str, tmp_path: Path) -> None:
    _, network = untrained(model)
    network.save(tmp_path / "n.endcap")
    back = Network.load(tmp_path / "n.endcap")
    np.testing.assert_array_equal(source_of(back).encode(window([1, 2])), source_of(network).encode(window([1, 2])))
    network.vectors[3, 0] = np.nan
    with pytest.raises(ArtifactError, match="NaN"):
        network.check()


def test_a_network_without_its_parts_is_refused() -> None:
    for model in SOURCES:
        _, network = untrained(model)
        network.arrays.clear()
        with pytest.raises(ArtifactError, match="train again"):
            source_of(network)


def test_too_little_is_said() -> None:
    for model in SOURCES:
        with pytest.raises(TooFewExamples, match="500"):
            fit_network(model, walks(3), HOW)


def test_windows_cover_every_next_item_once() -> None:
    begin, end = cut(np.array([0, 10]), np.array([10, 11]), 4)
    assert sorted(zip(begin.tolist(), end.tolist(), strict=True)) == [(0, 2), (1, 6), (5, 10)]


KILLED = """
import sys, time
from pathlib import Path
from test_sequence_models import HOW, walks
from endcap.learning.networks import fit_network
from msgspec import structs
def slow(stage, done, total):
    if "pass 3" in stage and done == 1:
        print("third", flush=True); time.sleep(60)
fit_network(sys.argv[1], walks(), structs.replace(HOW, epochs=5), progress=slow, checkpoints=Path(sys.argv[2]))
"""


@pytest.mark.parametrize("model", ["gru4rec", "sasrec"])
def test_a_run_that_was_killed_goes_on_to_the_same_network(model: str, tmp_path: Path) -> None:
    how = DeepConfig(dim=16, epochs=5, threads=1, seed=3)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, model, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parent
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"third"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    stages: list[str] = []
    went_on = fit_network(
        model, walks(), how, progress=lambda stage, _done, _total: stages.append(stage), checkpoints=tmp_path
    )
    assert stages[0] == f"{model} pass 3"
    straight = fit_network(model, walks(), how)
    np.testing.assert_array_equal(went_on.vectors, straight.vectors)
