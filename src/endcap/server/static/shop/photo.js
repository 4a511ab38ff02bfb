// @ts-check
/** A product's picture on the page: drawn once per item, and only when it comes near the screen. */
import { html, useLayoutEffect, useRef } from "./html.js";
import { picture } from "../picture.js";

/** @type {Map<string, string>} */
const drawn = new Map();
/** @type {WeakMap<Element, import("./api.js").Item>} */
const waiting = new WeakMap();

const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const item = waiting.get(target);
      if (!isIntersecting || !item) continue;
      near.unobserve(target);
      draw(target, item);
    }
  },
  { rootMargin: "300px" },
);

function draw(/** @type {Element} */ frame, /** @type {import("./api.js").Item} */ item) {
  const svg = drawn.get(item.item_id) ?? picture(item);
  drawn.set(item.item_id, svg);
  frame.innerHTML = svg;
}

/** Decorative: the title stands beside it. */
export function Picture({ item }) {
  const frame = useRef(/** @type {HTMLElement | null} */ (null));
  useLayoutEffect(() => {
    const target = frame.current;
    if (!target) return undefined;
    waiting.set(target, item);
    near.observe(target);
    return () => near.unobserve(target);
  }, [item.item_id]);
  return html`<span class="picture" ref=${frame}></span>`;
}
