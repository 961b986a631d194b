"""Many trials on many cores or machines: none is lost, none counted twice, and the results are the same wherever they ran.

A trial is a call of one function with one specification: plain data that says all about it, its seed included. What it
answers is plain data too. Both go through JSON on their way, so that a result read back from a file is the one computed.
compare and search are lists of trials.
"""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from monitor import store as files

SCHEMA = 1
START = b'{"v":'  # of every line of a store
PATIENCE = 10  # seconds for a scheduler to answer
ATTEMPTS = 3  # how often the workers may die, without one trial finished in between, before we give up


class TrialError(RuntimeError):
    """A trial failed, or killed whoever ran it; the message has its specification. What was finished is in the store."""


def run_trials(
    function: Callable[[Any], Any],
    specs: Sequence[Any],
    *,
    executor: int | str | Executor | None = None,
    store: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Any]:
    """[function(spec) for spec in specs], the calls spread over an executor and each made once.

    `executor`: None calls in this process, a number starts so many processes, "tcp://host:8786" is a Dask scheduler (extra
    `cluster`), and any concurrent.futures.Executor will do. The function must be importable by its name, where other
    processes are to call it. Every process computes with one BLAS thread: more would change the last bits.

    `store` is a file that takes every result as soon as it is there: a second call with it makes only the calls that are
    left. `progress(done, of)` is called at the start and after every result. A process that dies is replaced, and its
    trials made again; an exception in a trial ends all (TrialError), and so does Ctrl-C.

    >>> run_trials(len, ["a", "bcd"])
    [1, 3]
    """
    keys = [_json(spec) for spec in specs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"two trials are the same: {next(k for k in keys if keys.count(k) > 1)}")
    with _opened(store, f"{function.__module__}.{function.__qualname__}") as (known, keep):
        done = {key: known[key] for key in keys if key in known}
        progress = progress or (lambda done, of: None)
        progress(len(done), len(keys))

        def finished(key: str, result: Any) -> None:
            done[key] = result
            keep(key, result)
            progress(len(done), len(keys))

        with _one_blas_thread():
            _run_rest(function, [key for key in keys if key not in done], executor, finished)
    return [_decoded(json.loads(done[key])) for key in keys]


def _run_rest(function: Callable, keys: list[str], executor: Any, finished: Callable[[str, str], None]) -> None:
    """Make the calls; where workers of our own die, with new ones, as long as that gets us on."""
    if executor is None:
        for key in keys:
            finished(key, _answer(function, key, os.getpid()))
        return
    left, attempts = dict.fromkeys(keys), 0
    while left:
        before = len(left)
        try:
            with _workers(executor, len(left)) as pool:
                for key, result in _answers(pool, function, list(left)):
                    del left[key]
                    finished(key, result)
        except BrokenExecutor as error:
            attempts = attempts + 1 if len(left) == before else 1
            if isinstance(executor, Executor) or attempts == ATTEMPTS:
                raise TrialError(
                    f"the processes died (of memory?) with {len(left)} trials left, {next(iter(left))} among them; the "
                    "others are done"
                ) from error


def _answers(pool: Executor, function: Callable, keys: list[str]) -> Iterator[tuple[str, str]]:
    """(key, result) of every trial, as they come.

    After a failure or Ctrl-C nothing new is begun, and what runs is waited for.
    """
    left: dict[Future, str] = {pool.submit(_answer, function, key, os.getpid()): key for key in keys}
    failure: BaseException | None = None
    while left:
        try:
            for future in as_completed(list(left)):
                key, error = left.pop(future), None if future.cancelled() else future.exception()
                if error is not None and failure is None:
                    failure = _explained(error, key)
                    _cancel(left)
                elif error is None and not future.cancelled():
                    yield key, future.result()
        except KeyboardInterrupt as error:
            if failure is not None:  # the second one does not wait
                raise
            failure = error
            _cancel(left)
    if failure is not None:
        raise failure


def _explained(error: BaseException, key: str) -> BaseException:
    known = isinstance(error, TrialError | BrokenExecutor)
    return error if known else TrialError(f"the trial {key} failed: {type(error).__name__}: {error}")


def _cancel(futures: dict[Future, str]) -> None:
    for future in futures:
        future.cancel()


def _answer(function: Callable, key: str, caller: int) -> str:
    """The result of a trial in JSON; in a process other than the caller's, with one BLAS thread from now on."""
    if os.getpid() != caller:
        _one_blas_thread_for_good()
    try:
        return _json(function(_decoded(json.loads(key))))
    except Exception as error:
        raise _explained(error, key) from error


# Who does the work ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _workers(executor: int | str | Executor, most: int) -> Iterator[Executor]:
    """The executor that an argument names."""
    if isinstance(executor, bool) or not isinstance(executor, int | str | Executor):
        raise TypeError(f"executor must be a number of processes, an address or an Executor, got {executor!r}")
    if isinstance(executor, int):
        if executor < 1:
            raise ValueError(f"executor: the number of processes must be at least 1, got {executor}")
        context = multiprocessing.get_context("spawn")  # a fork would copy threads' locks in whatever state they are
        pool = ProcessPoolExecutor(min(executor, most), context, initializer=_ignore_interrupts)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
    elif isinstance(executor, str):
        with _dask(executor) as cluster:
            yield cluster
    else:
        yield executor


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that they work for


@contextlib.contextmanager
def _dask(address: str) -> Iterator[Executor]:
    """A Dask cluster as an executor. Dask itself gives the trials of a worker that died to another."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError(f"the scheduler {address!r} needs Dask: pip install distributed (extra: cluster)") from None
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {address!r} ({error}): start one with `dask scheduler`, and workers with "
            "`dask worker ADDRESS`"
        ) from None
    with client, client.get_executor() as pool:
        yield pool


def _one_blas_thread() -> contextlib.AbstractContextManager:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


@functools.cache
def _one_blas_thread_for_good() -> None:
    _one_blas_thread()


# What is known already ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: str | Path | None, task: str) -> Iterator[tuple[dict[str, str], Callable[[str, str], None]]]:
    """The results in a store by their specification, and what adds one to it. One process at a time may have it open."""
    if path is None:
        yield {}, lambda key, result: None
        return
    path = Path(path)
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
    known = _read(path, task) if os.path.lexists(path) else {}
    descriptor = files.open_events(path)
    try:
        if files.ends_torn(descriptor):
            files.append(descriptor, b"\n")

        def keep(key: str, result: str) -> None:
            line = f'{{"v":{SCHEMA},"task":{json.dumps(task)},"spec":{key},"result":{result}}}\n'
            try:
                files.append(descriptor, line.encode())
            except OSError as error:
                raise files.RecorderError(
                    f"cannot write {str(path)!r}: {error.strerror}. What it holds is good: free some space, and call again"
                ) from None

        yield known, keep
    finally:
        os.close(descriptor)


def _read(path: Path, task: str) -> dict[str, str]:
    """{specification: result} of the lines that are whole; a crash may tear the last one."""
    known: dict[str, str] = {}
    content = files.read_bytes(path)
    if not content.startswith(START[: len(content)]):
        raise ValueError(f"{str(path)!r} holds something else than results of trials: use another file")
    for line in content.split(b"\n"):
        try:
            entry = json.loads(line)
            version, by, spec, result = (entry[name] for name in ("v", "task", "spec", "result"))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if (version, by) != (SCHEMA, task):
            raise ValueError(f"{str(path)!r} holds results of {by} (version {version}), not of {task}: use another file")
        known.setdefault(_compact(spec), _compact(result))
    return known


# Plain data -----------------------------------------------------------------------------------------------------------

_compact = json.JSONEncoder(allow_nan=False, sort_keys=True, separators=(",", ":")).encode


def _json(value: Any) -> str:
    _refuse_objects(value)
    return _compact(files.encode(value))


def _refuse_objects(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a trial takes and answers plain data, whose names are strings; got the name {key!r}")
            _refuse_objects(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_objects(item)
    elif not (value is None or isinstance(value, str | int | float | np.generic | np.ndarray)):
        raise TypeError(
            f"a trial takes and answers plain data (numbers, strings, lists, dicts), got {type(value).__name__}: {value!r}"
        )


def _decoded(value: Any) -> Any:
    """Plain data as it was before `encode`: the three words for non-finite numbers are numbers again."""
    if isinstance(value, dict):
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return float(value) if isinstance(value, str) and value in files.NONFINITE else value
