"use strict";
// The data, and what the rest of the page makes elements and words with. Text goes in as text nodes, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const MISSING = "–";

const byId = (id) => document.getElementById(id);

/** element("a", {href: "#x", onclick: f}, "text", otherElement): attributes, listeners, children. */
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
const EXACT_DIGITS = 100; // binary fractions end; this is the most of them that JavaScript writes

/** A number in the way of its column: so many decimals, rounded as Python rounds, or in full. */
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
  // Of 99.5745 the number is a little more or less; a format given the number rounds the digits it is written with.
  return formats.get(key).format(decimals === null ? value : value.toFixed(EXACT_DIGITS));
}

function shown(column, value) {
  if (value === null || value === undefined) return MISSING;
  return column.kind === "number" ? numberShown(value, column.decimals ?? null, column.grouped) : String(value);
}

const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

const columnsByName = new Map(data.runs.columns.map((column) => [column.name, column]));
const valueOf = (name, run) => columnsByName.get(name)?.values[run] ?? null;

/** Split, weights and epoch choice of a score in words. */
const scoreShown = ({ split, weights, at }) => `${split} accuracy, ${at} epoch, ${weights} weights`;
