"""Forest: boosted decision trees trained by LightGBM, evaluated by our own kernel.

Idea: walking a tree is a chain of steps that wait for each other. Instead, every node of a tree is tested for a whole
block of rows at once (QuickScorer: Lucchese et al., SIGIR 2015; vectorised over rows: Lucchese et al., SIGIR 2016). A
tree's leaves are numbered from left to right, each row holds one bit per leaf, and a row that goes right at a node
loses the bits of the leaves below its left branch. The lowest bit left is the row's leaf. No branch depends on the
data, so the compiler makes vectors of both loops.

Layout: nodes of all trees in flat arrays: ``column`` int32, ``threshold`` float32, ``keep`` uint32 (the bits that going
right leaves). ``begin`` [trees, 3] delimits a tree's nodes: first those where a missing value goes left, then those
where it goes right. ``value`` float64 [trees, 32] holds the leaf values at the places where a multiplication by a de
Bruijn number sends the lowest bit. Thresholds are LightGBM's doubles rounded down, which decides alike for every
float32.

Cost: 15 nodes x rows / 8 vector steps per tree: 100 rows, 100 trees of 16 leaves in some 35 us, where LightGBM takes
300. Memory: 12 bytes per node, 256 per tree, and the paths. A trace adds up what each leaf's path moved, which is
listed column by column when the model is read: 12 rows cost about as much as scoring a block.

Reads LightGBM's text format (versions 3 and 4): one output, numerical splits, NaN or no missing values, at most 32
leaves per tree. Anything else is refused with ``ArtifactError``, never approximated.
When not to use it: large trees; the work grows with nodes, not with depth.
"""

from __future__ import annotations

from array import array

import numpy as np
from numba import njit

from endcap.errors import ArtifactError
from endcap.types import F4, F8, I4, U4

MAX_LEAVES = 32
LANES = 16  # rows are tested in multiples of this
BLOCK = 64  # rows tested at once: their used columns stay in the first-level cache
ALL_BITS = 0xFFFFFFFF
DE_BRUIJN = 0x077CB531  # its 32 windows of 5 bits are all different
CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of LightGBM's decision_type; bits 2 and 3 are how a value can be missing
MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2
COUNTS = ("split_feature", "left_child", "right_child", "decision_type")


@njit(cache=True, nogil=True)
def turn(rows: F4, first: int, n: int, used: I4, block: F4) -> None:
    """Copy the used columns of rows ``first`` to ``first + n - 1`` into ``block`` [used, BLOCK], columns together."""
    for c in range(used.shape[0]):
        source = used[c]
        for r in range(n):
            block[c, r] = rows[first + r, source]


@njit(cache=True, nogil=True)
def descend(t: int, n: int, block: F4, column: I4, threshold: F4, keep: U4, begin: I4, alive: U4) -> None:
    """Per row of the block (the first n, or some more): the bits of the leaves of tree ``t`` that no test rules out."""
    full = np.uint32(ALL_BITS)
    width = min(BLOCK, (n + LANES - 1) & -LANES)  # whole vectors: no loop for the rest
    for r in range(width):
        alive[r] = full
    for k in range(begin[t, 0], begin[t, 1]):
        x, limit, left = block[column[k]], threshold[k], keep[k]
        for r in range(width):
            alive[r] &= left if x[r] > limit else full
    for k in range(begin[t, 1], begin[t, 2]):
        x, limit, left = block[column[k]], threshold[k], keep[k]
        for r in range(width):
            alive[r] &= full if x[r] <= limit else left


@njit(cache=True, nogil=True)
def place(alive: int) -> int:
    """Where a leaf's entries are: a number below 32 that the lowest bit decides."""
    lowest = np.uint32(alive & (~alive + np.uint32(1)))
    return np.uint64(np.uint32(lowest * np.uint32(DE_BRUIJN)) >> np.uint32(27))  # type: ignore[return-value]


@njit(cache=True, nogil=True)
def score_rows(
    rows: F4, used: I4, column: I4, threshold: F4, keep: U4, begin: I4, value: F8, block: F4, alive: U4, out: F8
) -> None:
    """out[r] = sum of the leaves that row r falls into. Scratch: ``block`` [used, BLOCK], ``alive`` [BLOCK]."""
    for first in range(0, rows.shape[0], BLOCK):
        n = min(BLOCK, rows.shape[0] - first)
        turn(rows, first, n, used, block)
        sums = out[first : first + n]
        sums[:] = 0.0
        for t in range(begin.shape[0]):
            descend(t, n, block, column, threshold, keep, begin, alive)
            leaves = value[t]
            for r in range(n):
                sums[r] += leaves[place(alive[r])]


@njit(cache=True, nogil=True)
def trace_rows(
    rows: F4, used: I4, column: I4, threshold: F4, keep: U4, begin: I4, block: F4, alive: U4,
    path_begin: I4, path_column: I4, path_move: F8, out: F8,
) -> None:  # fmt: skip
    """out[r, c] += what the splits on column c moved the score along row r's paths."""
    for first in range(0, rows.shape[0], BLOCK):
        n = min(BLOCK, rows.shape[0] - first)
        turn(rows, first, n, used, block)
        for t in range(begin.shape[0]):
            descend(t, n, block, column, threshold, keep, begin, alive)
            for r in range(n):
                leaf = np.uint64(t * MAX_LEAVES) + place(alive[r])
                for k in range(path_begin[leaf, 0], path_begin[leaf, 1]):
                    out[first + r, path_column[k]] += path_move[k]


class Forest:
    """One ensemble, read from LightGBM's text."""

    def __init__(self, text: str, columns: tuple[str, ...]) -> None:
        """``columns`` name the rows that will be scored; the model's features are found among them by name.

        Raises ``ArtifactError`` for text that is damaged, not finite, or of a kind that is not supported.
        """
        head, trees = sections(text)
        at = places(head, columns)
        self.n_trees = len(trees)
        if not trees:
            raise ArtifactError("the model holds no tree; it was cut off, or training stopped before the first one")
        built = [Tree(fields, at, number) for number, fields in enumerate(trees)]
        self._flatten(built)
        self._link(built)
        self._block: F4 = np.zeros((self._used.shape[0], BLOCK), np.float32)
        self._alive: U4 = np.zeros(BLOCK, np.uint32)

    def _flatten(self, trees: list[Tree]) -> None:
        """The arrays of ``score_rows``."""
        features = [tree.feature[tree.order] for tree in trees]
        flat: I4 = np.concatenate(features) if features else np.zeros(0, np.int32)
        used, column = np.unique(flat, return_inverse=True)
        self._used: I4 = used.astype(np.int32)
        self._column: I4 = column.astype(np.int32)
        self._threshold: F4 = np.concatenate([tree.threshold[tree.order] for tree in trees])
        self._keep: U4 = np.concatenate([tree.keep[tree.order] for tree in trees])
        self._begin: I4 = np.zeros((len(trees), 3), np.int32)
        self._value: F8 = np.zeros((len(trees), MAX_LEAVES))
        start = 0
        for t, tree in enumerate(trees):
            n = tree.feature.shape[0]
            self._begin[t] = start, start + tree.n_nan_left, start + n
            start += n
            for leaf, value in enumerate(tree.leaves.tolist()):
                self._value[t, place_of(leaf)] = value

    def _link(self, trees: list[Tree]) -> None:
        """The arrays of ``trace_rows``: what each leaf's path moved, column by column."""
        self.base = float(sum(tree.root for tree in trees))
        columns, moves = array("i"), array("d")
        self._path_begin: I4 = np.zeros((len(trees) * MAX_LEAVES, 2), np.int32)
        for t, tree in enumerate(trees):
            for leaf, path in enumerate(tree.paths()):
                at = t * MAX_LEAVES + place_of(leaf)
                self._path_begin[at, 0] = len(columns)
                columns.extend(path)
                moves.extend(path.values())
                self._path_begin[at, 1] = len(columns)
        self._path_column: I4 = np.array(columns, np.int32)
        self._path_move: F8 = np.array(moves, np.float64)

    def score(self, rows: F4) -> F8:
        """rows [n, columns] -> raw scores float64 [n], those of LightGBM's ``predict(raw_score=True)``."""
        out = np.empty(rows.shape[0])
        score_rows(
            rows, self._used, self._column, self._threshold, self._keep, self._begin, self._value,
            self._block, self._alive, out,
        )  # fmt: skip
        return out

    def trace(self, rows: F4) -> F8:
        """rows [n, columns] -> [n, columns]: what each column moves the raw score away from ``base``."""
        out = np.zeros(rows.shape)
        trace_rows(
            rows, self._used, self._column, self._threshold, self._keep, self._begin, self._block, self._alive,
            self._path_begin, self._path_column, self._path_move, out,
        )  # fmt: skip
        return out


class Tree:
    """One tree, checked. ``children`` >= 0 are inner nodes, below 0 leaves (-1 is leaf 0), as LightGBM has it."""

    def __init__(self, fields: dict[str, str], at: I4, number: int) -> None:
        self._where = f"tree {number}"
        n = self._whole(fields, "num_leaves")
        if not 1 <= n <= MAX_LEAVES:
            raise ArtifactError(f"{self._where} has {n} leaves; 1 to {MAX_LEAVES} are supported (set num_leaves)")
        if fields.get("num_cat", "0") != "0" or fields.get("is_linear", "0") != "0":
            raise ArtifactError(f"{self._where} has categorical splits or linear leaves; only plain ones are supported")
        split, left, right, kind = (self._numbers(fields, name, n - 1).astype(np.int64) for name in COUNTS)
        exact = self._numbers(fields, "threshold", n - 1)
        leaves = self._numbers(fields, "leaf_value", n)
        inner = self._numbers(fields, "internal_value", n - 1)
        if not (np.isfinite(leaves).all() and np.isfinite(inner).all()) or np.isnan(exact).any():
            raise ArtifactError(f"{self._where} holds values that are not finite; train the model again")
        if n > 1 and (split.min() < 0 or split.max() >= at.shape[0]):
            raise ArtifactError(f"{self._where} splits on a feature number out of range; the file is damaged")
        missing = (kind >> 2) & 3
        if (kind & CATEGORICAL).any() or (missing == MISSING_ZERO).any():
            raise ArtifactError(f"{self._where} splits on categories or treats zero as missing; neither is supported")
        self.feature: I4 = at[split]
        self.threshold = rounded_down(exact)
        as_zero = (missing == MISSING_NONE) & (exact >= 0)  # without missing values in training NaN counts as 0
        self.nan_left = (as_zero | ((missing == MISSING_NAN) & ((kind & DEFAULT_LEFT) > 0))).astype(np.int32)
        self.children: I4 = np.stack([left, right], axis=1).astype(np.int32).reshape(-1, 2)
        self.order = np.argsort(1 - self.nan_left, kind="stable")
        self.n_nan_left = int(self.nan_left.sum())
        self.keep: U4 = np.full(n - 1, ALL_BITS, np.uint32)
        leaf_order: list[int] = []
        self._visit(leaf_order, n)
        self.leaves = leaves[leaf_order]
        self.root = float(inner[0] if n > 1 else leaves[0])
        self._inner, self._by_number = inner, leaves

    def paths(self) -> list[dict[int, float]]:
        """For each leaf from left to right: by column, how far its splits on the way moved the score."""
        found: list[dict[int, float]] = []
        stack: list[tuple[int, dict[int, float]]] = [(0 if self.feature.shape[0] else -1, {})]
        while stack:
            node, path = stack.pop()
            if node < 0:
                found.append(path)
                continue
            split = int(self.feature[node])
            for below in self.children[node, ::-1].tolist():  # the left one is taken off the stack first
                value = self._inner[below] if below >= 0 else self._by_number[-1 - below]
                stack.append((below, {**path, split: path.get(split, 0.0) + float(value - self._inner[node])}))
        return found

    def _visit(self, leaf_order: list[int], n: int) -> None:
        """List the leaves from left to right; at each inner node note the bits that survive going right."""
        met = np.zeros(max(n - 1, 0), bool)
        stack = [(0 if n > 1 else -1, -1)]  # (node, inner node whose left branch ends before it)
        began: dict[int, int] = {}
        while stack:
            node, closes = stack.pop()
            if closes >= 0:  # everything since began[closes] lies left of this node's parent
                for leaf in range(began[closes], len(leaf_order)):
                    self.keep[closes] &= np.uint32(ALL_BITS ^ (1 << leaf))
            if node < 0:
                if not -n <= node or -1 - node in leaf_order:
                    raise ArtifactError(f"{self._where} is no tree: a leaf is reached twice or does not exist")
                leaf_order.append(-1 - node)
                continue
            if node >= n - 1 or met[node]:
                raise ArtifactError(f"{self._where} is no tree: a node is reached twice or does not exist")
            met[node] = True
            began[node] = len(leaf_order)
            stack.append((int(self.children[node, 1]), node))
            stack.append((int(self.children[node, 0]), -1))
        if len(leaf_order) != n:
            raise ArtifactError(f"{self._where} is no tree: {n - len(leaf_order)} leaves are never reached")

    def _whole(self, fields: dict[str, str], name: str) -> int:
        try:
            return int(fields[name])
        except (KeyError, ValueError) as wrong:
            raise ArtifactError(f"{self._where} has no usable {name}; the file is cut off or damaged") from wrong

    def _numbers(self, fields: dict[str, str], name: str, n: int) -> F8:
        try:
            numbers = np.array(fields.get(name, "").split(), np.float64)
        except ValueError as wrong:
            raise ArtifactError(f"{self._where}: {name} is not a list of numbers") from wrong
        if numbers.shape[0] != n:
            raise ArtifactError(f"{self._where}: {name} has {numbers.shape[0]} entries, expected {n}; it is cut off")
        return numbers


def place_of(leaf: int) -> int:
    """The place of a leaf, numbered from left to right, as ``place`` finds it from the leaf's bit."""
    return ((1 << leaf) * DE_BRUIJN & ALL_BITS) >> 27


def rounded_down(exact: F8) -> F4:
    """The largest float32 not above each number: ``x <= exact`` and ``x <= rounded`` agree for every float32 x."""
    with np.errstate(over="ignore"):
        near = exact.astype(np.float32)
    return np.where(near.astype(np.float64) > exact, np.nextafter(near, np.float32(-np.inf)), near)


def sections(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The header's fields and each tree's fields."""
    body, end, _ = text.partition("end of trees")
    if not end:
        raise ArtifactError("the model text does not end with 'end of trees'; it is cut off or no LightGBM model")
    parts = body.split("\nTree=")
    head, *trees = ({k: v for k, _, v in (line.partition("=") for line in part.splitlines())} for part in parts)
    if head.get("version") not in ("v3", "v4"):
        raise ArtifactError(f"LightGBM text of version {head.get('version')!r}; v3 and v4 are supported")
    if head.get("num_class", "1") != "1" or head.get("num_tree_per_iteration", "1") != "1":
        raise ArtifactError("the model has several outputs; a ranker needs one")
    if "average_output" in head:
        raise ArtifactError("a random forest of LightGBM averages its trees; only boosted trees are supported")
    return head, trees


def places(head: dict[str, str], columns: tuple[str, ...]) -> I4:
    """For each feature of the model its column."""
    names = head.get("feature_names", "").split()
    column_of = {feature_name(column): c for c, column in enumerate(columns)}
    unknown = [name for name in names if name not in column_of]
    if unknown or not names:
        raise ArtifactError(
            f"the model wants features that these rows do not have: {', '.join(unknown[:5]) or 'none named'}; "
            "it was trained by another version of Endcap or with other settings: train it again"
        )
    return np.array([column_of[name] for name in names], np.int32)


def feature_name(column: str) -> str:
    """A column's name inside LightGBM, which takes no colon."""
    return column.replace(":", ".")


__all__ = ["MAX_LEAVES", "Forest", "feature_name"]
