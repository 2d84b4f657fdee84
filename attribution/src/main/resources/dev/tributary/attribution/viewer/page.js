"use strict";

/** What every page does. */
const Page = (() => {
  const root = document.documentElement;

  /** The text that the page carries: compressed, in characters that mean nothing to a browser. */
  async function unpack(base64) {
    if (typeof DecompressionStream !== "function") throw new Error("this browser is too old for this page");
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  function element(name, properties = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key in made && key !== "title") made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child != null));
    return made;
  }

  /** Draws a region again; the keyboard stays at what is called the same ({@code data-act}) there. */
  function redraw(region, draw) {
    const at = region.contains(document.activeElement) ? document.activeElement.dataset.act : undefined;
    draw();
    if (at === undefined) return;
    const same = region.querySelector(`[data-act="${CSS.escape(at)}"]`);
    (same ?? region.closest("[tabindex]"))?.focus({ preventScroll: true });
  }

  /** What draws of some values, and does not again while they are the same. */
  function once(draw) {
    let drawn = null;
    return (...values) => {
      if (drawn !== null && values.every((value, i) => value === drawn[i])) return;
      drawn = values;
      draw(...values);
    };
  }

  /** What draws when all that is being done now is done, once however often it was asked to. */
  function soon(draw) {
    let asked = false;
    return () => {
      if (asked) return;
      asked = true;
      queueMicrotask(() => {
        asked = false;
        draw();
      });
    };
  }

  /** Goes on when what there is now can be seen. */
  const afterFrame = (go) => requestAnimationFrame(() => setTimeout(go));

  /**
   * Dark or light as the reader's system, until the button is pressed; paper is light. Returns what
   * sets the colours and then calls {@code repaint}, as a change does.
   */
  function colours(button, repaint) {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    let chosen = null;
    const colour = () => {
      const theme = chosen ?? (dark.matches ? "dark" : "light");
      root.dataset.theme = theme;
      button.setAttribute("aria-pressed", theme === "dark");
      repaint();
    };
    button.addEventListener("click", () => {
      chosen = root.dataset.theme === "dark" ? "light" : "dark";
      colour();
    });
    dark.addEventListener("change", colour);
    addEventListener("beforeprint", () => {
      root.dataset.theme = "light";
    });
    addEventListener("afterprint", colour);
    return colour;
  }

  return { unpack, element, redraw, once, soon, afterFrame, colours };
})();
