"""Validator in what a run leaves, in the figures of reports and in the statistics of confirmations."""

from tests.mutants.fault import EFFECTS, REAL_RECORDS, WEIGHTS, fault

ARTEFACTS = "mnist_compact/runs/artifacts.py"
CACHE, READ = "mnist_compact/reports/cache.py", "tests/reports/test_loading.py"
GROUPING, GROUPED = "mnist_compact/reports/grouping.py", "tests/reports/test_grouping.py"
RANKING = "mnist_compact/confirmation/reranking.py"
TENSORBOARD, OBSERVED = "mnist_compact/callbacks/tensorboard.py", "tests/callbacks/test_callbacks.py"
SUMMARY = "mnist_compact/common/statistics.py"
EVIDENCE = "mnist_compact/confirmation/results.py"
COMPARISON, PAIRED = "mnist_compact/confirmation/comparison.py", "tests/confirmation/test_comparison.py"
IN_WORDS, SUMMED = "tests/confirmation/test_results.py", "tests/common/test_statistics.py"


FAULTS = (
    # What a run leaves
    fault(
        ARTEFACTS,
        "data.evaluation.labels.cpu() * CLASSES + evaluation.predicted",
        "evaluation.predicted * CLASSES + data.evaluation.labels.cpu()",
        "the confusion matrix is transposed",
        WEIGHTS,
    ),
    fault(
        ARTEFACTS,
        "argsort(descending=True,",
        "argsort(descending=False,",
        "mistakes begin with the least sure",
        WEIGHTS,
    ),
    fault(
        ARTEFACTS,
        "predicted=evaluation.predicted[surest]",
        "predicted=evaluation.predicted[wrong]",
        "mixed up",
        WEIGHTS,
    ),
    fault(ARTEFACTS, '"std": data.std}', '"std": data.mean}', "weights on disk do not know their input", WEIGHTS),
    fault(ARTEFACTS, "max(measured, key=", "min(measured, key=", "the worst epoch is called best", WEIGHTS),
    fault(ARTEFACTS, '("last", measured[-1])', '("last", measured[0])', "the last score is the first epoch's", WEIGHTS),
    fault(
        ARTEFACTS,
        "100 * result.train_correct / result.train_total",
        "100 * result.train_correct / result.evaluation.total",
        "training accuracy of other images",
        EFFECTS,
    ),
    fault(ARTEFACTS, '"averaged" if averaged else "raw", "last")', '"raw", "last")', "the raw score counts", WEIGHTS),
    # Reports
    fault(
        "mnist_compact/reports/columns.py",
        "read=lambda run: run.record.network.trainable_parameters",
        "read=lambda run: run.record.network.parameters",
        "learned weights are all weights",
        "tests/reports/test_loading.py",
        "tests/reports/test_tables.py",
    ),
    fault(
        "mnist_compact/reports/grouping.py",
        'and score.at == "last"}',
        'and score.at == "best"}',
        "groups are summed up over best epochs",
        "tests/reports/test_grouping.py",
    ),
    fault(
        "mnist_compact/reports/grouping.py",
        'return frame[frame["status"] == str(Status.COMPLETED)]',
        "return frame",
        "runs that were not completed count",
        "tests/reports/test_grouping.py",
    ),
    fault(
        "mnist_compact/reports/grouping.py",
        "(*GROUPS, *LENGTHENED, *(",
        "(*GROUPS, *(",
        "lengthened runs are seeds of straight ones",
        "tests/reports/test_grouping.py",
    ),
    fault(
        "mnist_compact/records/metrics.py",
        "threshold = max(finite)",
        "threshold = finite[-1]",
        "convergence is told towards the last epoch, not the best",
        "tests/records/test_run_metrics.py",
    ),
    # Statistics
    fault(SUMMARY, "statistics.stdev(scores)", "statistics.pstdev(scores)", "standard deviations with n", SUMMED),
    fault(SUMMARY, "(1 + CONFIDENCE) / 2, n - 1)", "CONFIDENCE, n - 1)", "90 % intervals are called 95 %", SUMMED),
    fault(
        SUMMARY,
        "accuracy > threshold + 1e-9",
        "accuracy >= threshold - 1e-9",
        "9,940 of 10,000 are more than 99.4 %",
        SUMMED,
    ),
    fault(
        EVIDENCE,
        "if summary.low > threshold:",
        "if summary.mean > threshold:",
        "a mean above the bar is enough",
        IN_WORDS,
    ),
    fault(EVIDENCE, "if diverged:", "if False:", "seeds that diverged are left out of a verdict", IN_WORDS),
    fault(COMPARISON, "a.accuracy - b.accuracy, 6)", "b.accuracy - a.accuracy, 6)", "the sign of a difference", PAIRED),
    fault(COMPARISON, "(len(ps) - rank) * ps", "ps", "one comparison of many is as if made alone", PAIRED),
    fault(COMPARISON, ">= abs(sum(differences))", "> abs(sum(differences))", "sums as far do not count", PAIRED),
    fault(
        "mnist_compact/confirmation/interim.py",
        "return self.p < LIMITS[self.seeds]",
        "return self.p < 0.025",
        "each of several looks at the level of a single one",
        "tests/confirmation/test_interim.py",
    ),
    fault(
        "mnist_compact/confirmation/bootstrap.py",
        "drawn_seeds @ missed",
        "(0 * drawn_seeds + 1) @ missed",
        "seeds are not resampled",
        "tests/confirmation/test_bootstrap.py",
    ),
    fault(
        "mnist_compact/confirmation/preregistration.py",
        "datetime.fromisoformat(at) < planned]",
        "datetime.fromisoformat(at) > planned]",
        "a plan written afterwards passes for one",
        "tests/confirmation/test_preregistration.py",
    ),
    fault(
        "mnist_compact/confirmation/confirmation.py",
        "split_seed=data.split_seed + 1",
        "split_seed=data.split_seed",
        "a ranking is on the images that its candidates were chosen by",
        "tests/confirmation/test_confirmation.py",
    ),
    fault(
        "mnist_compact/confirmation/confirmation.py",
        "if seed not in self.used_seeds)",
        "if True)",
        "seeds that took part in the choice confirm it",
        "tests/confirmation/test_confirmation.py",
    ),
    fault(
        "mnist_compact/confirmation/results.py",
        "seconds.setdefault(result.machine, [])",
        'seconds.setdefault("a machine", [])',
        "a run's minutes are a mixture of two machines'",
        "tests/confirmation/test_results.py",
    ),
    fault(
        "mnist_compact/confirmation/reranking.py",
        "-round(seed_results.summary().mean, 6), seed_results.mean_loss()",
        "round(seed_results.summary().mean, 6), seed_results.mean_loss()",
        "a ranking keeps the worst",
        IN_WORDS,
    ),
    fault(
        "mnist_compact/reports/cells.py",
        "score_column(score.split, score.weights, measure, score.at)",
        'score_column(score.split, "raw", measure, score.at)',
        "averaged scores vanish from the table",
        REAL_RECORDS,
    ),
    fault(
        "mnist_compact/confirmation/preregistration.py",
        "if seeds != self.seeds:",
        "if len(seeds) != len(self.seeds):",
        "a plan with as many other seeds passes for followed",
        "tests/confirmation/test_preregistration.py::test_deviations_are_listed",
    ),
    fault(
        EVIDENCE,
        "seeds = self.requested if self.interim is None else self.confirmation.seeds(max(LIMITS))",
        "seeds = self.requested",
        "a confirmation that ended early as planned deviates from its plan",
        "tests/confirmation/test_preregistration.py::test_stopping_early_as_planned_is_no_deviation",
    ),
    fault(
        COMPARISON,
        "[(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]",
        "list(zip(one.values(), other.values()))",
        "confirmations are paired by position, not by seed",
        f"{PAIRED}::test_comparison_pairs_seeds_at_different_positions",
    ),
    fault(
        COMPARISON,
        "other.accuracy_by_seed().keys() & set(seeds)",
        "[*zip(other.accuracy_by_seed(), seeds)]",
        "seeds in common are counted by position",
        f"{PAIRED}::test_comparison_counts_common_seeds_not_positions",
    ),
    fault(
        COMPARISON,
        "        _check_none_diverged(first)\n",
        "",
        "seeds of the first confirmation that diverged are left out of a comparison",
        f"{PAIRED}::test_comparison_with_a_diverged_seed_is_refused",
    ),
    fault(
        COMPARISON,
        "        _check_none_diverged(other)\n",
        "",
        "seeds of the second confirmation that diverged are left out of a comparison",
        f"{PAIRED}::test_comparison_with_a_diverged_seed_is_refused",
    ),
    fault(
        RANKING,
        "return seed_results.failed, -round(",
        "return 0, -round(",
        "seeds that diverged are ignored in a ranking",
        f"{IN_WORDS}::test_ranking_puts_diverged_seeds_behind_lower_means",
    ),
    fault(
        RANKING,
        "return seed_results.failed, 0.0, 0.0",
        "return 0, 0.0, 0.0",
        "a candidate without any score comes before one with a seed that diverged",
        f"{IN_WORDS}::test_ranking_puts_diverged_seeds_behind_lower_means",
    ),
    fault(
        RANKING,
        "if candidates[0][1].failed:",
        "if False:",
        "a candidate whose seeds diverged wins a ranking",
        f"{IN_WORDS}::test_ranking_without_a_complete_candidate_fails",
    ),
    # What makes runs equal
    fault(
        GROUPING,
        "for name in frame.columns if is_setting(name)))",
        'for name in frame.columns if is_setting(name) and not name.startswith("augment.")))',
        "runs with other augmentation are seeds of the same configuration",
        f"{GROUPED}::test_every_setting_distinguishes_configurations",
    ),
    fault(
        GROUPING,
        "for name in frame.columns if is_setting(name)))",
        'for name in frame.columns if name.partition(".")[0] in ("model", "optim", "train")))',
        "runs with other schedules or data are seeds of the same configuration",
        f"{GROUPED}::test_every_setting_distinguishes_configurations",
    ),
    fault(
        "mnist_compact/confirmation/confirmation.py",
        'not in ("seed", "experiment", MACHINE)}',
        'not in ("seed", "experiment", "augment", MACHINE)}',
        "a confirmation goes on with another augmentation",
        "tests/confirmation/test_confirmation.py::test_comparable_leaves_out_seed_experiment_and_machine",
    ),
    fault(
        "mnist_compact/confirmation/confirmation.py",
        "return bool(one == other)",
        "return True",
        "a confirmation goes on with another network",
        "tests/confirmation/test_confirmation.py::test_committed_confirmation_goes_on_with_its_experiment",
    ),
    # The cache of a report, and callbacks
    fault(
        CACHE,
        "digest.update(path.read_bytes())",
        "digest.update(path.name.encode())",
        "rows that an earlier version read are shown after the code has changed",
        f"{READ}::test_rows_are_read_again_after_a_change_of_the_code",
    ),
    fault(
        CACHE,
        '(package / folder).glob("*.py")',
        "[Path(__file__)]",
        "rows that an earlier version read are shown after other modules have changed",
        f"{READ}::test_rows_are_read_again_after_a_change_of_the_code",
    ),
    fault(
        TENSORBOARD,
        "purge_step=epoch if self.folder.is_dir() else None",
        "purge_step=None",
        "TensorBoard shows epochs twice after a damaged checkpoint",
        f"{OBSERVED}::test_tensorboard_shows_epochs_once_after_a_damaged_checkpoint",
    ),
    fault(
        TENSORBOARD,
        "purge_step=epoch if self.folder.is_dir() else None",
        "purge_step=epoch - 1",
        "TensorBoard loses an epoch of a continued run",
        f"{OBSERVED}::test_tensorboard_shows_epochs_once_after_a_damaged_checkpoint",
    ),
    fault(
        "mnist_compact/cli/resume.py",
        "build_callbacks(stored_callbacks(folder), new_folder)",
        "[]",
        "a rerun has no callbacks",
        f"{OBSERVED}::test_own_callback_continues_in_resume_and_rerun",
    ),
    fault(
        "mnist_compact/callbacks/config.py",
        "built.append(SafeCallback(key, config.build(folder)))",
        "built.append(config.build(folder))",
        "an error of a callback aborts the run",
        f"{OBSERVED}::test_error_of_own_callback_is_printed_once",
    ),
)
