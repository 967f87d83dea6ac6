"""Faults in what a run leaves, in the figures of reports and in the statistics of confirmations."""

from tests.mutants.fault import EFFECTS, REAL_RECORDS, WEIGHTS, fault

ARTEFACTS = "mnist_compact/artefacts.py"
SUMMARY = "mnist_compact/results/summary.py"
EVIDENCE = "mnist_compact/confirm/evidence.py"
COMPARISON, PAIRED = "mnist_compact/confirm/comparison.py", "tests/confirm/test_comparison.py"
IN_WORDS, SUMMED = "tests/confirm/test_evidence.py", "tests/results/test_summary.py"


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
        "mnist_compact/results/columns.py",
        "read=lambda run: run.record.network.trainable_parameters",
        "read=lambda run: run.record.network.parameters",
        "learned weights are all weights",
        "tests/results/test_reading.py",
        "tests/results/test_tables.py",
    ),
    fault(
        "mnist_compact/results/grouping.py",
        'and score.at == "last"}',
        'and score.at == "best"}',
        "groups are summed up over best epochs",
        "tests/results/test_grouping.py",
    ),
    fault(
        "mnist_compact/results/grouping.py",
        'return frame[frame["status"] == str(Status.COMPLETED)]',
        "return frame",
        "runs that were not completed count",
        "tests/results/test_grouping.py",
    ),
    fault(
        "mnist_compact/results/grouping.py",
        "(*GROUPS, *LENGTHENED, *(",
        "(*GROUPS, *(",
        "lengthened runs are seeds of straight ones",
        "tests/results/test_grouping.py",
    ),
    fault(
        "mnist_compact/results/metrics.py",
        "threshold = max(finite)",
        "threshold = finite[-1]",
        "convergence is told towards the last epoch, not the best",
        "tests/results/test_run_metrics.py",
    ),
    # Statistics
    fault(SUMMARY, "statistics.stdev(scores)", "statistics.pstdev(scores)", "standard deviations with n", SUMMED),
    fault(SUMMARY, "(1 + CONFIDENCE) / 2, n - 1)", "CONFIDENCE, n - 1)", "90 % intervals are called 95 %", SUMMED),
    fault(SUMMARY, "accuracy > bar + 1e-9", "accuracy >= bar - 1e-9", "9,940 of 10,000 are more than 99.4 %", SUMMED),
    fault(EVIDENCE, "if summary.low > bar:", "if summary.mean > bar:", "a mean above the bar is enough", IN_WORDS),
    fault(EVIDENCE, "if diverged:", "if False:", "seeds that diverged are left out of a verdict", IN_WORDS),
    fault(COMPARISON, "a.accuracy - b.accuracy, 6)", "b.accuracy - a.accuracy, 6)", "the sign of a difference", PAIRED),
    fault(COMPARISON, "(len(ps) - rank) * ps", "ps", "one comparison of many is as if made alone", PAIRED),
    fault(COMPARISON, ">= abs(sum(differences))", "> abs(sum(differences))", "sums as far do not count", PAIRED),
    fault(
        "mnist_compact/confirm/early.py",
        "return self.p < LIMITS[self.seeds]",
        "return self.p < 0.025",
        "each of several looks at the level of a single one",
        "tests/confirm/test_early.py",
    ),
    fault(
        "mnist_compact/confirm/resampling.py",
        "drawn_seeds @ missed",
        "(0 * drawn_seeds + 1) @ missed",
        "seeds are not resampled",
        "tests/confirm/test_resampling.py",
    ),
    fault(
        "mnist_compact/confirm/plans.py",
        "datetime.fromisoformat(at) < planned]",
        "datetime.fromisoformat(at) > planned]",
        "a plan written afterwards passes for one",
        "tests/confirm/test_plans.py",
    ),
    fault(
        "mnist_compact/confirm/confirmation.py",
        "split_seed=data.split_seed + 1",
        "split_seed=data.split_seed",
        "a ranking is on the images that its candidates were chosen by",
        "tests/confirm/test_confirmation.py",
    ),
    fault(
        "mnist_compact/confirm/confirmation.py",
        "if seed not in self.used_seeds)",
        "if True)",
        "seeds that took part in the choice confirm it",
        "tests/confirm/test_confirmation.py",
    ),
    fault(
        "mnist_compact/confirm/evidence.py",
        "seconds.setdefault(result.machine, [])",
        'seconds.setdefault("a machine", [])',
        "a run's minutes are a mixture of two machines'",
        "tests/confirm/test_evidence.py",
    ),
    fault(
        "mnist_compact/confirm/ranking.py",
        "-round(evidence.summary().mean, 6), evidence.mean_loss()",
        "round(evidence.summary().mean, 6), evidence.mean_loss()",
        "a ranking keeps the worst",
        IN_WORDS,
    ),
    fault(
        "mnist_compact/results/cells.py",
        "score_column(score.split, score.weights, measure, score.at)",
        'score_column(score.split, "raw", measure, score.at)',
        "averaged scores vanish from the table",
        REAL_RECORDS,
    ),
)
