"use strict";
// The data of the page, and functions that create elements and format values. Text is inserted as text nodes only.

const data = JSON.parse(document.getElementById("data").textContent);
const MISSING = "–";

const byId = (id) => document.getElementById(id);

/** element("a", {href: "#x", onclick: f}, "text", child): an element with attributes, listeners and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const formats = new Map();
const EXACT_DIGITS = 100; // the largest number of decimals that JavaScript writes

/** Format a number with the decimals of its column, rounded as in Python, or in full. */
function numberShown(value, decimals, grouped = false) {
  if (decimals === null && !grouped) return String(value);
  const key = `${decimals} ${grouped}`;
  if (!formats.has(key)) {
    const digits =
      decimals === null
        ? { maximumFractionDigits: 20 }
        : { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    formats.set(
      key,
      new Intl.NumberFormat("en", { ...digits, useGrouping: Boolean(grouped), roundingMode: "halfEven" }),
    );
  }
  // The binary value of 99.5745 is slightly different. To round that value, the format needs all its digits.
  return formats.get(key).format(decimals === null ? value : value.toFixed(EXACT_DIGITS));
}

function shown(column, value) {
  if (value === null || value === undefined) return MISSING;
  return column.kind === "number" ? numberShown(value, column.decimals ?? null, column.grouped) : String(value);
}

const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

const columnsByName = new Map(data.runs.columns.map((column) => [column.name, column]));
const valueOf = (name, run) => columnsByName.get(name)?.values[run] ?? null;

/** Split, weights and epoch choice of a score as text. */
const scoreShown = ({ split, weights, at }) => `${split} accuracy, ${at} epoch, ${weights} weights`;
