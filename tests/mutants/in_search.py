"""Mutants of searches: totals, refusals, identity, scores, export."""

from tests.mutants.fault import fault

SNAPSHOT, SNAPSHOTS = "mnist_compact/search/snapshot.py", "tests/search/test_snapshot.py"
SPACE, SPACES = "mnist_compact/search/space.py", "tests/search/test_space.py"
LEASES, HELD = "mnist_compact/search/leases.py", "tests/search/test_leases.py"
WORKER, WORKS = "mnist_compact/search/worker.py", "tests/search/test_worker.py"
PROPOSALS, PROPOSED = "mnist_compact/search/proposals.py", "tests/search/test_proposals.py"
STOPPING = "mnist_compact/search/stopping.py"
TRANSFER, TRANSFERS = "mnist_compact/search/transfer.py", "tests/search/test_transfer.py"


FAULTS = (
    # What is asked
    fault(
        SNAPSHOT,
        '_schema(base) if base.startswith("schema/") else _expanded(base, files)',
        '{} if base.startswith("schema/") else _expanded(base, files)',
        "a study cannot be gone on with once a file leaves a default to its class",
        SNAPSHOTS,
    ),
    fault(
        SNAPSHOT,
        'return {name for name in used if not name.startswith(("hydra/", "callbacks/", f"{MACHINE}/"))}',
        'return {"config.yaml"}',
        "edited options change a study in silence",
        SNAPSHOTS,
    ),
    fault(SNAPSHOT, "if key not in CONTINUABLE}", "if key != key}", "a larger total is another study", SNAPSHOTS),
    fault(
        SNAPSHOT,
        'if data.role == "test":',
        'if data.role == "none":',
        "a search chooses by the test images",
        "tests/data/test_fashion.py",
    ),
    fault(
        SNAPSHOT, 'return [*arguments, "data=holdout"]', "return arguments", "an ad-hoc search has no split", SNAPSHOTS
    ),
    fault(
        SPACE,
        "if key not in fixed_values)",
        "if key)",
        "the command line has not the last word on a key that is searched",
        SPACES,
    ),
    fault(
        SPACE,
        "return all(\n            (key in values",
        "return any(\n            (key in values",
        "a branch is taken where one of its conditions holds",
        SPACES,
    ),
    fault(
        SPACE,
        "(key in values or key not in searched)",
        "(key in values or key in searched or key not in searched)",
        "a condition on a searched key holds where the key is not searched",
        SPACES,
    ),
    fault(
        "mnist_compact/search/branches.py",
        "ready = next((branch for branch in waiting if not pending & branch.when.keys()), None)",
        "ready = waiting[0] if pending else None",
        "a branch is looked at before the branch that it depends on",
        SPACES,
    ),
    fault(
        "mnist_compact/search/rounding.py",
        "return min(max(round(value, decimals), distribution.low), distribution.high)",
        "return round(value, decimals)",
        "a rounded proposal leaves its interval",
        "tests/search/test_rounding.py",
    ),
    fault(
        "mnist_compact/search/builders.py",
        "return RoundingSampler(sampler)",
        "return sampler",
        "proposals have 17 digits",
        PROPOSED,
    ),
    fault(
        "mnist_compact/search/coordinator.py",
        "min(self.workers.jobs, self.most - tally(trials).ended)",
        "self.workers.jobs",
        "workers are started that have nothing to do",
        "tests/search/test_coordinator.py",
    ),
    # What is kept
    fault(
        "mnist_compact/search/counts.py",
        "return self.complete + self.pruned + self.failed",
        "return self.complete + self.pruned",
        "failed trials do not count, and a search trains too many",
        HELD,
    ),
    fault(
        STOPPING, "if counts.ended >= settings.n_trials:", "if counts.ended > settings.n_trials:", "one too many", HELD
    ),
    fault(
        STOPPING,
        "if sign * trial.values[0] > sign * target]",
        "if trial.values[0] > target]",
        "of what is minimised the worst is past the target",
        HELD,
        "tests/search/test_status.py",
        "tests/cli/test_search_display.py",
    ),
    fault(
        STOPPING,
        "if trial.state is TrialState.COMPLETE and not is_refused(trial)]",
        "if trial.state is TrialState.COMPLETE]",
        "a refused proposal, told as complete, is the best",
        "tests/cli/test_search_display.py",
    ),
    fault(
        TRANSFER,
        "if trial.state is TrialState.RUNNING:\n        return _waiting(trial)",
        "if trial.state is None:\n        return _waiting(trial)",
        "a trial that was under way is under way for ever after an import",
        TRANSFERS,
    ),
    fault(
        TRANSFER,
        'if key != "lease"}',
        "}",
        "another machine takes a worker for alive that it has never seen",
        TRANSFERS,
    ),
    # Who works
    fault(
        LEASES,
        "return counted.ended + counted.running < n_trials",
        "return counted.ended < n_trials",
        "workers begin more trials than are asked for",
        HELD,
        PROPOSED,
    ),
    fault(
        LEASES,
        "return not _can_be_taken(lock)",
        "return False",
        "a live worker's trial is taken from it",
        HELD,
    ),
    fault(LEASES, "elif attempts >= MAX_ATTEMPTS:", "elif attempts > MAX_ATTEMPTS:", "a trial is tried for ever", HELD),
    fault(
        PROPOSALS,
        "any(comparable(other.params) == point and not is_discarded(other) for other in earlier)",
        "False",
        "a point is trained twice",
        PROPOSED,
    ),
    fault(
        PROPOSALS,
        "return [trial for trial in super().get_trials(deepcopy, states) if not is_refused(trial)]",
        "return super().get_trials(deepcopy, states)",
        "a pruner takes refused proposals for results",
        "tests/search/test_worker.py",
    ),
    # What the sampler learns
    fault(
        PROPOSALS,
        "parameters = 0 if below is None else count - below + 1",
        "parameters = 0 if below is None else below - count - 1",
        "networks within the budget violate it for the sampler",
        f"{PROPOSED}::test_sampler_receives_the_excess_of_parameters",
    ),
    fault(
        PROPOSALS,
        "parameters, reason = error.parameters - error.below + 1,",
        "parameters, reason = error.below - error.parameters - 1,",
        "networks over the budget are within it for the sampler",
        f"{PROPOSED}::test_sampler_receives_the_excess_of_parameters",
    ),
    fault(
        PROPOSALS,
        "parameters, reason = error.parameters - error.below + 1,",
        "parameters, reason = 1,",
        "the sampler does not learn by how much a network is over the budget",
        f"{PROPOSED}::test_sampler_receives_the_excess_of_parameters",
    ),
    fault(
        PROPOSALS,
        "unbuildable, reason = 1,",
        "unbuildable, reason = 0,",
        "networks that cannot be built are feasible for the sampler",
        f"{PROPOSED}::test_sampler_receives_a_constraint_for_unbuildable_networks",
    ),
    # The heartbeat
    fault(
        WORKER,
        "self.leases.lease(self.current_trial)",
        "pass",
        "a heartbeat does nothing, and a live trial is taken over",
        f"{WORKS}::test_heartbeat_renews_the_lease_of_the_current_trial",
    ),
    fault(
        WORKER,
        "threading.Thread(target=self._beat, daemon=True).start()",
        "threading.Thread(target=self._beat, daemon=True)",
        "the heartbeat never starts",
        f"{WORKS}::test_heartbeat_starts_with_the_worker",
    ),
    fault(
        WORKER,
        "if self.current_trial is not None and self.leases.holds(self.current_trial):",
        "if self.current_trial is not None:",
        "a heartbeat takes back a trial that another worker has taken over",
        f"{WORKS}::test_heartbeat_leaves_a_reclaimed_trial",
    ),
    fault(
        WORKER,
        'print(f"no heartbeat: {error}", flush=True)',
        "return",
        "after one error of the storage the heartbeat ends",
        f"{WORKS}::test_heartbeat_survives_a_storage_error",
    ),
    fault(WORKER, "HEARTBEAT_S = 20.0", "HEARTBEAT_S = 200.0", "a lease ends before the next heartbeat", WORKS),
)
