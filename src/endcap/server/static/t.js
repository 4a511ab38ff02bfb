// Endcap's tracker. What it reads and what it sends: docs/tracker.md.
// Every byte goes to every visitor, so the server leaves out these lines and needless spaces (server/pages.py); for
// that, statements end in semicolons, texts stand in double quotes, and a regular expression holds no spaces.
// Nothing here may throw into the page: every way in ends in `safe` or in the `try` around it all.
try {
  const safe = (f) => (...x) => { try { return f(...x) } catch {} };
  const d = document, root = d.documentElement, tag = d.currentScript.dataset, url = new URL("v1/tracker", d.currentScript.src);
  const random = () => crypto.getRandomValues(new Uint32Array(4)).join("-");
  let state = tag.consent || "unknown", queue = [], timer, late, page, viewed, eye;

  // The visitor's id; only with consent, and for this page alone where storage is refused.
  const id = () => {
    if (state != "granted") return;
    try { return localStorage.endcap ||= random() } catch { return page ||= random() }
  };
  const consent = safe((said) => {
    const gpc = navigator.globalPrivacyControl;
    state = gpc ? "denied" : said;
    root.dataset.endcapConsent = gpc ? "gpc" : state;
    setTimeout(flush, 400);
    shelves();
    if (state == "denied") queue = [], page = 0, localStorage.removeItem("endcap");
  });

  // Events wait here: 0.4 s, for consent, or until the page goes. A question for shelves takes them along.
  const track = safe((event) => {
    if (event.type == "view") viewed = event.item_id;
    if (state == "denied" || queue.length > 98) return;
    queue.push({ event_id: random(), ...event });
    timer ||= setTimeout(flush, 400);
  });
  const body = (shelves) => JSON.stringify({
    key: tag.key, anon_id: id(), events: id() ? queue.splice(0) : [], shelves, context: { utc_offset_min: -new Date().getTimezoneOffset() },
  });
  const post = (body) => fetch(url, { method: "POST", body, keepalive: 1 }).then((r) => r.json()).catch(() => {});
  const flush = safe(() => {
    timer = 0;
    if (!id() || !queue[0]) return;
    const text = body();
    navigator.sendBeacon?.(url, text) || post(text);
  });

  // What shops push for Google Analytics, by gtag() or as objects.
  const types = {
    view_item: "view", select_item: "click", add_to_cart: "cart_add", remove_from_cart: "cart_remove", purchase: "purchase",
    add_to_wishlist: "wishlist_add", view_item_list: "impression",
  };
  const read = safe((x) => {
    const [what, name, p = {}] = x.event ? ["event", x.event, { ...x, ...x.ecommerce }] : x;
    const said = what == "consent" && (p.personalization_storage || p.analytics_storage);
    if (said) name == "update" ? consent(said) : said == "denied" ? consent("waiting") : p.region || state != "unknown" || consent(said);
    if (what != "event") return;
    if (name == "search") track({ type: name, query: p.search_term });
    const type = types[name], order_id = p.transaction_id;
    if (type) p.items.slice(0, 50).map((i, n) => i.item_id && track({
      type, item_id: i.item_id + "", price: parseFloat(i.price), quantity: +i.quantity || 1, currency: p.currency, order_id,
      placement: i.item_list_id || p.item_list_id, position: parseInt(i.index), request_id: p.request_id,
      ...order_id && { event_id: [order_id, i.item_id, n].join() },
    }));
  });

  // The product that the page describes for search engines, unless the shop pushed its view.
  const walk = (x) => [x].flat(9).flatMap((x) => !x ? [] : /\bProduct(Group)?\b/.test(x["@type"])
    ? x.sku || x.productID || x.productGroupID || x["@id"] : walk([x["@graph"], x.mainEntity]));
  const product = safe(() => {
    const found = [...d.querySelectorAll("[type*=ld]")].flatMap((s) => safe(() => walk(JSON.parse(s.text)))() ?? []);
    if (!viewed && !found[1]) track({ type: "view", item_id: found[0].trim() });
  });

  // A shelf is asked for when it comes near the screen: asked for is shown.
  const web = (u) => u && /^https?:/.test(u = new URL(u, d.baseURI).href) ? u : "";
  const draw = safe((node, shelf) => {
    const template = node.querySelector("template");
    if (shelf.items[0]) node.replaceChildren(template, ...shelf.items.map((item, position) => {
      const card = template.content.firstElementChild.cloneNode(true);
      [card, ...card.querySelectorAll("*")].map(safe((slot) => {
        const name = slot.dataset.endcap, v = item[name] ?? "";
        if (name == "url") slot.href = web(v);
        else if (name == "image") slot.src = web(v), slot.alt = item.title;
        else if (name) slot.textContent = v, slot.textContent = v.toLocaleString(root.lang || [], { style: "currency", currency: item.currency });
      }));
      card.onclick = () => track({
        type: "click", item_id: item.item_id, placement: shelf.placement, position, request_id: shelf.request_id,
      });
      return card;
    }));
  });
  const fill = safe((nodes) => nodes[0] && post(body(nodes.map(({ dataset: s }) => ({
    placement: s.endcapPlacement, n: +s.endcapN || 0, items: [s.endcapItems?.split(" ") ?? viewed ?? []].flat(),
  })))).then((answer) => nodes.map((node, i) => draw(node, answer?.shelves[i]))));
  const look = safe(() => {
    const nodes = [...d.querySelectorAll("[data-endcap-placement]")];
    try {
      eye?.disconnect();
      eye = new IntersectionObserver((seen) => fill(seen.flatMap((e) => e.isIntersecting ? (eye.unobserve(e.target), e.target) : [])));
      nodes.map((n) => eye.observe(n));
    } catch { fill(nodes) }
  });
  const shelves = () => {
    clearTimeout(late);
    if (d.readyState != "loading") late = setTimeout(look, /d$/.test(state) ? 0 : 500);
  };

  window.endcap = { track, consent, id, shelves };
  safe(() => {
    const layer = window.dataLayer ||= [], push = layer.push;
    layer.map(read);
    layer.push = function (...x) { x.map(read); return push.apply(this, x) };
  })();
  consent(state);
  const start = () => { product(); shelves() };
  d.readyState == "loading" ? addEventListener("DOMContentLoaded", start) : start();
  addEventListener("visibilitychange", flush);
  addEventListener("pagehide", flush);
} catch {}
