"""Faults in the loop, the step, schedules, optimizers, evaluation and the checkpoint."""

from tests.mutants.fault import DROPPED, EFFECTS, IN_RANGE, MOVES, REACHES, SETTINGS, TALLIED, THREADS, WEIGHTS, fault

LOOP = "mnist_compact/training/loop.py"
STEP, FLAT = "mnist_compact/training/step.py", "mnist_compact/optim/flat.py"
SCHEDULES = "mnist_compact/optim/schedules.py"
RULES = "mnist_compact/optim/update_rules.py"
EVALUATION = "mnist_compact/training/evaluation.py"
CHECKPOINT = "mnist_compact/training/checkpoint.py"
MACHINE = "mnist_compact/training/device.py"
EXPERIMENT, SESSION = "mnist_compact/runs/trainer.py", "mnist_compact/runs/folder_writer.py"
RUNS = "tests/runs/test_trainer.py"


FAULTS = (
    # Requirements of a GPU
    fault(
        FLAT,
        "ALIGNMENT = 4",
        "ALIGNMENT = 1",
        "weights are not aligned as the vector loads of a GPU require",
        "tests/optim/test_optimizers.py",
    ),
    fault(
        STEP,
        'rate.fill_(part.param_groups[0]["lr"])',
        'rate.fill_(self.parts[0].param_groups[0]["lr"])',
        "a captured step updates AdamW's weights with Muon's learning rate",
        "tests/training/test_step.py",
    ),
    # The schedule
    fault(
        LOOP,
        "set_rate(optimizer, plan.schedule((epoch - 1) * len(batches) + index))",
        "set_rate(optimizer, 1.0)",
        "the schedule never reaches the optimizer",
    ),
    fault(LOOP, "plan.schedule((epoch - 1) *", "plan.schedule(max(0, epoch - 2) *", "the schedule is one epoch late"),
    fault(
        LOOP,
        "plan.schedule((epoch - 1) * len(batches) + index)",
        "plan.schedule((epoch - 1) * len(batches) + max(0, index - 1))",
        "the schedule is one step late",
    ),
    fault(
        LOOP,
        "in optimizer.param_groups:",
        "in optimizer.param_groups[:1]:",
        "the schedule is not applied to the second parameter group",
        REACHES,
    ),
    fault(
        LOOP,
        'group["initial_lr"] * factor',
        'group["lr"] * factor',
        "each factor multiplies the previous rate, not the initial one",
    ),
    fault(
        SCHEDULES,
        "1.0 + (self.end_factor - 1.0)",
        "1.0 + 2 * (self.end_factor - 1.0)",
        "the factor of a schedule falls below 0",
        IN_RANGE,
    ),
    fault(
        EXPERIMENT,
        '"epochs": train.epochs}',
        '"epochs": train.epochs + 1}',
        "the schedule is computed for one epoch more than the run has",
    ),
    # The step
    fault(STEP, "label_smoothing=self.label_smoothing)", "label_smoothing=0.0)", "label smoothing is ignored"),
    fault(
        EXPERIMENT,
        "label_smoothing=train.label_smoothing",
        "label_smoothing=0.0",
        "the option for label smoothing does not reach the step",
    ),
    fault(
        STEP,
        "self.loss_sum += loss * len(labels)",
        "self.loss_sum += loss",
        "the loss of a batch is not weighted by its number of images",
        TALLIED,
    ),
    fault(
        STEP,
        "argmax(1) == labels).sum()",
        "argmax(1) == labels)[:-1].sum()",
        "the last image of a batch is not counted as correct",
        TALLIED,
    ),
    fault(STEP, "        self.train_state.optimizer.zero_grad()\n", "", "the gradients of all steps accumulate"),
    fault(LOOP, "    step.clear()\n", "", "training loss and accuracy include all earlier epochs"),
    fault(
        LOOP, "    model.train()\n", "", "training after the first evaluation has no batch statistics and no dropout"
    ),
    fault(
        LOOP,
        "train_total=len(batches.data.train)",
        "train_total=len(batches) * batches.size",
        "the training accuracy is divided by more images than the epoch has",
    ),
    fault(LOOP, '"dropout", epoch)', '"dropout")', "dropout drops the same activations in every epoch", DROPPED),
    fault(LOOP, "plan.strength(epoch)", "1.0", "the augmentation never eases off"),
    fault(
        EXPERIMENT,
        "augment.strength(epoch, train.epochs)",
        "augment.strength(1, train.epochs)",
        "a run does not ease off its augmentation",
    ),
    # The optimizers
    fault(
        RULES,
        "weights.sub_(ahead / denominator)",
        "ahead / denominator",
        "an optimizer never changes the weights",
        MOVES,
    ),
    fault(
        "mnist_compact/optim/muon.py",
        "if rest:",
        "if rest and False:",
        "Muon trains only convolutions",
        MOVES,
    ),
    fault(
        "mnist_compact/optim/optimizers.py",
        "for each in model.parameters() if each.requires_grad]",
        "for each in model.parameters() if each.requires_grad][:-1]",
        "the last parameter keeps its initial value",
        MOVES,
    ),
    # The machine
    fault(
        MACHINE,
        " and has_bfloat16(device)",
        "",
        "a processor without instructions for bfloat16 imitates them",
        f"{RUNS}::test_processor_without_bfloat16_says_so_and_computes_in_float32",
    ),
    fault(MACHINE, "precision is Precision.bfloat16", "False", "precision is ignored", SETTINGS),
    fault(
        MACHINE,
        "    torch.set_num_threads(threads or min(torch.get_num_threads(), cores()))\n",
        "",
        "the number of threads is ignored",
        THREADS,
    ),
    fault(
        EXPERIMENT,
        "if not config.machine.threads:",
        "if False:",
        "a continued run uses another number of threads",
        THREADS,
    ),
    # The averaged weights
    fault(
        LOOP,
        "averaged = evaluate(train_state.average.module,",
        "averaged = evaluate(train_state.model,",
        "the averaged score is that of the raw weights",
    ),
    fault(
        LOOP,
        "            estimate_batchnorm(train_state.average.module, batches.plain(ESTIMATION_BATCH))\n",
        "",
        "the averaged network keeps its initial BatchNorm statistics",
    ),
    fault(
        STEP, "weights, 1 - self.decay)", "weights, self.decay)", "the decay of the average is replaced by 1 - decay"
    ),
    fault(
        EXPERIMENT,
        "average_from=train.epochs - train.average_epochs + 1",
        "average_from=train.epochs - train.average_epochs",
        "averaging begins one epoch early",
    ),
    fault(
        EVALUATION,
        "        norm.reset_running_stats()\n",
        "",
        "the new BatchNorm statistics include the old ones",
        EFFECTS,
    ),
    # Evaluation
    fault(
        EVALUATION,
        "    model.eval()\n    return score",
        "    return score",
        "evaluation runs in training mode",
        EFFECTS,
    ),
    fault(
        EVALUATION,
        "predicted == split.labels).sum()",
        "predicted != split.labels).sum()",
        "wrong predictions are counted as correct",
        EFFECTS,
    ),
    # The checkpoint
    fault(
        CHECKPOINT,
        '    train_state.optimizer.load_state_dict(state["optimizer"])\n',
        "",
        "a continued run starts without its momentum",
        RUNS,
    ),
    fault(
        CHECKPOINT,
        'average.load_state_dict(state["average"])',
        "average.state_dict()",
        "a continued run starts its average anew",
        RUNS,
    ),
    fault(
        SESSION,
        'score.at == "best" and score.epoch == result.epoch',
        'score.at == "best"',
        "best.safetensors contains the weights of the last epoch",
        WEIGHTS,
    ),
    fault(
        SESSION,
        "            if weights in best:\n                progress.best",
        "            if True:\n                progress.best",
        "best.safetensors of a continued run contains the weights of the last epoch",
        WEIGHTS,
    ),
    fault(
        SESSION,
        'networks["averaged"] = self.train_state.average.module',
        'networks["averaged"] = self.train_state.model',
        "the file of averaged weights contains the raw weights",
        WEIGHTS,
    ),
    fault(
        EXPERIMENT,
        'derive_seed(run.seed, "weights")',
        'derive_seed(0, "weights")',
        "all seeds have the same initial weights",
    ),
)
