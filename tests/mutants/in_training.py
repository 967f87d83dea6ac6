"""Validator in the loop, the step, schedules, optimizers, evaluation and the checkpoint."""

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
    # What a GPU asks for
    fault(
        FLAT,
        "ALIGNMENT = 4",
        "ALIGNMENT = 1",
        "weights lie where a GPU cannot load them",
        "tests/optim/test_optimizers.py",
    ),
    fault(
        STEP,
        'rate.fill_(part.param_groups[0]["lr"])',
        'rate.fill_(self.parts[0].param_groups[0]["lr"])',
        "a captured step moves AdamW's weights at Muon's rate",
        "tests/training/test_step.py",
    ),
    # The schedule
    fault(
        LOOP,
        "set_rate(optimizer, plan.schedule((epoch - 1) * len(batches) + index))",
        "set_rate(optimizer, 1.0)",
        "the schedule never reaches the optimizer",
    ),
    fault(LOOP, "plan.schedule((epoch - 1) *", "plan.schedule(max(0, epoch - 2) *", "the schedule comes an epoch late"),
    fault(
        LOOP,
        "plan.schedule((epoch - 1) * len(batches) + index)",
        "plan.schedule((epoch - 1) * len(batches) + max(0, index - 1))",
        "the schedule comes a step late",
    ),
    fault(
        LOOP, "in optimizer.param_groups:", "in optimizer.param_groups[:1]:", "a second group has no schedule", REACHES
    ),
    fault(LOOP, 'group["initial_lr"] * factor', 'group["lr"] * factor', "each factor applies to the rate before it"),
    fault(
        SCHEDULES, "1.0 + (self.end_factor - 1.0)", "1.0 + 2 * (self.end_factor - 1.0)", "a factor below 0", IN_RANGE
    ),
    fault(
        EXPERIMENT,
        '"epochs": train.epochs}',
        '"epochs": train.epochs + 1}',
        "the schedule is laid out over another number of epochs",
    ),
    # The step
    fault(STEP, "label_smoothing=self.label_smoothing)", "label_smoothing=0.0)", "label smoothing is ignored"),
    fault(
        EXPERIMENT, "label_smoothing=train.label_smoothing", "label_smoothing=0.0", "smoothing never leaves its option"
    ),
    fault(
        STEP,
        "self.loss_sum += loss * len(labels)",
        "self.loss_sum += loss",
        "a batch's loss does not count its images",
        TALLIED,
    ),
    fault(STEP, "argmax(1) == labels).sum()", "argmax(1) == labels)[:-1].sum()", "an image is not counted", TALLIED),
    fault(STEP, "        self.train_state.optimizer.zero_grad()\n", "", "gradients of all steps add up"),
    fault(LOOP, "    step.clear()\n", "", "training loss and accuracy of all epochs so far"),
    fault(LOOP, "    model.train()\n", "", "no batch statistics and no dropout after the first evaluation"),
    fault(
        LOOP, "train_total=len(batches.data.train)", "train_total=len(batches) * batches.size", "accuracy of too many"
    ),
    fault(LOOP, '"dropout", epoch)', '"dropout")', "every epoch drops the same activations", DROPPED),
    fault(LOOP, "plan.strength(epoch)", "1.0", "the augmentation never eases off"),
    fault(
        EXPERIMENT,
        "augment.strength(epoch, train.epochs)",
        "augment.strength(1, train.epochs)",
        "no easing off in a run",
    ),
    # The optimizers
    fault(RULES, "weights.sub_(ahead / denominator)", "ahead / denominator", "an optimizer that never moves", MOVES),
    fault(
        "mnist_compact/optim/muon.py",
        "if rest:",
        "if rest and False:",
        "muon trains convolutions only",
        MOVES,
    ),
    fault(
        "mnist_compact/optim/optimizers.py",
        "for each in model.parameters() if each.requires_grad]",
        "for each in model.parameters() if each.requires_grad][:-1]",
        "the last parameter stays as it was drawn",
        MOVES,
    ),
    # The machine
    fault(MACHINE, "precision is Precision.bfloat16", "False", "precision is ignored", SETTINGS),
    fault(
        MACHINE,
        "    torch.set_num_threads(threads or min(torch.get_num_threads(), cores()))\n",
        "",
        "threads are ignored",
        THREADS,
    ),
    fault(EXPERIMENT, "if not config.machine.threads:", "if False:", "a continued run takes other threads", THREADS),
    # The average
    fault(
        LOOP,
        "averaged = evaluate(train_state.average.module,",
        "averaged = evaluate(train_state.model,",
        "averaged score is raw",
    ),
    fault(
        LOOP,
        "            estimate_batchnorm(train_state.average.module, batches.plain(BATCH))\n",
        "",
        "the average has the first network's BatchNorm statistics",
    ),
    fault(STEP, "weights, 1 - self.decay)", "weights, self.decay)", "the average follows where it should remember"),
    fault(
        EXPERIMENT,
        "average_from=train.epochs - train.average_epochs + 1",
        "average_from=train.epochs - train.average_epochs",
        "the average begins an epoch early",
    ),
    fault(EVALUATION, "        norm.reset_running_stats()\n", "", "old statistics remain in the new", EFFECTS),
    # Evaluation
    fault(EVALUATION, "    model.eval()\n    return score", "    return score", "evaluation in training mode", EFFECTS),
    fault(
        EVALUATION, "predicted == split.labels).sum()", "predicted != split.labels).sum()", "errors for hits", EFFECTS
    ),
    # The checkpoint
    fault(
        CHECKPOINT,
        '    train_state.optimizer.load_state_dict(state["optimizer"])\n',
        "",
        "a continued run starts its momentum again",
        RUNS,
    ),
    fault(
        CHECKPOINT,
        'average.load_state_dict(state["average"])',
        "average.state_dict()",
        "the average begins again",
        RUNS,
    ),
    fault(
        SESSION,
        'score.at == "best" and score.epoch == result.epoch',
        'score.at == "best"',
        "best.safetensors is the last epoch's",
        WEIGHTS,
    ),
    fault(
        SESSION,
        "            if weights in best:\n                progress.best",
        "            if True:\n                progress.best",
        "once continued, best.safetensors is the last epoch's",
        WEIGHTS,
    ),
    fault(
        SESSION,
        'networks["averaged"] = self.train_state.average.module',
        'networks["averaged"] = self.train_state.model',
        "the averaged file holds raw weights",
        WEIGHTS,
    ),
    fault(SESSION, 'derive_seed(run.seed, "weights")', 'derive_seed(0, "weights")', "all seeds begin alike"),
)
