"use strict";
// From a grey picture of one digit to an image in the form of MNIST. This repeats the nine steps that the docstring of
// mnist_compact/deploy/preprocessing.py specifies, in float64; a test compares both.

const WORKING_SIDE = 280; // px
const SMALLEST_SIDE = 8; // px
const DARKEST_PAPER = 64; // grey level
const DIGIT_SIDE = 20; // px
const FAINTEST = 32; // grey levels
const NEIGHBOURS = 3;
const RIDGE = 1e-6;
const SIDE = 28; // px
const CENTRE = SIDE / 2 + 0.5; // px
const TIE = 1e-6; // px

const rounded = (value) => Math.floor(value + 0.5);

/** Bring grey levels in rows into the form of MNIST: 784 levels, or null if the picture shows no digit. */
function toMnist(levels, height, width) {
  let picture = { values: Float64Array.from(levels), height, width };
  const longer = Math.max(height, width);
  if (longer > WORKING_SIDE) {
    const [h, w] = [height, width].map((side) => Math.max(SMALLEST_SIDE, rounded((side * WORKING_SIDE) / longer)));
    picture = boxScaled(picture, h, w);
  }
  const margin = marginOf(picture);
  const ink = inkOf(picture.values, background(picture, margin));
  const threshold = otsu(ink);
  const low = Math.min(threshold / 2, percentile(ink.filter((_, i) => margin[i]), 95));
  const inked = ink.filter((value) => rounded(value) > threshold);
  const high = inked.length ? percentile(inked, 98) : 0;
  if (high < FAINTEST) return null;
  const values = ink.map((value) => Math.min(1, Math.max(0, (value - low) / (high - low))));
  const digit = cropped({ ...picture, values });
  return digit && centred(digit);
}

/** 1 for the pixels of the frame that is taken for background, otherwise 0. */
function marginOf({ values, height, width }) {
  const frame = Math.max(1, rounded(Math.min(height, width) / 20));
  return Uint8Array.from(values, (_, i) => {
    const [y, x] = [Math.floor(i / width), i % width];
    return y < frame || y >= height - frame || x < frame || x >= width - frame;
  });
}

/** The surface of second degree that fits the levels of the margin. */
function background({ values, height, width }, margin) {
  const [ys, xs] = [height, width].map((side) =>
    Float64Array.from({ length: side }, (_, at) => (at === side - 1 ? 1 : -1 + at * (2 / (side - 1)))),
  );
  let surface;
  let fitted = margin;
  for (let round = 0; round < 2; round++) {
    const matrix = Array.from({ length: 6 }, () => new Float64Array(7));
    fitted.forEach((is, i) => {
      if (!is) return;
      const [y, x] = [ys[Math.floor(i / width)], xs[i % width]];
      const row = [1, x, y, x * x, x * y, y * y, values[i]];
      for (let a = 0; a < 6; a++) for (let b = 0; b < 7; b++) matrix[a][b] += row[a] * row[b];
    });
    const known = matrix[0][0]; // the sum of the ones is the number of pixels
    matrix.forEach((line, a) => (line[a] += RIDGE * known));
    const [f0, f1, f2, f3, f4, f5] = solved(matrix);
    surface = values.map((_, i) => {
      const [y, x] = [ys[Math.floor(i / width)], xs[i % width]];
      return f0 + f1 * x + f2 * y + f3 * x * x + f4 * x * y + f5 * y * y;
    });
    const distance = values.map((value, i) => Math.abs(value - surface[i]));
    const limit = 2 + 3 * percentile(distance.filter((_, i) => margin[i]), 50);
    fitted = margin.map((is, i) => is && distance[i] <= limit);
  }
  return surface.map((value) => Math.min(255, Math.max(0, value)));
}

/** The solution of linear equations, given as rows of coefficients and the right side, by elimination with pivots. */
function solved(rows) {
  const count = rows.length;
  for (let a = 0; a < count; a++) {
    const best = rows.reduce((top, row, b) => (b > a && Math.abs(row[a]) > Math.abs(rows[top][a]) ? b : top), a);
    [rows[a], rows[best]] = [rows[best], rows[a]];
    for (let b = a + 1; b < count; b++) {
      const factor = rows[b][a] / rows[a][a];
      for (let c = a; c <= count; c++) rows[b][c] -= factor * rows[a][c];
    }
  }
  const solution = new Float64Array(count);
  for (let a = count - 1; a >= 0; a--) {
    const known = rows[a].slice(a + 1, count).reduce((sum, value, i) => sum + value * solution[a + 1 + i], 0);
    solution[a] = (rows[a][count] - known) / rows[a][a];
  }
  return solution;
}

/** How much every pixel differs from the background in the direction of the digit, 0 … 255. */
function inkOf(levels, surface) {
  let [darker, lighter] = [0, 0];
  levels.forEach((level, i) => {
    darker += Math.max(0, surface[i] - level) ** 2;
    lighter += Math.max(0, level - surface[i]) ** 2;
  });
  if (darker <= lighter) return levels.map((level, i) => Math.max(0, level - surface[i]));
  return levels.map((level, i) => (255 * Math.max(0, surface[i] - level)) / Math.max(surface[i], DARKEST_PAPER));
}

/** The level that separates the rounded ink best into two classes. */
function otsu(ink) {
  const counts = new Float64Array(256);
  ink.forEach((value) => counts[rounded(value)]++);
  const total = counts.reduce((sum, count, level) => sum + count * level, 0);
  let [best, threshold, below, sum] = [0, 0, 0, 0];
  counts.forEach((count, level) => {
    below += count;
    sum += count * level;
    const above = ink.length - below;
    const between = below && above ? below * above * (sum / below - (total - sum) / above) ** 2 : 0;
    if (between > best) [best, threshold] = [between, level];
  });
  return threshold;
}

/** The part that holds the digit, with a small border, or null if there are only single points. */
function cropped({ values, height, width }) {
  const strong = (y, x) => y >= 0 && y < height && x >= 0 && x < width && values[y * width + x] >= 0.25;
  let [top, bottom, left, right] = [Infinity, -1, Infinity, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!strong(y, x)) continue;
      let around = -1; // the pixel itself is counted below
      for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) around += strong(y + dy, x + dx);
      if (around < NEIGHBOURS) continue;
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      [left, right] = [Math.min(left, x), Math.max(right, x)];
    }
  }
  if (bottom < 0) return null;
  const border = Math.floor(Math.max(bottom - top + 1, right - left + 1) / 40);
  [top, left] = [Math.max(0, top - border), Math.max(0, left - border)];
  [bottom, right] = [Math.min(height - 1, bottom + border), Math.min(width - 1, right + border)];
  const part = { height: bottom - top + 1, width: right - left + 1 };
  const pixel = (_, i) => values[(top + Math.floor(i / part.width)) * width + left + (i % part.width)];
  return { ...part, values: Float64Array.from({ length: part.height * part.width }, pixel) };
}

/** The image of 28×28 levels with the digit scaled and centred by its mass. */
function centred(digit) {
  const longer = Math.max(digit.height, digit.width);
  const [h, w] = [digit.height, digit.width].map((side) => Math.max(1, rounded((DIGIT_SIDE * side) / longer)));
  const { values } = boxScaled(digit, h, w);
  let [mass, byRows, byColumns] = [0, 0, 0];
  values.forEach((value, i) => {
    mass += value;
    byRows += value * (Math.floor(i / w) + 0.5);
    byColumns += value * ((i % w) + 0.5);
  });
  const start = (moment, side) => Math.min(Math.max(0, rounded(CENTRE - moment / mass + TIE)), SIDE - side);
  const [top, left] = [start(byRows, h), start(byColumns, w)];
  const factor = 255 / values.reduce((a, b) => Math.max(a, b));
  const image = new Uint8Array(SIDE * SIDE);
  values.forEach((value, i) => {
    image[(top + Math.floor(i / w)) * SIDE + left + (i % w)] = rounded(value * factor);
  });
  return image;
}

/** Scale a picture by averaging over areas, first rows, then columns. */
function boxScaled({ values, height, width }, h, w) {
  const rows = boxWeights(height, h);
  const columns = boxWeights(width, w);
  const narrow = new Float64Array(h * width);
  rows.forEach(({ first, weights }, y) => {
    for (let x = 0; x < width; x++) {
      narrow[y * width + x] = weights.reduce((sum, weight, i) => sum + weight * values[(first + i) * width + x], 0);
    }
  });
  const scaled = Float64Array.from({ length: h * w }, (_, at) => {
    const { first, weights } = columns[at % w];
    const row = Math.floor(at / w) * width + first;
    return weights.reduce((sum, weight, i) => sum + weight * narrow[row + i], 0);
  });
  return { values: scaled, height: h, width: w };
}

/** For each output pixel the first input pixel that it covers, and the weights of this one and those after it. */
function boxWeights(size, count) {
  return Array.from({ length: count }, (_, i) => {
    const [begin, end] = [(i * size) / count, ((i + 1) * size) / count];
    const first = Math.floor(begin);
    const covered = (_, at) => (Math.min(end, first + at + 1) - Math.max(begin, first + at)) * (count / size);
    return { first, weights: Array.from({ length: Math.min(size, Math.ceil(end)) - first }, covered) };
  });
}

/** The value with index floor(q / 100 · (n - 1)) of the n sorted values. */
function percentile(values, q) {
  return values.slice().sort()[Math.floor((q / 100) * (values.length - 1))];
}
