"use strict";

/** The card of a node: what it does, what feeds it and what it feeds; and what happens without it. */
const Card = (() => {
  const { element, soon } = Page;
  const { heading, icon, kindOf, number, share, sign, token, track, visible } = Parts;
  const byId = (id) => document.getElementById(id);
  const PATHS = { query: "Q", key: "K", value: "V", gate: "gate", up: "up" };

  let told = {}; // answers: describe, into, from
  let others = []; // nodes without those that are switched off
  let drawn = ""; // name of their node

  /** The node of one of its inputs. */
  const whole = (node) => (node.path == null ? node.name : node.name.replace(`.${node.path}[`, "["));

  const button = (words, properties, click) => {
    const made = element("button", { type: "button", ...properties }, words);
    made.addEventListener("click", click);
    return made;
  };

  /** One of the answers about the node has come, or is asked for. */
  function show(part) {
    return (found) => {
      told = { ...told, [part]: found, [`${part}-problem`]: "" };
      draw();
    };
  }

  function problem(part) {
    return (sentence) => {
      told = { ...told, [`${part}-problem`]: sentence };
      draw();
    };
  }

  /** Several answers about a node are asked for, or known, at a time. */
  const draw = soon(() => {
    const { node: name } = View.now;
    const card = byId("card");
    if (name !== drawn) {
      drawn = name;
      byId("panel").scrollTop = 0;
    }
    if (name === "") {
      card.replaceChildren(element("h2", {}, "A node"),
        element("p", { className: "note" }, "Choose a node in the table or the graph: here stand its activations, the words that it speaks for, and its strongest edges."));
      return;
    }
    const found = told.describe ?? null;
    const fits = found?.node.name === name;
    Page.redraw(card, () => card.replaceChildren(...[
      element("h2", {}, ...(fits ? [icon(found.node.kind), element("span", {}, ...heading(found.tokens, found.node))] : [element("span", {}, visible(name, 80))]),
        button("close", { "data-act": "close" }, () => View.change({ node: "" }))),
      element("p", { className: "code" }, visible(name, 200)),
      refused("describe"),
      actions(name),
      ...(fits ? described(found) : [element("p", { className: "note" }, refused("describe") === null ? "…" : "")]),
      ...(fits && found.reads ? edges("into", ["Strongest edges in ", ...inputs(found)], (edge) => edge.source, name) : []),
      ...(fits && Number.isFinite(found.write_norm) ? edges("from", ["Strongest edges out"], (edge) => edge.target, name) : []),
    ].filter((part) => part !== null)));
  });

  const refused = (part) => ((told[`${part}-problem`] ?? "") === "" ? null
    : element("p", { className: "refused", role: "alert" }, visibleSentence(told[`${part}-problem`])));

  const visibleSentence = (sentence) => Parts.visibleText(sentence, 400);

  function actions(name) {
    const { off, put, graph, trace } = View.now;
    const isOff = off.includes(name) && put === null;
    const value = element("input", { type: "number", step: "any", "aria-label": "Activation to set", placeholder: "0",
      value: off.includes(name) && put !== null ? String(put) : "", "data-act": "value" });
    const set = element("form", { className: "set" }, element("button", { type: "submit", "data-act": "set" }, "Set to"), value);
    set.addEventListener("submit", (event) => {
      event.preventDefault();
      if (Number.isFinite(value.valueAsNumber)) View.change({ off: [name], put: value.valueAsNumber });
      else value.focus();
    });
    return element("div", { className: "actions" },
      trace === name ? null : button("Trace it", { "data-act": "trace", title: "explain this node in place of the words" }, () => View.change({ trace: name })),
      button(isOff ? "Switch on" : "Switch off", { "data-act": "off", "aria-pressed": String(isOff) }, () => View.change({ put: null,
        off: put !== null ? [name] : isOff ? off.filter((one) => one !== name) : [...off, name] })),
      set,
      button(graph.includes(name) ? "Out of the graph" : "Into the graph", { "data-act": "graph", "aria-pressed": String(graph.includes(name)) },
        () => Graph.toggle(name)));
  }

  function described(found) {
    const { node, tokens, activations, pattern, promoted, suppressed } = found;
    const after = others.find((other) => other.node.name === node.name)?.after ?? {};
    const readings = [["attribution", found.attribution], ["direct effect", found.direct_effect],
      ["write norm", found.write_norm], ["activation", found.activation]].filter(([, value]) => Number.isFinite(value));
    return [
      element("p", { className: "note" }, kindOf(node.kind).word, node.layer == null ? "" : `, layer ${node.layer}`,
        node.token == null ? "" : `, token ${node.token}`, node.key == null ? "" : ` looking at token ${node.key}`),
      ...(found.explanation === undefined ? [] : [element("p", { className: "explanation" }, Parts.visibleText(found.explanation, 2000))]),
      element("dl", { className: "numbers" }, ...readings.flatMap(([word, value]) => [element("dt", {}, word),
        element("dd", {}, number(value), Number.isFinite(after[word.replace(" ", "_")]) ? ` → ${number(after[word.replace(" ", "_")])}` : "")])),
      ...(activations.length === 0 ? [] : [element("h3", {}, "Activation over the prompt"), strip(tokens, activations, node.token)]),
      ...(pattern.length === 0 ? [] : [element("h3", {}, "Attention pattern"), ...Parts.heatMap(tokens, node, pattern, byId("panel").clientWidth - 30)]),
      ...(promoted.length + suppressed.length === 0 ? [] : [element("div", { className: "spoken" },
        spoken("Raises", "promoted", promoted), spoken("Lowers", "suppressed", suppressed))]),
    ];
  }

  /** A bar for each token, upward or downward. */
  function strip(tokens, activations, at) {
    const largest = Math.max(Number.MIN_VALUE, ...activations.map(Math.abs));
    return element("ul", { className: "strip" }, ...activations.map((value, t) => {
      const bar = element("i", { className: sign(value) });
      bar.style.height = `${50 * Math.abs(value) / largest}%`;
      return element("li", { className: t === at ? "on" : "", title: `${visible(tokens[t].text)}: ${number(value)}` },
        element("span", { className: "rod", "aria-hidden": "true" }, bar), token(tokens, t, 14),
        element("span", { className: "unseen" }, number(value)));
    }));
  }

  function spoken(title, className, words) {
    return element("div", {}, element("h3", {}, title), element("ul", { className }, ...words.map(({ word, logit }) =>
      element("li", {}, element("bdi", {}, visible(word.text, 18)), element("span", { className: `size ${sign(logit)}` }, number(logit))))));
  }

  /** Which of the inputs of a node its edges lead through, one or all. */
  function inputs(found) {
    if (found.inputs.length === 0) return [];
    return [element("span", { className: "inputs", role: "group", "aria-label": "Edges through" }, ...["", ...found.inputs].map((path) =>
      button(path === "" ? "all" : PATHS[path], { "aria-pressed": String(View.now.input === path), "data-act": `input ${path}`,
        title: path === "" ? "through any input" : `through the ${path} alone` }, () => View.change({ input: path }))))];
  }

  function edges(part, title, other, name) {
    const found = told[part] ?? null;
    const sentence = told[`${part}-problem`] ?? "";
    if (sentence !== "") return [element("h3", {}, ...title), element("p", { className: "note" }, visibleSentence(sentence))];
    if (found === null) return [element("h3", {}, ...title), element("p", { className: "note" }, "…")];
    const { largest } = found.edges;
    const widest = Math.max(Number.MIN_VALUE, ...largest.map(({ score }) => Math.abs(score)));
    return [element("h3", {}, ...title, element("small", {}, largest.length === 0 ? "none" : String(largest.length))),
      element("ul", { className: `edges ${part}` }, ...largest.map((edge) => edgeLine(found.tokens, edge, other(edge), widest, name)))];
  }

  function edgeLine(tokens, edge, node, widest, name) {
    const path = edge.target.path;
    const open = element("button", { type: "button", className: "edge-to", "data-name": whole(node),
      disabled: node.component === "output", "data-act": `open ${edge.source.name} ${edge.target.name}` }, icon(node.kind),
    element("span", { className: "what" }, path == null ? null : element("span", { className: "path", title: `through the ${visible(path, 20)}` }, PATHS[path] ?? path),
      element("span", { className: "place" }, node.layer == null ? "" : `L${node.layer} `), ...heading(tokens, node)),
    element("span", { className: "size" }, number(edge.score), track(edge.score, widest)));
    open.addEventListener("click", () => View.change({ node: whole(node) }));
    const there = View.now.graph.includes(whole(node)) && View.now.graph.includes(name);
    return element("li", {}, open, node.component === "output" ? null : button("+", { className: "add", "aria-pressed": String(there),
      "data-act": `add ${edge.source.name} ${edge.target.name}`,
      title: "both into the graph", "aria-label": `edge with ${whole(node)} in the graph` }, () => Graph.add([name, whole(node)])));
  }

  // The run without some nodes

  function showChanged(found) {
    const { off, put } = View.now;
    const section = byId("changed");
    others = found?.others ?? [];
    draw();
    section.hidden = off.length === 0;
    if (off.length === 0) return;
    const outcome = found?.outcomes.at(-1);
    const names = element("ul", { className: "picked" }, ...off.map((name) => element("li", {},
      button(`${visible(name, 60)} ×`, { className: "word", "aria-label": `${name} as it was`, "data-on": name },
        () => View.change({ off: off.filter((one) => one !== name), put: off.length === 1 ? null : put })))));
    section.replaceChildren(...[
      element("h2", { id: "changed-title" }, put === null ? "Switched off" : `Set to ${number(put)}`,
        button("as it was", {}, () => View.change({ off: [], put: null }))),
      names,
      ...(outcome === undefined ? [] : changes(found, outcome)),
    ]);
  }

  function changes(found, outcome) {
    const before = new Map(found.predictions.map(({ word, probability: p }) => [word.id, { word, before: p }]));
    for (const { word, probability: p } of outcome.predictions) before.set(word.id, { word, ...before.get(word.id), after: p });
    const rows = [...before.values()].sort((a, b) => Math.max(b.before ?? 0, b.after ?? 0) - Math.max(a.before ?? 0, a.after ?? 0));
    const cell = (p) => (p === undefined ? element("td", { title: "not among the most probable" }, "–")
      : element("td", {}, share(p), track(p, 1, "plain")));
    const numbers = [["original", found.metric.value], ["changed", outcome.metric], ["difference", outcome.change],
      ["first-order estimate of it", outcome.first_order_change]].filter(([, value]) => Number.isFinite(value));
    return [
      element("dl", { className: "numbers" }, ...numbers.flatMap(([word, value]) => [element("dt", {}, word), element("dd", {}, number(value))])),
      element("table", { className: "beside" },
        element("thead", {}, element("tr", {}, ...["next word", "original", "changed"].map((word) => element("th", { scope: "col" }, word)))),
        element("tbody", {}, ...rows.map((row) => element("tr", {}, element("th", { scope: "row" }, element("bdi", {}, visible(row.word.text, 20))),
          cell(row.before), cell(row.after))))),
    ];
  }

  function changedProblem(sentence) {
    const section = byId("changed");
    if (sentence !== "") section.append(element("p", { className: "refused", role: "alert" }, visibleSentence(sentence)));
  }

  return { show, problem, draw, showChanged, changedProblem };
})();
