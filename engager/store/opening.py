"""Opens the store of a run, new or after whatever ended the last process."""

from __future__ import annotations

import logging
from typing import Any

from engager.errors import RunDirectoryError
from engager.store import clock, passes
from engager.store.checkpoints import Checkpoint
from engager.store.files.result_files import ResultFiles
from engager.store.journal import Chain, Journal, read_chain, seed_of, token_of
from engager.store.missing import MissingLines, add_up, repaired
from engager.store.run_directory import RunDirectory, write_run
from engager.store.state import RunState, state_of
from engager.store.store import ResultStore, StoreOptions

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
        raise RunDirectoryError(f"{run.path}: the run cannot be begun: {fault.strerror}.") from fault
    except BaseException:
        journal.close()
        raise
    return ResultStore(journal, files, RunState(), options)


def resume(run: RunDirectory, options: StoreOptions) -> ResultStore:
    """The store of a run that goes on. Raises RunDirectoryError or RecordingError."""
    seed, token = seed_of(run.run_id), token_of(options.token)
    chain = read_chain(run.path, seed)
    state, files = state_of(chain, run.started_at), ResultFiles(run.path, options.formats)
    another, missing = passes.begun(run), MissingLines()
    _warn(run, chain, state, options)
    if another is not None and state.passes < another.number:
        passes.open_again(another, state, files, options.formats)
    else:
        missing = _reconciled(run, chain, state, files, options)
    state.interrupt(same_token=_last_context(chain).token == token)
    state.committed = files.facts()
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
    return ResultStore(journal, files, state, options, missing)


def _last_context(chain: Chain) -> Any:
    return chain.frames[-1].context if chain.frames else chain.base.context if chain.base else None


def _warn(run: RunDirectory, chain: Chain, state: RunState, options: StoreOptions) -> None:
    """Tell the operator what the journal may have lost."""
    if not chain.is_whole:
        log.warning(
            "%s: a part of the journal is damaged. Rows of which it may have spoken are treated as if the "
            "answer to their request was lost",
            run.path,
        )
    elif state.open and _last_context(chain).boot_id != clock.boot_id() and not options.synced:
        log.warning(
            "%s: the machine was started anew while the run was under way. Without delivery.durability = "
            '"disk" a power cut may have taken what was stored in the last seconds before',
            run.path,
        )


def _reconciled(
    run: RunDirectory, chain: Chain, state: RunState, files: ResultFiles, options: StoreOptions
) -> MissingLines:
    """Take the files up as they were left; where they are not, keep of them what is whole."""
    nothing: dict[str, Any] = ResultFiles(run.path, options.formats).facts()
    saved = state.saved or nothing
    committed = state.committed or nothing
    for facts in (committed, saved) if chain.is_whole else ():
        if files.take_up(facts):
            lines = {name: facts[name][2] - saved[name][2] for name in facts}
            state.unwritten = state.unwritten.after(lines["results"], (0, lines["failed"], lines["in_doubt"]))
            if add_up(files, state):
                return MissingLines()
            break
    trusted = not chain.is_whole and files.take_up(committed)
    log.warning("%s: files of the run were damaged; what was lost is written again", run.path)
    return repaired(files, state, options.formats, trusted)


def checkpoints(run: RunDirectory) -> list[Checkpoint]:
    """What is known of the input as far as it was read. Raises RunDirectoryError."""
    return state_of(read_chain(run.path, seed_of(run.run_id)), run.started_at).checkpoints.known()
