"""Any call either does what was asked or raises IllegalTransition: the job's life as a Hypothesis state machine.

The same random life is led by the pure functions, and by both stores through them.
"""

import asyncio
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
from builders import new_job
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator.domain import NEXT, ROAD, IllegalTransition, Job, StageResult, advanced, claimed, failed, requeued
from orchestrator.errors import AlreadyFinal, LeaseLost
from orchestrator.problems import CANCELLED
from orchestrator.store_memory import MemoryStore
from scratch3d.contracts.jobs import FINAL_STATES, State

RESULT = StageResult(engine="e", engine_version="1", inputs_sha256="s", started_at=0.0, duration_s=0.0)


class DomainLife(RuleBasedStateMachine):
    """The pure functions."""

    @initialize()
    def begin(self) -> None:
        self.job = new_job()
        self.before = self.job

    def go(self, change: Any, *arguments: Any, legal: bool) -> None:
        self.before = self.job
        try:
            self.job = change(self.job, *arguments)
            assert legal, f"{change.__name__} should not have been possible"
            assert self.job.version == self.before.version + 1
        except IllegalTransition:
            assert not legal, f"{change.__name__} should have been possible"

    @rule(token=st.sampled_from(["a", "b"]))
    def claim(self, token: str) -> None:
        self.go(claimed, token, 1.0, legal=not self.job.is_final and not self.job.token)

    @rule()
    def advance(self) -> None:
        self.go(advanced, RESULT, 2.0, legal=self.job.state in ROAD[1:-1])

    @rule()
    def fail(self) -> None:
        self.go(failed, CANCELLED, 3.0, legal=not self.job.is_final)

    @rule()
    def hand_back(self) -> None:
        self.go(requeued, legal=not self.job.is_final and bool(self.job.token))

    @invariant()
    def only_edges_of_the_road(self) -> None:
        here, there = self.before.state, self.job.state
        assert here == there or there in NEXT[here]
        assert self.job.progress >= self.before.progress
        assert not (self.job.is_final and self.job.token)


class StoreLife(RuleBasedStateMachine):
    """One job in a store, two workers, and an owner who may cancel."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.store = self.make()
        self.job_id = self.run(self.store.submit(new_job(), max_queued=5)).id
        self.copies: dict[str, Job] = {}
        self.ends = 0

    def make(self) -> MemoryStore:
        return MemoryStore()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule(worker=st.sampled_from(["a", "b"]))
    def claim(self, worker: str) -> None:
        job = self.run(self.store.claim(f"{worker}{len(self.copies)}", lease_s=100, wait_s=0.001))
        if job:
            self.copies[worker] = job

    @rule(worker=st.sampled_from(["a", "b"]))
    def advance(self, worker: str) -> None:
        self.write(worker, lambda job: self.store.advance(job, RESULT))

    @rule(worker=st.sampled_from(["a", "b"]))
    def fail(self, worker: str) -> None:
        self.write(worker, lambda job: self.store.fail(job, CANCELLED))

    @rule(worker=st.sampled_from(["a", "b"]))
    def release(self, worker: str) -> None:
        self.write(worker, self.store.release)

    @rule()
    def cancel(self) -> None:
        try:
            self.run(self.store.cancel(self.job_id))
        except AlreadyFinal:
            assert self.kept().is_final

    def write(self, worker: str, change: Any) -> None:
        copy = self.copies.get(worker)
        if copy is None:
            return
        try:
            following = self.run(change(copy))
            if following is not None:
                self.copies[worker] = following
        except (LeaseLost, IllegalTransition):
            kept = self.kept()
            assert kept.token != copy.token or kept.version != copy.version or kept.is_final

    def kept(self) -> Job:
        return self.run(self.store.get(self.job_id))  # type: ignore[no-any-return]

    @invariant()
    def ends_once_and_stays_so(self) -> None:
        kept = self.kept()
        history = self.run(self.store.events(self.job_id))
        ends = [event for event in history if event.type in {"completed", "failed"}]
        assert len(ends) == (1 if kept.state in FINAL_STATES else 0)
        if ends:
            assert history[-1] == ends[0]
        states = [State.QUEUED, *(event.state for event in history)]
        for here, there in pairwise(states):
            assert here == there or there in NEXT[here]

    def teardown(self) -> None:
        self.loop.close()


DomainLife.TestCase.settings = settings(max_examples=200, stateful_step_count=20, deadline=None)
StoreLife.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestDomainLife = DomainLife.TestCase
TestStoreLife = StoreLife.TestCase
