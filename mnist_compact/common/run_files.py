"""The names of the files in a run folder."""

RECORD = "result.json"  # status, configuration, scores, size of the network, timing, environment
CONFIG = "config.yaml"  # the resolved configuration, for human readers
METRICS = "metrics.csv"  # one row per epoch, flushed after each
LAYERS = "layers.csv"  # the layer table
MISTAKES = "mistakes.npz"  # evaluation images that the final weights misclassified (see reports/plots.py)
CORRECT = "correct.bits"  # one bit per evaluation image: classified correctly? (see records/correct_bits.py)
WEIGHTS_SUFFIX = ".safetensors"  # the ending of the files in `weights`
WEIGHTS = "weights"  # a folder with the weights: last, best, averaged_last and averaged_best
CALLBACKS = "callbacks.json"  # the callbacks of the run, for `resume` and `rerun`
CHECKPOINT = "checkpoint.pt"  # everything that `resume` needs
CHECKPOINT_BEFORE = "checkpoint.previous.pt"  # the checkpoint of the previous epoch
CURVES_PICTURE = "curves.png"  # loss and accuracy over the epochs, drawn when the run ends
CONFUSION_PICTURE = "confusion.png"  # the confusion matrix, drawn when the run ends
MISTAKES_PICTURE = "mistakes.png"  # the misclassified images with the highest loss, drawn when the run ends
OVERWRITTEN = (  # files that a new run replaces
    *(RECORD, CONFIG, METRICS, LAYERS, MISTAKES, CORRECT, CALLBACKS, WEIGHTS, CHECKPOINT, CHECKPOINT_BEFORE),
    *(CURVES_PICTURE, CONFUSION_PICTURE, MISTAKES_PICTURE),
)
LOG = "log.txt"  # the output of a run that is one of several
