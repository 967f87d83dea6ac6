"use strict";
// One line of words and comparisons → which rows hold it.

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

/** {holds: row → boolean} or {fault: why it is no filter}. `columns` are by name; `short`: short name → name. */
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
    fault ||= "Conditions add up: there is no “or” and no “not” here (!= is).";
  if (words.length) tests.push(wordTest(words, [...columns.values()]));
  return fault ? { fault } : { holds: (row) => tests.every((test) => test(row)) };
}

/** A missing value matches no comparison, as in the report's --where. */
function comparison(column, operator, written) {
  if (column.kind !== "number") {
    if (column.kind === "truth" && ORDERS.includes(operator))
      return `${column.name} is true or false: it has no order.`;
    const compare = HOLDS[operator];
    return (row) => column.values[row] !== null && compare(String(column.values[row]), written);
  }
  const number = Number(written.replace(/(?<=\d)[,_](?=\d{3})/g, ""));
  if (Number.isNaN(number)) return `${column.name} holds numbers, and ${written} is none.`;
  return (row) => column.values[row] !== null && HOLDS[operator](column.values[row], number);
}

/** Every word somewhere in a row's texts and names, or as a number just so. */
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
