"""The open store, devices and evaluators of one search."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from archsmith import loop
from archsmith import method as registry
from archsmith.architecture import Proposal
from archsmith.errors import EvaluationFailed, Interrupted
from archsmith.evaluation import Evaluation
from archsmith.evaluator.kit.composite import Composite
from archsmith.evaluator.user_metric import UserMetric
from archsmith.orchestration.instruments import Instruments
from archsmith.orchestration.specification import SearchSpec
from archsmith.progress import Reporter
from archsmith.runs.context import SearchContext
from archsmith.runs.folder import RunFolder
from archsmith.store import Store
from archsmith.strategy.base import Strategy
from archsmith.version import __version__

FEASIBLE_WITHIN = 20
"""Evaluations after which each limit must have been met by some network."""


class Session:
    """The open store, devices and context of one search."""

    def __init__(
        self,
        run: RunFolder,
        store: Store,
        context: SearchContext,
        spec: SearchSpec,
        metrics: Sequence[UserMetric],
        reporter: Reporter,
    ) -> None:
        self.run, self.store, self.context, self.spec = run, store, context, spec
        self.reporter = reporter
        self.instruments = Instruments(run, context, spec, metrics, reporter)

    def composite(self, *, final: bool = False) -> Composite:
        """The evaluators of a candidate, or those of the last check."""
        return self.instruments.composite(final=final)

    def anchor(self, evaluate: Composite) -> Evaluation:
        """The largest network's evaluation: relative limits refer to it, and it shows that evaluating works.

        Raises:
            EvaluationFailed: when even the largest network cannot be evaluated.
        """
        proposal = Proposal(self.context.largest)
        self.reporter.at("search").progress("the largest network")
        found = self.evaluated(evaluate, proposal)
        if not found.ok:
            raise EvaluationFailed(f"the largest network cannot be evaluated: {found.reason}")
        return found

    def evaluated(self, evaluate: Composite, proposal: Proposal) -> Evaluation:
        """The evaluation of a proposal: from the store, else evaluated now and stored."""
        a = proposal.architecture
        identity = (a.space, a.key, evaluate.fingerprint, proposal.fidelity_key, evaluate.seed)
        return self.store.get(identity) or self.store.add(evaluate(proposal))

    def run_journal(
        self,
        name: str,
        spec: SearchSpec,
        evaluate: Composite,
        *,
        first: Sequence[Proposal] = (),
        stage: str = "search",
    ) -> loop.Outcome:
        """Run or resume one strategy until its budget is spent."""
        space = self.context.space

        def make() -> Strategy:
            strategy: Strategy = registry.make(
                "strategy",
                spec.strategy,
                space,
                spec.objectives,
                spec.limits,
                rng=np.random.default_rng([spec.seed, len(stage)]),
                **spec.options,
            )
            return strategy

        header = {
            "strategy": spec.strategy,
            "options": {k: list(v) if isinstance(v, tuple) else v for k, v in spec.options.items()},
            "seed": spec.seed,
            "objectives": [str(o) for o in spec.objectives],
            "limits": [x.to_json() for x in spec.limits],
            "limits_as_written": [str(x) for x in self.spec.limits],
            "evaluator": evaluate.fingerprint,
            "space": space.fingerprint,
        }
        started = time.monotonic()
        outcome = loop.search(
            make,
            evaluate,
            self.store.journal(self.run.journal_name(name)),
            header=header,
            noted={
                "budget": str(spec.budget),
                "archsmith": __version__,
                **self.instruments.environment["packages"],
            },
            limits=spec.limits,
            budget=spec.budget,
            evaluator=evaluate.fingerprint,
            seed=spec.seed,
            first=first,
            patience=10**9 if stage == "baseline" else FEASIBLE_WITHIN,  # a baseline may stay infeasible
            on_event=loop_listener(stage, self, spec),
            stop=self.reporter.stop,
        )
        self.run.spent(stage, time.monotonic() - started)
        if outcome.reason == "interrupted":
            raise Interrupted(
                f"stopped after {len(outcome.evaluations)} evaluations; the same command goes on from there"
            )
        return outcome


def _value_text(evaluation: Evaluation, metric: str) -> str:
    """A value in a line of progress; a predicted one says so."""
    predicted = evaluation.values[metric].source == "predicted"
    return f"{metric} {evaluation[metric]:.4g}{' (predicted)' * predicted}"


def loop_listener(stage: str, session: Session, spec: SearchSpec) -> Callable[[loop.Event], None]:
    """Turn the loop's events into progress, and those that readers of the results must know into notes of the run."""

    def hear(event: loop.Event) -> None:
        if isinstance(event, loop.Evaluated):
            e = event.evaluation
            shown = "  ".join(_value_text(e, o.metric) for o in spec.objectives) if e.ok else e.reason
            timed = event.of is None
            done, total = (round(event.seconds), event.of_seconds) if timed else (event.done, event.of)
            shown = f"{event.done} evaluation{'s' * (event.done != 1)}  {shown}" if timed else shown
            left = total and event.done and (total - done) * (1 if timed else event.seconds / event.done)
            session.reporter.at(stage).progress(shown, done, total, left or None, timed=timed)
        elif isinstance(event, loop.Replaying):
            done, total = event.done, event.total
            session.reporter.at("replaying").progress(f"lines of the {stage}'s journal", done, total)
        elif isinstance(event, loop.Diverged):
            session.run.note(f"{stage}: the strategy was restarted and told all results so far ({event.reason})")
        elif isinstance(event, loop.Noted):
            session.run.note(f"{stage}: resumed with changes ({'; '.join(event.changes)})")
        elif isinstance(event, loop.Finished) and event.reason in ("known", "finished"):
            session.run.note(f"{stage}: {event.message}")

    return hear
