"""YouTube's two stages: the candidate network as a source, the ranking network as a ranker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training deep models needs PyTorch: pip install 'endcap[torch]'")
pytest.importorskip("onnxruntime", reason="serving networks needs onnxruntime: pip install 'endcap[onnx]'")

import torch

from endcap.config import CovisitConfig, DeepConfig
from endcap.errors import ArtifactError
from endcap.features.histories import Histories
from endcap.learning.boosting import TooFewExamples
from endcap.learning.examples import Table
from endcap.learning.gate import judge
from endcap.learning.networks import Lessons, fit_network
from endcap.learning.networks.bags import NEVER_S, Batch
from endcap.learning.networks.ranking import fit_ranking
from endcap.learning.networks.youtube import Candidates
from endcap.learning.sequences import Sequences
from endcap.models.network import Network
from endcap.models.plugged import plug_onnx
from endcap.models.youtube import MATRICES, YoutubeSource, recency
from endcap.preprocess.ids import Ids
from endcap.types import ACTION_CODE
from proposals import batch_of, interest_of, order_of, proposed

KINDS, EACH = 4, 10
N = KINDS * EACH
START_S, DAY_S = 1_760_313_600, 86_400
HOW = DeepConfig(dim=16, epochs=40, threads=1)


def visits(n_users: int = 1_500) -> Sequences:
    """Shoppers of one kind each; kind 3 went out of fashion: nobody wants it in the last days."""
    rng = np.random.default_rng(0)
    begin = np.sort(rng.integers(0, 40 * DAY_S, n_users))
    kind = np.where(begin < 30 * DAY_S, rng.choice([3, 3, 3, 0, 1, 2], n_users), rng.integers(0, 3, n_users))
    user = np.repeat(np.arange(n_users, dtype=np.int32), 6)
    n = user.shape[0]
    item = (kind[user] * EACH + rng.integers(0, EACH, n)).astype(np.int32)
    ts_s = START_S + begin[user] + 40 * np.tile(np.arange(6), n_users)
    return Sequences(
        user, item, np.full(n, ACTION_CODE["view"], np.int8), ts_s.astype(np.int64), user, np.full(n, 14, np.int8),
        np.zeros(n, np.int8), np.full(n, -1, np.int16), np.full(n, -1, np.int16), [f"i{k}" for k in range(N)], [], [],
    )  # fmt: skip


@pytest.fixture(scope="module")
def network() -> Network:
    return fit_network("youtube", Lessons(visits(), [None] * N), HOW)


def source_of(network: Network) -> tuple[YoutubeSource, Histories]:
    ids = Ids()
    for k in range(N):
        ids.intern(f"i{k}")
    rings = Histories(CovisitConfig())
    source = YoutubeSource(rings)
    source.use(network, ids)
    return source, rings


def test_a_shopper_is_offered_the_rest_of_what_they_look_at(network: Network) -> None:
    source, _ = source_of(network)
    for kind in range(3):
        interest = interest_of([kind * EACH, kind * EACH + 1], n_context=2, t_s=START_S + 40 * DAY_S)
        got = order_of(proposed(source, interest, N, n=8))
        assert {item // EACH for item in got} == {kind}


def test_the_age_of_an_example_tells_then_from_now(network: Network) -> None:
    """What went out of fashion is likelier at the age at which it was in than at a request, whose age is 0."""
    net = Candidates(N, 16)
    net.load_state_dict(
        {name: torch.from_numpy(network.arrays[name]) for name in MATRICES}
        | {"past.weight": torch.from_numpy(network.arrays["inputs"]), "items.weight": torch.from_numpy(network.vectors)}
    )
    shares = []
    for age_d in (0, 30):
        batch = Batch(
            torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.tensor([0]), torch.tensor([[14, 0, 0, 0, 0]]),
            torch.tensor([0]), torch.tensor([float(NEVER_S)]), torch.tensor([float(age_d * DAY_S)]),
        )  # fmt: skip
        net.train()  # ages count
        with torch.no_grad():
            chances = torch.softmax(net.users(batch, net.past.weight, batch.flat)[0] @ net.items.weight.T, dim=0)
        old = [k for k, item_id in enumerate(network.item_ids) if int(item_id[1:]) // EACH == 3]
        shares.append(float(chances[old].sum()))
    assert shares[1] > 1.5 * shares[0]


def test_serving_computes_what_training_does(network: Network) -> None:
    net = Candidates(N, 16).eval()
    state = {name: torch.from_numpy(network.arrays[name]) for name in MATRICES}
    state |= {
        "past.weight": torch.from_numpy(network.arrays["inputs"]),
        "items.weight": torch.from_numpy(network.vectors),
    }
    net.load_state_dict(state)
    source, rings = source_of(network)
    rings.grow(1, N)
    rings.fold(batch_of([(0, 0, 4, "view", 0), (0, 0, 5, "purchase", 0)], [START_S * 1000] * 2))
    place = [network.item_ids.index(f"i{item}") for item in (4, 5)]
    batch = Batch(
        torch.tensor(place), torch.ones(2), torch.tensor([0]), torch.tensor([[14, 0, 1, 0, 0]]), torch.tensor([0]),
        torch.tensor([300.0]), torch.tensor([0.0]),
    )  # fmt: skip
    with torch.no_grad():
        expected = net.users(batch, net.past.weight, batch.flat)[0].numpy()
    interest = interest_of([5, 4], age_s=[300, 300], user=0, t_s=START_S + 300)
    interest.hour, interest.device = 14, 1
    source.look_ahead(interest_of([], user=0, t_s=START_S))
    np.testing.assert_allclose(source.user_vector(interest), expected, rtol=1e-3, atol=1e-4)


def test_recency_goes_in_steps_that_training_knows(network: Network) -> None:
    steps = [recency(since_s) for since_s in (0, 59, 60, 179, 180, 419, 420, 10**9)]
    assert steps[0] == steps[1] == 0.0
    assert steps[2] == steps[3] < steps[4] == steps[5] < steps[6] < steps[7] <= 1.01
    source, rings = source_of(network)
    rings.grow(1, N)
    rings.fold(batch_of([(0, 0, 4, "view", 0)], [START_S * 1000]))
    source.look_ahead(interest_of([], user=0, t_s=START_S))
    found = set(source._answers)
    assert len(found) == 1
    proposed(source, interest_of([4], age_s=[59], user=0, t_s=START_S + 59), N, n=8)
    assert set(source._answers) == found
    proposed(source, interest_of([4], age_s=[60], user=0, t_s=START_S + 60), N, n=8)
    assert len(source._answers) == 2


def test_a_damaged_artifact_is_refused(network: Network) -> None:
    odd = {**network.arrays, "w2": network.arrays["w2"][:, :3]}
    with pytest.raises(ArtifactError, match="w2"):
        source_of(replace(network, arrays=odd))
    del odd["b3"]
    with pytest.raises(ArtifactError, match="lacks b3"):
        source_of(replace(network, arrays=odd))


# ---------------------------------------------------------------- the ranking network

COLUMNS = ("truth", "noise", "src:covisit")


def requests(n: int, seed: int = 0) -> Table:
    """Of 20 candidates the one with the most truth was clicked; of every third request also bought."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n * 20, 3)).astype(np.float32)
    best = rows[:, 0].reshape(n, 20).argmax(axis=1) + 20 * np.arange(n)
    labels = np.zeros((n * 20, 2), np.uint8)
    labels[best, 0], labels[best[::3], 1] = 1, 1
    rows[::97, 1] = np.nan
    return Table(rows, labels, np.full(n, 20, np.int32), np.arange(n, dtype=np.int64))


def test_the_ranking_network_passes_the_gate_against_chance_and_not_against_the_truth() -> None:
    model, told = fit_ranking(requests(600), COLUMNS, (1.0, 6.0), DeepConfig(epochs=12, threads=1))
    ranker = plug_onnx("network", model, COLUMNS)
    assert told["judged"] > 0.8

    class By:
        terms: tuple[str, ...] = ()

        def __init__(self, column: int) -> None:
            self.name, self._column = COLUMNS[column], column

        def score(self, rows: np.ndarray) -> np.ndarray:
            return np.nan_to_num(rows[:, self._column])

        def trace(self, rows: np.ndarray) -> np.ndarray:
            return rows[:, :0]

    unseen = requests(200, seed=1)
    assert judge(ranker, By(1), unseen, (1.0, 6.0)).passed
    assert judge(By(0), ranker, unseen, (1.0, 6.0)).passed
    assert not judge(By(1), ranker, unseen, (1.0, 6.0)).passed


def test_scores_are_odds_so_that_what_is_worth_more_scores_more() -> None:
    """Rows that cannot be told apart: a tenth is right, worth 4. Odds tend to 4 x 0.1 / 0.9."""
    n = 100_000
    labels = np.zeros((n, 1), np.uint8)
    labels[::10] = 1
    rows = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    table = Table(rows, labels, np.full(n // 10, 10, np.int32), np.arange(n // 10, dtype=np.int64))
    model, _ = fit_ranking(table, ("a", "b"), (4.0,), DeepConfig(epochs=3, threads=1))
    scores = plug_onnx("network", model, ("a", "b")).score(rows)
    assert float(np.median(scores)) == pytest.approx(4.0 * 0.1 / 0.9, rel=0.35)


def test_too_few_requests_are_said() -> None:
    with pytest.raises(TooFewExamples, match="there are 30"):
        fit_ranking(requests(30), COLUMNS, (1.0, 6.0), DeepConfig(epochs=1))
