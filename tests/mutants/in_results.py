"""Faults in what a run leaves, in the figures of reports and in the statistics of confirmations."""

from tests.mutants.fault import EFFECTS, REAL_RECORDS, WEIGHTS, Fault

ARTEFACTS = "mnist_compact/artefacts.py"
SUMMARY = "mnist_compact/results/summary.py"
EVIDENCE = "mnist_compact/confirm/evidence.py"
IN_WORDS, SUMMED = "tests/confirm/test_evidence.py", "tests/results/test_summary.py"


def fault(file: str, old: str, new: str, why: str, *tests: str) -> Fault:
    return Fault(file=file, old=old, new=new, why=why, tests=tests)


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
    fault(ARTEFACTS, "max(measured, key", "min(measured, key", "the worst epoch is called best", WEIGHTS),
    fault(ARTEFACTS, '("last", measured[-1])', '("last", measured[0])', "the last score is the first epoch's", WEIGHTS),
    fault(
        ARTEFACTS,
        "100 * result.train_correct / result.train_total",
        "100 * result.train_correct / result.evaluation.total",
        "training accuracy of other images",
        EFFECTS,
    ),
    fault(ARTEFACTS, '(split, "averaged" if averaged else "raw", "last")', '(split, "raw", "last")', "raw", WEIGHTS),
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
    fault(EVIDENCE, "ttest_rel(", "ttest_ind(", "a comparison is not paired", IN_WORDS),
    fault(EVIDENCE, "one[seed] - other[seed], 6)", "other[seed] - one[seed], 6)", "the sign of a difference", IN_WORDS),
    fault(
        "mnist_compact/confirm/confirmation.py",
        "if seed not in self.used_seeds)",
        "if True)",
        "seeds that took part in the choice confirm it",
        "tests/confirm/test_confirmation.py",
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
