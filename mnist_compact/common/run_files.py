"""The files of a run's folder: what they are called, and what is in them."""

RECORD = "result.json"  # status, configuration, scores, facts of the network, timing, environment
CONFIG = "config.yaml"  # the resolved configuration, for people
METRICS = "metrics.csv"  # a row an epoch, flushed as it happens
LAYERS = "layers.csv"  # the layer table
MISTAKES = "mistakes.npz"  # the evaluation images the final weights got wrong, surest first (see reports/plots.py)
CORRECT = (
    "correct.bits"  # which evaluation images the final weights got right, a bit each (see records/correct_bits.py)
)
WEIGHTS_SUFFIX = ".safetensors"
WEIGHTS = "weights"  # a folder: last, best, and with averaged weights averaged_last and averaged_best .safetensors
CALLBACKS = "callbacks.json"  # the callbacks that the run had, for a continuation
CHECKPOINT = "checkpoint.pt"  # all that a continuation needs
CHECKPOINT_BEFORE = "checkpoint.previous.pt"  # that of the epoch before
CURVES_PICTURE, CONFUSION_PICTURE, MISTAKES_PICTURE = "curves.png", "confusion.png", "mistakes.png"
OVERWRITTEN = (  # what a new run writes, whatever is there
    *(RECORD, CONFIG, METRICS, LAYERS, MISTAKES, CORRECT, CALLBACKS, WEIGHTS, CHECKPOINT, CHECKPOINT_BEFORE),
    *(CURVES_PICTURE, CONFUSION_PICTURE, MISTAKES_PICTURE),
)
LOG = "log.txt"  # what a run that is one of several has printed
