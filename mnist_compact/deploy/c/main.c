/* Classify all images of an IDX file, such as MNIST's t10k-images-idx3-ubyte:
 *
 *     main IMAGES LABELS      print the accuracy
 *     main IMAGES             print the ten logits of every image, one image per line
 */

#include <stdio.h>
#include <string.h>

#include "network.h"

/* Read the header of an IDX file of bytes with the given number of axes, and return the number of entries or -1. */
static long entries(FILE *file, int axes)
{
    unsigned char head[4], size[4];
    long first = -1, n;
    int axis;

    if (fread(head, 1, 4, file) != 4 || head[0] || head[1] || head[2] != 8 || head[3] != axes)
        return -1;
    for (axis = 0; axis < axes; axis++) {
        if (fread(size, 1, 4, file) != 4)
            return -1;
        n = (long)size[0] << 24 | (long)size[1] << 16 | (long)size[2] << 8 | (long)size[3];
        if (axis == 0)
            first = n;
        else if (n != 28)
            return -1;
    }
    return first;
}

int main(int argc, char **argv)
{
    FILE *images = argc > 1 ? fopen(argv[1], "rb") : NULL;
    FILE *labels = argc > 2 ? fopen(argv[2], "rb") : NULL;
    uint8_t pixels[784];
    network_logit logits[10];
    long total, i, correct = 0;
    int digit;

    if (!images || (argc > 2 && !labels)) {
        fprintf(stderr, "usage: main IMAGES [LABELS], two IDX files\n");
        return 2;
    }
    total = entries(images, 3);
    if (total < 1 || (labels && entries(labels, 1) != total)) {
        fprintf(stderr, "these are no IDX files of equally many 28x28 images and labels\n");
        return 2;
    }
    for (i = 0; i < total; i++) {
        if (fread(pixels, 1, sizeof pixels, images) != sizeof pixels)
            return 2;
        if (labels) {
            correct += network_classify(pixels) == fgetc(labels);
            continue;
        }
        network_logits(pixels, logits);
        for (digit = 0; digit < 10; digit++)
            printf("%.9g%c", (double)logits[digit], digit < 9 ? ' ' : '\n');
    }
    if (labels)
        printf("%ld of %ld correct: %.2f %%\n", correct, total, 100.0 * (double)correct / (double)total);
    return 0;
}
