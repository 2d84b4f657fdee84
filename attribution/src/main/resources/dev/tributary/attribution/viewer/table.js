"use strict";

/** The table of nodes, of one prompt or of two: sorted, filtered, and where one begins to look closer. */
const Nodes = (() => {
  const { element } = Page;
  const { icon, kindClass, kindOf, number, sign, token, track, visible } = Parts;
  const byId = (id) => document.getElementById(id);
  const FILTERS = ["kind", "layer", "token"];
  const SIGNED = ["attribution", "direct_effect", "other_attribution", "difference"];
  const NUMBERS = {
    attribute: { attribution: "attribution", direct_effect: "direct effect", write_norm: "write norm", activation: "activation" },
    compare: { attribution: "attribution", other_attribution: "in the other", difference: "difference" },
  };

  let rows = [];
  let tokens = [];
  let columns = {};
  let drawn = []; // what the table was made of

  const placeOf = ({ node }) => ({ kind: node.kind, layer: String(node.layer ?? "–"), token: String(node.token ?? "–") });

  function show(found, question) {
    tokens = found?.tokens ?? [];
    columns = NUMBERS[question?.question] ?? {};
    rows = (found?.nodes ?? []).map((row) => ({ ...row, difference: row.other_attribution - row.attribution }));
    byId("graph-strongest").disabled = rows.length === 0;
    byId("nodes-title").textContent = question?.question === "compare" ? "Nodes that differ most" : "Nodes";
    draw();
  }

  /** The rows that the filters let through, in their order. */
  function seen() {
    const { sort, down } = View.now;
    const column = Object.hasOwn(columns, sort) || ["node", "layer", "token"].includes(sort) ? sort : Object.keys(columns).at(-1);
    const key = ({ node, ...readings }) => (Object.hasOwn(columns, column) ? Math.abs(readings[column] ?? -1)
      : column === "node" ? node.name : node[column] ?? -1);
    const compare = (a, b) => (column === "node" ? key(b).localeCompare(key(a), "en", { numeric: true }) : key(b) - key(a));
    return rows.filter((row) => FILTERS.every((filter) => View.now[filter] === "" || placeOf(row)[filter] === View.now[filter]))
      .sort((a, b) => (down ? 1 : -1) * compare(a, b));
  }

  function drawFilters() {
    const words = { kind: (value) => kindOf(value).word, layer: (value) => value,
      token: (value) => (tokens[value] === undefined ? value : `${value} ${visible(tokens[value].text, 20)}`) };
    for (const filter of FILTERS) {
      const values = [...new Set([...rows.map((row) => placeOf(row)[filter]), View.now[filter]])].filter((value) => value !== "")
        .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
      const select = byId(`filter-${filter}`);
      select.replaceChildren(element("option", { value: "" }, "all"),
        ...values.map((value) => element("option", { value }, words[filter](value))));
      select.value = View.now[filter];
    }
  }

  function draw() {
    const { kind, layer, token: at, sort, down } = View.now;
    const made = [rows, kind, layer, at, sort, down];
    if (made.some((part, i) => part !== drawn[i])) {
      drawn = made;
      drawFilters();
      drawTable();
    }
    mark();
  }

  function drawTable() {
    const listed = seen();
    byId("count").textContent = rows.length === 0 ? "" : `${listed.length} of the ${rows.length} strongest`;
    const heads = { node: "node", layer: "layer", token: "token", ...columns };
    byId("table").tHead.replaceChildren(element("tr", {}, ...Object.entries(heads).map(([column, word]) => {
      const on = View.now.sort === column;
      const button = element("button", { type: "button", "data-sort": column }, word, on ? (View.now.down ? " ▾" : " ▴") : "");
      button.addEventListener("click", () => {
        View.change({ sort: column, down: on ? !View.now.down : true });
        byId("table").querySelector(`[data-sort="${column}"]`).focus();
      });
      return element("th", { scope: "col", "aria-sort": on ? (View.now.down ? "descending" : "ascending") : "none" }, button);
    }), element("th", { scope: "col" }, element("span", { className: "unseen" }, "graph"))));
    const largest = Math.max(Number.MIN_VALUE, ...rows.map(({ attribution }) => Math.abs(attribution)));
    byId("table").tBodies[0].replaceChildren(...listed.map((row) => line(row, largest)));
  }

  function line(row, largest) {
    const { node } = row;
    const open = element("button", { type: "button", className: "open", "data-name": node.name }, icon(node.kind),
      element("span", { className: "place" }, node.layer == null ? "" : `L${node.layer}`),
      [node.part, kindOf(node.kind).word, node.index].filter((word) => word != null).join(" "));
    open.addEventListener("click", () => View.change({ node: node.name }));
    const add = element("button", { type: "button", className: "add", "data-add": node.name, title: "in the graph",
      "aria-label": `${node.name} in the graph` }, "+");
    add.addEventListener("click", () => Graph.toggle(node.name));
    const where = node.token == null ? "" : [element("small", {}, String(node.token)), " ", token(tokens, node.token, 12, "token"),
      ...(node.key == null ? [] : [" ← ", element("small", {}, String(node.key)), " ", token(tokens, node.key, 12, "token")])];
    return element("tr", { className: kindClass(node.kind) }, element("th", { scope: "row" }, open),
      element("td", {}, String(node.layer ?? "–")), element("td", { className: "where" }, ...where),
      ...Object.keys(columns).map((column) => element("td", { className: SIGNED.includes(column) ? sign(row[column]) : "" }, number(row[column]),
        column === "attribution" ? track(row[column], largest) : null)),
      element("td", {}, add));
  }

  /** Which of the rows is open, and which are in the graph. */
  function mark() {
    for (const open of byId("table").querySelectorAll(".open")) {
      open.closest("tr").classList.toggle("on", open.dataset.name === View.now.node);
    }
    for (const add of byId("table").querySelectorAll(".add")) {
      add.setAttribute("aria-pressed", String(View.now.graph.includes(add.dataset.add)));
    }
  }

  function wire() {
    for (const filter of FILTERS) {
      byId(`filter-${filter}`).addEventListener("change", (event) => View.change({ [filter]: event.target.value }));
    }
  }

  /** As a table that other programs read; no text of a prompt is in it, which they could take for a formula. */
  function csv() {
    const names = ["node", "kind", "layer", "token", "key", ...Object.keys(columns)];
    const lines = seen().map((row) => [row.node.name, row.node.kind, row.node.layer, row.node.token, row.node.key,
      ...Object.keys(columns).map((column) => row[column])].map((value) => (typeof value === "string" ? `"${value}"` : value ?? "")).join(","));
    return `${[names.join(","), ...lines].join("\r\n")}\r\n`;
  }

  return { wire, show, draw, seen, csv };
})();
