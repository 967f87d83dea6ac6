/* A compact convolutional network in C99 with integer arithmetic. The weights and the steps are in network.h.
 *
 * There is no dynamic memory and no library. The maps of all steps share one static buffer, so calls must not overlap.
 *
 * A map has C channels of S×S values in -128 … 127: value (c, y, x) is at (c * S + y) * S + x and stands for
 * scale * (value - zero). Numbers before and after an activation, and the logits, are in 1/65536. Factors are
 * network_multipliers[i] / 2^network_shifts[i], and all rounding is half away from zero.
 */

#define NETWORK_WITH_WEIGHTS
#include "network.h"

static int8_t network_memory[NETWORK_MEMORY];

static int32_t scaled(int32_t value, int32_t factor)
{
    const int shift = network_shifts[factor];
    int64_t product = (int64_t)value * network_multipliers[factor];
    const int64_t half = shift ? (int64_t)1 << (shift - 1) : 0;

    product = product < 0 ? -((-product + half) >> shift) : (product + half) >> shift;
    return product > NETWORK_LIMIT ? NETWORK_LIMIT : product < -NETWORK_LIMIT ? -NETWORK_LIMIT : (int32_t)product;
}

/* From 1/256 of a step of a map to its value. */
static int8_t to_int8(int32_t value)
{
    value = value < 0 ? -((-value + 128) >> 8) : (value + 128) >> 8;
    return (int8_t)(value > 127 ? 127 : value < -128 ? -128 : value);
}

static int32_t activated(int32_t x)
{
#if NETWORK_ACTIVATION == NETWORK_RELU
    return x > 0 ? x : 0;
#elif NETWORK_ACTIVATION == NETWORK_LEAKY_RELU
    return x > 0 ? x : -(int32_t)(((int64_t)-x * 20972 + (1 << 20)) >> 21);
#else /* max(x, 0) less a tail that is the same at x and -x, interpolated between the nodes of a table */
    const int32_t size = x < 0 ? -x : x, node = size >> 13, part = size & 8191;
    int32_t tail = 0;

    if (node < 64)
        tail = (network_tail[node] * (8192 - part) + network_tail[node + 1] * part + 4096) >> 13;
    return (x > 0 ? x : 0) - tail;
#endif
}

/* The sums of one row of one output channel. Windows that reach over the edge see zeros there. */
static void convolve_row(const struct network_step *step, const int8_t *input, int channel, int y, int32_t *row)
{
    const int side = step->in_side, kernel = step->kernel, stride = step->stride, zero = step->zero;
    const int first = step->depthwise ? channel : 0;
    const int last = step->depthwise ? channel + 1 : step->in_channels;
    const int8_t *weight = network_weights + step->weights + (int32_t)channel * (last - first) * kernel * kernel;
    int c, ky, kx, x;

    for (x = 0; x < step->out_side; x++)
        row[x] = network_integers[step->biases + channel];
    for (c = first; c < last; c++) {
        for (ky = 0; ky < kernel; ky++) {
            const int v = y * stride + ky - step->padding;
            const int8_t *line;
            if (v < 0 || v >= side) {
                weight += kernel;
                continue;
            }
            line = input + ((int32_t)c * side + v) * side;
            for (kx = 0; kx < kernel; kx++, weight++) {
                const int shift = kx - step->padding;
                const int begin = shift < 0 ? (-shift + stride - 1) / stride : 0;
                int end = side > shift ? (side - 1 - shift) / stride + 1 : 0;
                if (end > step->out_side)
                    end = step->out_side;
                if (stride == 1)
                    for (x = begin; x < end; x++)
                        row[x] += *weight * (line[x + shift] - zero);
                else
                    for (x = begin; x < end; x++)
                        row[x] += *weight * (line[x * stride + shift] - zero);
            }
        }
    }
}

static void convolve(const struct network_step *step, const int8_t *input, int8_t *output, int32_t *logits)
{
    int32_t row[NETWORK_LONGEST_ROW];
    int c, x, y;

    for (c = 0; c < step->out_channels; c++) {
        for (y = 0; y < step->out_side; y++) {
            convolve_row(step, input, c, y, row);
            for (x = 0; x < step->out_side; x++) {
                int32_t value = row[x];
                if (step->before >= 0)
                    value = scaled(value, step->before + c);
                if (logits) {
                    logits[c] = value;
                    continue;
                }
                if (step->before >= 0)
                    value = activated(value);
                value = scaled(value, step->after + (step->each_after ? c : 0));
                *output++ = to_int8(value + network_integers[step->offsets + (step->each_offset ? c : 0)]);
            }
        }
    }
}

/* Output and input may begin at the same place: every value is written after those that it replaces were read. */
static void pool(const struct network_step *step, const int8_t *input, int8_t *output)
{
    const int window = step->kernel, side = step->in_side;
    int c, x, y, i, j;

    for (c = 0; c < step->out_channels; c++)
        for (y = 0; y < step->out_side; y++)
            for (x = 0; x < step->out_side; x++) {
                const int8_t *corner = input + ((int32_t)c * side + y * window) * side + x * window;
                int32_t largest = corner[0], sum = 0;
                for (i = 0; i < window; i++)
                    for (j = 0; j < window; j++) {
                        const int32_t value = corner[i * side + j];
                        sum += value - step->zero;
                        if (value > largest)
                            largest = value;
                    }
                if (step->kind == NETWORK_MAX_POOL)
                    *output++ = (int8_t)largest;
                else
                    *output++ = to_int8(scaled(sum, step->after) + network_integers[step->offsets]);
            }
}

void network_logits(const uint8_t pixels[784], network_logit logits[10])
{
    int i, n;

    for (i = 0; i < 784; i++)
        network_memory[i] = (int8_t)(pixels[i] - 128);
    for (n = 0; n < NETWORK_STEPS; n++) {
        const struct network_step *step = &network_steps[n];
        const int8_t *input = network_memory + step->source;
        int8_t *output = network_memory + step->target;
        if (step->kind == NETWORK_CONVOLVE) {
            convolve(step, input, output, n == NETWORK_STEPS - 1 ? logits : 0);
        } else if (step->kind == NETWORK_ADD) {
            const int8_t *other = network_memory + step->other;
            for (i = 0; i < step->out_channels * step->out_side * step->out_side; i++)
                output[i] = to_int8(scaled(input[i] - step->zero, step->after)
                    + scaled(other[i] - step->other_zero, step->after + 1) + network_integers[step->offsets]);
        } else {
            pool(step, input, output);
        }
    }
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
