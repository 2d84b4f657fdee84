"use strict";

/**
 * The table of nodes, of one prompt or of two, or as they are and as they become without some: sorted, filtered, and
 * where one begins to look closer.
 */
const Nodes = (() => {
  const { afterFrame, element, once } = Page;
  const { icon, kindClass, kindOf, number, sign, token, track, visible, visibleText } = Parts;
  const byId = (id) => document.getElementById(id);
  const FIRST = 30; // rows, more than most windows show
  const NEXT = 80;
  const FILTERS = ["kind", "layer", "token"];
  const UNSIGNED = ["write_norm", "activation", "activation_after"];
  /** Of what answers to each question say of nodes, and by which column they are ranked. */
  const LISTS = {
    attribute: { title: "Nodes", ranked: "attribution",
      columns: { attribution: "attribution", direct_effect: "direct effect", write_norm: "write norm", activation: "activation" } },
    compare: { title: "Nodes that differ most", ranked: "difference",
      columns: { attribution: "attribution", other_attribution: "in the other", difference: "difference" } },
    ablate: { title: "Other nodes that change most", ranked: "difference",
      columns: { attribution: "attribution", attribution_after: "changed", difference: "difference",
        direct_effect: "direct effect", direct_effect_after: "changed", activation: "activation", activation_after: "changed" } },
  };
  const NOTHING = { rows: [], tokens: [], ...LISTS.attribute };

  let plain = NOTHING; // of the prompt, or of two
  let others = null; // without some nodes
  let list = NOTHING; // the one of them that is seen
  let filling = null; // of the table with rows, the last that began
  const lines = new WeakMap(); // what was made of rows

  const hasTrack = (column) => column.startsWith("attribution");

  const placeOf = ({ node }) => ({ kind: node.kind, layer: String(node.layer ?? "–"), token: String(node.token ?? "–") });

  /** What an answer to a question says of nodes. */
  function show(found, question) {
    const rows = (found?.nodes ?? []).map((row) => ({ ...row, difference: row.other_attribution - row.attribution }));
    plain = found === null ? NOTHING : { rows, tokens: found.tokens, ...LISTS[question.question] };
    draw();
  }

  /** What an answer says of nodes beside some that were changed. */
  function showOthers(found) {
    const row = ({ node, before, after }) => ({ node, ...before, difference: after.attribution - before.attribution,
      ...Object.fromEntries(Object.entries(after).map(([name, value]) => [`${name}_after`, value])) });
    others = found === null ? null : { rows: found.others.map(row), tokens: found.tokens, ...LISTS.ablate };
    draw();
  }

  const ranking = () => (Object.hasOwn(list.columns, View.now.sort) || ["node", "layer", "token"].includes(View.now.sort) ? View.now.sort : list.ranked);

  /** The rows that the filters let through, in their order. */
  function seen() {
    const { down } = View.now;
    const { rows, columns } = list;
    const column = ranking();
    const key = ({ node, ...readings }) => (Object.hasOwn(columns, column) ? Math.abs(readings[column] ?? -1)
      : column === "node" ? node.name : node[column] ?? -1);
    const compare = (a, b) => (column === "node" ? key(b).localeCompare(key(a), "en", { numeric: true }) : key(b) - key(a));
    return rows.filter((row) => FILTERS.every((filter) => View.now[filter] === "" || placeOf(row)[filter] === View.now[filter]))
      .sort((a, b) => (down ? 1 : -1) * compare(a, b));
  }

  const drawFilters = once(({ rows, tokens }, ...chosen) => {
    const words = { kind: (value) => kindOf(value).word, layer: (value) => value,
      token: (value) => (tokens[value] === undefined ? value : `${value} ${visible(tokens[value].text, 20)}`) };
    FILTERS.forEach((filter, i) => {
      const values = [...new Set([...rows.map((row) => placeOf(row)[filter]), chosen[i]])].filter((value) => value !== "")
        .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
      const select = byId(`filter-${filter}`);
      select.replaceChildren(element("option", { value: "" }, "all"),
        ...values.map((value) => element("option", { value }, words[filter](value))));
      select.value = chosen[i];
    });
  });

  function draw() {
    const { sort, down, beside, off } = View.now;
    const chosen = FILTERS.map((filter) => View.now[filter]);
    byId("beside-label").hidden = off.length === 0;
    byId("beside").checked = beside;
    list = off.length > 0 && beside && others !== null ? others : plain;
    byId("nodes-title").textContent = list.title;
    byId("graph-strongest").disabled = list.rows.length === 0;
    drawFilters(list, ...chosen);
    drawHead(list.columns);
    drawRows(list, sort, down, ...chosen);
    mark(byId("table").tBodies[0].rows);
  }

  const drawHead = once((columns) => {
    const heads = { node: "node", layer: "layer", token: "token", ...columns };
    byId("table").tHead.replaceChildren(element("tr", {}, ...Object.entries(heads).map(([column, word]) => {
      const button = element("button", { type: "button", "data-sort": column, "data-word": word });
      button.addEventListener("click", () => View.change({ sort: column, down: ranking() === column ? !View.now.down : true }));
      return element("th", { scope: "col" }, button);
    }), element("th", { scope: "col" }, element("span", { className: "unseen" }, "graph"))));
    byId("table").style.setProperty("--readings", Object.keys(columns).length);
  });

  /** Those that are seen at once, and the others behind the frame that shows these. */
  const drawRows = once(({ rows, columns }) => {
    const { down } = View.now;
    const ranked = ranking();
    for (const button of byId("table").tHead.querySelectorAll("button")) {
      const { sort, word } = button.dataset;
      button.textContent = sort === ranked ? `${word}${down ? "▾" : "▴"}` : word;
      button.closest("th").setAttribute("aria-sort", sort !== ranked ? "none" : down ? "descending" : "ascending");
    }
    const listed = seen();
    byId("count").textContent = rows.length === 0 ? "" : `${listed.length} of the ${rows.length} strongest`;
    const largest = Math.max(Number.MIN_VALUE, ...Object.keys(columns).filter(hasTrack)
      .flatMap((column) => rows.map((row) => Math.abs(row[column] ?? 0))));
    const some = (from, to) => listed.slice(from, to).map((row) => {
      if (!lines.has(row)) lines.set(row, line(row, largest));
      return lines.get(row);
    });
    const body = byId("table").tBodies[0];
    body.replaceChildren(...some(0, FIRST));
    byId("nodes-scroller").scrollTop = 0;
    const own = (filling = {});
    const fill = (from) => {
      byId("table").setAttribute("aria-busy", String(from < listed.length));
      if (from < listed.length) afterFrame(() => {
        if (own !== filling) return;
        const more = some(from, from + NEXT);
        body.append(...more);
        mark(more);
        fill(from + NEXT);
      });
    };
    fill(FIRST);
  });

  /** Rows belong to one list: what is made of one stays as it is, wherever it is sorted to. */
  function line(row, largest) {
    const { node, explanation } = row;
    const { tokens, columns } = list;
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
      element("td", {}, String(node.layer ?? "–")), element("td", { className: "where" }, ...where,
        explanation === undefined ? null : element("small", { className: "explanation", title: visibleText(explanation, 2000) }, visibleText(explanation, 60))),
      ...Object.keys(columns).map((column) => element("td", { className: UNSIGNED.includes(column) ? "" : sign(row[column]) }, number(row[column]),
        hasTrack(column) ? track(row[column], largest) : null)),
      element("td", {}, add));
  }

  /** Whether rows are open, and in the graph. */
  function mark(rows) {
    const { node, graph } = View.now;
    const inGraph = new Set(graph);
    for (const row of rows) {
      const add = row.querySelector(".add");
      row.classList.toggle("on", add.dataset.add === node);
      add.setAttribute("aria-pressed", String(inGraph.has(add.dataset.add)));
    }
  }

  function wire() {
    for (const filter of FILTERS) {
      byId(`filter-${filter}`).addEventListener("change", (event) => View.change({ [filter]: event.target.value }));
    }
    byId("beside").addEventListener("change", (event) => View.change({ beside: event.target.checked }));
  }

  /** As a table that other programs read; no text of a prompt is in it, which they could take for a formula. */
  function csv() {
    const { columns } = list;
    const names = ["node", "kind", "layer", "token", "key", ...Object.keys(columns)];
    const lines = seen().map((row) => [row.node.name, row.node.kind, row.node.layer, row.node.token, row.node.key,
      ...Object.keys(columns).map((column) => row[column])].map((value) => (typeof value === "string" ? `"${value}"` : value ?? "")).join(","));
    return `${[names.join(","), ...lines].join("\r\n")}\r\n`;
  }

  return { wire, show, showOthers, draw, seen, csv };
})();
