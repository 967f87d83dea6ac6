"""Validator in batches, splits and augmentation."""

from tests.mutants.fault import EFFECTS, fault

DATASETS = "mnist_compact/data/datasets.py"
AUGMENTATION = "mnist_compact/data/augmentation.py"
BATCHES, WARPS = "tests/data/test_datasets.py", "tests/data/test_augmentation.py"


FAULTS = (
    fault(
        DATASETS,
        "torch.randperm(len(train), generator=generator, device=train.images.device)",
        "torch.arange(len(train), device=train.images.device)",
        "no shuffling",
    ),
    fault(
        DATASETS,
        "images.sub_(self.data.mean).div_(self.data.std).unsqueeze(1)",
        "images.sub_(self.data.mean).unsqueeze(1)",
        "training batches are not divided by the standard deviation",
    ),
    fault(
        DATASETS,
        "scaled(images).sub_(self.mean).div_(self.std)",
        "scaled(images).div_(self.std)",
        "evaluation images are not centred",
    ),
    fault(DATASETS, '"batches", epoch)', '"batches")', "every epoch has the same order and augmentation", BATCHES),
    fault(
        DATASETS,
        "images = self.augmentation(scaled(images), strength, generator)",
        "images = scaled(images)",
        "the augmentation is never applied",
    ),
    fault(
        DATASETS, "train.labels[chunk].split", "train.labels[chunk.sort().values].split", "labels of others", BATCHES
    ),
    fault(DATASETS, "    kept[held] = False\n", "", "held-out images are trained on too", BATCHES),
    fault(
        DATASETS,
        "Split(evaluated, images[held], labels[held], published.classes)",
        "Split(evaluated, images[kept], labels[kept], published.classes)",
        "scored on the images it was trained on",
        BATCHES,
    ),
    fault(
        DATASETS,
        "files = obtain(root, TRAINING_FILES, announce, published)\n"
        "    images, labels = (torch.from_numpy(read_idx(files[name])) for name in TRAINING_FILES)",
        "files = obtain(root, TEST_FILES, announce, published)\n"
        "    images, labels = (torch.from_numpy(read_idx(files[name])) for name in TEST_FILES)",
        "choices are made from test images",
        BATCHES,
    ),
    fault(
        "mnist_compact/data/config.py",
        "if config.published is self.published and config.role == role",
        "if config.role == role",
        "what is chosen for one data set is chosen by another",
        "tests/data/test_fashion.py",
    ),
    fault(
        DATASETS,
        "(counts @ levels) / counts.sum()",
        "(counts @ levels) / counts.max()",
        "the mean is not that of the training part",
        BATCHES,
    ),
    fault(
        AUGMENTATION,
        "math.radians(given.rotation_deg)",
        "given.rotation_deg",
        "degrees are taken for radians",
        WARPS,
    ),
    fault(
        AUGMENTATION,
        "1 + given.contrast * jitter[1]",
        "1 + given.brightness * jitter[1]",
        "contrast is ignored",
        WARPS,
        EFFECTS,
    ),
    fault(
        "mnist_compact/data/augment_settings.py",
        "(epochs - epoch) / self.ease_off_epochs",
        "(epochs - epoch + 1) / self.ease_off_epochs",
        "the last epoch is still augmented",
        WARPS,
    ),
    fault(
        AUGMENTATION,
        "affected | bent",
        "affected & bent",
        "of affine and elastic changes one alone changes nothing",
        f"{WARPS}::test_affine_and_elastic_changes_are_chosen_apart",
    ),
    fault(
        AUGMENTATION,
        "bent if affected is None else affected | bent",
        "bent",
        "images with affine changes alone stay as they were",
        f"{WARPS}::test_affine_and_elastic_changes_are_chosen_apart",
    ),
    fault(
        AUGMENTATION,
        "affected = bent if affected is None else affected | bent",
        "affected = bent if affected is None else affected",
        "images with an elastic change alone stay as they were",
        f"{WARPS}::test_affine_and_elastic_changes_are_chosen_apart",
    ),
    fault(
        AUGMENTATION,
        "            affine = affine * affected\n",
        "",
        "images chosen for the elastic change have affine ones too",
        f"{WARPS}::test_images_have_no_change_that_they_were_not_chosen_for",
    ),
    fault(
        AUGMENTATION,
        " * bent.view(-1, 1, 1, 1)",
        "",
        "images chosen for affine changes have the elastic one too",
        f"{WARPS}::test_images_have_no_change_that_they_were_not_chosen_for",
    ),
    fault(
        AUGMENTATION,
        "jitter = jitter * draw.chosen(n, given.jitter_probability)",
        "jitter = jitter * draw.chosen(n, given.affine_probability)",
        "brightness and contrast have the probability of affine changes",
        WARPS,
    ),
)
