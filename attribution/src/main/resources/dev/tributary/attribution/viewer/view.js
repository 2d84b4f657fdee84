"use strict";

/** What the reader wants to see: small enough for a link. It can be undone, and done again. */
const View = (() => {
  const NOTHING = {
    prompt: "", // what the model reads
    other: "", // the prompt with which it is compared, if it is
    goesOn: false, // whether the model's own text behind it is shown
    position: -1, // after which token words are predicted; -1 is the last
    targets: [], // words
    distractors: [],
    trace: "", // name of the node that is explained in place of words, if there is one
    node: "", // whose card is open
    input: "", // of that node, if edges through one alone are wanted
    off: [], // names of nodes that are switched off, or the one that is set
    put: null, // the activation that it is set to
    beside: true, // whether the table then shows what that changes
    graph: [], // names of nodes
    kind: "", // of the nodes in the table, as layer and token
    layer: "",
    token: "",
    sort: "", // by a column of the table; as it was ranked
    down: true,
  };
  const MOST = 200; // steps back

  let now = NOTHING;
  let past = [];
  let future = [];
  let listener = () => {};

  const isText = (value) => typeof value === "string";
  const isSuch = (value, such) => (Array.isArray(such) ? Array.isArray(value) && value.every(isText)
    : such === null ? value === null || Number.isFinite(value) : typeof value === typeof such);

  /** As the end of an address: what is not as at the beginning. */
  function link(view) {
    const fields = Object.entries(view).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(NOTHING[name]));
    return `#${encodeURIComponent(JSON.stringify(Object.fromEntries(fields)))}`;
  }

  /** The view of a link, or null. Fields that are none of a view's are left out. */
  function parse(hash) {
    try {
      const said = JSON.parse(decodeURIComponent(hash.slice(1)));
      const fields = Object.entries(said).filter(([name, value]) => Object.hasOwn(NOTHING, name) && isSuch(value, NOTHING[name]));
      return fields.length === 0 ? null : { ...NOTHING, ...Object.fromEntries(fields) };
    } catch {
      return null;
    }
  }

  function show(view) {
    now = view;
    history.replaceState(null, "", link(now));
    listener();
  }

  /** Another view; what it says of words or nodes that the change leaves nowhere is let go. */
  function change(fields) {
    if (Object.entries(fields).every(([name, value]) => JSON.stringify(value) === JSON.stringify(now[name]))) return;
    past = [...past, now].slice(-MOST);
    future = [];
    const other = (name) => name in fields && fields[name] !== now[name];
    const elsewhere = ["prompt", "position", "trace"].some(other);
    const bare = other("prompt") ? { goesOn: false, position: -1, trace: "", token: "" } : {};
    show({ ...now, ...(elsewhere || other("node") ? { input: "" } : {}), ...(elsewhere ? { ...bare, node: "", off: [], put: null, graph: [] } : {}), ...fields });
  }

  function undo() {
    if (past.length === 0) return;
    future = [now, ...future];
    const view = past.at(-1);
    past = past.slice(0, -1);
    show(view);
  }

  function redo() {
    if (future.length === 0) return;
    past = [...past, now];
    const [view, ...rest] = future;
    future = rest;
    show(view);
  }

  /** Begins with the link of the address, or else with a prompt. */
  function start(prompt, changed) {
    listener = changed;
    show(parse(location.hash) ?? { ...NOTHING, prompt });
    addEventListener("hashchange", () => {
      const view = parse(location.hash);
      if (view !== null) change(view);
    });
  }

  /** What is explained, as questions say it. */
  function subject() {
    const { prompt, position, targets, distractors, trace } = now;
    return { prompt, position, targets, distractors, ...(trace === "" ? {} : { trace }) };
  }

  return {
    change, undo, redo, start, subject,
    get now() { return now; },
    get canUndo() { return past.length > 0; },
    get canRedo() { return future.length > 0; },
  };
})();
