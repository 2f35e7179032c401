"""Opens the store of a run: of a new one, or of one whose last process ended in any way."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import orjson

from engager.errors import RunDirectoryError
from engager.reader.checkpoints import Checkpoint
from engager.store import clock, passes
from engager.store.files.formats import REJECT_FILE, REJECT_FILES, Formats, RejectFile
from engager.store.files.repair import rewrite, rows_in
from engager.store.files.result_files import ResultFiles
from engager.store.journal import Chain, Journal, read_chain, seed_of, token_of
from engager.store.row_states import STATUS_OF
from engager.store.run_directory import RunDirectory, write_run
from engager.store.state import RunState, state_of
from engager.store.store import ResultStore, StoreOptions
from engager.store.tally import Recount

log = logging.getLogger("engager")


def begin(run: RunDirectory, options: StoreOptions) -> ResultStore:
    """The store of a new run, which has begun when this returns.

    Raises RunDirectoryError, or RecordingError without space.
    """
    journal = Journal(run.path, seed_of(run.run_id), token_of(options.token))
    files = ResultFiles(run.path, options.formats)
    try:
        journal.begin()
        write_run(run)
        files.results.open()
    except OSError as fault:
        journal.close()
        raise RunDirectoryError(f"{run.path}: the run cannot begin: {fault.strerror}.") from fault
    except BaseException:
        journal.close()
        raise
    return ResultStore(journal, files, RunState(), options)


def resume(run: RunDirectory, options: StoreOptions, knows_ids: bool = True) -> ResultStore:
    """The store of a run that is resumed; False: the endpoint is another one, and knows none of its ids.

    Raises RunDirectoryError or RecordingError.
    """
    seed, token = seed_of(run.run_id), token_of(options.token)
    chain = read_chain(run.path, seed)
    state, files = state_of(chain, run.started_at), ResultFiles(run.path, options.formats)
    another = passes.begun(run)
    _warn(run, chain, state, options)
    if another is not None and state.passes < another.number:
        passes.open_again(another, state, files, options.formats)
    else:
        _reconcile(run, chain, state, files, options)
    state.interrupt(knows_ids and _last_context(chain).token == token)
    state.committed = files.facts()
    files.sync()  # a snapshot relies on them
    journal = Journal(run.path, seed, token, chain.number, chain.turn)
    try:
        journal.begin_in_draft(state.snapshot(), state.last_row)
        if another is not None:
            passes.finish(run, another)
        files.results.open()
    except BaseException:
        journal.close()
        files.close()
        raise
    return ResultStore(journal, files, state, options)


def _last_context(chain: Chain) -> Any:
    return chain.frames[-1].context if chain.frames else chain.base.context if chain.base else None


def _warn(run: RunDirectory, chain: Chain, state: RunState, options: StoreOptions) -> None:
    """Warn the operator of records that the journal may have lost."""
    if not chain.is_whole:
        log.warning(
            "%s: a part of the journal is damaged. Rows that it may concern are treated as if the "
            "response to their request was lost",
            run.path,
        )
    elif state.open and _last_context(chain).boot_id != clock.boot_id() and not options.synced:
        log.warning(
            "%s: the machine was restarted during the run. Without delivery.durability = "
            '"disk" a power failure may have removed what was stored in the last seconds before it',
            run.path,
        )


def _reconcile(
    run: RunDirectory, chain: Chain, state: RunState, files: ResultFiles, options: StoreOptions
) -> None:
    """Continue the files at their ends; rewrite those that have changed."""
    nothing: dict[str, Any] = ResultFiles(run.path, options.formats).facts()
    saved = state.saved or nothing
    for facts in (state.committed or nothing, saved) if chain.is_whole else ():
        lines = {name: facts[name][2] - saved[name][2] for name in facts}
        unwritten = state.unwritten.after(lines["results"], (0, lines["failed"], lines["in_doubt"]))
        if files.restore(facts, b"".join(map(options.formats.results.line, unwritten.results))):
            state.unwritten = unwritten
            return
    log.warning("%s: files of the run were damaged; the lost lines are written again", run.path)
    _repair(files, state, options.formats)


def _repair(files: ResultFiles, state: RunState, formats: Formats) -> None:
    """Keep the lines of settled rows only, and count them; a row without its line is due for it."""
    recount, end = Recount(), max(state.rows.end, state.last_row + 1)
    pending = {int(orjson.loads(line)["row"]) for line in state.unwritten.results}
    rejected = {file: rows_in(files.file(file).path, formats.reject, end) for file in REJECT_FILES}

    def is_whole(row: int, fields: dict[str, Any]) -> bool:
        status = STATUS_OF[state.rows[row]]
        if status is None:
            state.note_line(row)
            return False
        file = REJECT_FILE.get(status)
        if row in pending or fields["status"] != status or (file and not rejected[file][row]):
            return False
        return recount.add(fields)

    written = rewrite(files.results.path, formats.results, is_whole, end)
    files.results.replaced(written.count(1))
    for file in REJECT_FILES:
        still = rewrite(files.file(file).path, formats.reject, partial(_is_of, file, state, written), end)
        files.file(file).replaced(still.count(1))
    state.lose_lines(written, pending)
    tally = recount.tally
    tally.count([orjson.loads(line) for line in state.unwritten.results])
    tally.requests = state.tally.requests  # they left, whatever became of the lines
    state.tally = tally


def _is_of(file: RejectFile, state: RunState, written: bytearray, row: int, _: dict[str, Any]) -> bool:
    status = STATUS_OF[state.rows[row]]
    return bool(written[row]) and status is not None and REJECT_FILE.get(status) is file


def checkpoints(run: RunDirectory) -> list[Checkpoint]:
    """The checkpoints of the input. Raises RunDirectoryError."""
    return state_of(read_chain(run.path, seed_of(run.run_id)), run.started_at).checkpoints.known()
