"use strict";

/**
 * Asks what the view of the reader needs, and gives the answers to the regions of the page. Prompts, words
 * and names are untrusted: they enter the page as text nodes and attributes, never as markup.
 */
(() => {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const ALTERNATIVES = 8;
  const NODES = 200;
  const WORDS = 5;
  const EDGES = 8;
  const MORE = 24; // tokens of text behind a prompt

  const working = new Map(); // states of questions that are not answered yet, by region
  const shown = {}; // answers, by region
  let tokens = null; // of the prompt, and what is expected after each

  /** A region that shows the answer to one question at a time. */
  function region(name, element, show, problem, said) {
    return Ask.place((found, question) => {
      shown[name] = found ?? undefined;
      show(found, question);
    }, problem, (state) => {
      if (state === null) working.delete(name);
      else working.set(name, state);
      byId(element).setAttribute("aria-busy", String(state !== null));
      drawWork();
    }, said);
  }

  function drawWork() {
    const states = [...working.values()];
    const one = states.find(({ phase }) => phase !== "waiting") ?? states[0];
    byId("work").textContent = one === undefined ? "" : one.total > 0 ? `${one.phase} ${one.done} of ${one.total}` : one.phase;
    root.toggleAttribute("data-working", states.length > 0);
  }

  /** Shows the sentence of a refusal; once, if it is that of the prompt. */
  const problem = (id) => (sentence) => {
    const text = Parts.visibleText(sentence, 600);
    byId(id).textContent = text;
    byId(id).hidden = text === "" || (id !== "chips-problem" && text === byId("chips-problem").textContent);
  };

  const places = {
    tokens: region("tokens", "chips", (found) => {
      tokens = found;
      drawTokens();
    }, problem("chips-problem")),
    text: region("text", "goes-on", Prompt.showText, (sentence) => {
      Prompt.showText(null);
      problem("text-problem")(sentence);
    }, Prompt.hearText),
    nodes: region("nodes", "nodes", (found, question) => {
      Prompt.showExplained(found);
      Nodes.show(found, question);
    }, problem("nodes-problem")),
    describe: region("describe", "card", (found) => {
      Card.show("describe")(found);
      askEdges();
    }, Card.problem("describe")),
    into: region("into", "card", Card.show("into"), Card.problem("into")),
    from: region("from", "card", Card.show("from"), Card.problem("from")),
    changed: region("changed", "changed", (found) => {
      Card.showChanged(found);
      Nodes.showOthers(found);
    }, Card.changedProblem),
    graph: region("graph", "graph", Graph.show, problem("graph-problem")),
  };
  const drawModel = Page.once((model) => (byId("model").textContent = byId("model").title = Parts.visibleText(model, 200)));

  function drawTokens() {
    Prompt.showTokens(tokens);
    drawModel(tokens?.model ?? "");
  }

  /** Of a node of which it is known whether it reads and writes. */
  function askEdges() {
    const { node, input } = View.now;
    const known = shown.describe?.node.name === node ? shown.describe : {};
    const edges = (end, name) => ({ question: "edges", ...View.subject(), [end]: name, top: EDGES });
    places.into(known.reads ? edges("into", input === "" ? node : node.replace("[", `.${input}[`)) : null);
    places.from(Number.isFinite(known.write_norm) ? edges("from", node) : null);
  }

  /** The reader wants to see something else. */
  function changed() {
    const { now } = View;
    const subject = View.subject();
    Prompt.showView();
    drawTokens();
    places.tokens({ question: "predict", prompt: now.prompt, alternatives: ALTERNATIVES });
    places.text(!now.goesOn ? null : { question: "generate", prompt: now.prompt, max_tokens: MORE,
      edits: now.off.map((part) => ({ part, ...(now.put === null ? {} : { factor: 0, addend: now.put }) })) });
    places.nodes(now.other === "" ? { question: "attribute", ...subject, top: NODES }
      : { question: "compare", ...subject, other: { prompt: now.other }, top: NODES });
    places.describe(now.node === "" ? null : { question: "describe", ...subject, node: now.node, words: WORDS });
    askEdges();
    places.changed(now.off.length === 0 ? null : { question: "ablate", ...subject, nodes: now.off, top: NODES,
      ...(now.put === null ? {} : { action: { activation: now.put } }) });
    places.graph(now.graph.length === 0 ? null : { question: "graph", ...subject, among: now.graph, loadings: 0 });
    Nodes.draw();
    Card.draw();
    Graph.mark();
    byId("undo").disabled = !View.canUndo;
    byId("redo").disabled = !View.canRedo;
    document.title = `Tributary: ${Parts.visibleText(now.prompt, 80)}`;
  }

  function keyOnPage(event) {
    if (byId("manual").open) return;
    const typing = document.activeElement.matches("input, textarea, select");
    const command = event.ctrlKey || event.metaKey;
    if (command && !typing && event.key.toLowerCase() === "z") (event.shiftKey ? View.redo : View.undo)();
    else if (command && !typing && event.key.toLowerCase() === "y") View.redo();
    else if (command || event.altKey) return;
    else if (event.key === "Escape" && typing) document.activeElement.blur();
    else if (event.key === "Escape" && byId("keep").open) byId("keep").open = false;
    else if (event.key === "Escape") View.change({ node: "" });
    else if (typing) return;
    else if (event.key === "/") byId("prompt").focus();
    else if (event.key === "?") byId("manual").showModal();
    else if (event.key.toLowerCase() === "d") byId("panel").focus();
    else return;
    event.preventDefault();
  }

  const colour = Page.colours(byId("theme"), Card.draw); // canvases keep the colours they were painted with
  Prompt.wire();
  Nodes.wire();
  Graph.wire();
  Keep.wire(() => shown);
  byId("undo").addEventListener("click", View.undo);
  byId("redo").addEventListener("click", View.redo);
  byId("help").addEventListener("click", () => byId("manual").showModal());
  document.addEventListener("keydown", keyOnPage);
  colour();
  Page.unpack(byId("data").textContent).then((text) => {
    View.start(JSON.parse(text).prompt, changed);
    root.dataset.ready = "";
  });
})();
