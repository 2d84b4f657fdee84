"use strict";

/** What the reader takes along: answers, tables, the graph and its picture, as files. */
const Keep = (() => {
  const { element } = Page;
  const byId = (id) => document.getElementById(id);
  const SCALE = 2; // pixels of the picture for one of the window
  const PAINT = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-linecap", "stroke-linejoin", "paint-order",
    "font-size", "font-family", "font-weight", "text-anchor", "opacity"];

  function save(blob, name) {
    const url = URL.createObjectURL(blob);
    const link = element("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    byId("keep").open = false;
    byId("said").textContent = `${name} is saved`;
  }

  const json = (value) => new Blob([`${JSON.stringify(value, null, 2)}\n`], { type: "application/json" });

  /** The graph as it is seen, with its colours in it: a picture knows no style of the page. */
  async function picture() {
    const svg = byId("plot");
    const copy = svg.cloneNode(true);
    const originals = [svg, ...svg.querySelectorAll("*")];
    [copy, ...copy.querySelectorAll("*")].forEach((one, i) => {
      const style = getComputedStyle(originals[i]);
      for (const name of PAINT) one.setAttribute(name, style.getPropertyValue(name));
      for (const name of ["class", "tabindex", "role"]) one.removeAttribute(name);
    });
    const [width, height] = ["width", "height"].map((name) => Number(svg.getAttribute(name)));
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const image = new Image(width, height);
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
    await image.decode();
    const canvas = element("canvas", { width: SCALE * width, height: SCALE * height });
    const pen = canvas.getContext("2d");
    pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--surface");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  async function copyLink() {
    const address = Ask.address(location.hash);
    try {
      await navigator.clipboard.writeText(address);
      byId("link").textContent = "Copied";
      setTimeout(() => (byId("link").textContent = "Copy link"), 1500);
    } catch {
      prompt("The link", address);
    }
  }

  /** @param shown gives all answers that the page shows, by their places */
  function wire(shown) {
    byId("link").addEventListener("click", copyLink);
    byId("keep-answers").addEventListener("click", () => save(json({ view: View.now, ...shown() }), "tributary.json"));
    byId("keep-nodes").addEventListener("click", () => save(new Blob([Nodes.csv()], { type: "text/csv" }), "nodes.csv"));
    byId("keep-circuit").addEventListener("click", () => save(json(Graph.json), "circuit.json"));
    byId("keep-picture").addEventListener("click", async () => save(await picture(), "graph.png"));
    byId("keep").addEventListener("toggle", () => {
      for (const id of ["keep-circuit", "keep-picture"]) byId(id).disabled = Graph.json === null;
    });
    document.addEventListener("click", (event) => {
      if (!byId("keep").contains(event.target)) byId("keep").open = false;
    });
  }

  return { wire };
})();
