"use strict";
// Parses a filter of words and comparisons and tests rows with it.

const COMPARISON = /([\w.]+)\s*(==|!=|<=|>=|=|<|>)\s*("[^"]*"|'[^']*'|[^\s"']+)/g;
const HOLDS = {
  "=": (a, b) => a === b,
  "==": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};
const ORDERS = ["<", "<=", ">", ">="];

/** Returns {holds: row → boolean} or {fault: message}. `columns`: name → column; `short`: short name → name. */
function parseFilter(text, columns, short = {}) {
  const tests = [];
  let fault = "";
  const rest = text.replace(COMPARISON, (whole, name, operator, written) => {
    const column = columns.get(short[name] ?? name);
    if (!column) fault ||= `There is no column ${name}.`;
    else {
      const made = comparison(column, operator, written.replace(/^(["'])(.*)\1$/, "$2"));
      if (typeof made === "string") fault ||= made;
      else tests.push(made);
    }
    return " ";
  });
  const words = rest
    .split(/\s+/)
    .map((word) => word.toLowerCase())
    .filter((word) => word && word !== "and");
  if (tests.length && words.some((word) => word === "or" || word === "not"))
    fault ||= "All conditions must hold. “or” and “not” are not supported; use != for “not equal”.";
  if (words.length) tests.push(wordTest(words, [...columns.values()]));
  return fault ? { fault } : { holds: (row) => tests.every((test) => test(row)) };
}

/** A missing value satisfies no comparison, as with --where. */
function comparison(column, operator, written) {
  if (column.kind !== "number") {
    if (column.kind === "truth" && ORDERS.includes(operator))
      return `${column.name} is true or false and cannot be ordered.`;
    const compare = HOLDS[operator];
    return (row) => column.values[row] !== null && compare(String(column.values[row]), written);
  }
  const number = Number(written.replace(/(?<=\d)[,_](?=\d{3})/g, ""));
  if (Number.isNaN(number)) return `${column.name} contains numbers, but ${written} is not a number.`;
  return (row) => column.values[row] !== null && HOLDS[operator](column.values[row], number);
}

/** Every word must be part of a text in the row, or equal to a number in the row. */
function wordTest(words, columns) {
  const texts = columns.filter((column) => column.kind === "text");
  const numbers = columns.filter((column) => column.kind === "number");
  return (row) =>
    words.every(
      (word) =>
        texts.some((column) => column.values[row] !== null && column.values[row].toLowerCase().includes(word)) ||
        numbers.some((column) => column.values[row] !== null && String(column.values[row]) === word),
    );
}
