"use strict";
// A table that is sorted by its headers. Rows are identified by number; a column has one value per row.

const ROWS_AT_ONCE = 100;
const WIDEST_HEAD_CH = 14; // wider headers are wrapped
const collator = new Intl.Collator("en", { numeric: true });

/**
 * options: caption; count of rows; columns. For rows that can be selected or opened: selected (a Set), onselect(),
 * open(row), called by the cells of the first column, and named(row), the label of a row's checkbox.
 */
class Table {
  constructor(host, options) {
    Object.assign(this, { host, selected: null, onselect: () => {}, open: null }, options);
    this.order = [...Array(this.count).keys()];
    this.sorted = null;
    this.holds = () => true;
    this.limit = ROWS_AT_ONCE;
    this.head = element("thead");
    this.body = element("tbody");
    this.more = element("div", { class: "more" });
    const table = element("table", {}, this.head, this.body);
    const scroll = { class: "scroll", tabindex: "0", role: "region", "aria-label": this.caption };
    host.replaceChildren(element("div", scroll, table, this.more));
    this.drawHead();
    this.draw();
  }

  get rows() {
    return this.order.filter(this.holds);
  }

  setColumns(columns) {
    this.columns = columns;
    this.drawHead();
    this.draw();
  }

  setFilter(holds) {
    this.holds = holds;
    this.limit = ROWS_AT_ONCE;
    this.draw();
  }

  /** Ascending, then descending; rows without a value stay last. Equal rows keep their order. */
  sortBy(column, descending) {
    const reverse = this.sorted?.name === column.name && !this.sorted.descending;
    this.sorted = { name: column.name, descending: descending ?? reverse };
    const sign = this.sorted.descending ? -1 : 1;
    const compare = column.kind === "number" ? (a, b) => a - b : (a, b) => collator.compare(String(a), String(b));
    const value = (row) => column.values[row] ?? null;
    this.order = [...Array(this.count).keys()].sort((a, b) => {
      if (value(a) === null || value(b) === null) return (value(a) === null) - (value(b) === null);
      return sign * compare(value(a), value(b));
    });
    this.drawSorting();
    this.draw();
  }

  drawHead() {
    const cells = this.columns.map((column) => {
      const button = element(
        "button",
        { type: "button", title: column.about || null, onclick: () => this.sortBy(column) },
        column.name.replaceAll("_", "_\u200b"),
      );
      button.style.minWidth = `${Math.min(column.name.length + 2, WIDEST_HEAD_CH)}ch`;
      const sides = { scope: "col", "aria-sort": "none", "data-name": column.name };
      return element("th", { ...sides, class: column.kind === "number" ? "number" : null }, button);
    });
    this.head.replaceChildren(element("tr", {}, ...(this.selected ? [this.pickAll()] : []), ...cells));
    this.drawSorting();
  }

  drawSorting() {
    for (const cell of this.head.querySelectorAll("[data-name]")) {
      const is = this.sorted?.name === cell.dataset.name;
      cell.setAttribute("aria-sort", is ? (this.sorted.descending ? "descending" : "ascending") : "none");
    }
  }

  pickAll() {
    const pick = (event) => {
      for (const row of this.rows) this.selected[event.target.checked ? "add" : "delete"](row);
      this.draw();
      this.onselect();
    };
    this.all = element("input", {
      type: "checkbox",
      "aria-label": "Select all filtered rows",
      onchange: pick,
    });
    return element("th", { scope: "col" }, this.all);
  }

  draw() {
    const rows = this.rows;
    this.body.replaceChildren(...rows.slice(0, this.limit).map((row) => this.row(row)));
    const left = rows.length - this.limit;
    const further = (label, limit) => element("button", { type: "button", onclick: () => this.showMore(limit) }, label);
    this.more.replaceChildren(
      ...(left > 0
        ? [
            ...(left > ROWS_AT_ONCE ? [further(`${ROWS_AT_ONCE} more`, this.limit + ROWS_AT_ONCE)] : []),
            further(`All ${rows.length.toLocaleString("en")}`, Infinity),
          ]
        : []),
    );
    if (this.all) {
      const picked = rows.filter((row) => this.selected.has(row)).length;
      this.all.checked = picked > 0 && picked === rows.length;
      this.all.indeterminate = picked > 0 && picked < rows.length;
    }
  }

  /** Show more rows and move the focus to the first new row. */
  showMore(limit) {
    const before = this.body.rows.length;
    this.limit = limit;
    this.draw();
    this.body.rows[before]?.querySelector("input, button")?.focus();
  }

  row(row) {
    const cells = this.columns.map((column, position) => {
      const value = column.values[row] ?? null;
      const text = shown(column, value);
      const full = (value !== null && text !== String(value)) || text.length > 40;
      const content =
        position === 0 && this.open
          ? element("button", { type: "button", class: "name", onclick: () => this.open(row) }, text)
          : text;
      return element(
        "td",
        { class: column.kind === "number" ? "number" : null, title: full ? String(value) : null },
        content,
      );
    });
    if (!this.selected) return element("tr", {}, ...cells);
    const line = element("tr", { "data-row": row, class: this.selected.has(row) ? "selected" : null });
    const pick = (event) => {
      this.selected[event.target.checked ? "add" : "delete"](row);
      line.classList.toggle("selected", event.target.checked);
      this.onselect();
    };
    const box = element("input", { type: "checkbox", "aria-label": `Select ${this.named(row)}`, onchange: pick });
    box.checked = this.selected.has(row);
    line.append(element("td", {}, box), ...cells);
    return line;
  }
}
