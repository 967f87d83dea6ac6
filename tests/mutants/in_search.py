"""Faults in searches: snapshot, space, stopping, leases, proposals, export."""

from tests.mutants.fault import fault

SNAPSHOT, SNAPSHOTS = "mnist_compact/search/snapshot.py", "tests/search/test_snapshot.py"
SPACE, SPACES = "mnist_compact/search/space.py", "tests/search/test_space.py"
LEASES, HELD = "mnist_compact/search/leases.py", "tests/search/test_leases.py"
WORKER, WORKS = "mnist_compact/search/worker.py", "tests/search/test_worker.py"
PROPOSALS, PROPOSED = "mnist_compact/search/proposals.py", "tests/search/test_proposals.py"
EARLIER, PRIORS = "mnist_compact/search/earlier_studies.py", "tests/search/test_prior.py"
LARGE = "tests/search/test_large_studies.py"
STOPPING = "mnist_compact/search/stopping.py"
TRANSFER, TRANSFERS = "mnist_compact/search/transfer.py", "tests/search/test_transfer.py"


FAULTS = (
    # The configuration of a study
    fault(
        SNAPSHOT,
        '_schema(base) if base.startswith("schema/") else _expanded(base, files)',
        '{} if base.startswith("schema/") else _expanded(base, files)',
        "a study cannot be continued if a file relies on a default of its class",
        SNAPSHOTS,
    ),
    fault(
        SNAPSHOT,
        'return {name for name in used if not name.startswith(("hydra/", "callbacks/", f"{MACHINE}/"))}',
        'return {"config.yaml"}',
        "edited option files change a study without a message",
        SNAPSHOTS,
    ),
    fault(
        SNAPSHOT,
        "if key not in CONTINUABLE}",
        "if key != key}",
        "a study cannot be continued with a larger number of trials",
        SNAPSHOTS,
    ),
    fault(
        SNAPSHOT,
        'if data.role == "test":',
        'if data.role == "none":',
        "a search selects by scores on the test images",
        "tests/data/test_fashion.py",
    ),
    fault(
        SNAPSHOT,
        'return [*arguments, "data=holdout"]',
        "return arguments",
        "a search from the command line has no held-out images",
        SNAPSHOTS,
    ),
    fault(
        SPACE,
        "if key not in fixed_values)",
        "if key)",
        "a value on the command line does not override a searched key",
        SPACES,
    ),
    fault(
        SPACE,
        "return all(\n            (key in values",
        "return any(\n            (key in values",
        "a branch is active if only one of its conditions holds",
        SPACES,
    ),
    fault(
        SPACE,
        "(key in values or key not in searched)",
        "(key in values or key in searched or key not in searched)",
        "a condition on a searched key is evaluated where an inactive branch leaves the key without a value",
        SPACES,
    ),
    fault(
        "mnist_compact/search/branches.py",
        "ready = next((branch for branch in waiting if not pending & branch.when.keys()), None)",
        "ready = waiting[0] if pending else None",
        "a branch is evaluated before the branch that it depends on",
        SPACES,
    ),
    fault(
        "mnist_compact/search/rounding.py",
        "return min(max(round(value, decimals), distribution.low), distribution.high)",
        "return round(value, decimals)",
        "a rounded proposal lies outside its interval",
        "tests/search/test_rounding.py",
    ),
    fault(
        "mnist_compact/search/builders.py",
        "if learns else RoundingSampler(sampler)",
        "if learns else sampler",
        "proposed values are not rounded",
        PROPOSED,
    ),
    fault(
        "mnist_compact/search/coordinator.py",
        "min(self.workers.jobs, self.max_trials - tally(trials).ended)",
        "self.workers.jobs",
        "more workers are started than trials are left",
        "tests/search/test_coordinator.py",
    ),
    # Trial counts, stopping and export
    fault(
        "mnist_compact/search/counts.py",
        "return self.complete + self.pruned + self.failed",
        "return self.complete + self.pruned",
        "failed trials are not counted, and a search trains too many",
        HELD,
    ),
    fault(
        STOPPING,
        "if counts.ended >= settings.n_trials:",
        "if counts.ended > settings.n_trials:",
        "a search trains one trial too many",
        HELD,
    ),
    fault(
        STOPPING,
        "if sign * trial.values[0] > sign * target]",
        "if trial.values[0] > target]",
        "a minimized objective reaches its target when it is above the target",
        HELD,
        "tests/search/test_status.py",
        "tests/cli/test_search_display.py",
    ),
    fault(
        STOPPING,
        "if trial.state is TrialState.COMPLETE and not is_refused(trial)]",
        "if trial.state is TrialState.COMPLETE]",
        "a refused proposal, which is stored as complete, is reported as the best trial",
        "tests/cli/test_search_display.py",
    ),
    fault(
        TRANSFER,
        "if trial.state is TrialState.RUNNING:\n        return _waiting(trial)",
        "if trial.state is None:\n        return _waiting(trial)",
        "a trial that was running at the export stays running forever after the import",
        TRANSFERS,
    ),
    fault(
        TRANSFER,
        'if key != "lease"}',
        "}",
        "an import keeps leases, so that workers of another machine seem to be alive",
        TRANSFERS,
    ),
    # Leases
    fault(
        LEASES,
        "return counted.ended + counted.running < n_trials",
        "return counted.ended < n_trials",
        "workers start more trials than `n_trials`",
        HELD,
        PROPOSED,
    ),
    fault(
        LEASES,
        "return not _can_be_taken(lock)",
        "return False",
        "a trial is reclaimed while its worker is alive",
        HELD,
    ),
    fault(
        LEASES,
        "elif attempts >= MAX_ATTEMPTS:",
        "elif attempts > MAX_ATTEMPTS:",
        "a trial gets one attempt too many",
        HELD,
    ),
    fault(
        PROPOSALS,
        "any(is_same_point(other.params, point) and not is_discarded(other) for other in earlier)",
        "False",
        "a point is trained twice",
        PROPOSED,
    ),
    fault(
        "mnist_compact/search/prior.py",
        "(*best, *ended[-LATEST:])",
        "ended[-LATEST:]",
        "in a large study the sampler forgets the best trials",
        LARGE,
    ),
    fault(
        "mnist_compact/search/bulk.py",
        "(trial.trial_id > after) | trial.trial_id.in_(included)",
        "trial.trial_id > after",
        "a trial that was running while a later one ended is never read again",
        LARGE,
    ),
    fault(
        PROPOSALS,
        "return [trial for trial in super().get_trials(deepcopy, states) if not is_refused(trial)]",
        "return super().get_trials(deepcopy, states)",
        "a pruner treats refused proposals as results",
        "tests/search/test_worker.py",
    ),
    # Prior trials
    fault(
        PROPOSALS,
        "sampler_of(self.snapshot, self._seed_key(), self.prior)",
        "sampler_of(self.snapshot, self._seed_key())",
        "the sampler does not receive the trials of earlier studies",
        PRIORS,
    ),
    fault(
        EARLIER,
        "    _compare_scores(earlier.config, config)\n",
        "",
        "a search learns from scores on other images or after another number of epochs",
        PRIORS,
    ),
    fault(
        EARLIER,
        "if not contains(parameter.distribution, value):",
        "if not parameter.name:",
        "a search learns from trials outside its space",
        PRIORS,
    ),
    # The Gaussian process
    fault(
        "mnist_compact/search/gaussian_process.py",
        "set_normal_scores(view.seen)",
        "pass",
        "a diverged trial hides the differences between good ones from the Gaussian process",
        "tests/search/test_gaussian_process.py",
    ),
    fault(
        "mnist_compact/search/gaussian_process.py",
        "if is_refused(trial):",
        "if False:",
        "the Gaussian process takes the placeholder score of a refused trial for a measured one",
        "tests/search/test_gaussian_process.py",
    ),
    # Constraints for the sampler
    fault(
        PROPOSALS,
        "parameters = 0 if below is None else count - below + 1",
        "parameters = 0 if below is None else below - count - 1",
        "networks within the budget are reported to the sampler as over it",
        f"{PROPOSED}::test_sampler_receives_the_excess_of_parameters",
    ),
    fault(
        PROPOSALS,
        "parameters, reason = error.parameters - error.below + 1,",
        "parameters, reason = error.below - error.parameters - 1,",
        "networks over the budget are reported to the sampler as within it",
        f"{PROPOSED}::test_sampler_receives_the_excess_of_parameters",
    ),
    fault(
        PROPOSALS,
        "parameters, reason = error.parameters - error.below + 1,",
        "parameters, reason = 1,",
        "the sampler is not given the excess of a network over the budget",
        f"{PROPOSED}::test_sampler_receives_the_excess_of_parameters",
    ),
    fault(
        PROPOSALS,
        "unbuildable, reason = 1,",
        "unbuildable, reason = 0,",
        "networks that cannot be built are reported to the sampler as feasible",
        f"{PROPOSED}::test_sampler_receives_a_constraint_for_unbuildable_networks",
    ),
    # The heartbeat
    fault(
        WORKER,
        "self.leases.lease(self.current_trial)",
        "pass",
        "the heartbeat does not renew the lease, and a running trial is reclaimed",
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
        "a heartbeat renews the lease of a trial that another worker has reclaimed",
        f"{WORKS}::test_heartbeat_leaves_a_reclaimed_trial",
    ),
    fault(
        WORKER,
        'print(f"no heartbeat: {error}", flush=True)',
        "return",
        "the heartbeat stops after one error of the storage",
        f"{WORKS}::test_heartbeat_survives_a_storage_error",
    ),
    fault(WORKER, "HEARTBEAT_S = 20.0", "HEARTBEAT_S = 200.0", "a lease expires before the next heartbeat", WORKS),
)
