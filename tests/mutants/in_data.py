"""Faults in batches, splits and augmentation."""

from tests.mutants.fault import EFFECTS, fault

DATASETS = "mnist_compact/data/datasets.py"
AUGMENTATION = "mnist_compact/data/augmentation.py"
BATCHES, WARPS = "tests/data/test_datasets.py", "tests/data/test_augmentation.py"


FAULTS = (
    fault(
        DATASETS,
        "torch.randperm(len(train), generator=generator, device=train.images.device)",
        "torch.arange(len(train), device=train.images.device)",
        "the training images are not shuffled",
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
        DATASETS,
        "train.labels[chunk].split",
        "train.labels[chunk.sort().values].split",
        "images have the labels of other images",
        BATCHES,
    ),
    fault(DATASETS, "    remaining[held_indices] = False\n", "", "held-out images are trained on too", BATCHES),
    fault(
        DATASETS,
        "Split(evaluated, images[held_indices], labels[held_indices], published.classes)",
        "Split(evaluated, images[remaining], labels[remaining], published.classes)",
        "a run is scored on the images that it was trained on",
        BATCHES,
    ),
    fault(
        DATASETS,
        "files = obtain(root, TRAINING_FILES, announce, published)\n"
        "    images, labels = (torch.from_numpy(read_idx(files[name])) for name in TRAINING_FILES)",
        "files = obtain(root, TEST_FILES, announce, published)\n"
        "    images, labels = (torch.from_numpy(read_idx(files[name])) for name in TEST_FILES)",
        "the held-out images are test images",
        BATCHES,
    ),
    fault(
        "mnist_compact/data/config.py",
        "if config.published is self.published and config.role == role",
        "if config.role == role",
        "a split of one data set is looked up in another data set",
        "tests/data/test_fashion.py",
    ),
    fault(
        DATASETS,
        "(counts @ levels) / counts.sum()",
        "(counts @ levels) / counts.max()",
        "the mean of the training images is wrong",
        BATCHES,
    ),
    fault(
        AUGMENTATION,
        "math.radians(given.rotation_deg)",
        "given.rotation_deg",
        "the rotation in degrees is used as radians",
        WARPS,
    ),
    fault(
        AUGMENTATION,
        "1 + given.contrast * jitter[1]",
        "1 + given.brightness * jitter[1]",
        "the contrast is changed by the strength of the brightness",
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
        "affected | distorted",
        "affected & distorted",
        "an image chosen for only one of the affine and elastic changes is not changed",
        f"{WARPS}::test_affine_and_elastic_changes_are_chosen_independently",
    ),
    fault(
        AUGMENTATION,
        "distorted if affected is None else affected | distorted",
        "distorted",
        "images chosen only for affine changes are not changed",
        f"{WARPS}::test_affine_and_elastic_changes_are_chosen_independently",
    ),
    fault(
        AUGMENTATION,
        "affected = distorted if affected is None else affected | distorted",
        "affected = distorted if affected is None else affected",
        "images chosen only for the elastic change are not changed",
        f"{WARPS}::test_affine_and_elastic_changes_are_chosen_independently",
    ),
    fault(
        AUGMENTATION,
        "            affine = affine * affected\n",
        "",
        "images chosen only for the elastic change have affine changes too",
        f"{WARPS}::test_images_have_only_their_chosen_changes",
    ),
    fault(
        AUGMENTATION,
        " * distorted.view(-1, 1, 1, 1)",
        "",
        "images chosen only for affine changes have the elastic change too",
        f"{WARPS}::test_images_have_only_their_chosen_changes",
    ),
    fault(
        AUGMENTATION,
        "jitter = jitter * draw.chosen(n, given.jitter_probability)",
        "jitter = jitter * draw.chosen(n, given.affine_probability)",
        "brightness and contrast change with the probability of affine changes",
        WARPS,
    ),
)
