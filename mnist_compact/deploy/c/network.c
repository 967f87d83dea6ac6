/* A compact convolutional network in C99 with float arithmetic. The weights and the steps are in network.h.
 *
 * There is no dynamic memory and no library beyond the standard one; math.h is needed only for networks with the
 * activations silu and gelu. The maps of all steps share one static buffer, so calls must not overlap.
 *
 * A map has C channels of S×S values: value (c, y, x) is at (c * S + y) * S + x.
 */

#define NETWORK_WITH_WEIGHTS
#include "network.h"

#if NETWORK_ACTIVATION == NETWORK_SILU || NETWORK_ACTIVATION == NETWORK_GELU
#include <math.h>
#endif

static float network_memory[NETWORK_MEMORY];

static float activated(float x)
{
#if NETWORK_ACTIVATION == NETWORK_RELU
    return x > 0.0f ? x : 0.0f;
#elif NETWORK_ACTIVATION == NETWORK_LEAKY_RELU
    return x > 0.0f ? x : 0.01f * x;
#elif NETWORK_ACTIVATION == NETWORK_SILU
    return x / (1.0f + expf(-x));
#elif NETWORK_ACTIVATION == NETWORK_GELU
    return 0.5f * x * (1.0f + erff(x * 0.70710678f));
#else /* NETWORK_HARDSWISH */
    return x <= -3.0f ? 0.0f : x >= 3.0f ? x : x * (x + 3.0f) / 6.0f;
#endif
}

/* One row of one output channel. Windows that reach over the edge see zeros there. */
static void convolve_row(const struct network_step *step, const float *input, int channel, int y, float *row)
{
    const int side = step->in_side, kernel = step->kernel, stride = step->stride;
    const int first = step->depthwise ? channel : 0;
    const int last = step->depthwise ? channel + 1 : step->in_channels;
    const float *weight = network_values + step->weights + (long)channel * (last - first) * kernel * kernel;
    const float bias = network_values[step->biases + channel];
    int c, ky, kx, x;

    for (x = 0; x < step->out_side; x++)
        row[x] = bias;
    for (c = first; c < last; c++) {
        for (ky = 0; ky < kernel; ky++) {
            const int v = y * stride + ky - step->padding;
            const float *line;
            if (v < 0 || v >= side) {
                weight += kernel;
                continue;
            }
            line = input + ((long)c * side + v) * side;
            for (kx = 0; kx < kernel; kx++, weight++) {
                const int shift = kx - step->padding;
                const int begin = shift < 0 ? (-shift + stride - 1) / stride : 0;
                int end = side > shift ? (side - 1 - shift) / stride + 1 : 0;
                if (end > step->out_side)
                    end = step->out_side;
                if (stride == 1)
                    for (x = begin; x < end; x++)
                        row[x] += *weight * line[x + shift];
                else
                    for (x = begin; x < end; x++)
                        row[x] += *weight * line[x * stride + shift];
            }
        }
    }
}

static void convolve(const struct network_step *step, const float *input, float *output)
{
    const int side = step->out_side;
    float row[NETWORK_LONGEST_ROW];
    int c, x, y;

    for (c = 0; c < step->out_channels; c++) {
        for (y = 0; y < side; y++) {
            convolve_row(step, input, c, y, row);
            for (x = 0; x < side; x++) {
                float value = step->activate ? activated(row[x]) : row[x];
                if (step->slopes >= 0)
                    value = value * network_values[step->slopes + c]
                        + network_values[step->slopes + step->out_channels + c];
                *output++ = value;
            }
        }
    }
}

/* Output and input may begin at the same place: every value is written after those that it replaces were read. */
static void pool(const struct network_step *step, const float *input, float *output)
{
    const int window = step->kernel, side = step->in_side;
    int c, x, y, i, j;

    for (c = 0; c < step->out_channels; c++)
        for (y = 0; y < step->out_side; y++)
            for (x = 0; x < step->out_side; x++) {
                const float *corner = input + ((long)c * side + y * window) * side + x * window;
                float largest = corner[0], sum = 0.0f;
                for (i = 0; i < window; i++)
                    for (j = 0; j < window; j++) {
                        const float value = corner[i * side + j];
                        sum += value;
                        if (value > largest)
                            largest = value;
                    }
                *output++ = step->kind == NETWORK_MAX_POOL ? largest : sum / (float)(window * window);
            }
}

void network_logits(const uint8_t pixels[784], network_logit logits[10])
{
    int i, n;

    for (i = 0; i < 784; i++)
        network_memory[i] = NETWORK_INPUT_SLOPE * (float)pixels[i] + NETWORK_INPUT_SHIFT;
    for (n = 0; n < NETWORK_STEPS; n++) {
        const struct network_step *step = &network_steps[n];
        const float *input = network_memory + step->source;
        float *output = network_memory + step->target;
        if (step->kind == NETWORK_CONVOLVE) {
            convolve(step, input, output);
        } else if (step->kind == NETWORK_ADD) {
            const float *other = network_memory + step->other;
            for (i = 0; i < step->out_channels * step->out_side * step->out_side; i++)
                output[i] = input[i] + other[i];
        } else {
            pool(step, input, output);
        }
    }
    for (i = 0; i < 10; i++)
        logits[i] = network_memory[network_steps[NETWORK_STEPS - 1].target + i];
}

int network_classify(const uint8_t pixels[784])
{
    network_logit logits[10];
    int digit, best = 0;

    network_logits(pixels, logits);
    for (digit = 1; digit < 10; digit++)
        if (logits[digit] > logits[best])
            best = digit;
    return best;
}
