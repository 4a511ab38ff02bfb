"""Prefetch: ask the memory for rows that will be needed soon, so that waits overlap instead of adding up.

Idea: a request reads some thousand rows scattered over tables far larger than any cache. Read when needed, each miss
(about 100 ns) stops the computation; asked for beforehand, ten are under way at once. So kernels walk their ids twice:
a short loop that only asks, then the loop that computes.

    for k in range(n):
        prefetch(table, ids[k])
    for k in range(n):
        ... table[ids[k]] ...

Cost: one or two nanoseconds per row that is near already. It changes no result: the instruction has no effect on
values.

When not to use it: for a few rows, for rows one after the other in memory (the hardware sees those), or long before
their use (they would be driven out again).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

READ, NEAR, DATA = 0, 3, 1  # operands of LLVM's prefetch: not for writing, into all caches, no instructions


def fetch(_context: Any, array: Any, at: Any) -> Any:
    """The code of ``prefetch``, as numba's intrinsics give it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of = context.make_array(signature.args[0])(context, builder, arguments[0])
        index = context.cast(builder, arguments[1], signature.args[1], types.intp)
        skip = builder.mul(index, builder.extract_value(of.strides, 0))
        address = builder.gep(builder.bitcast(of.data, cgutils.voidptr_t), [skip])
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag])
        instruction = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        builder.call(instruction, [address, flag(READ), flag(NEAR), flag(DATA)])
        return context.get_dummy_value()

    return types.void(array, at), generate


# ``prefetch(array, at)``, in kernels: fetch the cache line at which ``array[at]`` begins, for any ``at`` (an address
# that does not exist is left alone).
prefetch: Any = intrinsic(fetch)
