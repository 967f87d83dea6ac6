"use strict";
// The network: its description from the page, and the computation of all its maps.
//
// A map has C channels of S×S values: value (c, y, x) is at (c * S + y) * S + x. Map 0 is the image, the last map holds
// the ten logits. Sums are computed in float64 and stored as float32.

/** Decode float32 numbers, lowest byte first, from base64. */
function decoded(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** The error function by its series with positive terms, 2/√π · exp(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 · … · (2n + 1)). */
function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17; n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const ACTIVATIONS = {
  relu: (x) => Math.max(0, x),
  leaky_relu: (x) => (x > 0 ? x : 0.01 * x),
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  hardswish: (x) => (x * Math.min(6, Math.max(0, x + 3))) / 6,
};

/** A convolution with zeros around the map, then the activation, then a factor and a summand for each channel. */
function convolve(step, values, input, from, output, to) {
  const { kernel, stride, padding, depthwise } = step;
  const activation = ACTIVATIONS[step.activation] ?? ((x) => x);
  const perChannel = depthwise ? 1 : from.channels;
  for (let channel = 0, at = 0; channel < to.channels; channel++) {
    const first = depthwise ? channel : 0;
    const slope = step.slopes === undefined ? 1 : values[step.slopes + channel];
    const shift = step.slopes === undefined ? 0 : values[step.shifts + channel];
    for (let y = 0; y < to.side; y++) {
      const above = y * stride - padding;
      const [topmost, lowest] = [Math.max(0, -above), Math.min(kernel, from.side - above)];
      for (let x = 0; x < to.side; x++) {
        const left = x * stride - padding;
        const [leftmost, rightmost] = [Math.max(0, -left), Math.min(kernel, from.side - left)];
        let sum = values[step.biases + channel];
        for (let c = 0; c < perChannel; c++) {
          for (let ky = topmost; ky < lowest; ky++) {
            const weight = step.weights + ((channel * perChannel + c) * kernel + ky) * kernel;
            const pixel = ((first + c) * from.side + above + ky) * from.side + left;
            for (let kx = leftmost; kx < rightmost; kx++) sum += values[weight + kx] * input[pixel + kx];
          }
        }
        output[at++] = activation(sum) * slope + shift;
      }
    }
  }
}

/** The largest or the mean value of windows side by side; what is left at the right and lower edge is dropped. */
function pool(step, input, from, output, to) {
  const window = step.kernel;
  for (let channel = 0, at = 0; channel < to.channels; channel++) {
    for (let y = 0; y < to.side; y++) {
      for (let x = 0; x < to.side; x++) {
        let largest = -Infinity;
        let sum = 0;
        for (let i = 0; i < window; i++) {
          for (let j = 0; j < window; j++) {
            const value = input[(channel * from.side + y * window + i) * from.side + x * window + j];
            largest = Math.max(largest, value);
            sum += value;
          }
        }
        output[at++] = step.kind === "max_pool" ? largest : sum / (window * window);
      }
    }
  }
}

/** All maps of an image of 784 levels 0 … 255: a light digit on black. `values` are the decoded numbers of `network`. */
function mapsOf(network, values, levels) {
  const maps = network.maps.map(({ channels, side }) => new Float32Array(channels * side * side));
  levels.forEach((level, i) => (maps[0][i] = network.input.slope * level + network.input.shift));
  for (const step of network.steps) {
    const [input, output] = [maps[step.source], maps[step.target]];
    const [from, to] = [network.maps[step.source], network.maps[step.target]];
    if (step.kind === "convolve") convolve(step, values, input, from, output, to);
    else if (step.kind === "add") input.forEach((value, i) => (output[i] = value + maps[step.other][i]));
    else pool(step, input, from, output, to);
  }
  return maps;
}

/** The probabilities of logits. */
function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}
